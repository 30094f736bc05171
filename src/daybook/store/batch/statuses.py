"""Which ids are taken, and how far what they name has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from daybook.ledger.balance import GENERAL_LEDGER_ID
from daybook.ledger.book import Book, Recorded
from daybook.ledger.entry import LogEntry
from daybook.ledger.ids import bare, public_id
from daybook.ledger.posting.kinds import kind_of
from daybook.ledger.record import Status

_REFUSED_IDS = "SELECT request_id FROM rejected_requests WHERE request_id = ANY(%s::text[])"

_QUARANTINED_IDS = """
SELECT right(request_id, 36), request_id, reason, detail, sha256(body) FROM rejected_requests
WHERE request_id = ANY(%s::text[]) AND reason = 'quarantined' AND reference IS NULL
    AND resolved IS DISTINCT FROM 'retried'
"""

STATUSES = """
SELECT transaction_id::text, status, fingerprint, reason, detail
FROM transactions WHERE transaction_id = ANY(%s::uuid[])
"""


def ids_to_check(entries: Sequence[LogEntry], *, everything: bool) -> list[str]:
    """Actions and changes without a reference are known by their id alone."""
    return [
        entry.request_id
        for entry in entries
        if entry.request_id != GENERAL_LEDGER_ID
        and (everything or (kind_of(entry).by_id and not entry.instruction.reference))
    ]


def load_taken_ids(cursor: psycopg.Cursor[Any], book: Book, ids: list[str]) -> None:
    if not ids:
        return
    cursor.execute(STATUSES, ([bare(request_id) for request_id in ids],))
    for bare_id, status, fingerprint, reason, detail in cursor:
        book.taken_ids[bare_id] = Recorded(public_id(bare_id), status, fingerprint, reason, detail)
    cursor.execute(_QUARANTINED_IDS, ([name for name in ids if name.startswith("txn_")],))
    for bare_id, request_id, reason, detail, fingerprint in cursor:
        book.taken_ids[bare_id] = Recorded(request_id, Status.REJECTED, fingerprint, reason, detail)


def load_statuses(cursor: psycopg.Cursor[Any], book: Book, bare_ids: list[str]) -> None:
    if not bare_ids:
        return
    cursor.execute(STATUSES, (bare_ids,))
    for bare_id, status, *_ in cursor:
        book.transactions[public_id(bare_id)] = status
    cursor.execute(_REFUSED_IDS, ([public_id(bare_id) for bare_id in bare_ids],))
    for (transaction_id,) in cursor:
        book.transactions.setdefault(transaction_id, Status.REJECTED)
