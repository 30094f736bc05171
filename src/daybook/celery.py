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

``countdown`` and ``eta`` become the transaction's ``scheduled_for``: it is in the ledger at once,
can be cancelled, and is applied at that time, whatever happens to the broker. A result stays
pending until then. Who may send a request again gives ``eta``: two countdowns are two times, and
so two different requests.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from celery import Task, shared_task, states
from celery.backends.base import BaseBackend, DisabledBackend
from celery.result import AsyncResult
from celery.utils import uuid

from daybook.client.client import Client
from daybook.client.drafts import with_task_id
from daybook.client.names import name_of
from daybook.client.receipts import Outcome, Receipt
from daybook.errors import (
    DaybookError,
    FieldError,
    LogFull,
    LogUnavailable,
    NotFound,
    OutcomeUnknown,
    RevokeRefused,
)
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason
from daybook.queue.entries import BY_ID, CELERY_RESULT
from daybook.requests.bounds import TRANSACTION_ID
from daybook.requests.fields import check_moment
from daybook.requests.models import malformed

OUTCOME_OF = "daybook_outcome_of"
"""Argument of the task that only waits: the reference or the id whose outcome it hands on."""

WAIT_SECONDS_MAX = 2.0
RETRY_SECONDS = 1.0
REVOKE_SECONDS_MAX = 10.0
"""How long ``revoke`` waits to learn whether it came in time."""

RETRIES_MAX = 3_600
"""How long a chain waits for an outcome: an hour and more, without keeping a worker busy."""

POLL_SECONDS = 0.01

_HANDED_ON = ("link", "link_error", "chain", "chord", "group_id")
"""Options of a call whose outcome Celery itself has a use for."""

_LATER = ("eta", "countdown")

_ACTIONS = frozenset({"commit", "void", "refund", "cancel", "change"})
"""Kinds that need no reference: a call without one gets one, to be known by."""


def client() -> Client:
    """The client that this process appends with, made on first use."""
    return _client_of(os.getpid())


@lru_cache(maxsize=1)
def _client_of(pid: int) -> Client:
    del pid  # a forked child makes its own
    return Client()


class OutcomeBackend(BaseBackend):
    """Reads outcomes from the log, so that results work whatever result backend the caller has.

    What the log does not know is looked up in the caller's own backend: the failure of a request
    that a chain or a chord sent and that was refused.
    """

    supports_native_join = False
    persistent = True

    def __init__(
        self, app: Any, *, receipt: Receipt | None = None, is_id: bool = False, **options: Any
    ) -> None:
        """Where results come from that are named by reference, or by id if ``is_id``.

        receipt: of the request whose outcome it is: then the outcome of another is a conflict.
        """
        super().__init__(app, **options)
        self._receipt = receipt
        self._is_id = is_id

    def outcome_of(self, task_id: str) -> Outcome:
        """The present outcome. Raises NotFound, LogUnavailable, OutcomeUnknown."""
        if self._receipt is not None:
            outcome = client().outcome_of(self._receipt)
            if outcome is not None:
                return outcome
        return client().status(id=task_id) if self._is_id else client().status(reference=task_id)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        meta: dict[str, Any] = {"task_id": task_id, "status": states.PENDING, "result": None}
        try:
            outcome = self.outcome_of(task_id)
        except NotFound:
            own = self.app.backend
            return meta if isinstance(own, DisabledBackend) else own.get_task_meta(task_id)
        except OutcomeUnknown:
            return meta
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


