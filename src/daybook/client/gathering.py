"""Many callers in one event loop: their appends share calls, and their waits one look.

What comes while a call is under way goes with the next one: nobody waits for company, and under
load each call carries what arrived meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from daybook.client.awaiting import (
    OUTCOMES_SLICE,
    POLL_SECONDS_MIN,
    pause_before,
    still_unknown,
)
from daybook.client.drafts import APPEND_ENTRIES_MAX, Draft
from daybook.client.receipts import Outcome, Receipt, outcome_for
from daybook.errors import LogFull

T = TypeVar("T")

FAULTS = (Exception, asyncio.CancelledError)
"""What becomes of a call, and each of its callers must learn of. Not the end of the event loop:
then nobody is left to learn of it."""


@dataclass(slots=True)
class Caller(Generic[T]):
    """Somebody who waits for what becomes of a draft, or of a receipt. since: seconds."""

    wanted: T
    answer: asyncio.Future[Any]
    since: float = field(default_factory=time.monotonic)

    def resolve(self, found: object) -> None:
        if not self.answer.done():  # the caller may have gone
            self.answer.set_result(found)

    def fail(self, fault: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(fault)


class Shared(Generic[T]):
    """Callers, and the task that serves them as long as there are any."""

    def __init__(self) -> None:
        self._callers: list[Caller[T]] = []
        self.serving: asyncio.Task[None] | None = None

    def _join(self, wanted: T) -> asyncio.Future[Any]:
        caller = Caller(wanted, asyncio.get_running_loop().create_future())
        self._callers.append(caller)
        if self.serving is None or self.serving.done():
            self.serving = asyncio.create_task(self._serve())
        return caller.answer

    def _still_here(self) -> list[Caller[T]]:
        """The callers without an answer; the others are forgotten, and those who have gone."""
        self._callers = [caller for caller in self._callers if not caller.answer.done()]
        return self._callers

    async def _serve(self) -> None:
        raise NotImplementedError


class SharedAppends(Shared[Draft]):
    """Appends drafts one call after the other. append_many: see ``Flows.append_many``."""

    def __init__(
        self, append_many: Callable[[Sequence[Draft]], Coroutine[Any, Any, list[Receipt]]]
    ) -> None:
        super().__init__()
        self._append_many = append_many

    async def append(self, made: Draft) -> Receipt:
        """What became of one draft. Raises LogFull, LogUnavailable."""
        receipt: Receipt = await self._join(made)
        return receipt

    async def _serve(self) -> None:
        while part := self._still_here()[:APPEND_ENTRIES_MAX]:
            del self._callers[: len(part)]
            receipts: Sequence[Receipt] = ()
            fault: BaseException = RuntimeError("an append has no answer")
            try:
                receipts = await self._append_many([caller.wanted for caller in part])
            except LogFull as full:
                receipts = full.accepted
                fault = LogFull(str(full), retry_after_seconds=full.retry_after_seconds)
            except FAULTS as raised:
                fault = raised
            for caller, receipt in zip(part, receipts, strict=False):
                caller.resolve(receipt)
            for caller in part[len(receipts) :]:
                caller.fail(fault)


class ValuesOf(Protocol):
    """``Flows.values_of``."""

    async def __call__(
        self, keys: Sequence[str], seconds_max: float | None = None
    ) -> list[bytes | None]:
        """What is known of outcome keys. seconds_max: how long Redis may be away."""
        ...


class SharedWaits(Shared[Receipt]):
    """Looks for the outcomes of all that wait at once."""

    def __init__(self, values_of: ValuesOf) -> None:
        super().__init__()
        self._values_of = values_of
        self._joined = asyncio.Event()

    async def wait(self, receipt: Receipt, timeout: float) -> Outcome:
        """The outcome, waited for up to ``timeout`` seconds, with a look of its own at the end.

        Raises OutcomeUnknown when the time is up, LogUnavailable.
        """
        answer = self._join(receipt)
        self._joined.set()
        with suppress(TimeoutError):
            outcome: Outcome = await asyncio.wait_for(answer, timeout)
            return outcome
        (value,) = await self._values_of([receipt.key], seconds_max=0.0)
        found = _answer(receipt, value)
        if found is None:
            raise still_unknown(receipt, timeout)
        return found

    async def _serve(self) -> None:
        while asked := list(self._still_here()):
            self._joined.clear()
            try:
                for start in range(0, len(asked), OUTCOMES_SLICE):
                    await self._look(asked[start : start + OUTCOMES_SLICE])
            except FAULTS as fault:
                for caller in asked:
                    caller.fail(fault)
            if left := self._still_here():
                await self._pause(time.monotonic() - left[-1].since)

    async def _look(self, asked: Sequence[Caller[Receipt]]) -> None:
        values = await self._values_of([caller.wanted.key for caller in asked])
        for caller, value in zip(asked, values, strict=True):
            found = _answer(caller.wanted, value)
            if found is not None:
                caller.resolve(found)

    async def _pause(self, waited: float) -> None:
        """Until the next look: soon when somebody comes. waited: by the youngest, in seconds."""
        await asyncio.sleep(POLL_SECONDS_MIN)
        with suppress(TimeoutError):
            left = pause_before(waited, float("inf")) - POLL_SECONDS_MIN
            await asyncio.wait_for(self._joined.wait(), left)


def _answer(receipt: Receipt, value: bytes | None) -> Outcome | None:
    outcome = None if value is None else outcome_for(receipt, value)
    return outcome if outcome is not None and outcome.answered else None
