"""What a batch is made from, read in the one order in which it can be decided.

A rejection is final only when nothing older is open elsewhere that could change it, and figures
must contain whatever is not open. Correctness hangs on the order of these reads, and on nothing
else: other workers commit between any two of them. ::

    own partitions are locked
      1  front of the log            of several partitions: all of them are read at least so far
      2  new entries
      3  end of the epoch            after 2: no entry of the next epoch is among them unnoticed
      4  cursors of the others       after 2: what is older than 2 is in their streams by now
      5  their first unread entries  after 4: what they apply meanwhile still counts as open
      6  what they defer             after 4: what went from unread to deferred is seen here
      7  what is deferred here       whenever: under the own locks
    rights are locked
      8  figures (``load_book``)     after 4 to 6: what is no longer open is in them

Read earlier, 8 would miss the credit of an entry that 4 finds applied: money would be missing that
nobody waits for. Read before 4, 6 would miss an entry that is deferred between the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from daybook.apply.barriers import first_closed_barrier, home_of, is_barrier
from daybook.apply.batch import Read
from daybook.apply.order import (
    before_twins,
    in_order,
    left_unread,
    limited,
    read_up_to,
    up_to,
)
from daybook.apply.ports import Log, Unit
from daybook.apply.tactics import Tactics
from daybook.ledger.batch import ALONE, POSITION_MAX, Horizon, Parked
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.queue.entries import RawEntry
from daybook.settings import Settings
from daybook.steps import Point, reach
from daybook.store.batch.rows import PartitionRow


class Found(NamedTuple):
    """What was read.

    horizon: what is open elsewhere. is_fenced: the log has another number of partitions from some
    entry on, and only what stands before that was read. join: partitions to be joined first;
    nothing can be decided before.
    """

    reads: list[Read]
    horizon: Horizon
    is_fenced: bool
    join: Set[int] = frozenset()

    def up_to(self, position: int) -> Found:
        """Without the new entries behind ``position``."""
        return self._replace(
            reads=limited(self.reads, position), horizon=self.horizon.up_to(position)
        )

    def parked(self) -> list[Parked]:
        """What stays deferred without a decision, in order."""
        return sorted(item for read in self.reads for item in read.parked)


class Reader:
    """Reads for one batch. joined: the locked rows of the partitions that are decided together."""

    def __init__(
        self,
        log: Log,
        unit: Unit,
        settings: Settings,
        joined: Sequence[PartitionRow],
        tactics: Tactics,
    ) -> None:
        self._log = log
        self._unit = unit
        self._settings = settings
        self._joined = joined
        self._tactics = tactics

    def read(self) -> Found:
        """What is new and what is deferred in the joined partitions, and what is open elsewhere.

        Of several partitions only so much is taken that nothing older is left in any of them.
        """
        joined, count, bytes_max = self._joined, self._tactics.count, self._settings.batch_bytes_max
        front = self._log.front() if len(joined) > 1 else POSITION_MAX
        found = [self._log.read(row.partition, row.cursor, count, bytes_max) for row in joined]
        end = self._log.end_of(joined[0].epoch)
        fenced = end < POSITION_MAX
        found = up_to(end, found) if fenced else found
        reach(Point.READ)
        unread = self.unread_elsewhere()
        horizon = self.horizon(unread)
        reads = self._with_deferred(found, horizon)
        if len(joined) > 1:
            front = max(front, *(raws[0].position for raws in found if raws), 0)
            front = min([front, *read_up_to(found, count, bytes_max)])
            reads = before_twins(limited(reads, front))
        barrier = first_closed_barrier(in_order(reads), unread)
        if barrier is not None:
            if _comes_first(barrier, reads):
                # Other barriers may stand at this position, too: one home after the other joins.
                homes = {home_of(barrier)} | {row.partition for row in joined}
                return Found(reads, horizon, fenced, frozenset(homes))
            reads = limited(reads, barrier.position - 1)
        if self._tactics.alone:
            reads = self._first_alone(reads)
        if len(joined) > 1:
            # What is deferred in one partition may need what is left unread in another.
            horizon = horizon.up_to(min([front, *left_unread(found, reads)]))
        return Found(reads, horizon, fenced)

    def unread_elsewhere(self) -> dict[int, int]:
        """The first unread entry of each other partition."""
        if self._is_everything():
            return {}
        cursors = self._unit.cursors()
        for row in self._joined:
            cursors.pop(row.partition, None)
        return self._log.first_unread(cursors)

    def horizon(self, unread: Mapping[int, int]) -> Horizon:
        """What is open elsewhere. unread: as just read."""
        if self._is_everything():
            return ALONE
        deferred_elsewhere = self._unit.deferred_elsewhere(row.partition for row in self._joined)
        final_before = 0
        bound = self._settings.rejection_wait_seconds_max
        if bound is not None:
            final_before = (self._log.now_ms() - int(bound * 1000)) << POSITION_COUNTER_BITS
        return Horizon(min(unread.values(), default=None), deferred_elsewhere, final_before)

    def _is_everything(self) -> bool:
        """Whether there are no other partitions."""
        return self._joined[0].partitions == len(self._joined)

    def _with_deferred(self, found: Sequence[list[RawEntry]], horizon: Horizon) -> list[Read]:
        return [
            Read(
                row,
                raws,
                self._unit.deferred(row.partition, horizon.ripe_before),
                self._unit.parked(row.partition, horizon.ripe_before),
            )
            for row, raws in zip(self._joined, found, strict=True)
        ]

    def _first_alone(self, reads: Sequence[Read]) -> list[Read]:
        """Only the oldest entry, be it deferred or new. Barriers before it are taken along."""
        waiting = min(
            (item.position for read in reads for item in read.deferred), default=POSITION_MAX
        )
        new = next((raw.position for raw in in_order(reads) if not is_barrier(raw)), POSITION_MAX)
        if waiting < new:
            return [
                Read(
                    read.row,
                    [],
                    [item for item in read.deferred if item.position == waiting],
                    self._unit.parked(read.row.partition, waiting + 1),
                )
                for read in reads
            ]
        if self._tactics.count > 1 or new == POSITION_MAX:
            return list(reads)
        return [
            read._replace(deferred=[], parked=self._unit.parked(read.row.partition, 0))
            for read in limited(reads, new)
        ]


def _comes_first(barrier: RawEntry, reads: Sequence[Read]) -> bool:
    """Whether nothing is left to decide before a barrier."""
    first = next(in_order(reads)).position
    return barrier.position == first and not any(read.deferred for read in reads)