class OutcomeResult(AsyncResult):
    """The outcome of a request, as the result of a task."""

    def get(self, timeout: float | None = None, *args: Any, **options: Any) -> Any:
        """The outcome, waited for; inside a task too.

        Celery forbids a task to wait for another, which may need the place that it takes. An
        outcome needs none: the workers of the ledger record it.
        """
        options["disable_sync_subtasks"] = False
        return super().get(timeout, *args, **options)

    wait = get

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Withdraw a transaction before its time; what was refused anyway stays so.

        Returns when it is certain that nothing will be posted. timeout: seconds to wait for that.
        Raises RevokeRefused for what is not to be withdrawn, or no more; OutcomeUnknown when no
        worker said in time whether it was.
        """
        del connection, terminate, signal, wait
        outcome = self.backend.outcome_of(self.id)
        if outcome.status == Status.REJECTED:
            return
        if outcome.final or not TRANSACTION_ID.match(outcome.transaction_id):
            raise _not_revoked(self.id, outcome.status)
        cancel = client().cancel(outcome.transaction_id)
        done = client().wait(cancel, REVOKE_SECONDS_MAX if timeout is None else timeout)
        if done.status != Status.APPLIED:
            raise _not_revoked(self.id, done.detail or str(done.reason))

    def revoke_by_stamped_headers(self, *_: Any, **__: Any) -> None:
        """Raises RevokeRefused: an append sends no message that could carry a stamp."""
        raise _not_revoked(self.id, "no message carries it")


def _not_revoked(name: str, why: str) -> RevokeRefused:
    return RevokeRefused(
        f"{name} can't be revoked ({why}): what was accepted is posted in its turn, and only what "
        "waits for scheduled_for, eta or countdown can be withdrawn, by revoke or by a request of "
        "kind cancel; give back what was posted with kind refund, a hold with kind void"
    )


class EnqueueTask(Task):
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
        if OUTCOME_OF in given or options.get("retries"):
            # What is tried again keeps its request: its delay is that of the attempt.
            return super().apply_async(args, given, task_id=task_id, **options)
        try:
            _check_expires(options.get("expires"))
            request = _scheduled(_request(args, given), options)
            flags = BY_ID if options.get("ignore_result") else CELERY_RESULT + BY_ID
            receipt = _append(request, task_id, flags)
        except DaybookError:
            if options.get("parent_id") is None:
                raise
            return super().apply_async(args, given, task_id=task_id, **options)
        name = receipt.reference or receipt.id
        if any(options.get(option) for option in _HANDED_ON) or task_id not in (None, name):
            if request.get("scheduled_for") is not None:  # nothing to hand on before
                options |= {"countdown": None, "eta": check_moment(request["scheduled_for"])}
            known = {"id": name} if receipt.reference is None else {"reference": name}
            super().apply_async((), {OUTCOME_OF: known}, task_id=task_id or name, **options)
        return self._result(name, receipt=receipt, is_id=receipt.reference is None)

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> Any:
        """A signature whose task id is the reference, when the arguments say it already."""
        made = super().signature(args, *starargs, **starkwargs)
        reference = _reference(made.args, made.kwargs)
        if reference is not None:
            made.options.setdefault("task_id", reference)
        return made

    subtask = signature

    def AsyncResult(  # noqa: N802 - Celery's name
        self,
        task_id: Any = None,
        *,
        reference: str | None = None,
        id: str | None = None,
        **_: Any,
    ) -> OutcomeResult:
        """The outcome of a request, as a result.

        task_id: a reference, whatever it looks like. id: of a request that has none, or of what it
        creates.
        """
        name = name_of(task_id if reference is None else reference, id)
        return self._result(name.reference or name.id, is_id=name.reference is None)

    def _result(self, name: Any, **known: Any) -> OutcomeResult:
        backend = OutcomeBackend(self.app, **known)
        return OutcomeResult(name, backend=backend, app=self.app)


@shared_task(bind=True, base=EnqueueTask, name="daybook.celery.enqueue", max_retries=RETRIES_MAX)
def enqueue(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Append a request and return its outcome (see ``daybook.client.receipts.Outcome.as_dict``).

    The fields of a request as keywords, or one mapping of them; ``kind`` among them when it is
    not a transaction. Called directly, a scheduled transaction is answered with SCHEDULED.
    """
    try:
        known = kwargs.get(OUTCOME_OF)
        if known is None:
            _check_expires(self.request.expires)
            receipt = _append(_request(args, kwargs), self.request.id, CELERY_RESULT + BY_ID)
            outcome = client().wait(receipt, WAIT_SECONDS_MAX)
        else:
            outcome = client().wait(timeout=WAIT_SECONDS_MAX, **known)
    except (LogFull, LogUnavailable, OutcomeUnknown) as fault:
        if self.request.called_directly:
            raise
        raise self.retry(exc=fault, countdown=RETRY_SECONDS) from fault
    if not outcome.final and not self.request.called_directly:
        raise self.retry(countdown=RETRY_SECONDS)
    return outcome.as_dict()


def _append(request: dict[str, Any], task_id: str | None, flags: str) -> Receipt:
    """Append; the outcome is known by the receipt's reference, or its id if it has none."""
    if task_id is None and str(request.get("kind")) in _ACTIONS:
        task_id = uuid()
    if task_id is not None:
        with_task_id(request, task_id)
    return client().enqueue_flagged(request, flags)


def _check_expires(expires: Any) -> None:
    """Refuse what can't be kept. Raises MalformedRequest."""
    if expires is not None:
        message = (
            "can't be kept: an append happens at once, and what is accepted is posted; leave it "
            "out, or give scheduled_for (eta, countdown) and withdraw it in time with kind cancel"
        )
        raise malformed([FieldError("expires", Reason.MALFORMED, message)])


def _scheduled(request: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The request, its ``scheduled_for`` from Celery's ``eta`` or ``countdown`` if there is one.

    Raises MalformedRequest.
    """
    given = [name for name in _LATER if options.get(name)]
    if not given:
        return request
    if len(given) > 1 or request.get("scheduled_for") is not None:
        message = "give one of scheduled_for, eta and countdown"
        raise malformed([FieldError("scheduled_for", Reason.MALFORMED, message)])
    later = options[given[0]]
    if given == ["countdown"]:
        later = _after(later)
    elif isinstance(later, datetime) and later.tzinfo is None:
        later = later.replace(tzinfo=UTC)  # as Celery reads it
    return request | {"scheduled_for": later}


def _after(countdown: Any) -> datetime:
    try:
        return datetime.now(UTC) + timedelta(seconds=countdown)
    except (TypeError, ValueError, OverflowError):
        message = "must be a number of seconds"
        raise malformed([FieldError("countdown", Reason.MALFORMED, message)]) from None


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
    message = "give the fields of a request as keywords, or one mapping of them"
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


__all__ = ["OutcomeBackend", "OutcomeResult", "client", "enqueue"]
