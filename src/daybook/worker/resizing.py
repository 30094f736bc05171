"""Another number of partitions, step by step; each can be done again.

1. Guard: from now on Postgres refuses every batch of a worker that knows no epochs.
2. Begin: the log routes by the new number, from one entry to the next. Nobody has to wait.
3. Turn: when everything older is decided, workers go on with the new number (``turning``).

Whoever dies between two steps leaves nothing that must be taken back: after the first, nothing has
changed; after the second, workers do the third by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from sqlalchemy import Connection, Engine

from daybook.errors import ConfigError, LogUnavailable
from daybook.points import Point, reach
from daybook.queue.announcements import KNOWS_EPOCHS, announced
from daybook.queue.epochs import Epoch
from daybook.queue.log import Log
from daybook.store import epochs
from daybook.store.engine import translated_faults
from daybook.store.epochs import StoredEpoch, newest_epoch
from daybook.store.migrate import check_revision
from daybook.store.unit_of_work import UnitOfWork


def old_workers(request_log: Log, answering: Iterable[str]) -> list[str]:
    """Workers of a version that knows no epochs.

    answering: the names of all that answer a ping. Raises LogUnavailable.
    """
    known = announced(request_log)
    old = {name for name, said in known.items() if said.protocol < KNOWS_EPOCHS}
    return sorted(old | (set(answering) - known.keys()))


def stored_epoch(connection: Connection) -> StoredEpoch:
    """The epoch that workers decide in. Raises SchemaOutdated, ConfigError."""
    check_revision(connection)
    found = newest_epoch(connection)
    if found is None:
        raise ConfigError("nothing is installed in this database: run `daybook migrate`")
    return found


def begin(engine: Engine, request_log: Log, partitions: int) -> Epoch:
    """Guard and begin; answers the epoch that the log is in now.

    engine: with the rights of a worker. Raises StoreUnavailable, LogUnavailable.
    """
    with translated_faults(), engine.connect() as connection:
        stored = stored_epoch(connection)
        connection.rollback()
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        unit = UnitOfWork(raw)
        try:
            epochs.guard(unit.cursor)
            unit.commit()
        finally:
            unit.rollback()  # does nothing after a commit
    reach(Point.GUARDED)
    if request_log.epochs.newest() < stored.number:
        raise LogUnavailable(
            "the log is older than the database: a worker's sweep repairs it within a second or "
            "two; then try again"
        )
    begun = request_log.epochs.begin(partitions)
    reach(Point.BEGUN)
    return begun


def open_before(engine: Engine, request_log: Log) -> int:
    """How many entries the workers still have to decide in their epoch.

    Counts what is held over, too. Raises StoreUnavailable, LogUnavailable.
    """
    with translated_faults(), engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        unit = UnitOfWork(raw)
        rows = epochs.open_partitions(unit.cursor)
        held = unit.cursor.execute("SELECT count(*) FROM held_over").fetchone()
        unit.rollback()
    end = request_log.end_of(rows[0].epoch) if rows else 0
    unread = sum(
        request_log.count_unread(row.partition, row.cursor)
        - request_log.count_unread(row.partition, max(row.cursor, end))
        for row in rows
    )
    return max(0, unread) + (held[0] if held else 0)
