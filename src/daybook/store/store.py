"""Postgres as workers see it: units of work, and what the sweeper looks for.

Everything that a worker does with the database goes through here, so that another store can take
its place in a simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Engine, select, text

from daybook.store.batch.unit_of_work import UnitOfWork
from daybook.store.engine import translated_faults
from daybook.store.epochs import StoredEpoch, newest_epoch
from daybook.store.read.snapshots import newest_position
from daybook.store.schema import deferred_entries, partitions

_SCHEDULES = text("""
SELECT scheduled_for, position, transaction_id::text, reference, flags, body FROM schedules
WHERE scheduled_for <= :now AND (scheduled_for, position) > (:after, :position)
ORDER BY scheduled_for, position LIMIT :limit
""")
_HOLDS = text("""
SELECT LEAST(inflight_expiry_date, inflight_commit_date) AS due,
    coalesce(leg_of, transaction_id)::text AS named, transaction_id::text FROM holds
WHERE amount > (committed + voided)
    AND LEAST(inflight_expiry_date, inflight_commit_date) IS NOT NULL
    AND LEAST(inflight_expiry_date, inflight_commit_date) <= :now
    AND (LEAST(inflight_expiry_date, inflight_commit_date), transaction_id) >
        (:after, CAST(:last AS uuid))
ORDER BY LEAST(inflight_expiry_date, inflight_commit_date), transaction_id LIMIT :limit
""")


class Marks(NamedTuple):
    """How far the partitions are.

    cursors, batches: by partition. waiting: partitions that have deferred entries. newest: the
    newest position that the database knows of. epoch: None before anything is installed. closed:
    partitions of former epochs.
    """

    cursors: dict[int, int]
    batches: dict[int, int]
    waiting: set[int]
    newest: int
    epoch: StoredEpoch | None
    closed: set[int]


class DueSchedule(NamedTuple):
    """A transaction whose time has come. transaction_id: a bare UUID."""

    scheduled_for: datetime
    position: int
    transaction_id: str
    reference: str
    flags: str
    body: bytes


class DueHold(NamedTuple):
    """A hold whose date has come. Both ids are bare UUIDs; named: of the request it is a leg of."""

    due: datetime
    named: str
    transaction_id: str


class Store:
    """The database of a worker process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def units(self) -> Iterator[Callable[[], UnitOfWork]]:
        """What begins units of work, one after the other on one connection.

        Raises StoreUnavailable, SchemaOutdated.
        """
        with translated_faults(), self._engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            yield lambda: UnitOfWork(raw)

    def marks(self) -> Marks:
        """How far the partitions are. Raises StoreUnavailable."""
        with translated_faults(), self._engine.connect() as connection:
            rows = connection.execute(
                select(
                    partitions.c.partition,
                    partitions.c.cursor,
                    partitions.c.batch,
                    partitions.c.total,
                )
            ).all()
            epoch = newest_epoch(connection)
            newest = newest_position(connection)
            waiting = connection.execute(select(deferred_entries.c.partition).distinct()).scalars()
            return Marks(
                {row.partition: row.cursor for row in rows},
                {row.partition: row.batch for row in rows},
                set(waiting),
                newest,
                epoch,
                {row.partition for row in rows if row.partition >= row.total},
            )

    def due_schedules(
        self, now: datetime, after: datetime, position: int, limit: int
    ) -> Sequence[DueSchedule]:
        """The next schedules that are due at ``now``, behind (``after``, ``position``)."""
        values = {"now": now, "after": after, "position": position, "limit": limit}
        return [DueSchedule(*row) for row in self._rows(_SCHEDULES, values)]

    def due_holds(self, now: datetime, after: datetime, last: str, limit: int) -> Sequence[DueHold]:
        """The next holds that are due at ``now``, behind (``after``, ``last``)."""
        values = {"now": now, "after": after, "last": last, "limit": limit}
        return [DueHold(*row) for row in self._rows(_HOLDS, values)]

    def _rows(self, query: Any, values: dict[str, Any]) -> Sequence[Any]:
        with translated_faults(), self._engine.connect() as connection:
            return connection.execute(query, values).all()
