"""What producers are told of a batch: each outcome, under its key, and for whom."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.entries import last_entry
from tests.oracle.scenario import FIRST_MS, FIRST_POSITION

from daybook.apply.batch import Batch, Undecodable
from daybook.apply.replies import Replies, replies_of
from daybook.ledger.batch import BatchDecision
from daybook.ledger.book import Book, Schedule
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.instructions import Transaction
from daybook.ledger.record import Record
from daybook.ledger.rejection import Reason, Rejected
from daybook.queue.entries import CELERY_RESULT, Money, RawEntry, outcome_value, read_value
from daybook.queue.waiting import Wanted
from daybook.requests import fingerprint_of

PAYS = last_entry("in: @World > @Till 10.00 USD@100 overdraft")
VOIDS = last_entry("held: @World > @Till 1.00 USD@100 hold overdraft\nvoid held", 1)
NAMES = last_entry("ledger L", 2)
FINGERPRINT = PAYS.fingerprint.hex()


def decided(one: LogEntry, status: str, reason: str | None = None, **more: Any) -> Decision:
    values = {"transaction_id": one.request_id, "detail": "so" if reason else None} | more
    reference = one.instruction.reference
    return Decision(
        one.position, one.request_id, reference=reference, status=status, reason=reason, **values
    )


def replies(
    *decisions: Decision,
    book: Book | None = None,
    flags: dict[int, str] | None = None,
) -> Replies:
    """What is told of these decisions."""
    entries = [PAYS, VOIDS, NAMES]
    homes = {one.position: 0 for one in entries}
    batch = Batch([], [], entries, [], flags or {}, homes)
    found = replies_of(batch, book or Book(), BatchDecision(list(decisions)), ())
    return found[0]


@pytest.mark.parametrize(
    ("one", "decision", "is_recorded"),
    [
        (PAYS, ("APPLIED",), True),
        (PAYS, ("INFLIGHT",), True),
        (PAYS, ("REJECTED", "insufficient_funds"), True),
        (PAYS, ("REJECTED", "quarantined"), False),
        (PAYS, ("SCHEDULED",), False),
        (VOIDS, ("VOID",), True),
        (NAMES, ("APPLIED",), False),
    ],
)
def test_what_the_journal_shows_is_told_apart(
    one: LogEntry, decision: tuple[str, ...], is_recorded: bool
) -> None:
    """The rest must be kept beside it, for a worker that dies before it has told anyone."""
    outcome = decided(one, *decision)
    found = replies(outcome)
    told = found.recorded if is_recorded else found.beside
    ((key, text),) = found.all
    assert told == [(key, text)]
    state = read_value(text)
    assert (state.status, state.reason, state.detail) == (
        *(outcome.status, outcome.reason, outcome.detail),
    )
    assert (state.position, state.duplicate) == (one.position, False)
    assert key == ("t:in" if one is PAYS else f"i:{one.request_id}")


def test_a_repetition_is_told_as_one() -> None:
    """Without a place of its own: that of the original stands in the log's own answer."""
    found = replies(decided(PAYS, "APPLIED", duplicate=True, transaction_id="txn_first"))
    said = outcome_value(
        FINGERPRINT, "txn_first", "APPLIED", duplicate=True, money=Money(1000, 100, "USD")
    )
    assert found.beside == [("t:in", said)]


def test_an_action_tells_how_much_it_moved() -> None:
    """As its record says."""
    book = Book()
    values: dict[str, Any] = dict.fromkeys(Record._fields)
    values |= {"transaction_id": VOIDS.request_id, "kind": "void", "reference": "v"}
    values |= {"derived": True, "currency": "USD", "precision": 100, "precise_amount": 100}
    values |= {"status": "VOID", "fingerprint": VOIDS.fingerprint}
    book.record(Record(**values))
    ((_, text),) = replies(decided(VOIDS, "VOID"), book=book).recorded
    assert read_value(text).money == Money(100, 100, "USD")


