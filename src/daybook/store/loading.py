"""Reading what a batch may look at: balances, holds, ledgers and references, into a book."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from daybook.ledger.balance import Balance
from daybook.ledger.book import Book, Recorded
from daybook.ledger.inflight import Hold
from daybook.ledger.transaction import (
    Commit,
    Entry,
    NewBalance,
    NewLedger,
    Status,
    Transaction,
    Void,
)

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
_REFUSED_REFERENCES = """
SELECT reference, request_id, reason, detail, sha256(body)
FROM refusals WHERE reference = ANY(%s::text[]) AND uses_reference
"""
_IDS = """
SELECT transaction_id::text, status, fingerprint, reason, detail
FROM transactions WHERE transaction_id = ANY(%s::uuid[])
"""
_LEDGERS = "SELECT ledger_id, fingerprint FROM ledgers WHERE ledger_id = ANY(%s::text[])"


def load_book(
    cursor: psycopg.Cursor[Any],
    entries: Sequence[Entry],
    *,
    mixed_precision: bool,
    check_ids: bool,
) -> Book:
    """The book for ``entries``, as the database stands at this moment.

    check_ids: also look up whether their transaction ids are taken. An id is minted at random, so
    a batch assumes that it is free, and is decided again when the journal's index disagrees.
    """
    book = Book(mixed_precision=mixed_precision)
    references = [ref for e in entries if (ref := getattr(e.instruction, "reference", None))]
    _load_references(cursor, book, references)
    _load_taken_ids(cursor, book, _ids_to_check(entries, everything=check_ids))
    named_holds = {
        e.instruction.transaction_id for e in entries if isinstance(e.instruction, Commit | Void)
    }
    if named_holds:
        _load_holds(cursor, book, named_holds)
    _load_ledgers(cursor, book, entries)
    load_balances(cursor, book, _named_balances(entries, book))
    return book


def load_balances(cursor: psycopg.Cursor[Any], book: Book, balance_ids: Iterable[str]) -> None:
    """Read balances into the book."""
    wanted = [_bare(balance_id) for balance_id in balance_ids]
    if not wanted:
        return
    cursor.execute(_BALANCES, (wanted,))
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


def _named_balances(entries: Sequence[Entry], book: Book) -> set[str]:
    named: set[str] = set()
    for entry in entries:
        instruction = entry.instruction
        if isinstance(instruction, Transaction):
            named.add(instruction.source_id)
            named.add(instruction.destination_id)
        elif isinstance(instruction, NewBalance):
            named.add(instruction.balance_id)
    for hold in book.holds.values():
        named.add(hold.source_id)
        named.add(hold.destination_id)
    return named


def _load_references(cursor: psycopg.Cursor[Any], book: Book, references: list[str]) -> None:
    if not references:
        return
    cursor.execute(_REFERENCES, (references,))
    for reference, bare_id, status, fingerprint, reason, detail in cursor:
        book.references[reference] = Recorded(f"txn_{bare_id}", status, fingerprint, reason, detail)
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
