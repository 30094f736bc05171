"""One unit of work of a partition: its locks, what it reads beside the book, and its marks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg

from daybook.ledger.batch import Parked
from daybook.ledger.book import Book
from daybook.ledger.entry import LogEntry
from daybook.ledger.record import Record
from daybook.store.batch.balances import KnownBalances, write_balances
from daybook.store.batch.changes import write_changes
from daybook.store.batch.creations import write_creations
from daybook.store.batch.holds import write_holds
from daybook.store.batch.journal import write_records
from daybook.store.batch.loading import load_book
from daybook.store.batch.quarantine import Resolutions, resolve
from daybook.store.batch.references import Claims, take_references
from daybook.store.batch.rows import DeferredEntry, PartitionRow, RejectedRequest
from daybook.store.batch.schedules import write_schedules
from daybook.store.epochs import (
    OpenPartition,
    StoredEpoch,
    deferring,
    go_on,
    lock_all,
    open_partitions,
)

_LOCK_PARTITIONS = """
SELECT partition, cursor, sequence, head, batch, batch_sequence, batch_outcomes,
    total, epoch
FROM partitions WHERE partition = ANY(%s::smallint[]) AND partition < total
ORDER BY partition FOR NO KEY UPDATE
"""
"""How many partitions there are stands in the locked row itself: anyone who has waited for the lock
sees that as it is now, but other tables as they were when the statement began."""
_LOCK_FREE_PARTITION = _LOCK_PARTITIONS + " SKIP LOCKED"
_LOCK_INTERNAL = "SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key"
_CURSORS = "SELECT partition, cursor FROM partitions WHERE partition < total"
_DEFERRED_ELSEWHERE = """
SELECT name, min(position) FROM deferred_entries, unnest(may_credit) AS name
WHERE partition <> ALL(%s::smallint[]) GROUP BY name
"""
_DEFERRED = """
SELECT position, request_id, flags, body FROM deferred_entries
WHERE partition = %s AND position < %s ORDER BY position
"""
_PARKED = """
SELECT position, slot, may_credit FROM deferred_entries WHERE partition = %s AND position >= %s
ORDER BY position
"""
_OLDEST_DEFERRED = "SELECT partition, min(position) FROM deferred_entries GROUP BY partition"
_RELEASE = "DELETE FROM deferred_entries WHERE partition = %s AND position = ANY(%s::bigint[])"
_DEFER = """
INSERT INTO deferred_entries (partition, position, slot, request_id, may_credit, flags, body)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_REJECT = """
INSERT INTO rejected_requests (partition, position, request_id, reference, uses_reference, reason,
    detail, body, traceback) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_ADVANCE = """
UPDATE partitions SET cursor = %s, sequence = %s, head = %s, batch = batch + 1,
    batch_sequence = %s, batch_outcomes = %s, applied_at = now()
WHERE partition = %s
"""
_RECORDS_SINCE = """
SELECT reference, derived, transaction_id::text, status, reason, detail, fingerprint, position,
    precise_amount, precision, currency
FROM transactions WHERE partition = %s AND sequence > %s
    AND kind NOT IN ('ledger', 'balance', 'identity')
    AND NOT (substr(transaction_id::text, 15, 1) = '8'
        AND substr(transaction_id::text, 20, 1) IN ('a', 'b'))
