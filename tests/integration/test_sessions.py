"""What somebody set for the database or the role changes nothing that Daybook writes or reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url
from tests.harness import WORKER_LOGIN, Installation, wait_until

from daybook.errors import StoreUnavailable
from daybook.installation.migrate import differences, migrate
from daybook.store.engine import make_engine, translated_faults
from daybook.store.sessions import PINNED

HOSTILE = {
    "datestyle": "SQL, DMY",
    "intervalstyle": "iso_8601",
    "timezone": "Pacific/Chatham",
    "client_encoding": "LATIN1",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "quote_all_identifiers": "on",
    "search_path": "evil, pg_catalog, public",
    "transform_null_equals": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "enable_nestloop": "off",
    "statement_timeout": "20s",  # shorter ones end a session before it can say anything
    "lock_timeout": "20s",
    "idle_in_transaction_session_timeout": "20s",
    "idle_session_timeout": "20s",
}
"""Settings as no sane administrator has them."""

EVIL = """
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.balances (LIKE public.balances);
CREATE TABLE evil.partitions (LIKE public.partitions);
CREATE TABLE evil.transactions (LIKE public.transactions);
CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT '' $$;
CREATE FUNCTION evil.version() RETURNS text LANGUAGE sql AS $$ SELECT 'none' $$;
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT NULL::timestamptz $$;
CREATE FUNCTION evil.differ(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.differ);
"""


def make_hostile(url: str, *, with_tables: bool = True) -> None:
    """Set all of it for the database, and for the workers' role in it."""
    with psycopg.connect(url, autocommit=True) as connection:
        if with_tables:
            connection.execute(EVIL)
        database = sql.Identifier(str(make_url(url).database))
        for name, value in HOSTILE.items():
            for whom in (
                sql.SQL("DATABASE {}").format(database),
                sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(WORKER_LOGIN), database),
            ):
                # client_encoding and the like take effect with the next session.
                connection.execute(
                    sql.SQL("ALTER {} SET {} = {}").format(
                        whom,
                        sql.SQL(name),
                        sql.SQL(value) if name == "search_path" else sql.Literal(value),
                    )
                )


@pytest.fixture
def hostile(installation: Installation) -> Installation:
    """An installation on a database where everything is set against it."""
    make_hostile(installation.owner_url)
    installation.engine.dispose()
    installation.owner.dispose()
    return installation


def asked(installation: Installation, *command: str) -> Any:
    """What a command says, as JSON."""
    done = installation.run(*command, "--json")
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return json.loads(done.stdout)


def test_the_settings_are_hostile(hostile: Installation) -> None:
    """A plain session of the workers' role has them: else this file would prove nothing."""
    with psycopg.connect(hostile.worker_url, autocommit=True) as connection:
        assert connection.info.parameter_status("DateStyle") == "SQL, DMY"
        assert connection.info.parameter_status("default_transaction_read_only") == "on"


def test_every_session_has_what_is_pinned(hostile: Installation) -> None:
    """Anyone who opens it; a worker's own settings are its own."""
    for engine, more in (
        (hostile.owner, {}),
        (hostile.engine, {"enable_nestloop": "on", "statement_timeout": "1min"}),
    ):
        with engine.connect() as connection:
            there = set(connection.exec_driver_sql("SELECT lower(name) FROM pg_settings").scalars())
            assert {*PINNED} - there <= {"transaction_timeout"}  # younger than PostgreSQL 16
            for name, value in {**PINNED, **more}.items():
                if name not in there:
                    continue
                is_own = name.endswith("_timeout") and more and name not in more
                shown = connection.exec_driver_sql(f"SHOW {name}").scalar()
                assert is_own or shown == value, name


@pytest.mark.long
def test_everything_works_whatever_is_set(
    hostile: Installation, install_daybook: Callable[[int], Installation]
) -> None:
    """The pipeline, dates, proofs, history, and a ledger that moves."""
    hostile.workers(1)
    client = hostile.client
    balance = client.create_balance(client.create_ledger("Käufer").id, "USD").id
    money: dict[str, Any] = {"currency": "USD", "precision": 100, "description": "Ü \\' 'x'"}
    deposit = {**money, "source": "@World", "destination": balance, "allow_overdraft": True}
    earlier = datetime(2024, 2, 3, 12, tzinfo=UTC)
    client.enqueue(reference="old", amount="5.00", effective_date=earlier, **deposit)
    client.enqueue(reference="new", amount="7.00", **deposit)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    spend = {**money, "source": balance, "destination": "@Shop"}
    client.enqueue(reference="later", amount="1.00", scheduled_for=soon, **spend)
    hold = client.enqueue(
        reference="hold", amount="2.00", inflight=True, inflight_expiry_date=soon, **spend
    )
    wait_until(lambda: client.status(reference="later").status == "APPLIED", "the schedule comes")
    wait_until(
        lambda: hostile.rows(
            "SELECT 1 FROM public.transactions WHERE parent_transaction = %s", hold.id[4:]
        ),
        "the hold expires",
    )
    hostile.wait_applied()
    assert asked(hostile, "health")["healthy"] is True
    assert asked(hostile, "status")["schedules"] == 0
    assert asked(hostile, "verify")["violations"] == []
    assert asked(hostile, "snapshot")
    assert asked(hostile, "verify")["violations"] == []
    then = asked(hostile, "balance", "show", balance, "--at", "2024-02-03T12:00:00Z")
    assert then["balance"] == 500
    told = asked(hostile, "statement", balance)
    assert told["lines"][0]["effective_date"][:10] == "2024-02-03"
    assert asked(hostile, "rebuild")["ok"]
    file = hostile.folder / "ledger.ndjson"
    assert asked(hostile, "export", str(file))
    target = install_daybook(2)
    make_hostile(target.owner_url)
    asked(target, "import", str(file))
    assert asked(target, "verify")["violations"] == []
    again = target.folder / "again.ndjson"
    assert asked(target, "export", str(again))
    assert again.read_bytes() == file.read_bytes()


def test_a_database_is_migrated_whatever_is_set(installation: Installation) -> None:
    """The tables are where every session looks for them, and as they should be."""
    url = installation.cluster.empty_database()
    try:
        make_hostile(url, with_tables=False)
        migrate(url)
        engine = make_engine(url)
        with engine.connect() as connection:
            assert differences(connection) == []
        engine.dispose()
    finally:
        installation.cluster.drop_database(url)


def test_a_session_without_its_triggers_is_refused(installation: Installation) -> None:
    """A superuser can switch them off for a role; that role can't switch them on again."""
    database = make_url(installation.owner_url).database
    installation.rows(
        f"ALTER ROLE {WORKER_LOGIN} IN DATABASE {database} SET session_replication_role = replica"
    )
    engine = make_engine(installation.worker_url)
    with pytest.raises(StoreUnavailable, match="session_replication_role"), translated_faults():
        engine.connect()
