"""What a book knows of what the batch itself has done, and what it forgets when that is undone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.entries import entry_of
from tests.oracle.scenario import FIRST_POSITION, Parser

from daybook.ledger.balance import GENERAL_LEDGER_ID, Balance
from daybook.ledger.book import Book, Recorded, Schedule, balance_of
from daybook.ledger.entry import LogEntry
from daybook.ledger.hold import Hold
from daybook.ledger.instructions import NewBalance
from daybook.ledger.posting.actions import status_of
from daybook.ledger.record import Record

A, B = (f"bln_00000000-0000-4000-8000-00000000000{n}" for n in (1, 2))
FIRST, SECOND, THIRD = (f"txn_00000000-0000-7000-8000-00000000000{n}" for n in (3, 4, 5))
BULK = "bulk_00000000-0000-8000-8000-000000000006"


def record_of(transaction_id: str, reference: str = "r", **more: Any) -> Record:
    """A record of a transaction."""
    fields: dict[str, Any] = dict.fromkeys(Record._fields) | {
        "transaction_id": transaction_id,
        "kind": "transaction",
        "reference": reference,
        "derived": False,
        "source_id": A,
        "destination_id": B,
        "currency": "USD",
        "precision": 100,
        "precise_amount": 5,
        "status": "APPLIED",
        "description": "",
        "allow_overdraft": False,
        "position": 7,
        "effective_micros": 0,
        "fingerprint": b"f" * 32,
    }
    return Record(**fields | more)


def scheduled() -> LogEntry:
    """A transaction for later."""
    (step,) = Parser().steps("s: @World > @A 1 USD overdraft scheduled=60")
    assert step.request is not None
    return entry_of(step.request, step.request_id, FIRST_POSITION)


def values(balance: Balance) -> dict[str, Any]:
    """Everything that a balance says of itself."""
    return {name: getattr(balance, name) for name in Balance.__slots__}


def test_a_new_balance_is_what_was_asked_for() -> None:
    """An application balance with all that the request says, an internal one with nothing."""
    wanted = NewBalance(A, "ldg_1", "USD", None, "idt_1", '{"a":1}')
    asked = Balance(
        *(A, "ldg_1", "USD"),
        fingerprint=b"f",
        meta_data='{"a":1}',
        identity_id="idt_1",
        is_new=True,
    )
    assert values(balance_of(wanted, b"f")) == values(asked)
    assert (asked.ledger_id, asked.is_new) == ("ldg_1", True)
    used = Balance(A, GENERAL_LEDGER_ID, "USD", "@Till", is_new=True)
    assert values(Book().internal_balance(A, "@Till", "USD")) == values(used)


def test_a_balance_counts_what_it_has() -> None:
    """What was credited less what was debited; of that, what is not held may be spent."""
    balance = Balance(A, "ldg", "USD", None, 100, 70, 20, 5, 4)
    assert (balance.balance, balance.available) == (50, 46)
    assert (balance.name, Balance(A, "ldg", "USD", "@Till").name) == (A, "@Till")


def test_a_hold_counts_its_commits() -> None:
    """It is changed by each of them, and by a void; a new one is to be written, too."""
    hold = Hold(FIRST, A, B, "USD", 100, 10)
    assert (hold.is_new, hold.changed) == (False, False)
    hold.commit(4)
    hold.commit(5)
    assert (hold.committed, hold.commits, hold.changed, hold.remainder) == (9, 2, True, 1)
    new = Hold(SECOND, A, B, "USD", 100, 10, is_new=True)
    assert (new.is_new, new.changed) == (True, True)


@pytest.mark.parametrize(
    ("expires", "commits", "due"),
    [
        (None, None, None),
        (6, 6, None),
        (5, None, "void"),
        (None, 5, "commit"),
        (5, 5, "commit"),
        (4, 5, "void"),
        (5, 4, "commit"),
        (5, 6, "void"),
        (6, 5, "commit"),
    ],
)
def test_the_earlier_date_of_a_hold_counts(
    expires: int | None, commits: int | None, due: str | None
) -> None:
    """Of those that have come by now; on a tie the commit. What has ended has no date."""
    hold = Hold(FIRST, A, B, "USD", 100, 10, expires_micros=expires, commits_micros=commits)
    assert hold.due(5) == due
    hold.void(10)
    assert hold.due(5) is None


@pytest.mark.parametrize("currency", ["USD", ""])
def test_what_a_batch_records_is_known_as_if_it_were_read(currency: str) -> None:
    """With what it is about, for anyone who is told of it by a conflict."""
    book = Book()
    book.record(record_of(FIRST, reason="why", detail="so", currency=currency))
    known = Recorded(*(FIRST, "APPLIED", b"f" * 32, "why", "so", False, 5, 100, currency or None))
    assert (book.recorded("r", SECOND), book.recorded(None, FIRST)) == (known, known)
    assert book.recorded("other", SECOND) is None


def test_a_reference_that_is_tried_again_waits_for_its_own_request() -> None:
    """Another request has a conflict; any other reference is taken for its own request, too."""
    book = Book()
    retried = Recorded(FIRST, "REJECTED", b"f", is_retried=True)
    applied = Recorded(SECOND, "APPLIED", b"f")
    book.references |= {"again": retried, "done": applied}
    assert book.recorded("again", FIRST) is None
    assert book.recorded("again", SECOND) == retried
    assert book.recorded("done", SECOND) == applied


def test_a_schedule_is_known_in_its_own_batch() -> None:
    """With its place in the log and its reference, by which its outcome is told."""
    book, entry = Book(), scheduled()
    instruction: Any = entry.instruction
    book.add_schedule(entry, instruction)
    own = entry.request_id
    assert book.schedules == {own: Schedule(own, instruction, entry.position, entry.fingerprint)}
    assert book.claims() == {"s": own}


def test_a_schedule_that_raises_when_it_is_due_is_over() -> None:
    """It is quarantined, and no longer comes due."""
    book, entry = Book(), scheduled()
    instruction: Any = entry.instruction
    book.add_schedule(entry, instruction)
    book.add_quarantined(entry, "s", Recorded(entry.request_id, "REJECTED", entry.fingerprint))
    assert (book.schedules, book.closed_schedules) == ({}, [entry.request_id])
    assert status_of(book, entry.request_id) is not None  # it is known all the same


def test_what_is_undone_is_forgotten() -> None:
    """Records with their references and ids, and holds with the requests that they are part of."""
    book = Book()
    book.record(record_of(FIRST, "kept"))
    kept = book.original(FIRST)
    savepoint = book.savepoint({A})
    for own, leg_of, bulk_id in ((SECOND, BULK, None), (THIRD, None, BULK)):
        book.record(record_of(own, own))
        book.add_hold(Hold(own, A, B, "USD", 100, 5, leg_of=leg_of, bulk_id=bulk_id))
    assert book.groups == {BULK: [SECOND, THIRD]}
    assert book.original(THIRD) is not None
    book.undo(savepoint)
    assert (book.holds, book.groups) == ({}, {})
    assert [record.reference for record in book.records] == ["kept"]
    for own in (SECOND, THIRD):
        assert (book.recorded(own, own), book.original(own)) == (None, None)
    assert book.recorded("kept", FIRST) is not None
    assert (book.original(FIRST), kept is not None) == (kept, True)
