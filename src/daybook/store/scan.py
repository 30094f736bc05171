"""Reading all of a large database at one instant, a bounded number of rows in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import RowFactory, tuple_row
from sqlalchemy import Connection, Engine, text

from daybook.store.engine import translated_faults

ROWS_PER_FETCH = 2_000

STATEMENT_HOURS_MAX = 24
"""Most time for one statement about a whole database, such as the sorting of its journal."""

_PATIENT = (
    "idle_in_transaction_session_timeout = 0",
    "work_mem = '64MB'",
    "jit = off",  # compiling takes longer than most of these queries
    "enable_hashjoin = on",
    "enable_mergejoin = on",
)
"""The time-outs of workers would cut a long read short, and so would their nested loops."""


@contextmanager
def one_instant(engine: Engine) -> Iterator[Connection]:
    """A connection whose reads all see one instant, however long they take, and can't write.

    Raises StoreUnavailable, SchemaOutdated.
    """
    with (
        translated_faults(),
        engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ) as connection,
    ):
        be_patient(connection)
        yield connection


def be_patient(connection: Connection, hours: int = STATEMENT_HOURS_MAX) -> None:
    """Let the statements of this unit of work take the memory that they need, and so many hours."""
    for setting in (*_PATIENT, f"statement_timeout = '{hours}h'"):
        connection.execute(text(f"SET LOCAL {setting}"))


def driver_of(connection: Connection) -> psycopg.Connection[Any]:
    """The driver's connection below one of SQLAlchemy's."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def stream(
    connection: Connection, query: str, row_factory: RowFactory[Any] = tuple_row
) -> Iterator[Any]:
    """The rows of a query, a bounded number of them in memory."""
    with driver_of(connection).cursor(name="daybook_scan", row_factory=row_factory) as cursor:
        cursor.execute(query.encode())
        while rows := cursor.fetchmany(ROWS_PER_FETCH):
            yield from rows


# Ids and moments as they are shown, in SQL

MOMENT_FORMAT_SQL = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""
"""For ``to_char`` of a moment in UTC: RFC 3339, to the microsecond."""


def is_bulk_sql(column: str) -> str:
    """Whether the uuid is that of a bulk: see ``ledger.ids.is_bulk``."""
    bare = f"{column}::text"
    return f"(substr({bare}, 15, 1) = '8' AND substr({bare}, 20, 1) IN ('8', '9'))"


def request_id_sql(column: str) -> str:
    """The uuid of a transaction or a bulk, with its prefix."""
    return f"CASE WHEN {is_bulk_sql(column)} THEN 'bulk_' ELSE 'txn_' END || {column}"


RECORD_ID_SQL = (
    "CASE kind WHEN 'ledger' THEN 'ldg_' WHEN 'balance' THEN 'bln_' WHEN 'identity' THEN 'idt_' "
    "WHEN 'bulk' THEN 'bulk_' ELSE 'txn_' END || transaction_id"
)
"""The id of a record, with the prefix of what it is."""
