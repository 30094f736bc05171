"""A worker announces itself, and listens to the queues of partitions that are new.

A part of Celery's consumer, run by its timer beside everything else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import structlog
from celery import bootsteps
from celery.worker.state import active_requests

from daybook.errors import DaybookError, LogNotInstalled
from daybook.queue.announcements import ANNOUNCE_SECONDS, Pool, announce, announced, withdraw
from daybook.queue.doorbell import queue_of
from daybook.queue.log import Log
from daybook.worker.runtime import runtime

log = structlog.get_logger()


class Announcing(bootsteps.StartStopStep):
    """Starts when the consumer listens, and again after each loss of the broker."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None
        self._known: int | None = None

    def start(self, consumer: Any) -> None:
        """Announce the worker now and every few seconds."""
        self._tell(consumer)
        self._timer = consumer.timer.call_repeatedly(ANNOUNCE_SECONDS, self._tell, (consumer,))

    def stop(self, consumer: Any) -> None:
        """Say that the worker is gone: nobody has to wait until it is forgotten."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        try:
            withdraw(runtime().log, consumer.hostname)
        except DaybookError as fault:
            log.info("worker.not_withdrawn", fault=str(fault))

    def _tell(self, consumer: Any) -> None:
        try:
            request_log = runtime().log
            try:
                self._listen(consumer, request_log)
            except LogNotInstalled:  # there are no partitions: that is not for want of a worker
                log.info("worker.log_is_empty")
            queues = [queue.name for queue in consumer.task_consumer.queues]
            clock_ms = int(time.time() * 1000)
            announce(
                request_log,
                consumer.hostname,
                queues,
                clock_ms=clock_ms,
                pool=pool_of(consumer.pool, time.time),
            )
        except DaybookError as fault:  # a log that is away is no reason to die
            log.info("worker.not_announced", fault=str(fault))

    def _listen(self, consumer: Any, request_log: Log) -> None:
        """Listen to partitions that are new since the worker started.

        One that was given its queues by ``-Q`` takes those that nobody else listens to.
        """
        number = request_log.partitions()
        first = 0
        if consumer.app.conf.get("daybook_queues_are_chosen"):
            self._known = first = number if self._known is None else self._known
        new = {queue_of(partition) for partition in range(first, number)}
        new -= {queue.name for queue in consumer.task_consumer.queues}
        if new and first:
            others = announced(request_log).values()
            new -= {name for other in others for name in other.queues}
        for name in sorted(new):
            consumer.add_task_queue(name)


def pool_of(pool: Any, clock: Callable[[], float]) -> Pool | None:
    """What a pool of processes is doing; None for one of another kind."""
    numbers = (getattr(pool, "info", None) or {}).get("processes")
    if not isinstance(numbers, list):
        return None
    started = [getattr(request, "time_start", None) for request in set(active_requests)]
    oldest = min((moment for moment in started if moment is not None), default=None)
    busy_seconds = 0.0 if oldest is None else max(0.0, clock() - oldest)
    return Pool(sum(map(_lives, numbers)), round(busy_seconds, 3))


def _lives(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is there, and somebody else's
        pass
    return True
