"""Another number of partitions, step by step; each can be done again.

1. Begin: the log routes by the new number, from one entry to the next. Nobody has to wait.
2. Advance: when everything older is decided, workers go on with the new number (``apply.epochs``).

Anyone who dies between the two leaves nothing that must be taken back: workers do the second by
themselves.
"""

from __future__ import annotations

import psycopg
from sqlalchemy import Connection, Engine

from daybook.errors import ConfigError
from daybook.installation.migrate import check_revision
from daybook.queue.epochs import Epoch
from daybook.queue.log import Log
from daybook.steps import Point, reach
from daybook.store import epochs
from daybook.store.batch.unit_of_work import UnitOfWork
from daybook.store.engine import translated_faults
from daybook.store.epochs import StoredEpoch, newest_epoch
from daybook.store.read.snapshots import newest_position


def stored_epoch(connection: Connection) -> StoredEpoch:
    """The epoch that workers decide in. Raises SchemaOutdated, ConfigError."""
    check_revision(connection)
    found = newest_epoch(connection)
    if found is None:
        raise ConfigError("nothing is installed in this database: run `daybook migrate`")
    return found


def begin(engine: Engine, request_log: Log, partitions: int) -> Epoch:
    """Begin the next epoch with this number; returns the epoch that the log is in now.

    engine: with the rights of a worker. Raises StoreUnavailable, LogUnavailable.
    """
    with translated_faults(), engine.connect() as connection:
        stored = stored_epoch(connection)
        newest = newest_position(connection)
    return begin_after(stored, newest, request_log, partitions)


def begin_after(stored: StoredEpoch, newest: int, request_log: Log, partitions: int) -> Epoch:
    """``begin``, where it is known which epoch and which newest position are stored.

    Raises LogUnavailable: also when the log is older than that.
    """
    begun = request_log.epochs.begin(partitions, stored.number, newest)
    reach(Point.BEGUN)
    return begun


def open_before(engine: Engine, request_log: Log) -> int:
    """How many entries the workers still have to decide in their epoch.

    Counts what is deferred, too. Raises StoreUnavailable, LogUnavailable.
    """
    with translated_faults(), engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        unit = UnitOfWork(raw)
        rows = epochs.open_partitions(unit.cursor)
        deferred = unit.cursor.execute("SELECT count(*) FROM deferred_entries").fetchone()
        unit.rollback()
    end = request_log.end_of(rows[0].epoch) if rows else 0
    unread = sum(
        request_log.count_unread(row.partition, row.cursor)
        - request_log.count_unread(row.partition, max(row.cursor, end))
        for row in rows
    )
    return max(0, unread) + (deferred[0] if deferred else 0)
