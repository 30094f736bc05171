"""For services that already speak Celery: a task that appends straight to the log.

>>> from daybook.celery import enqueue  # doctest: +SKIP
>>> result = enqueue.delay(reference="order-1", source="@World", ...)  # doctest: +SKIP
>>> result.get(timeout=5)["status"]  # doctest: +SKIP
'APPLIED'

``delay``, ``apply_async`` and signatures in chains, groups and chords of the caller's own
application behave like any task, with the reference as the task id. But no message carries the
money: a broker can lose or reorder messages when a consumer dies, the log can't. Where Celery has
something to do *after* the outcome (the next link of a chain, a chord), a task of the caller's own
application waits for the outcome and hands it on; losing that message loses no money.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from celery import Task, shared_task, states
from celery.backends.base import Backend
from celery.result import AsyncResult

from daybook.client import Client
from daybook.errors import FieldError, NotFound, OutcomeUnknown
from daybook.ledger.rejection import Reason
from daybook.producing import Outcome
from daybook.queue.entries import CELERY_RESULT
from daybook.requests.models import malformed

OUTCOME_OF = "daybook_outcome_of"
"""Argument of the task that only waits: the reference whose outcome it hands on."""

WAIT_SECONDS_MAX = 2.0
RETRY_SECONDS = 1.0
RETRIES_MAX = 3_600
"""How long a chain waits for an outcome: an hour and more, without keeping a worker busy."""

POLL_SECONDS = 0.01


@lru_cache(maxsize=1)
def client() -> Client:
    """The client that this process appends with, made on first use."""
    return Client()


class OutcomeBackend(Backend):  # type: ignore[misc]  # Celery ships no types
    """Reads outcomes from the log, so that results work whatever result backend the caller has."""

    supports_native_join = False
    persistent = True

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        meta: dict[str, Any] = {"task_id": task_id, "status": states.PENDING, "result": None}
        try:
            outcome = client().status(task_id)
        except NotFound:
            return meta
        if outcome.final:
            meta.update(status=states.SUCCESS, result=outcome.as_dict())
        return meta

    def wait_for(self, task_id: str, timeout: float | None = None, **options: Any) -> Any:
        options["interval"] = min(options.get("interval") or POLL_SECONDS, POLL_SECONDS)
        return super().wait_for(task_id, timeout=timeout, **options)

    def _store_result(self, *_: Any, **__: Any) -> None:
        """Outcomes are written by the workers of the ledger, never by a caller."""

    def _forget(self, task_id: str) -> None:
        """An outcome stays for its retention: forgetting it would free its reference."""


class EnqueueTask(Task):  # type: ignore[misc]  # Celery ships no types
    """A task whose call is an append."""

    abstract = True

    def apply_async(
        self,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Append the request; returns a result that becomes the outcome.

        Raises MalformedRequest, ReferenceConflict, LogFull, LogUnavailable.
        """
        given = dict(kwargs or {})
        if OUTCOME_OF in given:
            return super().apply_async((), given, task_id=task_id, **options)
        request = _request(args, given)
        reference = request.setdefault("reference", task_id)
        client().enqueue_flagged(request, CELERY_RESULT)
        if any(options.get(name) for name in ("link", "link_error", "chord", "chain")):
            return super().apply_async((), {OUTCOME_OF: reference}, task_id=reference, **options)
        return self.AsyncResult(reference)

    def AsyncResult(self, task_id: Any, **_: Any) -> AsyncResult:  # noqa: N802 - Celery's name
        """The outcome of a reference, as a result."""
        return AsyncResult(task_id, backend=OutcomeBackend(app=self.app), app=self.app)


@shared_task(  # type: ignore[untyped-decorator]
    bind=True, base=EnqueueTask, name="daybook.enqueue", max_retries=RETRIES_MAX
)
def enqueue(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Append a request and return its outcome (see ``daybook.producing.Outcome.as_dict``).

    The fields of a TransactionRequest as keywords, or one mapping of them.
    """
    reference = kwargs.get(OUTCOME_OF)
    if reference is None:
        request = _request(args, kwargs)
        request.setdefault("reference", self.request.id)
        reference = request["reference"]
        client().enqueue_flagged(request, CELERY_RESULT)
    return _wait(self, reference).as_dict()


def _wait(task: Any, reference: str) -> Outcome:
    try:
        return client().wait(reference, WAIT_SECONDS_MAX)
    except OutcomeUnknown as unknown:
        if task.request.called_directly:
            raise
        raise task.retry(
            kwargs={OUTCOME_OF: reference}, args=(), exc=unknown, countdown=RETRY_SECONDS
        ) from unknown


def _request(args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The request in a task's arguments: a mapping (the last positional), keywords, or both.

    In a chain the result of the task before comes first; it is not part of the request unless it
    is a mapping and nothing else was given.
    """
    request = dict(kwargs.get("request", {}))
    request.update({name: value for name, value in kwargs.items() if name != "request"})
    mappings = [argument for argument in args or () if isinstance(argument, Mapping)]
    if mappings and not request:
        request = dict(mappings[-1])
    if not request:
        message = "give the fields of a transaction as keywords, or one mapping of them"
        raise malformed([FieldError("request", Reason.MALFORMED, message)])
    return request


__all__ = ["OutcomeBackend", "client", "enqueue"]
