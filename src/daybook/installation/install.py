"""Make Postgres and Redis ready for each other: the schema, the log, and the number of partitions.

The number of partitions is one shared fact. It is recorded in Postgres, copied to Redis, and
never a setting of one process.
"""

from __future__ import annotations

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from daybook.errors import ConfigError, LogRefused
from daybook.installation.bounds import PARTITIONS_DEFAULT, PARTITIONS_MAX
from daybook.installation.migrate import migrate
from daybook.queue.connect import connect
from daybook.queue.epochs import FIRST_EPOCH
from daybook.queue.log import Log
from daybook.settings import Settings, read_settings
from daybook.store.engine import make_engine, translated_faults
from daybook.store.epochs import StoredEpoch, installation_id, newest_epoch
from daybook.store.read.snapshots import newest_position
from daybook.store.schema import epochs, installation, partitions


def install(
    database_url: str,
    redis_url: str,
    partitions: int | None = None,
    settings: Settings | None = None,
) -> int:
    """Migrate the database, record the number of partitions, and make the log known to Redis.

    database_url: as the owner of the schema. partitions: of a new installation; None keeps what
    is there, or takes the default. Running it again changes nothing. Returns the number of
    partitions. Raises ConfigError for a number that is not the installation's, and for a log that
    is another's.
    """
    settings = settings or read_settings()
    if partitions is not None and not 1 <= partitions <= PARTITIONS_MAX:
        raise ConfigError(f"partitions: must be from 1 to {PARTITIONS_MAX}, not {partitions}")
    migrate(database_url)
    engine = make_engine(database_url, settings, name="daybook install")
    try:
        with translated_faults(), engine.begin() as connection:
            epoch = _record_partitions(connection, partitions)
            newest = newest_position(connection)
            own = installation_id(connection)
    finally:
        engine.dispose()
    client = connect(redis_url, settings)
    try:
        log = Log(client, settings.namespace, own)
        try:
            log.check_installation()
        except LogRefused as fault:
            raise ConfigError(str(fault)) from None
        log.install(epoch.partitions, settings.log_entries_max, newest, epoch.number)
    finally:
        client.close()
    return epoch.partitions


def _record_partitions(connection: Connection, wanted: int | None) -> StoredEpoch:
    connection.execute(
        insert(installation)
        .values(id=1, partitions=wanted or PARTITIONS_DEFAULT)
        .on_conflict_do_nothing()
    )
    epoch = newest_epoch(connection) or _first_epoch(connection)
    if wanted is not None and wanted != epoch.partitions:
        raise ConfigError(
            f"partitions: this installation has {epoch.partitions}, not {wanted}; leave the "
            f"number out, or change it with `daybook partitions resize {wanted}`"
        )
    return epoch


def _first_epoch(connection: Connection) -> StoredEpoch:
    """The first row of each partition. Two that install at once do it one after the other."""
    number: int = connection.execute(select(installation.c.partitions)).scalar_one()
    first = StoredEpoch(FIRST_EPOCH, number, 0)
    for table, rows in (
        (epochs, [{"epoch": first.number, "partitions": number, "fence": 0}]),
        (partitions, [{"partition": each, "total": number} for each in range(number)]),
    ):
        connection.execute(insert(table).values(rows).on_conflict_do_nothing())
    return first
