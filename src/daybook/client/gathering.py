"""Many callers in one event loop: their appends share calls, and their waits one look.

What comes while a call is under way goes with the next one: nobody waits for company, and under
load each call carries what arrived meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from daybook.client.awaiting import OUTCOMES_SLICE, pause_before, still_unknown
from daybook.client.drafts import APPEND_ENTRIES_MAX, Draft
from daybook.client.receipts import Outcome, Receipt, outcome_for
from daybook.errors import LogFull

T = TypeVar("T")


@dataclass(slots=True)
class _Caller(Generic[T]):
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


class _Gathered(Generic[T]):
    """Callers, and the task that serves them as long as there are any."""

    def __init__(self) -> None:
        self._callers: list[_Caller[T]] = []
        self._serving: asyncio.Task[None] | None = None

    def _join(self, wanted: T) -> asyncio.Future[Any]:
        caller = _Caller(wanted, asyncio.get_running_loop().create_future())
        self._callers.append(caller)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return caller.answer

    async def _serve(self) -> None:
        raise NotImplementedError


class Appends(_Gathered[Draft]):
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
        while self._callers:
            part = self._callers[:APPEND_ENTRIES_MAX]
            del self._callers[:APPEND_ENTRIES_MAX]
            receipts: Sequence[Receipt] = ()
            fault: BaseException = RuntimeError("an append has no answer")
            try:
                receipts = await self._append_many([caller.wanted for caller in part])
            except LogFull as full:
                receipts, fault = full.accepted, full
            except BaseException as raised:  # whatever it is, each of them must learn of it
                fault = raised
            for caller, receipt in zip(part, receipts, strict=False):
                caller.resolve(receipt)
            for caller in part[len(receipts) :]:
                caller.fail(fault)


class Waits(_Gathered[Receipt]):
    """Looks for the outcomes of all that wait at once. outcomes: see ``Flows.values_of``."""

    def __init__(
        self, outcomes: Callable[[Sequence[str]], Coroutine[Any, Any, list[bytes | None]]]
    ) -> None:
        super().__init__()
        self._outcomes = outcomes

    async def wait(self, receipt: Receipt, timeout: float) -> Outcome:
        """The outcome, waited for up to ``timeout`` seconds.

        Raises OutcomeUnknown when the time is up, LogUnavailable.
        """
        try:
            outcome: Outcome = await asyncio.wait_for(self._join(receipt), timeout)
        except TimeoutError:
            raise still_unknown(receipt, timeout) from None
        return outcome

    async def _serve(self) -> None:
        while self._callers:
            asked = list(self._callers)
            try:
                for start in range(0, len(asked), OUTCOMES_SLICE):
                    await self._look(asked[start : start + OUTCOMES_SLICE])
            except BaseException as fault:  # whatever it is, each of them must learn of it
                for caller in asked:
                    caller.fail(fault)
            self._callers = [caller for caller in self._callers if not caller.answer.done()]
            if self._callers:
                youngest = time.monotonic() - self._callers[-1].since
                await asyncio.sleep(pause_before(youngest, float("inf")))

    async def _look(self, asked: Sequence[_Caller[Receipt]]) -> None:
        values = await self._outcomes([caller.wanted.key for caller in asked])
        for caller, value in zip(asked, values, strict=True):
            if value is not None:
                outcome = outcome_for(caller.wanted, value)
                if outcome.answered:
                    caller.resolve(outcome)
