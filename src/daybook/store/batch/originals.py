"""The transactions that a batch refunds, and what became of them before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg

from daybook.ledger.book import Book, Original
from daybook.ledger.ids import bare, part_ids, public_id
from daybook.ledger.instructions import Kind
from daybook.store.batch.statuses import load_statuses

_ORIGINALS = """
SELECT transaction_id::text, kind, status, 'bln_' || source, 'bln_' || destination, currency,
    precision::text, precise_amount::text, meta_data::text, parts
FROM transactions WHERE transaction_id = ANY(%s::uuid[])
"""

_CHILDREN = """
SELECT parent_transaction::text, kind, transaction_id::text FROM transactions
WHERE parent_transaction = ANY(%s::uuid[]) AND kind IN ('refund', 'commit')
    AND status = 'APPLIED' AND parts IS NULL
ORDER BY position, sequence
"""

PARTS_DEPTH = 3
"""A bulk has items, which may have legs."""


def load_originals(cursor: psycopg.Cursor[Any], book: Book, named: Iterable[str]) -> None:
    """The transactions that are to be refunded: a bulk's items may have legs of their own."""
    wanted = [bare(name) for name in named]
    if not wanted:
        return
    load_statuses(cursor, book, wanted)
    for _ in range(PARTS_DEPTH):
        cursor.execute(_ORIGINALS, (wanted,))
        found = [_original(row) for row in cursor]
        book.originals |= {original.transaction_id: original for original in found}
        wanted = [
            bare(part)
            for original in found
            for part in part_ids(original.transaction_id, 1, original.parts or 0)
        ]
        if not wanted:
            break
    cursor.execute(_CHILDREN, ([bare(name) for name in book.originals],))
    for parent, kind, bare_id in cursor:
        if kind == Kind.REFUND:
            book.refunded.add(public_id(parent))
        else:
            book.commits.setdefault(public_id(parent), []).append(public_id(bare_id))


def _original(row: tuple[Any, ...]) -> Original:
    bare_id, kind, status, source, destination, currency, precision, amount, meta_data, parts = row
    return Original(
        public_id(bare_id),
        kind,
        status,
        source,
        destination,
        currency,
        None if precision is None else int(precision),
        None if amount is None else int(amount),
        meta_data,
        parts,
    )
