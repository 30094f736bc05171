"""Make Postgres and Redis ready for each other: the schema, the log, and the number of partitions.

The number of partitions is one shared fact. It is recorded in Postgres, copied to Redis, and
never a setting of one process.
"""

from __future__ import annotations

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from daybook.errors import ConfigError
from daybook.queue.connect import connect
from daybook.queue.log import Log
from daybook.settings import Settings, read_settings
from daybook.store.engine import make_engine, translated_faults
from daybook.store.migrate import migrate
from daybook.store.schema import installation, partitions
from daybook.store.snapshots import newest_position

PARTITIONS_DEFAULT = 2
PARTITIONS_MAX = 256


def install(
    database_url: str,
    redis_url: str,
    partitions: int | None = None,
    settings: Settings | None = None,
) -> int:
    """Migrate the database, record the number of partitions, and make the log known to Redis.

    database_url: as the owner of the schema. partitions: of a new installation; None keeps what
    is there, or takes the default. Running it again changes nothing. Returns the number of
    partitions. Raises ConfigError for a number that is not the installation's.
    """
    settings = settings or read_settings()
    if partitions is not None and not 1 <= partitions <= PARTITIONS_MAX:
        raise ConfigError(f"partitions: must be from 1 to {PARTITIONS_MAX}, not {partitions}")
    migrate(database_url)
    engine = make_engine(database_url, settings, name="daybook install")
    try:
        with translated_faults(), engine.begin() as connection:
            number = _record_partitions(connection, partitions)
            newest = newest_position(connection)
    finally:
        engine.dispose()
    client = connect(redis_url, settings)
    try:
        Log(client, settings.namespace).install(number, settings.log_entries_max, newest)
    finally:
        client.close()
    return number


def _record_partitions(connection: Connection, wanted: int | None) -> int:
    connection.execute(
        insert(installation)
        .values(id=1, partitions=wanted or PARTITIONS_DEFAULT)
        .on_conflict_do_nothing()
    )
    number: int = connection.execute(select(installation.c.partitions)).scalar_one()
    if wanted is not None and wanted != number:
        raise ConfigError(
            f"partitions: this installation has {number}, not {wanted}; leave the number out"
        )
    connection.execute(
        insert(partitions)
        .values([{"partition": partition} for partition in range(number)])
        .on_conflict_do_nothing()
    )
    return number
