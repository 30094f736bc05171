"""Bring a database to this version's schema. Safe when two run at once.

Alembic is loaded by the functions that migrate: what only asks whether a schema is new enough, as
every worker does when it starts, would spend half of its start on it.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from daybook.errors import SchemaOutdated
from daybook.store.engine import make_engine, translated_faults
from daybook.store.schema import metadata

if TYPE_CHECKING:
    from alembic.config import Config

REVISIONS = ("0001",)
"""The revisions of the schema, as the migrations call them, the oldest first."""

NEWEST_REVISION = REVISIONS[-1]
"""That of this version."""

MIGRATION_LOCK = 0x6461_7962_6F6F_6B
"""Advisory lock that one migration holds while others wait ("daybook" in ASCII)."""


def migrate(database_url: str) -> str:
    """Migrate to the newest schema and return its revision; nothing happens when it is there.

    database_url: as the owner of the schema. Raises StoreUnavailable when it cannot be done.
    """
    from alembic import command

    engine = make_engine(database_url, name="daybook migrate")
    try:
        with translated_faults(), engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
            connection.commit()
            try:
                command.upgrade(_config(connection), "head")
                connection.commit()
            finally:
                connection.rollback()
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
                connection.commit()
    finally:
        engine.dispose()
    return NEWEST_REVISION


def current_revision(connection: Connection) -> str | None:
    """The revision of the database's schema; None before the first migration."""
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    revision: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()
    return revision


def check_revision(connection: Connection) -> None:
    """Raise SchemaOutdated when the database is behind this version.

    A database that is ahead is none of its business: old workers go on beside new ones while an
    upgrade rolls out.
    """
    current = current_revision(connection)
    if current is None or current in REVISIONS[:-1]:
        raise SchemaOutdated("the database's schema is behind this version: run `daybook migrate`")


def differences(connection: Connection) -> list[object]:
    """What the database's schema has different from ``schema.py``; empty when they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


def _config(connection: Connection | None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("daybook.store") / "migrations"))
    config.attributes["connection"] = connection
    return config
