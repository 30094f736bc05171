"""A database that is set back to an earlier point, as from a backup."""

from __future__ import annotations

import psycopg
from sqlalchemy.engine import make_url

from daybook.store.engine import make_engine, make_worker_engine
from tests.harness import PASSWORD, WORKER_LOGIN, Installation


def copy_of(installation: Installation) -> str:
    """The address of a copy of the database as it is now."""
    installation.engine.dispose()
    installation.owner.dispose()
    url = make_url(installation.owner_url)
    name = f"{url.database}_backup"
    with psycopg.connect(installation.cluster.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {url.database}")
    return url.set(database=name).render_as_string(hide_password=False)


def restore(installation: Installation, backup: str) -> None:
    """Go on with the copy; what came after it is gone from Postgres."""
    installation.engine.dispose()
    installation.owner.dispose()
    installation.cluster.drop_database(installation.owner_url)
    worker_url = make_url(backup).set(username=WORKER_LOGIN, password=PASSWORD)
    installation.owner_url = backup
    installation.worker_url = worker_url.render_as_string(hide_password=False)
    installation.owner = make_engine(backup)
    installation.engine = make_worker_engine(installation.worker_url, installation.settings)
