"""One unit of work: the locks that it takes, what it reads, and the batch that it writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from daybook.ledger.batch import Parked
from daybook.ledger.book import Book
from daybook.ledger.entry import LogEntry
from daybook.store.batch.balances import KnownBalances
from daybook.store.batch.changes import Changes
from daybook.store.batch.deferred import (
    load_deferred,
    load_deferred_elsewhere,
    load_oldest_deferred,
    load_parked,
)
from daybook.store.batch.journal import load_records_since
from daybook.store.batch.loading import load_book
from daybook.store.batch.partitions import load_cursors, lock_if_free, lock_partitions
from daybook.store.batch.rows import DeferredEntry, PartitionRow
from daybook.store.batch.writing import write_batch
from daybook.store.epochs import (
    OpenPartition,
    StoredEpoch,
    advance,
    deferring,
    lock_all,
    open_partitions,
)

_LOCK_INTERNAL = "SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key"


class UnitOfWork:
    """A database transaction on one connection. It is rolled back unless it is committed."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.cursor: psycopg.Cursor[Any] = connection.cursor()

    # --- locks ---

    def lock(self, partitions: Sequence[int]) -> dict[int, PartitionRow]:
        """Lock partitions in ascending order, waiting for each; closed ones are left out."""
        return lock_partitions(self.cursor, partitions)

    def lock_if_free(self, partition: int, *, closed: bool = False) -> PartitionRow | None:
        """Lock one partition, unless somebody else has it. closed: one that is closed, or none."""
        return lock_if_free(self.cursor, partition, closed=closed)

    def lock_all(self) -> None:
        """Lock every partition, closed ones too."""
        lock_all(self.cursor)

    def lock_internal(self, balance_ids: Iterable[str]) -> None:
        """Take the right to debit internal balances, in ascending order of their ids."""
        keys = sorted(_advisory_key(balance_id) for balance_id in set(balance_ids))
        if keys:
            self.cursor.execute(_LOCK_INTERNAL, (keys,))

    # --- reading ---

    def cursors(self) -> dict[int, int]:
        """The cursors of all partitions that are not closed, as last committed."""
        return load_cursors(self.cursor)

    def deferred(self, partition: int, before: int) -> list[DeferredEntry]:
        """The deferred entries of the partition before the position ``before``, oldest first."""
        return load_deferred(self.cursor, partition, before)

    def parked(self, partition: int, start: int) -> list[Parked]:
        """The deferred entries of the partition from the position ``start`` on, oldest first."""
        return load_parked(self.cursor, partition, start)

    def deferred_elsewhere(self, partitions: Iterable[int]) -> dict[str, int]:
        """What the deferred entries of all other partitions may credit, and the oldest of each."""
        return load_deferred_elsewhere(self.cursor, partitions)

    def oldest_deferred(self) -> dict[int, int]:
        """The position of the oldest deferred entry of each partition that has one."""
        return load_oldest_deferred(self.cursor)

    def load_book(
        self,
        entries: Sequence[LogEntry],
        known: KnownBalances,
        *,
        check_taken: bool,
        refused: Sequence[tuple[str | None, str]],
    ) -> Book:
        """The book for ``entries``: see ``store.batch.loading``."""
        return load_book(self.cursor, entries, known, check_taken=check_taken, refused=refused)

    def records_since(self, row: PartitionRow, sequence: int) -> list[tuple[Any, ...]]:
        """The journal rows behind ``sequence``: what replies are made of."""
        return load_records_since(self.cursor, row.partition, sequence)

    # --- epochs ---

    def open_partitions(self) -> list[OpenPartition]:
        """The partitions of the present epoch, in order."""
        return open_partitions(self.cursor)

    def deferring(self) -> set[int]:
        """The partitions that have deferred entries."""
        return deferring(self.cursor)

    def advance(self, epoch: StoredEpoch) -> None:
        """Advance to another epoch; all partitions are locked."""
        advance(self.cursor, epoch)

    # --- writing ---

    def write(self, changes: Changes) -> list[PartitionRow]:
        """Write what a batch changes; returns its partitions as they stand afterwards.

        Raises Stale, ReferenceTaken, and psycopg's own when Postgres refuses something.
        """
        return write_batch(self.cursor, changes)

    def commit(self) -> None:
        """Make the unit of work true."""
        self.connection.commit()

    def rollback(self) -> None:
        """Forget the unit of work."""
        self.connection.rollback()


def _advisory_key(balance_id: str) -> int:
    """A signed 64-bit key for an advisory lock, from the id's first 16 hex digits."""
    value = int(balance_id[4:].replace("-", "")[:16], 16)
    return value - (1 << 64) if value >= 1 << 63 else value
