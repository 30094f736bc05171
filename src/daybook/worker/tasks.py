"""The tasks: a few lines each, that call plain functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from celery.exceptions import Ignore

from daybook.dry_run import DryRun
from daybook.errors import (
    FieldError,
    LogFull,
    LogUnavailable,
    OutcomeUnknown,
    ReferenceConflict,
    StoreUnavailable,
)
from daybook.ledger.rejection import Reason
from daybook.producing import named_by_task
from daybook.queue.doorbell import APPLY_TASK, DRY_RUN_TASK, INTAKE_QUEUE, queue_of
from daybook.queue.entries import CELERY_RESULT
from daybook.requests import check_json_amount
from daybook.requests.models import malformed
from daybook.store.snapshots import take_snapshot
from daybook.worker import sweep as sweeping
from daybook.worker.celery_app import app
from daybook.worker.envelopes import ENQUEUE_TASK, SNAPSHOT_TASK, SWEEP_TASK
from daybook.worker.messages import exact
from daybook.worker.runtime import runtime

RETRY_SECONDS = 1.0
INTAKE_RETRIES_MAX = 3_600
"""How long the intake holds on to a request while the log is full or away: an hour."""

DUPLICATE_WAIT_SECONDS = 0.5
"""How long the intake waits for the outcome of a repeated request before it looks again later."""

DOORBELL_EXPIRES_SECONDS = 60

ANSWER_LIFE_SECONDS = 60
"""How long the answer to a dry run waits to be fetched."""


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


@app.task(name=APPLY_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
def apply(partition: int) -> dict[str, Any]:
    """Apply what is unread in a partition."""
    try:
        drained = runtime().applier.drain(partition)
    except (StoreUnavailable, LogUnavailable, LogFull):
        ring(partition, countdown=RETRY_SECONDS)
        raise
    # While a partition was helped, its own doorbell may have found it busy and gone.
    for other in sorted(drained.helped | ({partition} if drained.more else set())):
        ring(other)
    return drained.summary()


@app.task(name=SWEEP_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
def sweep() -> dict[str, Any]:
    """Ring for partitions with open entries; repair and trim the log; append what is due."""
    process = runtime()
    return sweeping.sweep(process.store, process.log, process.applier, ring)


@app.task(name=SNAPSHOT_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
def snapshot() -> dict[str, Any]:
    """Keep the figures of the balances that changed."""
    process = runtime()
    taken = take_snapshot(process.engine, process.log)
    return {"balances": taken.balances if taken else None}


@app.task(name=DRY_RUN_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
def dry_run(request_id: str, body: str, answer_id: str) -> dict[str, Any]:
    """Look what a request would do, for a producer that has no database of its own."""
    process = runtime()
    preview = DryRun(process.engine).look_ahead(request_id, body.encode())
    process.log.leave_answer(answer_id, json.dumps(preview.as_dict()), ANSWER_LIFE_SECONDS)
    return {"would_apply": preview.would_apply, "reason": preview.reason}


@app.task(  # type: ignore[untyped-decorator]
    name=ENQUEUE_TASK,
    bind=True,
    max_retries=INTAKE_RETRIES_MAX,
    # Appending is idempotent by reference: a message whose worker died is better seen twice.
    acks_late=True,
    reject_on_worker_lost=True,
)
def enqueue(self: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """The intake: append a request of a service that has no Daybook of its own.

    Its result is the outcome, stored under the task's id when the request has been applied. Raises
    MalformedRequest; a full or unreachable log is tried again.
    """
    if not isinstance(request, Mapping):
        message = "must be an object with the fields of a request"
        raise malformed([FieldError("request", Reason.MALFORMED, message)])
    try:
        given = exact(request)
    except RecursionError:
        message = "is nested too deeply"
        raise malformed([FieldError("request", Reason.MALFORMED, message)]) from None
    named_by_task(given, self.request.id)
    if given.get("reference") not in (None, self.request.id):
        message = f"must be the task's id, {self.request.id}, or be left out"
        raise malformed([FieldError("reference", Reason.MALFORMED, message)])
    check_json_amount(given)
    try:
        client = runtime().client
        receipt = client.enqueue_flagged(given, CELERY_RESULT if "reference" in given else "")
        if receipt.state == "duplicate" or receipt.reference is None:
            # The original may have come another way, and nobody stores its result here; that of
            # a creation is known by another id than the task's.
            outcome = client.wait(receipt, DUPLICATE_WAIT_SECONDS)
            if outcome.final:
                return outcome.as_dict()
    except ReferenceConflict:
        if client.status(self.request.id).final:
            raise
        # The result under this id is the original's: whoever waits for that must not read a fault.
        raise Ignore from None
    except (LogFull, LogUnavailable, OutcomeUnknown) as fault:
        raise self.retry(exc=fault, countdown=RETRY_SECONDS) from fault
    # The worker that applies it stores the result; monitors are told that this task is done.
    self.send_event("task-succeeded", result=repr({"accepted": receipt.id}), runtime=0.0)
    raise Ignore


__all__ = ["INTAKE_QUEUE", "apply", "enqueue", "ring", "snapshot", "sweep"]