ORDER BY sequence
"""
"""Not those that are parts of a request: nobody waits for one of them."""


class UnitOfWork:
    """A database transaction on one connection. It is rolled back unless it is committed."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.cursor: psycopg.Cursor[Any] = connection.cursor()

    def lock(self, partitions: Sequence[int]) -> dict[int, PartitionRow]:
        """Lock partitions in ascending order, waiting for each; closed ones are left out."""
        self.cursor.execute(_LOCK_PARTITIONS, (list(partitions),))
        return {row[0]: PartitionRow(*row) for row in self.cursor}

    def lock_all(self) -> None:
        """Lock every partition, closed ones too."""
        lock_all(self.cursor)

    def open_partitions(self) -> list[OpenPartition]:
        """The partitions of the present epoch, in order."""
        return open_partitions(self.cursor)

    def deferring(self) -> set[int]:
        """The partitions that hold something over."""
        return deferring(self.cursor)

    def go_on(self, epoch: StoredEpoch) -> None:
        """Turn to another epoch; all partitions are locked."""
        go_on(self.cursor, epoch)

    def lock_if_free(self, partition: int) -> PartitionRow | None:
        """Lock one partition, unless somebody else has it."""
        self.cursor.execute(_LOCK_FREE_PARTITION, ([partition],))
        row = self.cursor.fetchone()
        return None if row is None else PartitionRow(*row)

    def lock_internal(self, balance_ids: Iterable[str]) -> None:
        """Take the right to debit internal balances, in ascending order of their ids."""
        keys = sorted(_advisory_key(balance_id) for balance_id in set(balance_ids))
        if keys:
            self.cursor.execute(_LOCK_INTERNAL, (keys,))

    def cursors(self) -> dict[int, int]:
        """The cursors of all partitions that are not closed, as last committed."""
        self.cursor.execute(_CURSORS)
        return dict(self.cursor.fetchall())

    def deferred_elsewhere(self, partitions: Iterable[int]) -> dict[str, int]:
        """What entries deferred in all other partitions would bring, and the oldest of them."""
        self.cursor.execute(_DEFERRED_ELSEWHERE, (list(partitions),))
        return dict(self.cursor.fetchall())

    def oldest_deferred(self) -> dict[int, int]:
        """The position of the oldest entry deferred, of each partition that has one."""
        self.cursor.execute(_OLDEST_DEFERRED)
        return dict(self.cursor.fetchall())

    def deferred(self, partition: int, before: int) -> list[DeferredEntry]:
        """What the partition defers from before the position ``before``, oldest first."""
        self.cursor.execute(_DEFERRED, (partition, before))
        return [DeferredEntry(*row) for row in self.cursor]

    def parked(self, partition: int, start: int) -> list[Parked]:
        """What the partition defers from the position ``start`` on, oldest first."""
        self.cursor.execute(_PARKED, (partition, start))
        return [Parked(*row) for row in self.cursor]

    def change_deferred(
        self,
        partition: int,
        released: Sequence[int],
        added: Sequence[tuple[DeferredEntry, int, Sequence[str]]],
    ) -> None:
        """Release entries by position; defer others, each with its slot and what it may credit."""
        if released:
            self.cursor.execute(_RELEASE, (partition, list(released)))
        if added:
            self.cursor.executemany(
                _DEFER,
                [
                    (partition, e.position, slot, e.request_id, list(may_credit), e.flags, e.body)
                    for e, slot, may_credit in added
                ],
            )

    def reject(self, partition: int, rejections: Sequence[RejectedRequest]) -> None:
        """Keep refused requests."""
        if rejections:
            self.cursor.executemany(
                _REJECT,
                [
                    (
                        partition,
                        r.position,
                        r.request_id,
                        r.reference,
                        r.uses_reference,
                        r.reason,
                        r.detail,
                        r.body,
                        r.traceback,
                    )
                    for r in rejections
                ],
            )

    def load_book(
        self,
        entries: Sequence[LogEntry],
        known: KnownBalances,
        *,
        check_taken: bool,
        refused: Sequence[tuple[str | None, str]],
    ) -> Book:
        """The book for ``entries``: see ``store.loading``."""
        return load_book(
            self.cursor,
            entries,
            known,
            check_taken=check_taken,
            refused=refused,
        )

    def write_creations(self, book: Book) -> None:
        """Insert what the batch creates. Raises Stale."""
        write_creations(self.cursor, book)

    def take_references(self, claims: Claims) -> None:
        """Take the references that the batch uses up. Raises ReferenceTaken."""
        take_references(self.cursor, claims)

    def write_records(self, row: PartitionRow, records: Sequence[Record]) -> tuple[int, bytes]:
        """Append to the partition's journal; returns its new sequence and head."""
        return write_records(self.cursor, row.partition, row.sequence, row.head, records)

    def write_holds(self, book: Book, flags: Mapping[int, str]) -> None:
        """Bring holds and schedules up to date. flags: of entries that have some, by position."""
        write_holds(self.cursor, book.changed_holds())
        write_schedules(self.cursor, book, flags)

    def write_balances(self, book: Book) -> None:
        """Change things, and add to balances, locking them last. Raises Stale."""
        write_changes(self.cursor, book)
        write_balances(self.cursor, book.touched_balances())

    def resolve(self, resolutions: Resolutions) -> None:
        """Mark what was quarantined as resolved. Raises Stale."""
        resolve(self.cursor, resolutions)

    def advance(
        self,
        row: PartitionRow,
        cursor: int,
        sequence: int,
        head: bytes,
        outcomes: Mapping[str, Any],
    ) -> None:
        """Move the partition's marks; ``outcomes`` are those that the journal does not show."""
        text = json.dumps(outcomes, separators=(",", ":")) if any(outcomes.values()) else None
        self.cursor.execute(_ADVANCE, (cursor, sequence, head, row.sequence, text, row.partition))

    def records_since(self, row: PartitionRow, sequence: int) -> list[tuple[Any, ...]]:
        """The journal rows behind ``sequence``: what replies are made of."""
        self.cursor.execute(_RECORDS_SINCE, (row.partition, sequence))
        return self.cursor.fetchall()

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
