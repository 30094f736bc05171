"""What workers need of the log and of the database, in the words of this room.

``queue.log.Log``, ``store.store.Store`` and its ``UnitOfWork`` are that in production; a simulation
brings its own, in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from daybook.ledger.batch import Parked
from daybook.ledger.book import Book
from daybook.ledger.entry import LogEntry
from daybook.queue.entries import NewEntry, RawEntry
from daybook.queue.epochs import FIRST_EPOCH, Epoch
from daybook.queue.waiting import Wanted
from daybook.queue.wire import Appended
from daybook.store.batch.balances import KnownBalances
from daybook.store.batch.changes import Changes
from daybook.store.batch.rows import DeferredEntry, PartitionRow
from daybook.store.epochs import OpenPartition, StoredEpoch
from daybook.store.store import DueHold, DueSchedule, Marks


class Epochs(Protocol):
    """The epochs of a log. All raise LogUnavailable."""

    def after(self, number: int) -> Epoch | None:
        """The epoch that comes after ``number``, if it has begun."""

    def catch_up(self, number: int, partitions: int, fence: int, newest: int) -> bool:
        """Follow a database whose epoch this log does not know; returns whether it had to."""


class Log(Protocol):
    """The request log. Positions are integers; all raise LogUnavailable."""

    @property
    def epochs(self) -> Epochs:
        """Its epochs."""

    # --- what a batch reads ---

    def read(self, partition: int, after: int, count: int, bytes_max: int) -> list[RawEntry]:
        """The next unread entries, at most ``count`` and about ``bytes_max`` bytes of bodies."""

    def first_unread(self, cursors: Mapping[int, int]) -> dict[int, int]:
        """The position of the first unread entry of each partition that has one."""

    def end_of(self, epoch: int) -> int:
        """The last position that is routed as in this epoch."""

    def front(self) -> int:
        """A position that no later entry lies behind."""

    def now_ms(self) -> int:
        """The server's time in milliseconds since the epoch."""

    def partitions(self) -> int:
        """How many partitions the log has. Raises LogNotInstalled."""

    def outcomes(self, keys: Sequence[str]) -> list[bytes | None]:
        """What is known of each key: its outcome, or that it is queued."""

    # --- what producers are told ---

    def replied_batches(self) -> dict[int, int]:
        """Number of the last batch whose outcomes were written, of each partition with one."""

    def told_sequences(self) -> dict[int, int]:
        """Up to which sequence the outcomes of each partition were written."""

    def reply(
        self,
        partition: int,
        batch: int,
        cursor: int,
        records: tuple[int, int],
        outcomes: Sequence[tuple[str, str]],
        retention_seconds: int,
    ) -> list[tuple[str, bytes]]:
        """Write outcomes of a committed batch; returns who asked for them by a Celery message."""

    # --- what the sweeper does ---

    def append(self, entries: Sequence[NewEntry]) -> tuple[list[Appended], list[int]]:
        """Append entries in order; also returns which partitions to ring. Raises LogFull."""

    def install(
        self, partitions: int, entries_max: int, clock: int, epoch: int = FIRST_EPOCH
    ) -> None:
        """Make the log known to its server, with a clock not behind ``clock``."""

    def load_scripts(self) -> None:
        """Put the append script on the server."""

    def mend(self, partitions: int, newest: int, present: int) -> int:
        """Repair what was written past the scripts; returns the newest entry's position."""

    def vouch_decided(self, position: int) -> None:
        """Say that everything accepted at or before ``position`` is decided."""

    def cursor_marks(self) -> dict[int, int]:
        """The cursors as the log knows them, by partition."""

    def set_back(self, partition: int, cursor: int) -> None:
        """Make the log's marks of a partition those of a database that was restored."""

    def forget_marks(self, partition: int) -> None:
        """Take down the marks of a partition that the database does not have."""

    def trim(self, partition: int, before: int) -> int:
        """Drop entries before the position ``before``; returns how many went."""


class Unit(Protocol):
    """A unit of work. It is rolled back unless it is committed.

    Raises psycopg's exceptions: which of them mean that a batch is tried otherwise is told in
    ``tactics``.
    """

    # --- locks ---

    def lock(self, partitions: Sequence[int]) -> dict[int, PartitionRow]:
        """Lock partitions in the order given, waiting for each; closed ones are left out."""

    def lock_if_free(self, partition: int, *, closed: bool = False) -> PartitionRow | None:
        """Lock one partition, unless somebody else has it. closed: one that is closed, or none."""

    def lock_all(self) -> None:
        """Lock every partition, closed ones too."""

    def lock_internal(self, balance_ids: Iterable[str]) -> None:
        """Take the right to debit internal balances."""

    # --- reading ---

    def cursors(self) -> dict[int, int]:
        """The cursors of all partitions that are not closed, as last committed."""

    def deferred(self, partition: int, before: int) -> list[DeferredEntry]:
        """The deferred entries of the partition before the position ``before``, oldest first."""

    def parked(self, partition: int, start: int) -> list[Parked]:
        """The deferred entries of the partition from the position ``start`` on, oldest first."""

    def deferred_elsewhere(self, partitions: Iterable[int]) -> dict[str, int]:
        """What the deferred entries of all other partitions may credit, and the oldest of each."""

    def oldest_deferred(self) -> dict[int, int]:
        """The position of the oldest deferred entry of each partition that has one."""

    def load_book(
        self,
        entries: Sequence[LogEntry],
        known: KnownBalances,
        *,
        check_taken: bool,
        refused: Sequence[tuple[str | None, str]],
    ) -> Book:
        """The book for ``entries``: see ``store.batch.loading``."""

    def records_since(self, row: PartitionRow, sequence: int) -> list[tuple[Any, ...]]:
        """The journal rows behind ``sequence``: what replies are made of."""

    # --- epochs ---

    def open_partitions(self) -> list[OpenPartition]:
        """The partitions of the present epoch, in order."""

    def deferring(self) -> set[int]:
        """The partitions that have deferred entries."""

    def advance(self, epoch: StoredEpoch) -> None:
        """Advance to another epoch; all partitions are locked."""

    # --- writing ---

    def write(self, changes: Changes) -> list[PartitionRow]:
        """Write what a batch changes; returns its partitions as they stand afterwards.

        Raises Stale, ReferenceTaken.
        """

    def commit(self) -> None:
        """Make the unit of work true."""

    def rollback(self) -> None:
        """Forget the unit of work; nothing happens after a commit."""


class Store(Protocol):
    """The database of a worker. All raise StoreUnavailable."""

    def units(self) -> AbstractContextManager[Callable[[], Unit]]:
        """What begins units of work, one after the other on one connection."""

    def marks(self) -> Marks:
        """How far the partitions are."""

    def due_schedules(
        self, now: datetime, after: datetime, position: int, limit: int
    ) -> Sequence[DueSchedule]:
        """The next schedules that are due at ``now``, behind (``after``, ``position``)."""

    def due_holds(self, now: datetime, after: datetime, last: str, limit: int) -> Sequence[DueHold]:
        """The next holds that are due at ``now``, behind (``after``, ``last``)."""


class Answers(Protocol):
    """Who stores outcomes as results of Celery tasks, and tells monitors of them."""

    def tell(
        self,
        outcomes: Sequence[tuple[str, str]],
        wanted: Sequence[Wanted],
        asked: Sequence[tuple[str, bytes]],
    ) -> None:
        """Answer anyone who waits for outcomes (key and text) that were just written."""
