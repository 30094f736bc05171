"""Whether partitions make progress, whatever their processes look like.

Moments are compared with the clock of the server that wrote them, never with another's: how long an
entry has waited is the log's to say, how long ago the last unit of work was is Postgres's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Engine, text

from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.monitoring.recheck import what_stays
from daybook.queue.entries import BARRIER
from daybook.queue.log import Log
from daybook.requests import Decoded, decode
from daybook.store.engine import translated_faults

_PARTITIONS = text("""
SELECT partition, cursor, batch,
    extract(epoch FROM clock_timestamp() - applied_at)::double precision AS idle_seconds,
    coalesce(waiting.entries, 0) AS deferred, waiting.oldest
FROM partitions LEFT JOIN (
    SELECT partition, count(*) AS entries, min(position) AS oldest FROM deferred_entries
    GROUP BY partition
) waiting USING (partition) ORDER BY partition
""")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition is, as it was found.

    cursor, batch: position of the last entry read, number of the last unit of work.
    idle_seconds: since that; infinite when there was none, or it lies in the future.
    unread, deferred: position of the first unread entry, and of the oldest that is deferred.
    waited_seconds: of the unread one, else of the other, since it was accepted; infinite when it
    lies in the future, so that nothing can be said.
    may_wait: it stops rightly before its first unread entry while older ones are open elsewhere.
    """

    partition: int
    cursor: int
    batch: int
    idle_seconds: float
    unread: int | None = None
    deferred: int | None = None
    waited_seconds: float = 0.0
    may_wait: bool = False

    @property
    def oldest(self) -> int | None:
        """The position of the oldest open entry."""
        return min((at for at in (self.unread, self.deferred) if at is not None), default=None)


def stalled(found: Sequence[Progress], seconds_max: float) -> list[Progress]:
    """Partitions with an open entry that has waited too long, and no unit of work for as long.

    What is only deferred waits for others, so it is judged when none of them moves. So is what
    waits for its turn behind older entries of a partition that moves.
    """
    moving = [each for each in found if each.idle_seconds < seconds_max]
    return [each for each in found if _is_stalled(each, moving, seconds_max)]


def _is_stalled(one: Progress, moving: Sequence[Progress], seconds_max: float) -> bool:
    if one.oldest is None or min(one.idle_seconds, one.waited_seconds) < seconds_max:
        return False
    if one.unread is None:
        return not moving
    older = [each for each in moving if each.oldest is not None and each.oldest <= one.unread]
    return not (one.may_wait and older)


def find_stalled(
    engine: Engine,
    log: Log,
    seconds_max: float,
    deferred_max: int,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Progress]:
    """Partitions that stand still, looked at for four seconds when there seem to be some.

    Raises StoreUnavailable, LogUnavailable, LogNotInstalled.
    """
    log.partitions()  # an empty Redis has nothing unread, but it is not well
    return what_stays(
        lambda: stalled(look(engine, log, seconds_max, deferred_max), seconds_max),
        _not_moved,
        sleep,
    )


def _not_moved(before: list[Progress], now: list[Progress]) -> list[Progress]:
    marks = {one.partition: (one.cursor, one.batch) for one in before}
    return [one for one in now if marks.get(one.partition) == (one.cursor, one.batch)]


def look(engine: Engine, log: Log, seconds_max: float, deferred_max: int) -> list[Progress]:
    """All partitions as they are now. Raises StoreUnavailable, LogUnavailable."""
    with translated_faults(), engine.connect() as connection:
        rows = connection.execute(_PARTITIONS).all()
    unread = log.first_unread({row.partition: row.cursor for row in rows})
    now_ms = log.now_ms()
    found = [_progress(row, unread.get(row.partition), now_ms) for row in rows]
    return [
        replace(one, may_wait=row.deferred >= deferred_max or _waits_for_its_turn(log, one))
        if one.unread is not None and one.idle_seconds >= seconds_max
        else one
        for one, row in zip(found, rows, strict=True)
    ]


def _progress(row: Any, unread: int | None, now_ms: int) -> Progress:
    oldest = row.oldest if unread is None else unread
    idle = math.inf if row.idle_seconds is None else row.idle_seconds
    waited = 0.0 if oldest is None else (now_ms - (oldest >> POSITION_COUNTER_BITS)) / 1000
    return Progress(
        row.partition,
        row.cursor,
        row.batch,
        idle if idle >= 0 else math.inf,
        unread,
        row.oldest,
        waited if waited >= 0 else math.inf,
    )


def _waits_for_its_turn(log: Log, one: Progress) -> bool:
    """Whether the first unread entry is a request that spends in several partitions, or its mark
    in one of them."""
    assert one.unread is not None
    raw = log.entry_at(one.partition, one.unread)
    if raw is None:
        return False
    if BARRIER in raw.flags and not raw.key:
        return True
    try:
        decoded = decode(raw.body, raw.request_id, raw.position >> POSITION_COUNTER_BITS)
    except Exception:  # what can't be read waits for nobody
        return False
    return isinstance(decoded, Decoded) and bool(decoded.slots)
