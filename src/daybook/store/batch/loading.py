"""Reading what a batch may look at: balances, holds, ledgers and references, into a book."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from daybook.ledger.book import Book
from daybook.ledger.entry import LogEntry
from daybook.ledger.instructions import (
    Cancel,
    Commit,
    Deadline,
    Refund,
    Transaction,
    Void,
)
from daybook.requests.bounds import ANY_ID
from daybook.store.batch.balances import KnownBalances, load_balances
from daybook.store.batch.creations import load_things
from daybook.store.batch.holds import load_holds
from daybook.store.batch.named import bare, named_by
from daybook.store.batch.originals import load_originals
from daybook.store.batch.quarantine import load_quarantined
from daybook.store.batch.references import load_references, references_of
from daybook.store.batch.statuses import ids_to_check, load_statuses, load_taken_ids


def load_book(
    cursor: psycopg.Cursor[Any],
    entries: Sequence[LogEntry],
    known: KnownBalances,
    *,
    check_taken: bool,
    refused: Sequence[tuple[str | None, str]] = (),
) -> Book:
    """The book for ``entries``, as the database stands at this moment.

    check_taken: look up which references and transaction ids are taken. Nearly always none is, so
    a batch may assume that, and is decided again when their unique indexes disagree.
    refused: reference, if any, and id of entries that are no requests: they may use up a reference
    too, and whose they are must be known.
    """
    book = Book()
    references = [reference for entry in entries for reference in references_of(entry)]
    references += [reference for reference, _ in refused if reference]
    ids = ids_to_check(entries, everything=check_taken)
    ids += [request_id for _, request_id in refused if ANY_ID.match(request_id)]
    load_references(cursor, book, references, entries, check_taken=check_taken)
    load_taken_ids(cursor, book, ids)
    load_quarantined(cursor, book, entries)
    rare = [entry for entry in entries if not isinstance(entry.instruction, Transaction)]
    if rare:
        load_holds(cursor, book, named_by(rare, Commit | Void | Deadline))
        load_originals(cursor, book, named_by(rare, Refund))
        load_statuses(cursor, book, [bare(name) for name in named_by(rare, Cancel)])
        load_things(cursor, book, rare)
    load_balances(cursor, book, entries, known)
    return book
