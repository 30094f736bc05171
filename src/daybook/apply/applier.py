"""The drain of a partition: batch after batch until it is empty, and a hand for those it waits for.

A batch itself, and what makes it exactly once, is told in ``tries`` and ``attempt``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from daybook.apply.epochs import advance
from daybook.apply.ports import Answers, Log, Store
from daybook.apply.report import BatchReport, DrainReport
from daybook.apply.tries import Tries
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.settings import Settings
from daybook.steps import Point, reach

HELP_ROUNDS_MAX = 64
"""How often one drain looks for a lagging partition that its deferred entries wait for."""


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
        self._clock = clock
        self._tries = Tries(store, request_log, settings, answers)
        self._batch_entries: dict[int, int] = {}

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
            if report.read == 0 and report.deferred == 0 and self._stays_empty(report):
                break
            if report.read == 0 or not report.progress:
                helped += 1
                if helped > HELP_ROUNDS_MAX:
                    drained.more = True
                    break
                if not self._help(partition, drained):
                    break  # others have decided what was open meanwhile
            if self._clock() >= deadline:
                drained.more = True
                break
        return drained

    def apply_batch(self, partition: int, count: int, *, patient: bool = False) -> BatchReport:
        """Apply the next batch of at most ``count`` entries.

        patient: wait for a partition that another worker is applying, up to the lock time-out,
        instead of answering ``busy`` at once. Raises StoreUnavailable, LogUnavailable.
        """
        return self._tries.apply(partition, count, patient=patient)

    def apply_next(self, partition: int) -> None:
        """Apply the next batch, as large as may be; wait for a partition that somebody has."""
        self.apply_batch(partition, self.settings.batch_entries_max, patient=True)

    def reply_to_closed(self, partition: int) -> None:
        """Tell once more what a closed partition decided last, if the log has lost it.

        No batch comes to it that would. Raises StoreUnavailable, LogUnavailable.
        """
        self._tries.reply_to_closed(partition)

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
