"""The advance to the next epoch: the log has another number of partitions, and the workers follow.

Anyone who finds nothing more to read before the fence tries: a worker at the end of its drain, the
sweeper, the command that asked for it. So it happens at once, and anyone who dies on the way is
replaced by the next.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from psycopg import errors as pg

from daybook.apply.ports import Log, Store, Unit
from daybook.queue.epochs import Epoch
from daybook.steps import Point, reach
from daybook.store.epochs import StoredEpoch

ADVANCE_ROUNDS_MAX = 8
"""How often a worker applies what an advance waits for before it leaves that to the sweeper."""

log = structlog.get_logger()


def advance(store: Store, request_log: Log, apply: Callable[[int], None] | None = None) -> bool:
    """Go on to the next epoch of the log, if everything of the present one is decided.

    apply: applies the next batch of a partition that it still waits for. Returns whether the
    epoch changed. Raises StoreUnavailable, LogUnavailable.
    """
    for _ in range(ADVANCE_ROUNDS_MAX):
        left = _try(store, request_log)
        if left is None:
            return True
        if not left or apply is None:
            return False
        for partition in sorted(left):
            apply(partition)
    return False


def _try(store: Store, request_log: Log) -> set[int] | None:
    """None when it has advanced; else the partitions that it waits for, if those are known."""
    with store.units() as begin:
        unit = begin()
        try:
            following, left = _left(unit, request_log)
            if following is None or left:
                return left
            unit.lock_all()
            still, left = _left(unit, request_log)
            if still != following or left:  # somebody else was here before
                return left
            unit.advance(StoredEpoch(*following))
            reach(Point.ADVANCING)
            unit.commit()
        except (pg.LockNotAvailable, pg.QueryCanceled):
            return set()
        finally:
            unit.rollback()  # does nothing after a commit
    log.info("epoch.advanced", epoch=following.number, partitions=following.partitions)
    reach(Point.ADVANCED)
    return None


def _left(unit: Unit, request_log: Log) -> tuple[Epoch | None, set[int]]:
    """The epoch that comes next, and the partitions that are not done with the present one.

    A partition is done when nothing is unread up to the fence, nothing is deferred, and its
    producers were told: nobody comes back for a partition that is closed.
    """
    rows = unit.open_partitions()
    following = request_log.epochs.after(rows[0].epoch) if rows else None
    if following is None:
        return None, set()
    unread = request_log.first_unread({row.partition: row.cursor for row in rows})
    replied = request_log.replied_batches()
    left = unit.deferring()
    for row in rows:
        is_unread = unread.get(row.partition, following.fence + 1) <= following.fence
        if is_unread or replied.get(row.partition, 0) < row.batch:
            left.add(row.partition)
    return following, left
