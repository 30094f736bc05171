"""The schema: migrations say what the tables say, the journal is append-only, rights are few."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.resources import files

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text
from tests.harness import Cluster, Installation

from daybook.errors import ConfigError, SchemaOutdated
from daybook.installation.install import install
from daybook.installation.migrate import (
    NEWEST_REVISION,
    REVISIONS,
    check_revision,
    current_revision,
    differences,
    migrate,
)
from daybook.store.engine import make_engine
from daybook.store.read.queries import reading

MIGRATIONS_AT_ONCE = 4


@pytest.fixture
def empty_database(cluster: Cluster) -> Iterator[str]:
    """A database without tables."""
    url = cluster.empty_database()
    yield url
    cluster.drop_database(url)


def test_migrations_make_the_tables_of_the_schema(empty_database: str) -> None:
    """An upgraded database has nothing that ``schema.py`` has not, and the other way round."""
    assert migrate(empty_database) == NEWEST_REVISION
    engine = make_engine(empty_database)
    with engine.connect() as connection:
        assert differences(connection) == []
        assert current_revision(connection) == NEWEST_REVISION
        connection.execute(text("ALTER TABLE holds ADD COLUMN surprise text"))
        assert differences(connection) != []
    engine.dispose()


def test_the_revisions_are_those_of_the_migrations() -> None:
    """What only compares them need not load what migrates."""
    folder = files("daybook.store") / "migrations"
    walked = ScriptDirectory(str(folder)).walk_revisions()
    assert [one.revision for one in walked] == [*reversed(REVISIONS)]
    loaded = "import sys, daybook.installation.migrate; print('alembic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_migrations_may_run_at_once(empty_database: str) -> None:
    """Several that start together all end well, and one schema is there."""
    faults: list[BaseException] = []

    def run() -> None:
        try:
            migrate(empty_database)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run) for _ in range(MIGRATIONS_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert faults == []
    with psycopg.connect(empty_database) as connection:
        ledgers = connection.execute("SELECT ledger_id FROM ledgers").fetchall()
    assert ledgers == [("general_ledger_id",)]


def test_a_database_without_tables_says_what_to_do(empty_database: str) -> None:
    """Reading before ``daybook migrate`` names the command."""
    engine = make_engine(empty_database)
    with pytest.raises(SchemaOutdated, match="daybook migrate"), reading(engine) as connection:
        connection.execute(text("SELECT * FROM partitions"))
    engine.dispose()


def test_a_worker_refuses_a_database_that_is_behind(empty_database: str) -> None:
    """Before the first migration the fault names the command; after it there is none."""
    engine = make_engine(empty_database)
    with engine.connect() as connection:
        with pytest.raises(SchemaOutdated, match="daybook migrate"):
            check_revision(connection)
        connection.rollback()
        migrate(empty_database)
        check_revision(connection)
    engine.dispose()


def test_the_number_of_partitions_is_one_fact(installation: Installation) -> None:
    """Installing again keeps the number; another number is refused and changes nothing."""
    assert install(installation.owner_url, installation.redis_url) == 2
    with pytest.raises(ConfigError, match="has 2, not 3"):
        install(installation.owner_url, installation.redis_url, 3)
    assert installation.log.partitions() == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transactions SET description = 'edited'",
        "DELETE FROM transactions",
        "TRUNCATE transactions",
    ],
)
def test_the_journal_is_append_only_even_for_its_owner(
    installation: Installation, statement: str
) -> None:
    """A trigger refuses what a grant would allow."""
    with (
        psycopg.connect(installation.owner_url) as connection,
        pytest.raises(psycopg.errors.RestrictViolation, match="append-only"),
    ):
        connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transactions SET description = 'edited'",
        "DELETE FROM transactions",
        "TRUNCATE transactions",
        "ALTER TABLE transactions DISABLE TRIGGER transactions_append_only",
        "DROP TRIGGER transactions_append_only ON transactions",
        "UPDATE balances SET currency = 'XXX'",
        "DELETE FROM balances",
        "UPDATE holds SET amount = 1",
        "DELETE FROM rejected_requests",
        "DELETE FROM taken_references",
        "UPDATE taken_references SET owner = NULL",
        "UPDATE rejected_requests SET uses_reference = false",
        "UPDATE installation SET partitions = 9",
        "CREATE TABLE mine (id int)",
        "SET session_replication_role = replica",
    ],
)
def test_a_worker_has_no_right_that_it_does_not_need(
    installation: Installation, statement: str
) -> None:
    """The worker's role can neither change what was recorded nor get around the trigger."""
    with (
        psycopg.connect(installation.worker_url) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)