def test_a_conflict_is_told_as_the_owner_s_outcome() -> None:
    """If there is one; else as its own."""
    refused = decided(PAYS, "REJECTED", "reference_conflict")
    ((key, text),) = replies(refused).beside
    assert (key, read_value(text).reason) == ("t:in", "reference_conflict")
    book = Book()
    values: dict[str, Any] = dict.fromkeys(Record._fields)
    values |= {"transaction_id": "txn_owner", "kind": "transaction", "reference": "in"}
    values |= {"derived": False, "currency": "USD", "status": "APPLIED", "fingerprint": b"o" * 32}
    book.record(Record(**values))
    ((key, text),) = replies(refused, book=book).beside
    state = read_value(text)
    assert (key, state.request_id, state.status) == ("t:in", "txn_owner", "APPLIED")
    assert state.fingerprint == (b"o" * 32).hex()


@pytest.mark.parametrize(("status", "is_final"), [("APPLIED", True), ("SCHEDULED", False)])
def test_a_result_is_kept_for_who_wants_one(status: str, is_final: bool) -> None:
    """Under the reference, or the id; not before its time."""
    flags = {PAYS.position: CELERY_RESULT, VOIDS.position: CELERY_RESULT}
    found = replies(decided(PAYS, status), decided(NAMES, "APPLIED"), flags=flags)
    wanted = Wanted("t:in", "in", FIRST_MS, FINGERPRINT)
    assert found.celery == ([wanted] if is_final else [])
    (voided,) = replies(decided(VOIDS, "VOID"), flags=flags).celery
    own = VOIDS.request_id
    assert voided == Wanted(f"i:{own}", own, FIRST_MS, VOIDS.fingerprint.hex())


def test_what_is_over_already_is_not_told_as_scheduled() -> None:
    """A replay may find it accepted and due in one batch."""
    book = Book()
    book.closed_schedules.append(PAYS.request_id)
    both = (decided(PAYS, "SCHEDULED"), decided(PAYS, "APPLIED"))
    assert [read_value(text).status for _, text in replies(*both, book=book).all] == ["APPLIED"]


@pytest.mark.parametrize("where", ["kept", "batch", "none"])
def test_who_waits_for_what_is_cancelled_is_told(where: str) -> None:
    """It was accepted before, perhaps in this batch; its result is wanted as it was then."""
    kept = CELERY_RESULT if where == "kept" else ""
    instruction = PAYS.instruction
    assert isinstance(instruction, Transaction)
    schedule = Schedule(
        PAYS.request_id,
        instruction,
        PAYS.position,
        PAYS.fingerprint,
        kept,
    )
    outcome = decided(PAYS, "REJECTED", "cancelled")._replace(position=VOIDS.position)
    book = Book()
    book.cancelled.append((schedule, outcome))
    flags = {PAYS.position: CELERY_RESULT} if where == "batch" else {}
    found = replies(book=book, flags=flags)
    said = outcome_value(
        *(FINGERPRINT, PAYS.request_id, "REJECTED", "cancelled", "so"),
        position=VOIDS.position,
        money=Money(1000, 100, "USD"),
    )
    assert found.beside == [("t:in", said)]
    wanted = Wanted("t:in", "in", FIRST_MS, FINGERPRINT)
    assert found.celery == ([] if where == "none" else [wanted])


@pytest.mark.parametrize("flags", ["", CELERY_RESULT])
@pytest.mark.parametrize(
    ("body", "key", "is_told"),
    [
        (b'{"reference":"r"}', "t:r", True),
        (b'{"reference":"r"}', "t:other", False),
        (b"{}", f"i:{PAYS.request_id}", True),
        (b"{}", "t:r", False),
    ],
)
def test_what_is_no_request_is_told_under_its_own_key(
    body: bytes, key: str, is_told: bool, flags: str
) -> None:
    """A result has the name of its reference, so without one there is none."""
    raw = RawEntry(FIRST_POSITION, PAYS.request_id, key, flags, body)
    undecodable = [Undecodable(raw, Rejected(Reason.MALFORMED, "it is no request"))]
    batch = Batch([], [], [], undecodable, {}, {FIRST_POSITION: 0})
    found = replies_of(batch, Book(), BatchDecision(), ())[0]
    fingerprint = fingerprint_of(body).hex()
    refused = ("REJECTED", "malformed", "it is no request")
    said = outcome_value(fingerprint, PAYS.request_id, *refused)
    assert found.beside == ([(key, said)] if is_told else [])
    has_result = is_told and flags and key == "t:r"
    wanted = Wanted(key, "r", FIRST_MS, fingerprint)
    assert found.celery == ([wanted] if has_result else [])
