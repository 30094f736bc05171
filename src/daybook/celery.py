"""For services that already speak Celery: a task that appends straight to the log.

>>> from daybook.celery import enqueue  # doctest: +SKIP
>>> result = enqueue.delay(reference="order-1", source="@World", ...)  # doctest: +SKIP
>>> result.get(timeout=5)["status"]  # doctest: +SKIP
'APPLIED'

``delay``, ``apply_async`` and signatures in chains, groups and chords of the caller's own
application behave like any task, with the reference as the task id. But no message carries the
money: a broker can lose or reorder messages when a consumer dies, the log can't. Where Celery has
something to do with the outcome (the next link of a chain, a group, a chord), a task of the
caller's own application waits for it and hands it on; losing that message loses no money.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from celery import Task, shared_task, states
from celery.backends.base import BaseBackend, DisabledBackend
from celery.result import AsyncResult

from daybook.client import Client
from daybook.errors import (
    DaybookError,
    FieldError,
    LogFull,
    LogUnavailable,
    NotFound,
    OutcomeUnknown,
)
from daybook.ledger.rejection import Reason
from daybook.queue.entries import CELERY_RESULT
from daybook.requests.models import malformed

OUTCOME_OF = "daybook_outcome_of"
"""Argument of the task that only waits: the reference whose outcome it hands on."""

WAIT_SECONDS_MAX = 2.0
RETRY_SECONDS = 1.0
RETRIES_MAX = 3_600
"""How long a chain waits for an outcome: an hour and more, without keeping a worker busy."""

POLL_SECONDS = 0.01

_HANDED_ON = ("link", "link_error", "chain", "chord", "group_id")
"""Options of a call whose outcome Celery itself has a use for."""

_LATER = ("eta", "countdown")


def client() -> Client:
    """The client that this process appends with, made on first use."""
    return _client_of(os.getpid())


@lru_cache(maxsize=1)
def _client_of(pid: int) -> Client:
    del pid  # a forked child makes its own
    return Client()


class OutcomeBackend(BaseBackend):  # type: ignore[misc]  # Celery ships no types
    """Reads outcomes from the log, so that results work whatever result backend the caller has.

    What the log does not know is looked up in the caller's own backend: the failure of a request
    that a chain or a chord sent and that was refused.
    """

    supports_native_join = False
    persistent = True

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        meta: dict[str, Any] = {"task_id": task_id, "status": states.PENDING, "result": None}
        try:
            outcome = client().status(task_id)
        except NotFound:
            own = self.app.backend
            return meta if isinstance(own, DisabledBackend) else own.get_task_meta(task_id)
        if outcome.final:
            meta.update(status=states.SUCCESS, result=outcome.as_dict())
        return meta

    def wait_for(self, task_id: str, timeout: float | None = None, **options: Any) -> Any:
        options["interval"] = min(options.get("interval") or POLL_SECONDS, POLL_SECONDS)
        return super().wait_for(task_id, timeout=timeout, **options)

    def add_pending_result(self, result: Any, weak: bool = False) -> Any:
        """A group of mixed tasks (``weak``) waits for all of them through the caller's backend."""
        if weak and getattr(self.app.backend, "is_async", False):
            self.app.backend.add_pending_result(result, weak=weak)
        return result

    def remove_pending_result(self, result: Any) -> Any:
        if getattr(self.app.backend, "is_async", False):
            self.app.backend.remove_pending_result(result)
        return result

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

        Raises MalformedRequest, ReferenceConflict, LogFull, LogUnavailable. In the middle of a
        chain there is nobody to raise to: the task fails with them instead.
        """
        given = dict(kwargs or {})
        if OUTCOME_OF in given:
            return super().apply_async((), given, task_id=task_id, **options)
        try:
            reference = self._append(args, given, task_id, options)
        except DaybookError:
            if options.get("parent_id") is None:
                raise
            return super().apply_async(args, given, task_id=task_id, **options)
        if any(options.get(name) for name in _HANDED_ON) or task_id not in (None, reference):
            waited_for = {OUTCOME_OF: reference}
            super().apply_async((), waited_for, task_id=task_id or reference, **options)
        return self.AsyncResult(reference)

    def _append(
        self, args: Any, given: Mapping[str, Any], task_id: str | None, options: Mapping[str, Any]
    ) -> str:
        if any(options.get(name) for name in _LATER):
            message = "a request counts from when it is accepted; enqueue it when it is due"
            raise malformed([FieldError("countdown", Reason.MALFORMED, message)])
        request = _request(args, given)
        if task_id is not None:
            request.setdefault("reference", task_id)
        receipt = client().enqueue_flagged(request, CELERY_RESULT)
        assert receipt.reference is not None
        return receipt.reference

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> Any:
        """A signature whose task id is the reference, when the arguments say it already."""
        made = super().signature(args, *starargs, **starkwargs)
        reference = _reference(made.args, made.kwargs)
        if reference is not None:
            made.options.setdefault("task_id", reference)
        return made

    subtask = signature

    def AsyncResult(self, task_id: Any, **_: Any) -> AsyncResult:  # noqa: N802 - Celery's name
        """The outcome of a reference, as a result."""
        return AsyncResult(task_id, backend=OutcomeBackend(app=self.app), app=self.app)


@shared_task(  # type: ignore[untyped-decorator]
    bind=True, base=EnqueueTask, name="daybook.celery.enqueue", max_retries=RETRIES_MAX
)
def enqueue(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Append a request and return its outcome (see ``daybook.producing.Outcome.as_dict``).

    The fields of a TransactionRequest as keywords, or one mapping of them.
    """
    try:
        reference = kwargs.get(OUTCOME_OF)
        if reference is None:
            request = _request(args, kwargs)
            reference = request.setdefault("reference", self.request.id)
            client().enqueue_flagged(request, CELERY_RESULT)
        return client().wait(reference, WAIT_SECONDS_MAX).as_dict()
    except (LogFull, LogUnavailable, OutcomeUnknown) as fault:
        if self.request.called_directly:
            raise
        raise self.retry(exc=fault, countdown=RETRY_SECONDS) from fault


def _request(args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The request in a task's arguments: a mapping (the last positional), keywords, or both.

    In a chain the result of the task before comes first; it is not part of the request unless it
    is a mapping and nothing else was given. Raises MalformedRequest.
    """
    given = kwargs.get("request", {})
    if isinstance(given, Mapping):
        request = {**given, **{name: kwargs[name] for name in kwargs if name != "request"}}
        mappings = [argument for argument in args or () if isinstance(argument, Mapping)]
        if request or mappings:
            return request or dict(mappings[-1])
    message = "give the fields of a transaction as keywords, or one mapping of them"
    raise malformed([FieldError("request", Reason.MALFORMED, message)])


def _reference(args: Any, kwargs: Mapping[str, Any]) -> str | None:
    """The reference in a task's arguments, as far as they are known yet."""
    if OUTCOME_OF in kwargs:
        return None
    try:
        reference = _request(args, kwargs).get("reference")
    except DaybookError:
        return None
    return reference if isinstance(reference, str) else None


__all__ = ["OutcomeBackend", "client", "enqueue"]
