"""The intake: messages of services that have no Daybook of their own become entries of the log."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from celery.worker.request import Request

from daybook.client.client import Client
from daybook.client.drafts import Draft, draft, with_task_id
from daybook.client.receipts import Outcome
from daybook.errors import FieldError, LogFull, ReferenceConflict
from daybook.ledger.rejection import Reason
from daybook.queue.connect import translated_faults
from daybook.queue.waiting import Asked, Asker
from daybook.requests import check_json_amount
from daybook.requests.models import malformed
from daybook.worker.answering import (
    AT,
    GAVE_WAY,
    AnsweringBackend,
    comes_again,
    mark_of,
    request_of,
)
from daybook.worker.envelopes import HANDED_ON
from daybook.worker.messages import exact

KEYWORDS_NAMED_MAX = 5


class IntakeRequest(Request):
    """A message of the intake in the worker's parent."""

    @property
    def eta(self) -> datetime | None:
        """When to run it. What the sender has delayed is taken at once, for the ledger to keep.

        A worker would sit on it without acknowledging it, until the broker gives it out again.
        """
        return self._eta if self._request_dict.get("retries") else None

    def maybe_expire(self) -> bool:
        """Whether it has expired.

        Celery would also mark its id as revoked in the memory of this worker, for hours: a request
        that is sent again under it would be dropped.
        """
        expires = self.expires
        return bool(expires) and datetime.now(UTC if expires.tzinfo else None) > expires


class Desk(NamedTuple):
    """What the intake works with."""

    client: Client
    asked: Asked
    results: AnsweringBackend


def take(desk: Desk, message: Any) -> Outcome | None:
    """Append the request of a message; its outcome if that is recorded already.

    message: Celery's context of the task. None: the worker that records the outcome answers. Raises
    MalformedRequest, ReferenceConflict; LogFull and LogUnavailable when it is to be tried again.
    """
    asker = _claim(desk, message)
    made = _drafted(message)
    key = made.entry.key
    if asker is not None:
        asker = asker._replace(fingerprint=made.entry.fingerprint.hex())
        with nullcontext() if asker.mark else suppress(LogFull):  # it can do without
            desk.asked.add(key, asker)
    try:
        receipt = desk.client.append(made)
    except ReferenceConflict:
        if asker is not None:
            desk.asked.remove(key, asker)
        raise
    if receipt.state != "duplicate":
        return None
    if asker is not None and asker.mark:
        desk.asked.add(key, asker._replace(duplicate=True))
    # What was recorded before this message was written down is for nobody else to tell.
    outcome = desk.client.outcome_of(receipt)
    if outcome is None or not outcome.final:
        return None
    if asker is not None:
        desk.asked.remove(key, asker)
    return outcome


def again(message: Any) -> dict[str, Any]:
    """The arguments with which a message is tried again: its numbers as they were written."""
    return {"request": exact(request_of(message))}


def _claim(desk: Desk, message: Any) -> Asker | None:
    """Take the result of the message's id, if it wants one; None when that is another's by now."""
    if message.ignore_result:
        return Asker(message.id, "", int(_now() * 1000), "")
    mark = mark_of(message)
    with translated_faults():
        at = desk.results.claim(message.id, mark, comes_again=comes_again(message))
    setattr(message, AT, at)
    return None if at == GAVE_WAY else Asker(message.id, "", at, mark)


def _drafted(message: Any) -> Draft:
    """The request of a message, ready to be appended. Raises MalformedRequest."""
    handed_on = getattr(message, HANDED_ON, None)
    if handed_on:
        message_text = (
            "the intake hands no outcome on: wait for the result, or use daybook.celery.enqueue"
        )
        raise malformed([FieldError(name, Reason.MALFORMED, message_text) for name in handed_on])
    flat = sorted(set(map(str, message.kwargs or ())) - {"request"})
    if flat:
        message_text = (
            f"the message has the keywords {', '.join(flat[:KEYWORDS_NAMED_MAX])}; send all fields "
            'of the request in one: kwargs={"request": {…}}'
        )
        raise malformed([FieldError("request", Reason.MALFORMED, message_text)])
    request = request_of(message)
    if not isinstance(request, Mapping):
        message_text = 'must be an object with a request\'s fields: kwargs={"request": {…}}'
        raise malformed([FieldError("request", Reason.MALFORMED, message_text)])
    own = message.kwargs.get("request", message.args[0] if message.args else None)
    if request is not own and own.get("scheduled_for") is not None:
        message_text = "give one of scheduled_for, eta and countdown"
        raise malformed([FieldError("scheduled_for", Reason.MALFORMED, message_text)])
    try:
        given = exact(request)
    except RecursionError:
        raise malformed([FieldError("request", Reason.MALFORMED, "is nested too deeply")]) from None
    with_task_id(given, message.id)
    check_json_amount(given)
    return draft(given, _now)


def _now() -> float:
    return datetime.now(UTC).timestamp()
