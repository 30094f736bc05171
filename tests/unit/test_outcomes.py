"""What an outcome says: its key, its money, and in a conflict whose it is."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.entries import entry_of, last_entry
from tests.oracle.scenario import FIRST_POSITION, id_of

from daybook.apply.late import replies_from_journal
from daybook.apply.outcomes import (
    NO_FINGERPRINT,
    actions_in,
    belongs_to_another,
    key_of_entry,
    money_of,
    value_of_owner,
)
from daybook.ledger.book import Book
from daybook.ledger.entry import LogEntry
from daybook.ledger.instructions import NewIdentity, NewLedger
from daybook.ledger.record import Record
from daybook.queue.entries import NO_MONEY, Money, outcome_value

LEDGER = "ldg_00000000-0000-4000-8000-000000000001"
PLAIN = "txn_00000000-0000-7000-8000-000000000001"


PAYS = last_entry("in: @World > @Till 10.00 USD@100 overdraft")
LEGS = last_entry("legs: @World > @A=50%,@B=left 10.00 USD@100 overdraft")
VOIDS = last_entry("held: @World > @Till 1.00 USD@100 hold overdraft\nvoid held")


def record(transaction_id: str = PLAIN, **other: Any) -> Record:
    """A record that a payment of 10.00 USD has left."""
    values: dict[str, Any] = dict.fromkeys(Record._fields)
    values |= {
        "transaction_id": transaction_id,
        "kind": "transaction",
        "reference": "in",
        "derived": False,
        "currency": "USD",
        "precision": 100,
        "precise_amount": 1000,
        "status": "APPLIED",
        "fingerprint": b"f" * 32,
    }
    return Record(**values | other)


def test_a_request_is_known_by_its_reference_or_its_id() -> None:
    """As producers look it up."""
    assert key_of_entry(PAYS) == "t:in"
    assert key_of_entry(VOIDS) == f"i:{VOIDS.request_id}"


@pytest.mark.parametrize("paying", [PAYS, LEGS])
def test_a_transaction_says_itself_how_much_it_moves(paying: LogEntry) -> None:
    """Whatever became of it."""
    assert money_of(paying.instruction, None) == Money(1000, 100, "USD")
    assert money_of(paying.instruction, record(currency="EUR")) == Money(1000, 100, "USD")


def test_of_what_is_no_transaction_the_record_says_it() -> None:
    """A void of 1.00; of a refused one, and of a creation, nothing is known."""
    assert money_of(VOIDS.instruction, record(precise_amount=100)) == Money(100, 100, "USD")
    nothing = record(precise_amount=None, precision=None, currency="")
    assert money_of(VOIDS.instruction, nothing) == NO_MONEY
    assert money_of(VOIDS.instruction, None) == NO_MONEY


def test_the_actions_of_a_batch_are_those_that_are_no_transactions() -> None:
    """By their ids."""
    book, other = Book(), PLAIN[:-1] + "2"
    book.record(record())
    book.record(void := record(other, kind="void", reference="v", derived=True))
    assert actions_in(book) == {other: void}


def creation(made: str, request_id: str) -> LogEntry:
    """An entry that creates a ledger, a balance or an identity under this id."""
    wanted: dict[str, Any] = {
        "ledger": {"kind": "ledger", "ledger_id": request_id, "name": "L"},
        "identity": {"kind": "identity", "identity_id": request_id},
    }
    return entry_of(wanted[made], request_id, FIRST_POSITION)


def test_what_is_created_belongs_to_who_created_it() -> None:
    """Under its id; the General Ledger, and what came of a first use, nobody asked for."""
    book, made = Book(), creation("ledger", LEDGER)
    assert not belongs_to_another(book, made)
    book.add_ledger(NewLedger(LEDGER, "L", None), b"o" * 32, 1)
    assert belongs_to_another(book, made)
    said = outcome_value((b"o" * 32).hex(), LEDGER, "APPLIED")
    assert value_of_owner(book, made) == said
    person = id_of("idt", "Ada")
    named = NewIdentity(person)
    book.add_identity(named, b"i" * 32, 2)
    said = outcome_value((b"i" * 32).hex(), person, "APPLIED")
    assert value_of_owner(book, creation("identity", person)) == said
    book.ledgers[LEDGER] = None
    assert value_of_owner(book, made) == outcome_value(NO_FINGERPRINT, LEDGER, "APPLIED")
    assert NO_FINGERPRINT == "0" * 64


def test_a_reference_belongs_to_who_has_used_it() -> None:
    """Where only the id is taken, the key of the reference belongs to nobody."""
    book = Book()
    assert not belongs_to_another(book, PAYS)
    assert belongs_to_another(book, VOIDS)  # it has none: its key is its id
    book.record(record(reference="other"))
    assert not belongs_to_another(book, PAYS)
    book.record(record())
    assert belongs_to_another(book, PAYS)


def test_the_owner_is_told_with_all_that_became_of_it() -> None:
    """By the reference first; else by the id."""
    refused = {"status": "REJECTED", "reason": "insufficient_funds", "detail": "so much"}
    said = {"reason": "insufficient_funds", "detail": "so much", "money": Money(1000, 100, "USD")}
    book = Book()
    book.record(record(**refused))
    book.record(record(PAYS.request_id, reference="other"))
    expected = outcome_value((b"f" * 32).hex(), PLAIN, "REJECTED", **said)  # type: ignore[arg-type]
    assert value_of_owner(book, PAYS) == expected
    by_id = Book()
    by_id.record(record(VOIDS.request_id, reference="v", derived=True, fingerprint=b""))
    money = Money(1000, 100, "USD")
    expected = outcome_value(NO_FINGERPRINT, VOIDS.request_id, "APPLIED", money=money)
    assert value_of_owner(by_id, VOIDS) == expected


@pytest.mark.parametrize(("derived", "key"), [(False, "t:in"), (True, f"i:{PLAIN}")])
def test_the_journal_says_the_same_as_the_worker_would_have(derived: bool, key: str) -> None:
    """A label that the ledger made is no reference of a caller."""
    bare = PLAIN.removeprefix("txn_")
    refused = ("REJECTED", "insufficient_funds", "so much")
    row = ("in", derived, bare, *refused, b"f" * 32, 7, 1000, 100, "USD")
    said = outcome_value(
        (b"f" * 32).hex(), PLAIN, *refused, position=7, money=Money(1000, 100, "USD")
    )
    assert replies_from_journal([row]) == [(key, said)]
    empty = (*row[:8], None, None, "")
    said = outcome_value((b"f" * 32).hex(), PLAIN, *refused, position=7)
    assert replies_from_journal([empty]) == [(key, said)]
