"""The batch: read entries, decide them, write all that follows in one unit of work, reply.

So an entry is either wholly applied and behind the cursor, or not applied and still ahead of it.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import structlog
from psycopg import errors as pg

from daybook.apply.attempt import Attempt, NeedsLocks, Surroundings, Tactics
from daybook.apply.epochs import advance
from daybook.apply.reading import LargeDecoded
from daybook.apply.replies import BatchReport, DrainReport
from daybook.errors import StoreUnavailable
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.queue.log import Log
from daybook.queue.waiting import Wanted
from daybook.settings import Settings
from daybook.steps import Point, reach
from daybook.store.batch.again import Stale
from daybook.store.batch.balances import KnownBalances
from daybook.store.batch.references import ReferenceTaken
from daybook.store.batch.rows import PartitionRow
from daybook.store.store import Store

ATTEMPTS_MAX = 12
"""How often a batch is decided again before the task gives up and the sweeper tries later."""

HELP_ROUNDS_MAX = 64
"""How often one drain looks for a lagging partition that its deferred entries wait for."""

SHRINK_FACTOR = 8
"""A batch that Postgres refuses for its data is tried again with so many times fewer entries."""

COLLISIONS_MAX = 4
"""So often a batch may find an id taken that was free a moment before. Then one of its requests
collides with itself, by an id that was made to, and is quarantined. References don't count: each
time that one is taken, another batch has been committed with it, and the next look finds it."""

WARY_BATCHES = 16
"""After a batch with a reference that was taken, so many look references up before they write."""

log = structlog.get_logger()


class Answers(Protocol):
    """Who stores outcomes as results of Celery tasks."""

    def tell(
        self,
        outcomes: Mapping[str, str],
        wanted: Iterable[Wanted],
        asked: Iterable[tuple[str, bytes]],
    ) -> None:
        """Answer anyone who waits for outcomes (text by outcome key) that were just written."""


class Applier:
    """Applies partitions, one batch after the other. One per process (or thread).

    answers: stores outcomes as results of Celery tasks; without it nobody gets one.
    clock: seconds, monotonic; bounds how long a drain lasts.
    """

    def __init__(
        self,
        store: Store,
        request_log: Log,
        settings: Settings,
        answers: Answers | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self.log = request_log
        self.settings = settings
        self.answers = answers
        self._clock = clock
        self._known_balances = KnownBalances()
        self._large_decoded = LargeDecoded()
        self._batch_entries: dict[int, int] = {}
        self._wary: dict[int, int] = {}

    def drain(self, partition: int) -> DrainReport:
        """Apply batches of ``partition`` until it is empty or the turn is over.

        What is deferred for the past of other partitions is helped along: any worker may apply
        any partition. Raises StoreUnavailable, LogUnavailable.
        """
        drained = DrainReport(partition)
        deadline = self._clock() + self.settings.drain_seconds_max
        helped = 0
        while True:
            report = self.apply_batch(partition, self._size(partition))
            drained.add(report)
            if report.busy:
                drained.busy = drained.batches == 0
                break
            self._adapt(partition, report)
            if report.fenced and report.read == 0:
                if not advance(self._store, self.log, self.apply_next):
                    break  # others are still at it: the last one advances, or the sweeper
                # Doorbells rang before there was anything to read behind the fence.
                drained.helped |= set(range(self.log.partitions()))
                continue
            stuck = report.deferred > 0 and not report.progress
            if report.read == 0 and report.deferred == 0 and self._stays_empty(report):
                break
            if report.read == 0 or stuck:
                helped += 1
                if helped > HELP_ROUNDS_MAX or not self._help(partition, drained):
                    drained.more = report.deferred > 0 or helped > HELP_ROUNDS_MAX
                    break
            if self._clock() >= deadline:
                drained.more = True
                break
        return drained

    def apply_batch(self, partition: int, count: int, *, patient: bool = False) -> BatchReport:
        """Apply the next batch of at most ``count`` entries.

        patient: wait for a partition that another worker is applying, up to the lock time-out,
        instead of answering ``busy`` at once. Raises StoreUnavailable, LogUnavailable.
        """
        with _collector_paused():
            return self._apply_batch(partition, count, patient)

    def _apply_batch(self, partition: int, count: int, patient: bool) -> BatchReport:
        tactics = Tactics(patient, check_taken=self._wary.get(partition, 0) > 0)
        surroundings = Surroundings(
            self.log, self.settings, self._known_balances, self._large_decoded, self.reply
        )
        with self._store.units() as begin:
            for _ in range(ATTEMPTS_MAX):
                unit = begin()
                attempt = Attempt(surroundings, unit, partition, count)
                try:
                    done = attempt.run(tactics)
                except NeedsLocks as needed:
                    tactics.rights |= needed.partitions
                    tactics.join |= needed.join
                except (pg.LockNotAvailable, pg.QueryCanceled):
                    return BatchReport(partition, busy=True)
                except ReferenceTaken:
                    tactics.check_taken = True
                    self._wary[partition] = WARY_BATCHES
                except pg.UniqueViolation:
                    tactics.check_taken = True
                    tactics.collisions += 1
                    self._wary[partition] = WARY_BATCHES
                    if tactics.collisions > COLLISIONS_MAX:
                        count = _alone(tactics, count)
                except (Stale, pg.SerializationFailure, pg.DeadlockDetected) as fault:
                    self._known_balances.forget()
                    log.info("batch.decided_again", partition=partition, why=str(fault))
                except (pg.DataError, pg.ProgramLimitExceeded, UnicodeError):
                    count = _alone(tactics, count)
                else:
                    break
                finally:
                    unit.rollback()  # does nothing after a commit
            else:
                raise StoreUnavailable(
                    f"partition {partition}: its next batch failed {ATTEMPTS_MAX} times"
                )
        if tactics.check_taken and not done.report.outcomes.get("duplicate"):
            self._wary[partition] = self._wary.get(partition, 0) - 1
        for row, replies in done.replies:
            self.reply(row, replies.all, replies.celery)
        reach(Point.REPLIED)
        return done.report

    def reply(
        self,
        row: PartitionRow,
        outcomes: Sequence[tuple[str, str]],
        wanted: Sequence[Wanted],
    ) -> None:
        """Tell producers what the committed batch ``row.batch`` decided.

        wanted: outcomes that are also results of Celery tasks.
        """
        retention = self.settings.outcome_retention_seconds
        records = (row.batch_sequence, row.sequence)
        asked = self.log.reply(row.partition, row.batch, row.cursor, records, outcomes, retention)
        if self.answers is not None and (wanted or asked):
            self.answers.tell(dict(outcomes), wanted, asked)

    def apply_next(self, partition: int) -> None:
        """Apply the next batch, as large as may be; wait for a partition that somebody has."""
        self.apply_batch(partition, self.settings.batch_entries_max, patient=True)

    def _stays_empty(self, report: BatchReport) -> bool:
        """Whether the partition is still empty now that its lock is released.

        The doorbell of an entry that came meanwhile may have found the lock taken and gone.
        """
        return not self.log.first_unread({report.partition: report.cursor})

    def _size(self, partition: int) -> int:
        return self._batch_entries.get(partition, self.settings.batch_entries_min)

    def _adapt(self, partition: int, report: BatchReport) -> None:
        """Large batches under load, small ones when idle."""
        size = self._size(partition)
        if report.read >= size:
            size = min(size * 2, self.settings.batch_entries_max)
        elif report.read < size // 4:
            size = max(size // 2, self.settings.batch_entries_min)
        self._batch_entries[partition] = size

    def _help(self, partition: int, drained: DrainReport) -> bool:
        """Apply the partition whose oldest open entry is the oldest of all, if it is another's."""
        lagging = self._oldest_open(partition)
        if lagging is None:
            return False
        if lagging != partition:
            report = self.apply_batch(lagging, self._size(lagging), patient=True)
            self._adapt(lagging, report)
            drained.add(report)
        return True

    def _oldest_open(self, partition: int) -> int | None:
        """The partition whose oldest open entry is the oldest of all.

        Of several it is another one: a wide request and its barriers share their position, and
        anyone who comes to one of them takes all of their partitions.
        """
        with self._store.units() as begin:
            unit = begin()
            cursors = unit.cursors()
            oldest = unit.oldest_deferred()
            unit.rollback()
        for other, position in self.log.first_unread(cursors).items():
            oldest[other] = min(position, oldest.get(other, position))
        return min(oldest, key=lambda p: (oldest[p], p == partition), default=None)

    def trim(self, partition: int, cursor: int) -> None:
        """Drop entries of ``partition`` that were applied longer ago than the retention."""
        kept_ms = max(0, self.log.now_ms() - self.settings.log_retention_seconds * 1000)
        self.log.trim(partition, min(cursor, kept_ms << POSITION_COUNTER_BITS))
        reach(Point.TRIMMED)


def _alone(tactics: Tactics, count: int) -> int:
    """Narrow a batch that Postgres refuses down to the entry that is to be quarantined.

    Called while the rejection is handled. Returns how many entries to try next.
    """
    if tactics.alone:
        tactics.refused = (tactics.first, traceback.format_exc())
    tactics.alone = count == 1
    return max(1, count // SHRINK_FACTOR)


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
