"""Epochs as Postgres has them: how many partitions there are, and the advance to the next number.

The database follows the log (``queue.epochs``): when everything up to the fence is decided, the
rows of all partitions go on behind it, under their locks, in one unit of work.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection, select

from daybook.errors import ConfigError
from daybook.store.schema import epochs, installation

_LOCK_ALL = "SELECT FROM partitions ORDER BY partition FOR NO KEY UPDATE"
_OPEN = """
SELECT partition, cursor, batch, epoch FROM partitions WHERE partition < total ORDER BY partition
"""
_DEFERRED = "SELECT DISTINCT partition FROM deferred_entries"
_ADD_PARTITIONS = """
INSERT INTO partitions (partition, total)
SELECT number, %(partitions)s FROM generate_series(0, %(partitions)s - 1) AS number
ON CONFLICT DO NOTHING
"""
_TURN = """
UPDATE partitions SET cursor = greatest(cursor, %(fence)s), epoch = %(number)s,
    total = %(partitions)s
"""
_RECORD = """
INSERT INTO epochs (epoch, partitions, fence) VALUES (%(number)s, %(partitions)s, %(fence)s)
"""


class StoredEpoch(NamedTuple):
    """The epoch that workers decide in. fence: the position behind which it began."""

    number: int
    partitions: int
    fence: int


class OpenPartition(NamedTuple):
    """A partition of the present epoch. batch: the number of its last unit of work."""

    partition: int
    cursor: int
    batch: int
    epoch: int


def newest_epoch(connection: Connection) -> StoredEpoch | None:
    """The epoch that the database is in; None before anything is installed."""
    query = select(epochs.c.epoch, epochs.c.partitions, epochs.c.fence)
    row = connection.execute(query.order_by(epochs.c.epoch.desc()).limit(1)).first()
    return None if row is None else StoredEpoch(*row)


def installation_id(connection: Connection) -> str:
    """Which installation a database is of; its log says the same. Raises ConfigError."""
    found = connection.execute(select(installation.c.installation_id)).scalar_one_or_none()
    if found is None:
        raise ConfigError("nothing is installed in this database: run `daybook migrate`")
    return str(found)


def lock_all(cursor: psycopg.Cursor[Any]) -> None:
    """Lock every partition, closed ones too, in the order in which workers take them."""
    cursor.execute(_LOCK_ALL)


def open_partitions(cursor: psycopg.Cursor[Any]) -> list[OpenPartition]:
    """The partitions of the present epoch, in order."""
    cursor.execute(_OPEN)
    return [OpenPartition(*row) for row in cursor]


def deferring(cursor: psycopg.Cursor[Any]) -> set[int]:
    """The partitions that have deferred entries."""
    cursor.execute(_DEFERRED)
    return {partition for (partition,) in cursor}


def advance(cursor: psycopg.Cursor[Any], epoch: StoredEpoch) -> None:
    """Advance to ``epoch``: everything before its fence is decided, and all partitions are locked.

    Partitions that there were go on with their journals; those that there are no more stay, with
    their chains, and are read no further.
    """
    values = epoch._asdict()
    for statement in (_ADD_PARTITIONS, _TURN, _RECORD):
        cursor.execute(statement, values)
