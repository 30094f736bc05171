"""The tasks: a few lines each, that call plain functions."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from celery.exceptions import Ignore

from daybook.apply import sweep as sweeping
from daybook.apply.dry_run import DryRun
from daybook.apply.lookup import find as find_request
from daybook.apply.lookup import recorded_under
from daybook.errors import (
    LogFull,
    LogUnavailable,
    MalformedRequest,
    NotFound,
    ReferenceConflict,
    StoreUnavailable,
)
from daybook.queue.doorbell import (
    APPLY_TASK,
    DRY_RUN_TASK,
    FIND_TASK,
    INTAKE_QUEUE,
    SNAPSHOT_TASK,
    queue_of,
)
from daybook.store.read.snapshots import take_snapshot
from daybook.worker.app import app
from daybook.worker.envelopes import ENQUEUE_TASK, SWEEP_TASK
from daybook.worker.intake import again, take
from daybook.worker.runtime import runtime

RETRY_SECONDS = 1.0
INTAKE_RETRIES_MAX = 3_600
"""How long the intake holds on to a request while the log is full or away: an hour."""

DOORBELL_EXPIRES_SECONDS = 60

QUIET = "daybook.worker.events:QuietRequest"

ANSWER_LIFE_SECONDS = 60
"""How long the answer to a dry run, or to a look-up, waits to be fetched."""


def ring(partition: int, countdown: float = 0.0) -> None:
    """Wake a worker for a partition."""
    app.send_task(
        APPLY_TASK,
        args=(partition,),
        queue=queue_of(partition),
        countdown=countdown or None,
        expires=DOORBELL_EXPIRES_SECONDS,
        ignore_result=True,
    )


@app.task(name=APPLY_TASK, ignore_result=True)
def apply(partition: int) -> str:
    """Apply what is unread in a partition; returns what that came to, for people."""
    process = runtime()
    try:
        process.recognise_log()
        drained = process.applier.drain(partition)
    except (StoreUnavailable, LogUnavailable, LogFull):
        ring(partition, countdown=RETRY_SECONDS)
        raise
    # While a partition was helped, its own doorbell may have found it busy and gone.
    for other in sorted(drained.helped | ({partition} if drained.more else set())):
        ring(other)
    return str(drained)


@app.task(name=SWEEP_TASK, ignore_result=True, send_events=False, Request=QUIET)
def sweep() -> dict[str, Any]:
    """Ring for partitions with open entries; repair and trim the log; append what is due."""
    process = runtime()
    process.recognise_log()
    answer = partial(process.answers.sweep, partial(recorded_under, process.engine))
    return sweeping.sweep(process.store, process.log, process.applier, ring, answer)


@app.task(name=SNAPSHOT_TASK, ignore_result=True)
def snapshot() -> dict[str, Any]:
    """Keep the figures of the balances that changed."""
    process = runtime()
    taken = take_snapshot(process.engine, process.log)
    return {"balances": taken.balances if taken else None}


@app.task(name=DRY_RUN_TASK, ignore_result=True)
def dry_run(request_id: str, body: str, answer_id: str) -> dict[str, Any]:
    """Look what a request would do, for a producer that has no database of its own."""
    process = runtime()
    preview = DryRun(process.engine).look_ahead(request_id, body.encode())
    process.log.leave_answer(answer_id, json.dumps(preview.as_dict()), ANSWER_LIFE_SECONDS)
    return {"would_apply": preview.would_apply, "reason": preview.reason}


@app.task(name=FIND_TASK, ignore_result=True)
def find(request_id: str, answer_id: str) -> dict[str, Any]:
    """Look a request up by its id, for a producer that has no database of its own."""
    process = runtime()
    found = find_request(process.engine, process.log, request_id)
    process.log.leave_answer(answer_id, found, ANSWER_LIFE_SECONDS)
    return {"found": found != "{}"}


@app.task(
    name=ENQUEUE_TASK,
    bind=True,
    max_retries=INTAKE_RETRIES_MAX,
    throws=(MalformedRequest, ReferenceConflict),
    # Appending is idempotent by reference: a message whose worker died is better seen twice.
    acks_late=True,
    reject_on_worker_lost=True,
    # The intake itself says STARTED when it claims the result for its message.
    track_started=False,
    # What has expired blocks no id, and a delay is the ledger's to keep.
    Request="daybook.worker.intake:IntakeRequest",
)
def enqueue(self: Any, *_args: Any, **_kwargs: Any) -> None:
    """The intake: append a request of a service that has no Daybook of its own.

    Its result is the outcome, stored under the task's id when the request has been applied. Raises
    MalformedRequest, ReferenceConflict; a full or unreachable log is tried again.
    """
    # What a message says is read from Celery's account of it, whatever its form: ``request_of``.
    try:
        outcome = take(runtime().desk, self.request)
    except (LogFull, LogUnavailable, NotFound) as fault:
        raise self.retry(
            args=(), kwargs=again(self.request), exc=fault, countdown=RETRY_SECONDS
        ) from fault
    if outcome is not None:
        runtime().answers.at_once(self.request, outcome)
    # Otherwise the worker that applies it stores the result. It tells monitors, too, how this
    # task ended: Celery would say that it succeeded, whatever became of the request.
    raise Ignore


__all__ = ["INTAKE_QUEUE", "apply", "enqueue", "ring", "snapshot", "sweep"]
