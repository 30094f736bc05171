"""Schedules: what was accepted for a later time and has not come to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from daybook.ledger.book import Book, Recorded, Schedule
from daybook.ledger.entry import POSITION_COUNTER_BITS, LogEntry
from daybook.ledger.ids import bare
from daybook.ledger.instructions import MultiLeg, Transaction
from daybook.ledger.record import Status
from daybook.requests import decode
from daybook.store.batch.moments import date_text

_INSERT_SCHEDULE = """
INSERT INTO schedules (transaction_id, reference, scheduled_for, position, flags, fingerprint,
    body) VALUES (%s, %s, %s, %s, %s, %s, %s)
"""

_CLOSE_SCHEDULES = "DELETE FROM schedules WHERE transaction_id = ANY(%s::uuid[])"


def write_schedules(cursor: psycopg.Cursor[Any], book: Book, flags: Mapping[int, str]) -> None:
    """Keep what was accepted for later, and drop what has come to be or was cancelled.

    flags: of entries that have some, by position.
    """
    if book.new_schedules:
        cursor.executemany(
            _INSERT_SCHEDULE, [_schedule(entry, flags) for entry in book.new_schedules]
        )
    if book.closed_schedules:
        closed = [transaction_id[4:] for transaction_id in book.closed_schedules]
        cursor.execute(_CLOSE_SCHEDULES, (closed,))


def _schedule(entry: LogEntry, flags: Mapping[int, str]) -> tuple[Any, ...]:
    wanted = entry.instruction
    assert isinstance(wanted, Transaction | MultiLeg)
    return (
        entry.request_id[4:],
        wanted.reference,
        date_text(wanted.whole.scheduled_micros),
        entry.position,
        flags.get(entry.position, ""),
        entry.fingerprint,
        entry.body,
    )


_IS_ANYTHING_SCHEDULED = "SELECT EXISTS (SELECT FROM schedules)"

_SCHEDULES = """
SELECT transaction_id::text, position, fingerprint, flags, body FROM schedules
WHERE transaction_id = ANY(%s::uuid[])
"""


def load_schedules(cursor: psycopg.Cursor[Any], book: Book, ids: Iterable[str]) -> None:
    """Those of these transactions that are accepted for later. Nearly always there is none."""
    cursor.execute(_IS_ANYTHING_SCHEDULED)
    (scheduled,) = cursor.fetchone() or (True,)
    if not scheduled:
        return
    cursor.execute(_SCHEDULES, ([bare(name) for name in ids],))
    for bare_id, position, fingerprint, flags, body in cursor:
        transaction_id = f"txn_{bare_id}"
        decoded = decode(bytes(body), transaction_id, position >> POSITION_COUNTER_BITS)
        instruction = getattr(decoded, "instruction", None)
        assert isinstance(instruction, Transaction | MultiLeg), f"{transaction_id} was accepted"
        book.schedules[transaction_id] = Schedule(
            transaction_id, instruction, position, fingerprint, flags
        )
        recorded = Recorded(transaction_id, Status.SCHEDULED, fingerprint)
        book.references.setdefault(instruction.reference, recorded)
        book.taken[instruction.reference] = transaction_id
        book.taken_ids.setdefault(bare_id, recorded)
