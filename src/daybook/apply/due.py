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

from daybook.apply.ports import Log, Store
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.ledger.ids import part_id
from daybook.ledger.instructions import Kind
from daybook.queue.entries import DUE, NewEntry, key_of_id, key_of_reference
from daybook.requests import decode, fingerprint_of, slot_of_transaction
from daybook.requests.bounds import BODY_VERSION
from daybook.steps import Point, reach

log = structlog.get_logger()

DUE_MAX = 500
"""Due transactions that are read and appended at a time."""

DUE_BYTES_MAX = 4 << 20
"""About so many bytes are appended at a time: the server does nothing else meanwhile."""

DUE_ROUNDS_MAX = 40
"""How many times one sweep does that: 20,000 of each sort in a second, by default."""

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
_NO_ID = "00000000-0000-0000-0000-000000000000"


class Due(NamedTuple):
    """One thing that is due, and the entry that makes it happen."""

    when: datetime
    entry: NewEntry


def append_due(store: Store, request_log: Log, ring: Callable[[int], None]) -> int:
    """Append a request for everything that is due by the log's clock, in the order of the times.

    Returns how many were new. Raises StoreUnavailable, LogUnavailable, LogFull.
    """
    now = datetime.fromtimestamp(request_log.now_ms() / 1000, UTC)
    appended = size = 0
    batch: list[NewEntry] = []
    for item in heapq.merge(_due_schedules(store, now), _due_holds(store, now)):
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
    """Append in one step; returns how many were new, and whether the log became full."""
    if not entries:
        return 0, False
    reach(Point.DUE_READ)
    results, bells = request_log.append(entries)
    reach(Point.DUE_APPENDED)
    for partition in bells:
        ring(partition)
    states = [result.state for result in results]
    return states.count("accepted"), "full" in states


def _due_schedules(store: Store, now: datetime) -> Iterator[Due]:
    """Scheduled transactions: the same request, under the same id, accepted once more."""
    after, position = _LONG_AGO, 0
    for _ in range(DUE_ROUNDS_MAX):
        rows = store.due_schedules(now, after, position, DUE_MAX)
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


def _due_holds(store: Store, now: datetime) -> Iterator[Due]:
    """Holds whose expiry or commit date has come; the legs of one request together."""
    after, last = _LONG_AGO, _NO_ID
    named: set[str] = set()
    for _ in range(DUE_ROUNDS_MAX):
        rows = store.due_holds(now, after, last, DUE_MAX)
        for row in rows:
            if row.named not in named:
                named.add(row.named)
                yield Due(row.due, _deadline_of(f"txn_{row.named}"))
        if len(rows) < DUE_MAX:
            return
        after, last = rows[-1].due, rows[-1].transaction_id


def _deadline_of(transaction_id: str) -> NewEntry:
    """The request to apply the date of a hold, or of the holds of a request."""
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
