"""A worker that dies at a named point of a batch: a real one, in a process of its own."""

from __future__ import annotations

import os
from typing import Any

from daybook.apply.applier import Applier
from daybook.apply.due import append_due
from daybook.queue.connect import connect
from daybook.queue.log import Log
from daybook.steps import Point, Watcher, watched
from daybook.store.engine import make_worker_engine
from daybook.store.store import Store
from tests.harness import Installation

DIED = 9

POINTS = [
    Point.LOCKED,
    Point.READ,
    Point.HORIZON_READ,
    Point.RIGHTS_TAKEN,
    Point.LOADED,
    Point.DECIDED,
    Point.RECORDS_WRITTEN,
    Point.HOLDS_WRITTEN,
    Point.BALANCES_WRITTEN,
    Point.BEFORE_COMMIT,
    Point.COMMITTED,
    Point.REPLIED,
]
"""Where a worker can die in a batch."""
SWEEPER_POINTS = [Point.DUE_READ, Point.DUE_APPENDED]


def die_at(
    installation: Installation,
    point: Point,
    *partitions: int,
    hits: int = 1,
    **settings: Any,
) -> bool:
    """Let a worker drain partitions until it comes to ``point`` for the ``hits``-th time.

    Returns whether it died there; otherwise it came to the end of what was open.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with watched(dies(point, hits)):
                live(installation, partitions, settings)
            status = 0
        finally:
            os._exit(status)
    return _died(pid)


def _died(pid: int) -> bool:
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, DIED), code
    return code == DIED


def live(installation: Installation, partitions: tuple[int, ...], settings: Any) -> None:
    """Drain with connections of its own: those of the parent are not to be touched."""
    changed = installation.settings.model_copy(update=settings)
    engine = make_worker_engine(installation.worker_url, changed)
    log = Log(connect(installation.redis_url, changed), changed.namespace)
    applier = Applier(Store(engine), log, changed)
    for partition in partitions:
        applier.drain(partition)


def dies(point: Point, hits: int = 1) -> Watcher:
    """What ends this process at ``point``, at the ``hits``-th time."""
    left = [hits]

    def watcher(reached: Point) -> None:
        left[0] -= reached is point
        if left[0] == 0:
            os._exit(DIED)

    return watcher


def die_sweeping(installation: Installation, point: Point, hits: int) -> bool:
    """Let a sweeper append what is due and die before or after its ``hits``-th append."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            engine = make_worker_engine(installation.worker_url, installation.settings)
            redis = connect(installation.redis_url, installation.settings)
            log = Log(redis, installation.settings.namespace)
            with watched(dies(point, hits)):
                append_due(Store(engine), log, lambda partition: None)
            status = 0
        finally:
            os._exit(status)
    return _died(pid)
