"""Answers to those who asked by a Celery message, or by ``daybook.celery``: their results."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from celery import states

from daybook.client.receipts import Outcome, outcome_of
from daybook.errors import DaybookError, ReferenceConflict
from daybook.queue.entries import read_value, reference_of_key
from daybook.queue.log import Log
from daybook.queue.waiting import Asked, Asker, Wanted, askers_in
from daybook.worker.answering import AT, AnsweringBackend, mark_of
from daybook.worker.events import RequestEvents

SWEPT_SLICES_MAX = 10
"""How much of those who ask one sweep looks through; the next one goes on there."""

LOOKUPS_A_SLICE_MAX = 10
"""How many of each part a sweep looks up in the ledger, chosen at random: what is scheduled has no
outcome in the log for most of its time, and thousands of it would keep a worker busy each second.
"""

log = structlog.get_logger()

Recorded = Callable[[str], str | None]
"""What the ledger knows under an outcome key: the text of the outcome, SCHEDULED included."""


class Answers:
    """Stores outcomes as results of Celery tasks, and tells monitors of them.

    clock: seconds since the epoch. chance: whom of those who wait long a sweep looks up.
    """

    def __init__(
        self,
        request_log: Log,
        results: AnsweringBackend,
        kept_seconds: float,
        events: RequestEvents,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self._log = request_log
        self.asked = Asked(request_log)
        self._results = results
        self._kept_seconds = kept_seconds
        self._events = events
        self._clock = clock
        self._chance = chance or random.Random()  # noqa: S311 - nothing secret hangs on it
        self._cursor = 0

    def tell(
        self,
        outcomes: Sequence[tuple[str, str]],
        wanted: Sequence[Wanted],
        asked: Sequence[tuple[str, bytes]],
    ) -> None:
        """Answer anyone who waits for outcomes that were just written, and tell monitors.

        outcomes: outcome keys and texts. asked: askers by key, as the log has them. A result that
        can't be stored is logged: the sweeper tries again.
        """
        known = dict(outcomes) if wanted or asked else {}
        for one in wanted:
            value = known.get(one.key)
            if value is not None:
                asker = Asker(one.task_id, one.fingerprint, one.at, one.fingerprint)
                self._answer_safely(one.key, asker, value, by_message=False)
        for key, found in asked:
            if key in known:
                self._answer_all(key, found, known[key])
        if self._events.every_request:
            for key, value in outcomes:
                state = read_value(value)
                self._events.add(outcome_of(state, reference_of_key(key)), state.position)
        self._events.send()

    def at_once(self, message: Any, outcome: Outcome) -> None:
        """Answer a message of the intake whose request is recorded already.

        message: Celery's context of the task.
        """
        at = getattr(message, AT, None)
        if at is not None:  # somebody wants a result
            result = outcome.as_dict()
            self._results.answer(message.id, mark_of(message), at, result, states.SUCCESS)
        self._events.add_answer(message.id, outcome)
        self._events.send()

    def sweep(self, recorded: Recorded) -> None:
        """Answer those who are still waiting for what is recorded; forget those who wait in vain.

        A worker may have died between an outcome and its answers. Raises LogUnavailable.
        """
        for _ in range(SWEPT_SLICES_MAX):
            self._cursor, found = self.asked.everybody(self._cursor)
            values = self._log.outcomes([key for key, _ in found])
            unknown = []
            for (key, askers), value in zip(found, values, strict=True):
                if value is not None:
                    self._answer_all(key, askers, value.decode())
                elif self._are_old(askers):
                    unknown.append((key, askers))
            for key, askers in self._some_of(unknown):
                self._look_up(key, askers, recorded)
            self._events.send()
            if self._cursor == 0:
                return

    def _some_of(self, unknown: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        return self._chance.sample(unknown, min(len(unknown), LOOKUPS_A_SLICE_MAX))

    def _look_up(self, key: str, found: bytes, recorded: Recorded) -> None:
        value = recorded(key)
        if value is None:
            log.info("asked.forgotten", key=key)
            self.asked.answered(key, found)
            return
        self._answer_all(key, found, value)

    def _are_old(self, found: bytes) -> bool:
        """Whether they came so long ago that an outcome may have been forgotten meanwhile."""
        before = (self._clock() - self._kept_seconds) * 1000
        return all(asker.at < before for asker in askers_in(found))

    def _answer_all(self, key: str, found: bytes, value: str) -> None:
        state = read_value(value)
        if not outcome_of(state, None).final:
            return  # what is scheduled has its end later
        done = [self._answer_safely(key, asker, value) for asker in askers_in(found)]
        if all(done):
            self.asked.answered(key, found)

    def _answer_safely(
        self, key: str, asker: Asker, value: str, *, by_message: bool = True
    ) -> bool:
        try:
            self._answer(key, asker, value, by_message=by_message)
        except Exception as fault:  # whatever the result backend raises: the outcome stands
            log.warning("celery_result.lost", task_id=asker.task_id, fault=str(fault))
            return False
        return True

    def _answer(self, key: str, asker: Asker, value: str, *, by_message: bool) -> None:
        state = read_value(value)
        reference = reference_of_key(key)
        answer: Outcome | DaybookError
        if state.fingerprint == asker.fingerprint:
            answer = outcome_of(state, reference, duplicate=asker.duplicate)
            if not answer.final:
                return
        else:
            answer = ReferenceConflict(reference or state.request_id, state.request_id)
            if not by_message:
                answer = _rejected(reference, asker, answer)
        task = (asker.task_id, asker.mark, asker.at)
        if not asker.mark:
            is_stored = True  # it wants no result, and its task ends all the same
        elif isinstance(answer, Outcome):
            is_stored = self._results.answer(*task, answer.as_dict(), states.SUCCESS)
        else:
            is_stored = self._results.answer(*task, answer, states.FAILURE)
        if is_stored and by_message:
            self._events.add_answer(asker.task_id, answer)


def _rejected(reference: str | None, asker: Asker, conflict: ReferenceConflict) -> Outcome:
    return Outcome(
        conflict.original_id,
        reference,
        "REJECTED",
        "reference_conflict",
        str(conflict),
        fingerprint=asker.fingerprint,
    )
