"""Which locks a batch needs.

Its own partition's always. Those of others when one of its requests spends there: every debit that
checks funds is decided under the lock of its source's partition, so that no two workers spend the
same money (design, section 3). Internal balances belong to no partition: the right to debit each of
them is a lock of its own, taken after all partitions.

Locks are taken in ascending order only. So a batch that finds out, once it has read, that it needs
another one lets go of its own, and is tried again with both from the beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from daybook.apply.batch import Batch
from daybook.apply.ports import Unit
from daybook.apply.tactics import Tactics
from daybook.ledger.balance import may_be_internal
from daybook.ledger.entry import LogEntry
from daybook.ledger.instructions import movements
from daybook.requests import slot_of
from daybook.store.batch.rows import PartitionRow


class Rights(NamedTuple):
    """What a batch may debit only under a lock: balances of partitions, and internal balances."""

    partitions: set[int]
    internal: set[str]


def lock(unit: Unit, partition: int, tactics: Tactics) -> dict[int, PartitionRow]:
    """The rows of the partitions that are locked; without its own when that is not free."""
    if tactics.locks or tactics.patient:
        return unit.lock(sorted({partition, *tactics.locks}))
    row = unit.lock_if_free(partition)
    return {} if row is None else {partition: row}


def to_join(batch: Batch, own: PartitionRow, joined: Collection[int]) -> set[int]:
    """Other partitions whose entries are to be decided together with those of this batch.

    A request that spends in several partitions is, with what they hold: so many such requests
    behind each other do not send the workers to and fro. It is done when one comes first, so that
    what lies before it is decided on its own.
    """
    if batch.waiting or not batch.entries:
        return set()
    needed = {slot % own.partitions for slot in batch.entries[0].slots}
    return (needed | set(joined)) - {own.partition} if needed - set(joined) else set()


def rights_of(entries: Iterable[LogEntry], partitions: int) -> Rights:
    """What these entries debit. partitions: how many there are."""
    rights = Rights(set(), set())
    for entry in entries:
        rights.partitions.update(slot % partitions for slot in entry.slots)
        for whole, leg in movements(entry.instruction):
            if not whole.checks_funds:
                continue
            if may_be_internal(leg.source_id):
                rights.internal.add(leg.source_id)
            if leg.source_indicator is None:
                rights.partitions.add(slot_of(leg.source_id) % partitions)
    return rights
