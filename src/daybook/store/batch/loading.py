"""Reading what a batch may look at: balances, holds, ledgers and references, into a book."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import psycopg

from daybook.ledger.book import Book
from daybook.ledger.entry import LogEntry
from daybook.ledger.ids import bare
from daybook.ledger.posting.kinds import kind_of, reads_of
from daybook.requests.bounds import ANY_ID
from daybook.store.batch.balances import KnownBalances, load_balances
from daybook.store.batch.creations import load_things
from daybook.store.batch.holds import load_holds
from daybook.store.batch.originals import load_originals
from daybook.store.batch.quarantine import load_quarantined
from daybook.store.batch.references import load_taken
from daybook.store.batch.schedules import load_schedules
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
    reads = reads_of(entries)
    ids = ids_to_check(entries, everything=check_taken)
    ids += [request_id for _, request_id in refused if ANY_ID.match(request_id)]
    if check_taken:
        load_taken(cursor, book, _references(entries, refused))
    own = (entry.request_id for entry in entries if entry.request_id.startswith("txn_"))
    load_schedules(cursor, book, chain(reads.schedules, own))
    load_taken_ids(cursor, book, ids)
    load_quarantined(cursor, book, reads.quarantined)
    load_holds(cursor, book, set(reads.holds))
    load_originals(cursor, book, reads.originals)
    load_statuses(cursor, book, [bare(name) for name in reads.statuses])
    load_things(cursor, book, reads)
    load_balances(cursor, book, entries, reads.balances, known)
    return book


def _references(
    entries: Sequence[LogEntry], refused: Sequence[tuple[str | None, str]]
) -> list[str]:
    """The references that these would use up."""
    found = [
        reference for entry in entries for reference in kind_of(entry).references(entry.instruction)
    ]
    return found + [reference for reference, _ in refused if reference]
