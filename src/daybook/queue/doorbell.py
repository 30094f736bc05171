"""Doorbells: Celery tasks that wake a worker. They carry no money and may be lost.

Producers send by task name, so that they need none of the worker's code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog

APPLY_TASK = "daybook.apply"
INTAKE_QUEUE = "daybook.intake"
QUEUE_PREFIX = "daybook.partition."

log = structlog.get_logger()


def queue_of(partition: int) -> str:
    """The Celery queue of a partition, so that one can be given to a machine of its own."""
    return f"{QUEUE_PREFIX}{partition}"


class Doorbell:
    """Rings partitions through a Celery broker. Nothing is opened before the first ring."""

    def __init__(self, broker_url: str, app: Any = None) -> None:
        self._broker_url = broker_url
        self._app = app

    def ring(self, partitions: Iterable[int]) -> None:
        """Wake a worker for each partition.

        A doorbell that cannot be sent is only logged: the entries are in the log, and the sweeper
        rings for them.
        """
        for partition in partitions:
            try:
                self._celery().send_task(
                    APPLY_TASK,
                    args=(partition,),
                    queue=queue_of(partition),
                    ignore_result=True,
                    retry=False,
                )
            except Exception as fault:  # whatever the broker's transport raises
                log.warning("doorbell.lost", partition=partition, fault=str(fault))

    def close(self) -> None:
        """Close the broker's connections that this object opened."""
        if self._app is not None:
            self._app.close()
            self._app = None

    def _celery(self) -> Any:
        if self._app is None:
            from celery import Celery  # 0.2 s: only those who ring pay for it

            self._app = Celery("daybook-producer", broker=self._broker_url, set_as_current=False)
            self._app.conf.update(
                broker_connection_retry_on_startup=False,  # a producer must not hang on a broker
                task_create_missing_queues=True,  # queues are named after partitions
            )
        return self._app
