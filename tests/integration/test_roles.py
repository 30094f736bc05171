"""What the roles of PostgreSQL may: asked of its catalogs, and tried."""

from __future__ import annotations

import psycopg
import pytest
from tests.harness import REGISTRAR_LOGIN, WORKER_LOGIN, Installation

from daybook.store.schema import READER_ROLE, REGISTRAR_ROLE, WORKER_ROLE

_RIGHTS = """
SELECT relname, right_ FROM pg_class, unnest(%s::text[]) right_
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
    AND (has_table_privilege(%s, oid, right_) OR (right_ IN ('INSERT', 'UPDATE', 'REFERENCES')
        AND has_any_column_privilege(%s, oid, right_)))
ORDER BY 1, 2
"""
TABLE_RIGHTS = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]


def rights(installation: Installation, role: str, *names: str) -> list[tuple[str, str]]:
    """Which of these rights a role has, on which tables; on a column counts too."""
    found = installation.rows(_RIGHTS, list(names), role, role)
    return [(table, right) for table, right in found]


def test_a_reader_reads_everything_and_writes_nothing(installation: Installation) -> None:
    """On every table that there is, SELECT and no other right."""
    tables = installation.rows(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' "
        "AND tablename NOT IN ('alembic_version', 'api_keys') ORDER BY 1"
    )
    found = rights(installation, READER_ROLE, *TABLE_RIGHTS)
    assert {right for _, right in found} == {"SELECT"}
    assert {table for (table,) in tables} <= {table for table, _ in found}


def test_a_registrar_writes_the_registry_and_touches_nothing_else(
    installation: Installation,
) -> None:
    """Of a key it may change when it was used and revoked; workers and readers see no hash."""
    own = [("accounts", right) for right in ("INSERT", "SELECT")]
    own += [("api_keys", right) for right in ("INSERT", "SELECT", "UPDATE")]
    assert rights(installation, REGISTRAR_LOGIN, *TABLE_RIGHTS) == own
    may_change = installation.rows(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'api_keys'::regclass "
        "AND attnum > 0 AND has_column_privilege(%s, attrelid, attnum, 'UPDATE') ORDER BY 1",
        REGISTRAR_LOGIN,
    )
    assert may_change == [("last_used_at",), ("revoked_at",)]
    for role in (READER_ROLE, WORKER_LOGIN):
        assert ("api_keys", "SELECT") not in rights(installation, role, *TABLE_RIGHTS)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT hash FROM api_keys",
        "INSERT INTO ledgers (ledger_id, name) VALUES ('x', 'x')",
        "UPDATE balances SET credit_balance = 1",
        "DELETE FROM deferred_entries",
        "TRUNCATE transactions",
        "CREATE TABLE mine (id int)",
        "SELECT rolpassword FROM pg_authid",
        "COPY ledgers TO PROGRAM 'cat'",
    ],
)
def test_a_reader_is_refused(installation: Installation, statement: str) -> None:
    """Tried as the role itself."""
    with psycopg.connect(installation.owner_url) as connection:
        connection.execute(f"SET ROLE {READER_ROLE}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_a_worker_adds_to_the_journal_and_no_more(installation: Installation) -> None:
    """Neither a column of it can be changed, nor a row deleted, nor any table emptied."""
    on_journal = [
        right
        for table, right in rights(installation, WORKER_LOGIN, *TABLE_RIGHTS)
        if table == "transactions"
    ]
    assert on_journal == ["INSERT", "SELECT"]
    assert rights(installation, WORKER_LOGIN, "TRUNCATE", "REFERENCES", "TRIGGER") == []
    deleted = {table for table, _ in rights(installation, WORKER_LOGIN, "DELETE")}
    assert deleted == {"deferred_entries", "schedules"}


def test_no_way_leads_around_the_rights(installation: Installation) -> None:
    """No function runs with its owner's rights; the roles own nothing and are members of nobody."""
    assert installation.rows("SELECT proname FROM pg_proc WHERE prosecdef") == []
    owned = installation.rows(
        "SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = ANY(%s)",
        [WORKER_LOGIN, WORKER_ROLE, READER_ROLE, REGISTRAR_LOGIN, REGISTRAR_ROLE],
    )
    assert owned == []
    roles = installation.rows(
        "SELECT rolname::text, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication "
        "OR rolbypassrls FROM pg_roles WHERE pg_has_role(%s, oid, 'MEMBER') ORDER BY 1",
        WORKER_LOGIN,
    )
    assert roles == [(WORKER_LOGIN, False), (WORKER_ROLE, False)]
    may_create = installation.rows(
        "SELECT has_schema_privilege(role, 'public', 'CREATE') FROM unnest(%s::text[]) role",
        [WORKER_LOGIN, READER_ROLE, REGISTRAR_LOGIN],
    )
    assert may_create == [(False,)] * 3


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ONLY transactions SET hash = '' WHERE false",
        "ALTER TABLE transactions DISABLE TRIGGER ALL",
        "ALTER TABLE transactions OWNER TO CURRENT_USER",
        "ALTER TABLE transactions ADD COLUMN mine int",
        "ALTER FUNCTION daybook_refuse_change() RENAME TO mine",
        "CREATE OR REPLACE FUNCTION daybook_refuse_change() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NULL; END'",
        "DROP FUNCTION daybook_refuse_change() CASCADE",
        "DROP TABLE transactions CASCADE",
        "ALTER TABLE taken_references DROP CONSTRAINT taken_references_pkey",
        "DROP SCHEMA public CASCADE",
        "CREATE TRIGGER mine BEFORE INSERT ON transactions "
        "EXECUTE FUNCTION daybook_refuse_change()",
        "CREATE RULE mine AS ON INSERT TO transactions DO INSTEAD NOTHING",
        "SELECT rolpassword FROM pg_authid",
        "SET ROLE {owner}",
        "CREATE ROLE mine",
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "COPY transactions TO PROGRAM 'cat'",
        "SELECT pg_read_file('PG_VERSION')",
    ],
)
def test_a_worker_is_refused(installation: Installation, statement: str) -> None:
    """The trigger, its function, the table, other roles and the server's files are out of reach."""
    ((owner,),) = installation.rows("SELECT current_user")
    with (
        psycopg.connect(installation.worker_url) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.replace("{owner}", f'"{owner}"'))
