"""Look-up by id, for producers: the log knows most by reference, a worker by both."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple
from uuid import uuid4

from daybook.errors import OutcomeUnknown
from daybook.queue.doorbell import Doorbell

ANSWER_SECONDS_MAX = 10.0
"""How long a look-up waits for a worker."""

POLL_SECONDS = 0.005


class Found(NamedTuple):
    """What a worker knows of an id: the outcome key, and the outcome when it is recorded."""

    key: str | None
    value: bytes | None


def find(doorbell: Doorbell, take_answer: Callable[[str], bytes | None], request_id: str) -> Found:
    """What a worker knows of the request with this id.

    take_answer: fetches what a worker has left, by the id of the answer. Raises LogUnavailable;
    OutcomeUnknown when no worker answers.
    """
    answer_id = uuid4().hex
    doorbell.ask_to_find(request_id, answer_id, ANSWER_SECONDS_MAX)
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    while time.monotonic() < deadline:
        answer = take_answer(answer_id)
        if answer is not None:
            return _found_in(answer)
        time.sleep(POLL_SECONDS)
    raise _unanswered(request_id)


async def find_async(
    doorbell: Doorbell,
    take_answer: Callable[[str], Coroutine[Any, Any, bytes | None]],
    request_id: str,
) -> Found:
    """``find`` for asyncio."""
    answer_id = uuid4().hex
    await asyncio.to_thread(doorbell.ask_to_find, request_id, answer_id, ANSWER_SECONDS_MAX)
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    while time.monotonic() < deadline:
        answer = await take_answer(answer_id)
        if answer is not None:
            return _found_in(answer)
        await asyncio.sleep(POLL_SECONDS)
    raise _unanswered(request_id)


def _found_in(answer: bytes) -> Found:
    said = json.loads(answer)
    value = said.get("value")
    return Found(said.get("key"), None if value is None else value.encode())


def _unanswered(request_id: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"no worker has looked for the id {request_id!r} within {ANSWER_SECONDS_MAX:g} s: see that "
        "one runs and takes the queue daybook.intake (`daybook status`), and ask again, or ask by "
        "reference"
    )
