"""Answers to those who asked by a Celery message, or by ``daybook.celery``: their results."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping

import structlog
from celery import states

from daybook.client.receipts import Outcome, outcome_of
from daybook.errors import DaybookError, ReferenceConflict
from daybook.queue.entries import read_value, reference_of_key
from daybook.queue.log import Log
from daybook.queue.waiting import Asked, Asker, Wanted, askers_in
from daybook.worker.answering import AnsweringBackend

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
    """Stores outcomes as results of Celery tasks.

    clock: seconds since the epoch. chance: whom of those who wait long a sweep looks up.
    """

    def __init__(
        self,
        request_log: Log,
        results: AnsweringBackend,
        kept_seconds: float,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self._log = request_log
        self.asked = Asked(request_log)
        self._results = results
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._chance = chance or random.Random()  # noqa: S311 - nothing secret hangs on it
        self._cursor = 0

    def tell(
        self,
        outcomes: Mapping[str, str],
        wanted: Iterable[Wanted],
        asked: Iterable[tuple[str, bytes]],
    ) -> None:
        """Answer anyone who waits for outcomes that were just written.

        outcomes: text by outcome key. asked: askers by key, as the log has them. A result that
        can't be stored is logged: the sweeper tries again.
        """
        for one in wanted:
            value = outcomes.get(one.key)
            if value is not None:
                asker = Asker(one.task_id, one.fingerprint, one.at, one.fingerprint)
                self._answer_safely(one.key, asker, value, conflict_fails=False)
        for key, found in asked:
            if key in outcomes:
                self._answer_all(key, found, outcomes[key])

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
        self, key: str, asker: Asker, value: str, *, conflict_fails: bool = True
    ) -> bool:
        try:
            self._answer(key, asker, value, conflict_fails=conflict_fails)
        except Exception as fault:  # whatever the result backend raises: the outcome stands
            log.warning("celery_result.lost", task_id=asker.task_id, fault=str(fault))
            return False
        return True

    def _answer(self, key: str, asker: Asker, value: str, *, conflict_fails: bool) -> None:
        state = read_value(value)
        reference = reference_of_key(key)
        result: dict[str, object] | DaybookError
        if state.fingerprint == asker.fingerprint:
            outcome = outcome_of(state, reference, duplicate=asker.duplicate)
            if not outcome.final:
                return
            result = outcome.as_dict()
        else:
            conflict = ReferenceConflict(reference or state.request_id, state.request_id)
            result = conflict if conflict_fails else _rejected(reference, asker, conflict).as_dict()
        failed = isinstance(result, DaybookError)
        self._results.answer(
            asker.task_id,
            asker.mark,
            asker.at,
            result,
            states.FAILURE if failed else states.SUCCESS,
        )


def _rejected(reference: str | None, asker: Asker, conflict: ReferenceConflict) -> Outcome:
    return Outcome(
        conflict.original_id,
        reference,
        "REJECTED",
        "reference_conflict",
        str(conflict),
        fingerprint=asker.fingerprint,
    )
