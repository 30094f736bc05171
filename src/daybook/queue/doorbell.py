"""Doorbells: Celery tasks that wake a worker. They carry no money and may be lost.

Producers send by task name, so that they need none of the worker's code.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

import structlog

from daybook.errors import LogUnavailable

APPLY_TASK = "daybook.apply"
DRY_RUN_TASK = "daybook.dry_run"
SNAPSHOT_TASK = "daybook.snapshot"
FIND_TASK = "daybook.find"
INTAKE_QUEUE = "daybook.intake"
QUEUE_PREFIX = "daybook.partition."

TASK_SECONDS_MAX = 300
"""The longest that a worker lets a task run before it kills the process."""

BROKER_TIMEOUT_SECONDS = 3.0
QUIET_SECONDS = 10.0
"""After a doorbell was lost, none is rung for so long: the sweeper does, and producers go on."""

log = structlog.get_logger()


def queue_of(partition: int) -> str:
    """The Celery queue of a partition, so that one can be given to a machine of its own."""
    return f"{QUEUE_PREFIX}{partition}"


class Doorbell:
    """Rings partitions through a Celery broker. Nothing is opened before the first ring."""

    def __init__(self, broker_url: str, app: Any = None) -> None:
        self._broker_url = broker_url
        self._app = app
        self._pid = os.getpid()
        self._quiet_until = 0.0

    def ring(self, partitions: Iterable[int]) -> None:
        """Wake a worker for each partition.

        A doorbell that cannot be sent is only logged: the entries are in the log, and the sweeper
        rings for them.
        """
        for partition in partitions:
            if time.monotonic() < self._quiet_until:
                return
            try:
                self._celery().send_task(
                    APPLY_TASK,
                    args=(partition,),
                    queue=queue_of(partition),
                    ignore_result=True,
                    retry=False,
                )
            except Exception as fault:  # whatever the broker's transport raises
                self._quiet_until = time.monotonic() + QUIET_SECONDS
                log.warning("doorbell.lost", partition=partition, fault=str(fault))

    def ask_for_dry_run(self, request_id: str, body: bytes, answer_id: str, seconds: float) -> None:
        """Ask any worker what a request would do; forgotten after ``seconds``.

        Raises LogUnavailable when the broker does not take it.
        """
        self._ask(DRY_RUN_TASK, (request_id, body.decode(), answer_id), seconds)

    def ask_to_find(self, request_id: str, answer_id: str, seconds: float) -> None:
        """Ask any worker for the request with an id; forgotten after ``seconds``.

        Raises LogUnavailable when the broker does not take it.
        """
        self._ask(FIND_TASK, (request_id, answer_id), seconds)

    def ask_for_snapshot(self, seconds: float) -> None:
        """Ask any worker to keep the figures of all balances that changed.

        Forgotten after ``seconds``. Raises LogUnavailable when the broker does not take it.
        """
        self._ask(SNAPSHOT_TASK, (), seconds)

    def _ask(self, task: str, args: tuple[str, ...], seconds: float) -> None:
        try:
            self._celery().send_task(
                task,
                args=args,
                queue=INTAKE_QUEUE,
                expires=seconds,
                ignore_result=True,
                retry=False,
            )
        except Exception as fault:  # whatever the broker's transport raises
            raise LogUnavailable(f"the broker does not take {task}: {fault}") from fault

    def close(self) -> None:
        """Close the broker's connections that this object opened."""
        if self._app is not None:
            self._app.close()
            self._app = None

    def _celery(self) -> Any:
        if self._pid != os.getpid():
            # Forked: the connections are the parent's. Two that write to one would garble it.
            self._app, self._pid, self._quiet_until = None, os.getpid(), 0.0
        if self._app is None:
            from celery import Celery  # 0.2 s: only those who ring pay for it

            self._app = Celery("daybook-producer", broker=self._broker_url, set_as_current=False)
            self._app.conf.update(
                # A producer must not hang on a broker that is away, or that accepts and is silent.
                broker_connection_retry_on_startup=False,
                broker_transport_options={
                    "socket_timeout": BROKER_TIMEOUT_SECONDS,
                    "socket_connect_timeout": BROKER_TIMEOUT_SECONDS,
                    # Kombu's channel by default connects again for some seconds by itself, whatever
                    # ``retry`` says.
                    "max_retries": 0,
                },
                task_create_missing_queues=True,  # queues are named after partitions
            )
        return self._app
