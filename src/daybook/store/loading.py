"""Reading what a batch may look at: balances, holds, ledgers and references, into a book."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from daybook.ledger.balance import Balance
from daybook.ledger.book import Book, Recorded
from daybook.ledger.inflight import Hold
from daybook.ledger.money import FIGURE_MAX
from daybook.ledger.transaction import (
    Commit,
    Entry,
    NewBalance,
    NewLedger,
    Status,
    Transaction,
    Void,
)
from daybook.store.arrays import array_text

_BALANCES = """
SELECT balance_id::text, ledger_id, currency, indicator, precision::text,
       credit_balance::text, debit_balance::text,
       inflight_credit_balance::text, inflight_debit_balance::text, fingerprint
FROM balances WHERE balance_id = ANY(%s::uuid[])
"""
_HOLDS = """
SELECT transaction_id::text, source::text, destination::text, currency, precision::text,
       amount::text, committed::text, voided::text, commits
FROM holds WHERE transaction_id = ANY(%s::uuid[])
"""
_REFERENCES = """
SELECT reference, transaction_id::text, status, fingerprint, reason, detail
FROM transactions WHERE reference = ANY(%s::text[]) AND NOT derived
"""
_ANY_REFUSED_REFERENCE = "SELECT EXISTS (SELECT FROM refusals WHERE uses_reference)"
_REFUSED_REFERENCES = """
SELECT reference, request_id, reason, detail, sha256(body)
FROM refusals WHERE reference = ANY(%s::text[]) AND uses_reference
"""
_REFUSED_IDS = "SELECT request_id FROM refusals WHERE request_id = ANY(%s::text[])"
_IDS = """
SELECT transaction_id::text, status, fingerprint, reason, detail
FROM transactions WHERE transaction_id = ANY(%s::uuid[])
"""
_LEDGERS = "SELECT ledger_id, fingerprint FROM ledgers WHERE ledger_id = ANY(%s::text[])"


KNOWN_BALANCES_MAX = 200_000
"""Balances whose unchanging facts a worker remembers."""

LARGE_AMOUNT = FIGURE_MAX // 10**40
"""From here on a figure could overflow within a lifetime, so figures are read to check that."""


class KnownBalances:
    """What never changes about balances that were read before: ledger, currency, precision.

    Only debits that check funds need figures; for the rest these facts suffice, and a worker need
    not read a balance again. A database that was restored may have lost one of them: then the
    write finds it missing, and everything is forgotten.
    """

    def __init__(self) -> None:
        self._facts: dict[str, tuple[str, str, str | None, int]] = {}

    def remember(self, balance: Balance) -> None:
        """Remember a balance whose precision is settled and whose figures are far from overflow."""
        if balance.precision is None or max(balance.credit, balance.debit) >= LARGE_AMOUNT:
            self._facts.pop(balance.balance_id, None)
            return
        if len(self._facts) >= KNOWN_BALANCES_MAX:
            self._facts.clear()
        self._facts[balance.balance_id] = (
            balance.ledger_id,
            balance.currency,
            balance.indicator,
            balance.precision,
        )

    def recall(self, balance_id: str) -> Balance | None:
        """The balance without its figures, or None."""
        facts = self._facts.get(balance_id)
        return None if facts is None else Balance(balance_id, *facts)

    def forget(self) -> None:
        """Forget everything."""
        self._facts.clear()


def load_book(
    cursor: psycopg.Cursor[Any],
    entries: Sequence[Entry],
    known: KnownBalances,
    *,
    mixed_precision: bool,
    check_taken: bool,
    refused_references: Iterable[str | None] = (),
) -> Book:
    """The book for ``entries``, as the database stands at this moment.

    check_taken: look up which references and transaction ids are taken. Nearly always none is, so
    a batch may assume that, and is decided again when the journal's indexes disagree.
    refused_references: those of entries that are no requests, and may use up a reference too.
    """
    book = Book(mixed_precision=mixed_precision)
    references = [ref for e in entries if (ref := getattr(e.instruction, "reference", None))]
    references += filter(None, refused_references)
    _load_references(cursor, book, references, check_taken=check_taken)
    _load_taken_ids(cursor, book, _ids_to_check(entries, everything=check_taken))
    named_holds = {
        e.instruction.transaction_id for e in entries if isinstance(e.instruction, Commit | Void)
    }
    if named_holds:
        _load_holds(cursor, book, named_holds)
    _load_ledgers(cursor, book, entries)
    _load_balances(cursor, book, entries, known)
    return book


def _load_balances(
    cursor: psycopg.Cursor[Any], book: Book, entries: Sequence[Entry], known: KnownBalances
) -> None:
    wanted, named = _figures_wanted(entries), _named_balances(entries, book)
    for balance_id in named - wanted:
        balance = known.recall(balance_id)
        if balance is None:
            wanted.add(balance_id)
        else:
            book.balances[balance_id] = balance
    if not wanted:
        return
    cursor.execute(_BALANCES, (array_text(balance_id[4:] for balance_id in wanted),))
    for row in cursor:
        balance_id, ledger_id, currency, indicator, precision, *figures, fingerprint = row
        credit, debit, inflight_credit, inflight_debit = map(int, figures)
        balance = Balance(
            f"bln_{balance_id}",
            ledger_id,
            currency,
            indicator,
            None if precision is None else int(precision),
            credit,
            debit,
            inflight_credit,
            inflight_debit,
            fingerprint=fingerprint,
        )
        book.balances[balance.balance_id] = balance
        known.remember(balance)


def _figures_wanted(entries: Sequence[Entry]) -> set[str]:
    """Balances whose figures a decision looks at."""
    wanted: set[str] = set()
    for entry in entries:
        instruction = entry.instruction
        if isinstance(instruction, Transaction):
            if instruction.checks_funds:
                wanted.add(instruction.source_id)
            if instruction.precise_amount >= LARGE_AMOUNT:
                wanted.add(instruction.source_id)
                wanted.add(instruction.destination_id)
        elif isinstance(instruction, NewBalance):
            wanted.add(instruction.balance_id)
    return wanted


def _named_balances(entries: Sequence[Entry], book: Book) -> set[str]:
    named: set[str] = set()
    for entry in entries:
        instruction = entry.instruction
        if isinstance(instruction, Transaction):
            named.add(instruction.source_id)
            named.add(instruction.destination_id)
    for hold in book.holds.values():
        named.add(hold.source_id)
        named.add(hold.destination_id)
    return named


def _load_references(
    cursor: psycopg.Cursor[Any], book: Book, references: list[str], *, check_taken: bool
) -> None:
    cursor.execute(_ANY_REFUSED_REFERENCE)
    refused = cursor.fetchone() != (False,)
    if not (refused or check_taken):
        return
    if check_taken:
        cursor.execute(_REFERENCES, (references,))
        for reference, bare_id, status, fingerprint, reason, detail in cursor:
            book.references[reference] = Recorded(
                f"txn_{bare_id}", status, fingerprint, reason, detail
            )
    if refused:
        cursor.execute(_REFUSED_REFERENCES, (references,))
        for reference, request_id, reason, detail, fingerprint in cursor:
            book.references[reference] = Recorded(
                request_id, Status.REJECTED, fingerprint, reason, detail
            )


def _ids_to_check(entries: Sequence[Entry], *, everything: bool) -> list[str]:
    """Commits and voids without a reference are known by their id alone."""
    return [
        entry.request_id
        for entry in entries
        if (
            everything
            if isinstance(entry.instruction, Transaction)
            else isinstance(entry.instruction, Commit | Void)
            and (everything or not entry.instruction.reference)
        )
    ]


def _load_taken_ids(cursor: psycopg.Cursor[Any], book: Book, ids: list[str]) -> None:
    if not ids:
        return
    cursor.execute(_IDS, ([_bare(transaction_id) for transaction_id in ids],))
    for bare_id, status, fingerprint, reason, detail in cursor:
        transaction_id = f"txn_{bare_id}"
        book.taken_ids[transaction_id] = Recorded(
            transaction_id, status, fingerprint, reason, detail
        )


def _load_holds(cursor: psycopg.Cursor[Any], book: Book, named: set[str]) -> None:
    wanted = [_bare(transaction_id) for transaction_id in named]
    cursor.execute(_HOLDS, (wanted,))
    for row in cursor:
        bare_id, source, destination, currency, precision, amount, committed, voided, commits = row
        hold = Hold(
            f"txn_{bare_id}",
            f"bln_{source}",
            f"bln_{destination}",
            currency,
            int(precision),
            int(amount),
            int(committed),
            int(voided),
            commits,
        )
        book.holds[hold.transaction_id] = hold
    others = [_bare(name) for name in named if name not in book.holds]
    if others:
        cursor.execute(_IDS, (others,))
        for bare_id, status, *_ in cursor:
            book.transactions[f"txn_{bare_id}"] = status
        cursor.execute(_REFUSED_IDS, ([f"txn_{bare_id}" for bare_id in others],))
        for (transaction_id,) in cursor:
            book.transactions.setdefault(transaction_id, Status.REJECTED)


def _load_ledgers(cursor: psycopg.Cursor[Any], book: Book, entries: Sequence[Entry]) -> None:
    named = {
        entry.instruction.ledger_id
        for entry in entries
        if isinstance(entry.instruction, NewLedger | NewBalance)
    }
    if named:
        cursor.execute(_LEDGERS, (list(named),))
        for ledger_id, fingerprint in cursor:
            book.ledgers[ledger_id] = fingerprint


def _bare(public_id: str) -> str:
    """The UUID of a public id: ``txn_…`` and ``bln_…`` without their prefix."""
    return public_id[4:]
