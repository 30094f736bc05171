"""A worker that dies at a named point of a batch: a real one, in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import daybook.worker.attempt as attempt_module
from daybook.queue.connect import connect
from daybook.queue.log import Log
from daybook.store.engine import make_worker_engine
from daybook.store.unit_of_work import UnitOfWork
from daybook.worker.apply import Applier
from daybook.worker.attempt import Attempt
from daybook.worker.clockwork import append_due
from tests.harness import Installation

DIED = 9

POINTS: dict[str, tuple[Any, str, bool]] = {
    "locked": (Attempt, "_lock", True),
    "read": (Log, "read", True),
    "rights-taken": (Attempt, "_take_rights", True),
    "loaded": (attempt_module, "load_book", True),
    "decided": (attempt_module, "decide_batch", True),
    "records-written": (attempt_module, "write_records", True),
    "holds-written": (attempt_module, "write_holds", True),
    "balances-written": (attempt_module, "write_balances", True),
    "before-commit": (UnitOfWork, "commit", False),
    "committed": (UnitOfWork, "commit", True),
    "replied": (Applier, "reply", True),
}
SWEEPER_POINTS: dict[str, tuple[Any, str, bool]] = {
    "before-append": (Log, "append", False),
    "appended": (Log, "append", True),
}
"""Where a worker can die: what it calls there, and whether it dies after that or before."""


def die_at(
    installation: Installation,
    point: str,
    *partitions: int,
    hits: int = 1,
    **settings: Any,
) -> bool:
    """Let a worker drain partitions until it comes to ``point`` for the ``hits``-th time.

    Answers whether it died there; otherwise it came to the end of what was open.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _arm(point, hits)
            _live(installation, partitions, settings)
            status = 0
        finally:
            os._exit(status)
    return _died(pid)


def _died(pid: int) -> bool:
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, DIED), code
    return code == DIED


def _live(installation: Installation, partitions: tuple[int, ...], settings: Any) -> None:
    """Drain with connections of its own: those of the parent are not to be touched."""
    changed = installation.settings.model_copy(update=settings)
    engine = make_worker_engine(installation.worker_url, changed)
    log = Log(connect(installation.redis_url, changed), changed.namespace)
    applier = Applier(engine, log, changed)
    for partition in partitions:
        applier.drain(partition)


def _arm(point: str, hits: int) -> None:
    owner, name, after = (POINTS | SWEEPER_POINTS)[point]
    original: Callable[..., Any] = getattr(owner, name)
    left = [hits]

    def dying(*arguments: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and not after:
            os._exit(DIED)
        answer = original(*arguments, **more)
        if left[0] == 0:
            os._exit(DIED)
        return answer

    setattr(owner, name, dying)


def die_sweeping(installation: Installation, point: str, hits: int) -> bool:
    """Let a sweeper append what is due and die before or after its ``hits``-th append."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _arm(point, hits)
            engine = make_worker_engine(installation.worker_url, installation.settings)
            redis = connect(installation.redis_url, installation.settings)
            append_due(engine, Log(redis, installation.settings.namespace), lambda partition: None)
            status = 0
        finally:
            os._exit(status)
    return _died(pid)
