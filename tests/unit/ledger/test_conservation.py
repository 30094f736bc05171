"""A batch that would make or lose money is found before it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from daybook.ledger.balance import Balance
from daybook.ledger.batch import decide_batch
from daybook.ledger.book import Book
from daybook.ledger.conservation import ConservationError, check_conserved
from daybook.ledger.entry import LogEntry
from daybook.ledger.hold import Hold
from daybook.ledger.instructions import Transaction
from daybook.ledger.posting.kinds import KINDS

A, B = (f"bln_00000000-0000-7000-8000-00000000000{n}" for n in (1, 2))
HOLD = "txn_00000000-0000-7000-8000-000000000003"
WANTED = Transaction("r", A, B, None, None, "USD", 5, 100, allow_overdraft=True)
ENTRY = LogEntry(1 << 20, 0, "txn_00000000-0000-7000-8000-000000000004", WANTED, b"f" * 32, b"")


def book_with(*currencies: str) -> Book:
    """Two balances without money."""
    book = Book()
    for balance_id, currency in zip((A, B), currencies, strict=True):
        book.balances[balance_id] = Balance(balance_id, "ldg", currency, precision=100)
    return book


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda book: book.balances[A].add(credit=1), "posted credits exceed debits by 1 .* USD"),
        (lambda book: book.balances[A].add(debit=1), "posted credits exceed debits by -1"),
        (lambda book: book.balances[B].add(inflight_credit=7), "inflight credits .* by 7"),
    ],
)
def test_a_side_that_is_missing_is_found(change: Callable[[Book], None], said: str) -> None:
    """Each figure that grows alone."""
    book = book_with("USD", "USD")
    check_conserved(book)
    change(book)
    with pytest.raises(ConservationError, match=said):
        check_conserved(book)


def test_currencies_are_not_added_up() -> None:
    """A dollar more and a euro less is no balance."""
    book = book_with("USD", "EUR")
    book.balances[A].add(credit=1)
    book.balances[B].add(debit=1)
    with pytest.raises(ConservationError):
        check_conserved(book)


@pytest.mark.parametrize(
    "change",
    [lambda hold: hold.commit(1), lambda hold: hold.void(1), lambda hold: hold.void(-7)],
)
def test_a_hold_ends_once(change: Callable[[Hold], None]) -> None:
    """No more is committed and voided than was held, and nothing below zero."""
    book = Book()
    hold = Hold(HOLD, A, B, "USD", 100, 10)
    hold.commit(4)
    hold.void(6)
    book.add_hold(hold)
    check_conserved(book)
    change(hold)
    with pytest.raises(ConservationError, match="the hold"):
        check_conserved(book)


def test_a_batch_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A posting that forgets a side is not handed on to be written."""
    right = KINDS[Transaction]

    def forgets(book: Book, entry: LogEntry, wanted: Any) -> Any:
        decision = right.post(book, entry, wanted)
        book.balances[B].added_credit = 0
        return decision

    decide_batch(book_with("USD", "USD"), [], [ENTRY])
    broken = type(right)(post=forgets, may_credit=right.may_credit)
    monkeypatch.setitem(KINDS, Transaction, broken)
    with pytest.raises(ConservationError):
        decide_batch(book_with("USD", "USD"), [], [ENTRY])
