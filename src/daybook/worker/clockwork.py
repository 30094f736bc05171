"""What falls due: scheduled transactions, and the expiry and commit dates of holds.

They live in Postgres, so that nothing that happens to Redis can lose one. The sweeper appends a
request for each to the log, where it is ordered and exactly-once like everything else.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, Engine, text

from daybook.ledger.transaction import (
    POSITION_COUNTER_BITS,
    Kind,
    part_id,
)
from daybook.points import Point, reach
from daybook.queue.entries import DUE, NewEntry, key_of_id, key_of_reference
from daybook.queue.log import Log
from daybook.requests import decode, fingerprint_of, slot_of_transaction
from daybook.requests.bounds import BODY_VERSION
from daybook.store.engine import translated_faults

log = structlog.get_logger()

DUE_MAX = 500
"""Due transactions that are read and appended at a time."""

DUE_BYTES_MAX = 4 << 20
"""About so many bytes are appended at a time: the server does nothing else meanwhile."""

DUE_ROUNDS_MAX = 40
"""How many times one sweep does that: 20,000 of each sort in a second, by default."""

_SCHEDULES = text("""
SELECT scheduled_for, position, transaction_id::text, reference, flags, body FROM schedules
WHERE scheduled_for <= :now AND (scheduled_for, position) > (:after, :position)
ORDER BY scheduled_for, position LIMIT :limit
""")
_HOLDS = text("""
SELECT LEAST(inflight_expiry_date, inflight_commit_date) AS due,
    coalesce(split, transaction_id)::text AS named, transaction_id::text FROM holds
WHERE amount > (committed + voided)
    AND LEAST(inflight_expiry_date, inflight_commit_date) IS NOT NULL
    AND LEAST(inflight_expiry_date, inflight_commit_date) <= :now
    AND (LEAST(inflight_expiry_date, inflight_commit_date), transaction_id) >
        (:after, CAST(:last AS uuid))
ORDER BY LEAST(inflight_expiry_date, inflight_commit_date), transaction_id LIMIT :limit
""")
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
_NO_ID = "00000000-0000-0000-0000-000000000000"


class Due(NamedTuple):
    """One thing that is due, and the entry that makes it happen."""

    when: datetime
    entry: NewEntry


def append_due(engine: Engine, request_log: Log, ring: Callable[[int], None]) -> int:
    """Append a request for everything that is due by the log's clock, in the order of the times.

    Answers how many were new. Raises StoreUnavailable, LogUnavailable, LogFull.
    """
    now = datetime.fromtimestamp(request_log.now_ms() / 1000, UTC)
    appended = size = 0
    batch: list[NewEntry] = []
    with translated_faults(), engine.connect() as connection:
        due = heapq.merge(_due_schedules(connection, now), _due_holds(connection, now))
        for item in due:
            batch.append(item.entry)
            size += len(item.entry.body)
            if len(batch) >= DUE_MAX or size >= DUE_BYTES_MAX:
                accepted, is_full = _append(request_log, batch, ring)
                appended += accepted
                batch, size = [], 0
                if is_full:  # room that comes meanwhile must not put later times first
                    break
    appended += _append(request_log, batch, ring)[0]
    if appended:
        log.info("due.appended", count=appended)
    return appended


def _append(
    request_log: Log, entries: Sequence[NewEntry], ring: Callable[[int], None]
) -> tuple[int, bool]:
    """Append in one step; answers how many were new, and whether the log became full."""
    if not entries:
        return 0, False
    reach(Point.DUE_READ)
    results, bells = request_log.append(entries)
    reach(Point.DUE_APPENDED)
    for partition in bells:
        ring(partition)
    states = [result.state for result in results]
    return states.count("accepted"), "full" in states


def _due_schedules(connection: Connection, now: datetime) -> Iterator[Due]:
    """Scheduled transactions: the same request, under the same id, accepted once more."""
    after, position = _LONG_AGO, 0
    for _ in range(DUE_ROUNDS_MAX):
        rows = connection.execute(
            _SCHEDULES, {"now": now, "after": after, "position": position, "limit": DUE_MAX}
        ).all()
        for row in rows:
            transaction_id = f"txn_{row.transaction_id}"
            body = bytes(row.body)
            decoded = decode(body, transaction_id, row.position >> POSITION_COUNTER_BITS)
            entry = NewEntry(
                slot_of_transaction(transaction_id),
                key_of_reference(row.reference),
                fingerprint_of(body),
                transaction_id,
                body,
                row.flags + DUE,
                tuple(getattr(decoded, "slots", ())),
            )
            yield Due(row.scheduled_for, entry)
        if len(rows) < DUE_MAX:
            return
        after, position = rows[-1].scheduled_for, rows[-1].position


def _due_holds(connection: Connection, now: datetime) -> Iterator[Due]:
    """Holds whose expiry or commit date has come; the legs of one request together."""
    after, last = _LONG_AGO, _NO_ID
    named: set[str] = set()
    for _ in range(DUE_ROUNDS_MAX):
        rows = connection.execute(
            _HOLDS, {"now": now, "after": after, "last": last, "limit": DUE_MAX}
        ).all()
        for row in rows:
            if row.named not in named:
                named.add(row.named)
                yield Due(row.due, _deadline_of(f"txn_{row.named}"))
        if len(rows) < DUE_MAX:
            return
        after, last = rows[-1].due, rows[-1].transaction_id


def _deadline_of(transaction_id: str) -> NewEntry:
    """The request to settle a hold, or the holds of a request, whose date has come."""
    body = json.dumps(
        {"kind": Kind.DEADLINE.value, "transaction_id": transaction_id, "v": BODY_VERSION},
        separators=(",", ":"),
    ).encode()
    request_id = part_id(transaction_id, "deadline")
    return NewEntry(
        slot_of_transaction(transaction_id),
        key_of_id(request_id),
        fingerprint_of(body),
        request_id,
        body,
        DUE,
    )
