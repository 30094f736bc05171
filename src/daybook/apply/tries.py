"""One batch, tried until it is done: each try in a unit of work of its own, each with its tactics.

So an entry is either wholly applied and behind the cursor, or not applied and still ahead of it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from daybook.apply.attempt import Attempt, Surroundings
from daybook.apply.decoding import LargeDecoded
from daybook.apply.late import reply_for_the_dead
from daybook.apply.ports import Answers, Log, Store
from daybook.apply.report import BatchReport
from daybook.apply.tactics import BUSY, TRY_OTHERWISE, Again, Done, Tactics, Why, after_fault
from daybook.errors import StoreUnavailable
from daybook.queue.waiting import Wanted
from daybook.settings import Settings
from daybook.steps import Point, reach
from daybook.store.batch.balances import KnownBalances
from daybook.store.batch.rows import PartitionRow

ATTEMPTS_MAX = 12
"""How often a batch is tried before the task gives up and the sweeper tries later."""

WARY_BATCHES = 16
"""After a batch with a reference that was taken, so many look references up before they write."""

log = structlog.get_logger()


class Tries:
    """Applies batches of any partition, and replies. answers: see ``Applier``."""

    def __init__(
        self, store: Store, request_log: Log, settings: Settings, answers: Answers | None
    ) -> None:
        self._store = store
        self._log = request_log
        self._settings = settings
        self._answers = answers
        self._known_balances = KnownBalances()
        self._surroundings = Surroundings(
            request_log, settings, self._known_balances, LargeDecoded(), self._reply
        )
        self._wary: dict[int, int] = {}

    def apply(self, partition: int, count: int, *, patient: bool) -> BatchReport:
        """Apply the next batch of at most ``count`` entries.

        patient: wait for a partition that another worker is applying. Raises StoreUnavailable,
        LogUnavailable.
        """
        with _collector_paused():
            check_taken = self._wary.get(partition, 0) > 0
            tactics = Tactics(count, patient=patient, check_taken=check_taken)
            return self._try(partition, tactics)

    def reply_to_closed(self, partition: int) -> None:
        """Tell once more what a closed partition decided last, if the log has lost it."""
        with self._store.units() as begin:
            unit = begin()
            row = unit.lock_if_free(partition, closed=True)
            if row is not None:
                reply_for_the_dead(self._log, unit, [row], self._reply)
            unit.rollback()

    def _try(self, partition: int, tactics: Tactics) -> BatchReport:
        with self._store.units() as begin:
            for _ in range(ATTEMPTS_MAX):
                unit = begin()
                attempt = Attempt(self._surroundings, unit, partition, tactics)
                try:
                    tried = attempt.run()
                except BUSY:
                    return BatchReport(partition, busy=True)
                except TRY_OTHERWISE as fault:
                    tried = after_fault(fault, tactics, attempt.oldest)
                finally:
                    unit.rollback()  # does nothing after a commit
                if isinstance(tried, Done):
                    break
                tactics = tried.tactics
                self._learn(partition, tried)
            else:
                raise StoreUnavailable(
                    f"partition {partition}: its next batch failed {ATTEMPTS_MAX} times"
                )
        if tactics.check_taken and not tried.report.outcomes.get("duplicate"):
            self._wary[partition] = self._wary.get(partition, 0) - 1
        for row, replies in tried.replies:
            self._reply(row, replies.all, replies.celery)
        reach(Point.REPLIED)
        return tried.report

    def _learn(self, partition: int, again: Again) -> None:
        """Remember for later batches what a try has shown."""
        if again.why is Why.TAKEN:
            self._wary[partition] = WARY_BATCHES
        elif again.why is Why.STALE:
            self._known_balances.forget()
            log.info("batch.decided_again", partition=partition, why=again.detail)

    def _reply(
        self,
        row: PartitionRow,
        outcomes: Sequence[tuple[str, str]],
        wanted: Sequence[Wanted],
    ) -> None:
        """Tell producers what the committed batch ``row.batch`` decided.

        wanted: outcomes that are also results of Celery tasks.
        """
        retention = self._settings.outcome_retention_seconds
        records = (row.batch_sequence, row.sequence)
        asked = self._log.reply(row.partition, row.batch, row.cursor, records, outcomes, retention)
        if self._answers is not None:
            self._answers.tell(outcomes, wanted, asked)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the cycle collector from walking a batch's many small tuples again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
