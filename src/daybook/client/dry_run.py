"""Dry runs for producers: a worker looks, since they have no database of their own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from uuid import uuid4

from daybook.client.calls import Calls
from daybook.client.drafts import draft
from daybook.errors import OutcomeUnknown
from daybook.ledger.preview import Preview
from daybook.queue.doorbell import Doorbell
from daybook.requests import Request

ANSWER_SECONDS_MAX = 10.0
"""How long a dry run waits for a worker."""

POLL_SECONDS = 0.005

TakeAnswer = Callable[[str], bytes | None]
Given = Request | Mapping[str, Any] | None


class DryRunCalls(Calls[Preview]):
    """What each request would do, by the methods of a client. Nothing is enqueued.

    take_answer: fetches what a worker has left, by the id of the answer.
    """

    def __init__(
        self, doorbell: Doorbell, take_answer: TakeAnswer, clock: Callable[[], float]
    ) -> None:
        self._doorbell = doorbell
        self._take_answer = take_answer
        self._clock = clock

    def enqueue(self, request: Given = None, /, **fields: Any) -> Preview:
        """What the request would do to the ledger as it stands, what is queued left aside.

        Raises MalformedRequest, LogUnavailable; OutcomeUnknown when no worker answers.
        """
        answer_id = _ask(self._doorbell, request, fields, self._clock)
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while time.monotonic() < deadline:
            answer = self._take_answer(answer_id)
            if answer is not None:
                return Preview.from_dict(json.loads(answer))
            time.sleep(POLL_SECONDS)
        raise _unanswered()


class AsyncDryRunCalls(Calls[Coroutine[Any, Any, Preview]]):
    """``DryRunCalls`` for asyncio: the same calls, awaited."""

    def __init__(
        self,
        doorbell: Doorbell,
        take_answer: Callable[[str], Coroutine[Any, Any, bytes | None]],
        clock: Callable[[], float],
    ) -> None:
        self._doorbell = doorbell
        self._take_answer = take_answer
        self._clock = clock

    async def enqueue(self, request: Given = None, /, **fields: Any) -> Preview:
        """See ``DryRunCalls.enqueue``."""
        answer_id = await asyncio.to_thread(_ask, self._doorbell, request, fields, self._clock)
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while time.monotonic() < deadline:
            answer = await self._take_answer(answer_id)
            if answer is not None:
                return Preview.from_dict(json.loads(answer))
            await asyncio.sleep(POLL_SECONDS)
        raise _unanswered()


def _ask(
    doorbell: Doorbell, request: Given, fields: dict[str, Any], clock: Callable[[], float]
) -> str:
    made = draft(fields if request is None else request, clock)
    answer_id = uuid4().hex
    doorbell.ask_for_dry_run(made.entry.request_id, made.entry.body, answer_id, ANSWER_SECONDS_MAX)
    return answer_id


def _unanswered() -> OutcomeUnknown:
    return OutcomeUnknown(
        f"no worker has looked within {ANSWER_SECONDS_MAX:g} s; nothing was changed: "
        "see that one runs and takes the queue daybook.intake (`daybook status`), and ask again"
    )
