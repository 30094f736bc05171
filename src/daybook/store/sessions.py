"""What every session has set, whatever the server, the database, the role or PGOPTIONS say.

Any of them can change how values are written and read, what names mean, and whether a session may
write: a schedule whose time can't be read never comes. So each connection says what it counts on,
before anything else and in one round trip, and only what differs is set.
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

PINNED: Mapping[str, str] = {
    # Times are read as ISO, and told in UTC.
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    # Text, bytes and numbers come and go in one form.
    "client_encoding": "UTF8",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "quote_all_identifiers": "off",  # `verify` compares definitions
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    # A name means Daybook's table or Postgres' own function, never what somebody put before it.
    "search_path": "public, pg_temp",
    "transform_null_equals": "off",
    # A policy that hides rows makes a proof lie: with this it is an error.
    "row_security": "off",
    # Constraints and the triggers that keep the journal append-only are in force.
    "session_replication_role": "origin",
    # Transactions are what the code takes them for.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    # A migration or a rebuild is not cut short; who wants a bound says so (``engine``).
    "statement_timeout": "0",
    "lock_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
"""Names and values of the settings. One that a server does not know is left out."""

_SET = sql.SQL(
    "SELECT pg_catalog.set_config(name, wanted, false) FROM (VALUES {rows}) AS pinned(name, wanted)"
    " WHERE pg_catalog.current_setting(name, true) OPERATOR(pg_catalog.<>) wanted"
)


def pin(connection: psycopg.Connection, more: Mapping[str, str] | None = None) -> None:
    """Make a new session count on nothing that anybody else set.

    more: settings of this session beside the pinned ones, or instead of them. Raises psycopg.Error
    when the role may not: a session that can't have its triggers is none.
    """
    wanted = {**PINNED, **(more or {})}
    rows = sql.SQL(", ").join(
        sql.SQL("({}, {})").format(sql.Literal(name), sql.Literal(value))
        for name, value in wanted.items()
    )
    connection.execute(_SET.format(rows=rows))
    if not connection.autocommit:
        connection.commit()
