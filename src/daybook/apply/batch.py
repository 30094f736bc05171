"""What a batch is made of: what was read of each partition, and what it was decoded to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from daybook.ledger.batch import Parked
from daybook.ledger.entry import LogEntry
from daybook.ledger.rejection import Rejected
from daybook.queue.entries import RawEntry
from daybook.store.batch.rows import DeferredEntry, PartitionRow


class Read(NamedTuple):
    """What was read of one partition.

    raws: new entries. deferred: entries that were deferred and are worth another decision. parked:
    those that are not.
    """

    row: PartitionRow
    raws: list[RawEntry]
    deferred: list[DeferredEntry]
    parked: list[Parked]


class Undecodable(NamedTuple):
    """An entry of the log that is no request."""

    raw: RawEntry
    rejected: Rejected
    traceback: str | None = None


class Batch(NamedTuple):
    """What was read, in order: deferred entries, new ones, and those that are no requests.

    deferred: positions of what was deferred. flags: of entries that have some, by position.
    homes: the partition in which each of them stands, by position.
    """

    deferred: list[int]
    waiting: list[LogEntry]
    entries: list[LogEntry]
    undecodable: list[Undecodable]
    flags: dict[int, str]
    homes: dict[int, int]

    @property
    def decodable(self) -> list[LogEntry]:
        """Every request of the batch."""
        return self.waiting + self.entries

    def up_to(self, cursors: Mapping[int, int]) -> Batch:
        """Without what is no request and lies behind the cursor of its partition."""
        return self._replace(
            undecodable=[
                item
                for item in self.undecodable
                if item.raw.position <= cursors[self.homes[item.raw.position]]
            ]
        )
