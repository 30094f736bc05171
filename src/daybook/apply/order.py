"""What was read of one partition, or of several that are decided together, in one order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import TypeVar

from daybook.apply.barriers import is_barrier
from daybook.apply.batch import Batch, Read
from daybook.ledger.batch import POSITION_MAX, BatchDecision, Horizon
from daybook.queue.entries import RawEntry

ItemT = TypeVar("ItemT")


def by_home(
    reads: Sequence[Read],
    batch: Batch,
    items: Iterable[ItemT],
    position_of: Callable[[ItemT], int],
) -> dict[int, list[ItemT]]:
    """Items of a batch by the partition in whose log their entry stands."""
    if len(reads) == 1:
        return {reads[0].row.partition: list(items)}
    found: dict[int, list[ItemT]] = {}
    homes = batch.homes
    for item in items:
        found.setdefault(homes[position_of(item)], []).append(item)
    return found


def in_order(reads: Sequence[Read]) -> Iterator[RawEntry]:
    """The new entries of all partitions, oldest first."""
    if len(reads) == 1:
        return iter(reads[0].raws)
    return merge(*(read.raws for read in reads), key=lambda raw: raw.position)


def oldest(reads: Iterable[Read]) -> int | None:
    """The position of the oldest entry that is deferred or new."""
    firsts = [read.deferred[0].position for read in reads if read.deferred]
    firsts += [raw.position for read in reads for raw in islice(requests(read.raws), 1)]
    return min(firsts, default=None)


def requests(raws: Iterable[RawEntry]) -> Iterator[RawEntry]:
    """Without the barriers."""
    return (raw for raw in raws if not is_barrier(raw))


def limited(reads: Iterable[Read], limit: int) -> list[Read]:
    """Without the new entries behind the position ``limit``."""
    return [
        read._replace(raws=[raw for raw in read.raws if raw.position <= limit]) for read in reads
    ]


def up_to(limit: int, found: Iterable[list[RawEntry]]) -> list[list[RawEntry]]:
    """What was read of each partition, without what stands behind the position ``limit``."""
    return [[raw for raw in raws if raw.position <= limit] for raws in found]


def read_up_to(found: Iterable[Sequence[RawEntry]], count: int, bytes_max: int) -> Iterator[int]:
    """How far each partition was read that may have more."""
    for raws in found:
        if raws and (len(raws) >= count or sum(len(raw.body) for raw in raws) >= bytes_max):
            yield raws[-1].position


def left_unread(found: Iterable[Sequence[RawEntry]], reads: Iterable[Read]) -> Iterator[int]:
    """Before which position each partition stops, of whose ``found`` entries not all are taken."""
    for raws, read in zip(found, reads, strict=True):
        for raw in raws[len(read.raws) : len(read.raws) + 1]:
            yield raw.position - 1


def before_twins(reads: list[Read]) -> list[Read]:
    """No position may stand for two requests. Only entries written by hand can share one."""
    seen: set[int] = set()
    twins = [
        raw.position
        for read in reads
        for raw in requests(read.raws)
        if raw.position in seen or seen.add(raw.position)  # type: ignore[func-returns-value]  # None: not a twin
    ]
    if not twins:
        return reads
    first, *others = limited(reads, min(twins))
    return [first, *limited(others, min(twins) - 1)]


def before_turns(batch: Batch, horizon: Horizon) -> int | None:
    """Cut the batch before the first entry of several slots whose turn has not come.

    So its partitions are not locked for nothing. Returns the last position that stays.
    """
    for index, entry in enumerate(batch.entries):
        if entry.slots and not horizon.is_turn_of(entry.position):
            del batch.entries[index:]
            return entry.position - 1
    return None


def new_cursors(reads: Sequence[Read], batch: Batch, decision: BatchDecision) -> dict[int, int]:
    """The position of the last entry that is taken of each partition.

    A cut batch leaves the rest unread.
    """
    first_left = POSITION_MAX
    if decision.consumed < len(batch.entries):
        first_left = batch.entries[decision.consumed].position
    return {
        row.partition: max(
            (raw.position for raw in raws if raw.position < first_left), default=row.cursor
        )
        for row, raws, _, _ in reads
    }
