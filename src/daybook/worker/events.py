"""What monitors such as Flower are told of requests: each is shown as a task of its own.

A worker's own tasks apply hundreds of requests at once, and a message of the intake is done with
before its request is decided. So neither of them shows what was rejected.

Celery's monitors learn of tasks by events, and one event can say all of a task. They are told after
the commit, and nobody waits for them: what can't be sent is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from celery import Celery, current_task
from celery.worker.request import Request
from kombu.connection import Connection

from daybook.client.receipts import Outcome
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.ledger.record import Status

TRANSACTION = "daybook.transaction"
_CREATIONS = {"ldg": "daybook.ledger", "bln": "daybook.balance", "idt": "daybook.identity"}
"""Names of the tasks as which requests are shown, by what their ids begin with."""

EVENTS_IN_A_MESSAGE = 500
SEND_SECONDS_MAX = 1.0
"""How long an operation of the broker may take."""

QUIET_SECONDS = 30.0
"""After events were lost, none are sent for so long: a broker that hangs costs little of that."""

log = structlog.get_logger()


class RequestEvents:
    """Events of requests, gathered and sent together.

    every_request: also of those that no message asked for. clock: seconds since the epoch.
    """

    def __init__(
        self, app: Celery, *, every_request: bool, clock: Callable[[], float] = time.time
    ) -> None:
        self.every_request = every_request
        self._app = app
        self._clock = clock
        self._dispatcher: Any = None
        self._gathered: list[tuple[str, dict[str, Any]]] = []
        self._quiet_until = 0.0

    def add(self, outcome: Outcome, position: int | None) -> None:
        """Gather what became of a request. position: of its entry in the log."""
        now = self._clock()
        accepted = now if position is None else (position >> POSITION_COUNTER_BITS) / 1000
        fields = {
            "uuid": outcome.reference or outcome.transaction_id,
            "name": _CREATIONS.get(outcome.transaction_id[:3], TRANSACTION),
            "args": "()",
            "kwargs": f"{{'id': {outcome.transaction_id!r}}}",
            "received": accepted,
            "runtime": max(0.0, now - accepted),
        }
        self._gathered.append(_ended(outcome, fields))

    def add_answer(self, task_id: str, answer: Outcome | Exception) -> None:
        """Gather what became of a message of the intake, which is a task already."""
        if isinstance(answer, Exception):
            self._gathered.append(_failed({"uuid": task_id}, repr(answer)))
        else:
            self._gathered.append(_ended(answer, {"uuid": task_id}))

    def send(self) -> None:
        """Send what was gathered. Raises nothing: what can't be sent is lost."""
        events, self._gathered = self._gathered, []
        if not events or self._clock() < self._quiet_until:
            return
        try:
            dispatcher = self._dispatcher = self._dispatcher or self._connected()
            for kind, fields in events:
                dispatcher.send(kind, **fields)
            dispatcher.flush()
        except Exception as fault:  # whatever the broker's transport raises
            log.warning("events.lost", events=len(events), fault=str(fault))
            self._disconnect()
            self._quiet_until = self._clock() + QUIET_SECONDS

    def _connected(self) -> Any:
        options = {
            "socket_timeout": SEND_SECONDS_MAX,
            "socket_connect_timeout": SEND_SECONDS_MAX,
            "max_retries": 0,
        }
        connection = Connection(
            self._app.conf.broker_url, connect_timeout=SEND_SECONDS_MAX, transport_options=options
        )
        return self._app.events.Dispatcher(
            connection,
            hostname=current_task.request.hostname if current_task else None,
            buffer_while_offline=False,
            buffer_group={"task"},
            buffer_limit=EVENTS_IN_A_MESSAGE,
        )

    def _disconnect(self) -> None:
        dispatcher, self._dispatcher = self._dispatcher, None
        with suppress(Exception):  # it is broken already
            dispatcher.connection.release()


def _ended(outcome: Outcome, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The event that says what became of a request. fields: what it says already."""
    if outcome.status == Status.REJECTED:
        why = f"{outcome.reason}: {outcome.detail}" if outcome.detail else outcome.reason
        return _failed(fields, f"REJECTED {why}")
    if outcome.status == Status.SCHEDULED:
        return "task-received", {**fields, "runtime": None}
    return "task-succeeded", {**fields, "result": _result(outcome)}


def _failed(fields: dict[str, Any], why: str) -> tuple[str, dict[str, Any]]:
    return "task-failed", {**fields, "exception": why, "traceback": ""}


def _result(outcome: Outcome) -> str:
    said, amount = outcome.status, outcome.amount
    if amount is not None:
        said += f" {amount} {outcome.currency}"
    return f"{said} ({outcome.detail})" if outcome.detail else said


class QuietRequest(Request):
    """A task of which monitors hear only when it fails: one a second would fill their first page.

    The task itself sends no events (``send_events``).
    """

    def send_event(self, type: str, **fields: Any) -> None:
        """Celery's own, for failures alone, with what the events before would have said."""
        if type == "task-failed" and self._eventer and self._eventer.enabled:
            self._eventer.send(type, uuid=self.id, name=self.name, received=time.time(), **fields)
