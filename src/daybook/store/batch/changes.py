"""What a batch changes: one value, made without a database and written in one unit of work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from daybook.ledger.book import Book
from daybook.ledger.record import Record
from daybook.store.batch.references import Claims
from daybook.store.batch.rows import Deferral, PartitionRow, RejectedRequest


class PartitionChanges(NamedTuple):
    """What a batch changes in one partition that it moves.

    row: as it was locked. cursor: position of the last entry that is behind it now. records: new
    rows of its journal. released: positions of entries that are deferred no longer. deferred: new
    ones. rejected: requests to be kept with their raw bytes. outcomes: those that the journal does
    not show, as JSON.
    """

    row: PartitionRow
    cursor: int
    records: Sequence[Record] = ()
    released: Sequence[int] = ()
    deferred: Sequence[Deferral] = ()
    rejected: Sequence[RejectedRequest] = ()
    outcomes: str | None = None

    def row_after(self, head: bytes) -> PartitionRow:
        """The partition as it stands afterwards. head: the hash of the last row of its journal."""
        return self.row._replace(
            cursor=self.cursor,
            sequence=self.row.sequence + len(self.records),
            head=head,
            batch=self.row.batch + 1,
            batch_sequence=self.row.sequence,
            batch_outcomes=self.outcomes,
        )


class Changes(NamedTuple):
    """What a batch changes.

    book: what was read, and how the batch changes what all partitions share: balances, holds,
    schedules, things. claims: references that it takes. flags: of entries that have some, by
    position. partitions: those that it moves; the batch changes nothing when there are none.
    """

    book: Book
    claims: Claims
    flags: Mapping[int, str]
    partitions: Sequence[PartitionChanges]
