"""Connections to Postgres: one engine per process, each session as ``sessions`` says."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from daybook.errors import ConfigError, SchemaOutdated, StoreRefused, StoreUnavailable
from daybook.settings import Settings
from daybook.store.sessions import pin

CONNECT_TIMEOUT_SECONDS = 10
_VANISHED = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,  # milliseconds
}
"""A server that vanished without a word (power, network) is noticed after 25 s: the kernel alone
waits two hours, and who waits for an answer has no time-out of its own on this side."""
POOL_SIZE_MAX = 4
_UNDEFINED_TABLE = "42P01"
_UNDEFINED_COLUMN = "42703"
_REFUSED = ("28", "3D", "42501")
"""Codes, or their classes: a user or a password, a database that is not there, a right."""
_SERVER_SAYS = re.compile(r"failed: [^:\n]+:  (?P<what>[^\n]+)")
"""What the server answered to an attempt to connect. The driver has no code of it, but the form of
such a line is the same in every language: severity, colon, two blanks."""
_FOR_NOW = re.compile(r"starting up|shutting down|in recovery|not yet accepting|too many|slots")
"""What a server answers that can't take a connection now; in another language, it is only told
like one that refuses."""


_OWN_FAULTS = (
    (
        re.compile("no password supplied"),
        "it asks for a password, and the address has none",
        "write it as postgresql://user:password@host/db",
    ),
    (
        re.compile("does not support SSL"),
        "the address asks for TLS, and this server has none",
        "have the server speak TLS, or change sslmode",
    ),
    (
        re.compile(r"(certificate[^\n]*(?:verify failed|does not (?:exist|match))[^\n]*)"),
        "its certificate is not trusted: {}",
        "name the authority that signed it with sslrootcert",
    ),
    (
        re.compile(r"(invalid (?:connection option|\w+ value|integer value|port number)[^\n]*)"),
        "the address is wrong: {}",
        "correct it",
    ),
)
"""What the driver itself says of an address that can't work here: what it
means, and how to mend it."""


_LOCK_ORDER = {"enable_nestloop": "on", "enable_hashjoin": "off", "enable_mergejoin": "off"}


def make_engine(
    database_url: str,
    settings: Settings | None = None,
    name: str = "daybook",
    connect_seconds_max: int = CONNECT_TIMEOUT_SECONDS,
) -> Engine:
    """An engine for ``database_url``, with the time-outs of ``settings`` on its sessions.

    name: shown in pg_stat_activity. Nothing is opened yet. Raises ConfigError for a URL that is
    not one of PostgreSQL.
    """
    session = _timeouts(settings) if settings else {}
    return _make_engine(database_url, name, session, connect_seconds_max)


def make_worker_engine(database_url: str, settings: Settings) -> Engine:
    """An engine for a worker: its set-based statements visit rows in the order of their arrays.

    That order is the global lock order; with hash or merge joins the planner could choose another.
    """
    return _make_engine(database_url, "daybook worker", _timeouts(settings) | _LOCK_ORDER)


def _make_engine(
    database_url: str,
    name: str,
    session: Mapping[str, str],
    connect_seconds_max: int = CONNECT_TIMEOUT_SECONDS,
) -> Engine:
    try:
        url = make_url(database_url)
    except Exception:  # whatever it is made of: its text may hold a password
        raise ConfigError("DAYBOOK_DATABASE_URL is not a database address") from None
    if not url.drivername.startswith(("postgresql", "postgres")):
        raise ConfigError(f"DAYBOOK_DATABASE_URL: {url.drivername} is not postgresql")
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=POOL_SIZE_MAX,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": connect_seconds_max,
            "application_name": name,
            **_VANISHED,
        },
    )

    # Before SQLAlchemy itself looks at the server.
    @event.listens_for(engine, "connect", insert=True)
    def on_connect(connection: psycopg.Connection, entry: ConnectionPoolEntry) -> None:
        del entry
        pin(connection, session)

    return engine


def _timeouts(settings: Settings) -> dict[str, str]:
    """The time-outs of a session. A part of a millisecond is one: 0 would be no time-out."""
    return {
        name: f"{math.ceil(seconds * 1000)}ms"
        for name, seconds in (
            ("lock_timeout", settings.lock_timeout_seconds),
            ("statement_timeout", settings.statement_timeout_seconds),
            (
                "idle_in_transaction_session_timeout",
                settings.idle_in_transaction_timeout_seconds,
            ),
        )
    }


@contextmanager
def translated_faults() -> Iterator[None]:
    """Turn driver errors into Daybook's: the one place where they are read.

    Raises SchemaOutdated when a table or a column is missing, StoreRefused for what trying again
    does not change, StoreUnavailable for the rest.
    """
    try:
        yield
    except PoolTimeout as fault:
        raise StoreUnavailable(
            "Postgres: all connections of this process are in use, and none came free in time"
        ) from fault
    except (psycopg.Error, DBAPIError) as fault:
        original = fault.orig if isinstance(fault, DBAPIError) else fault
        state = getattr(original, "sqlstate", None)
        if state == _UNDEFINED_TABLE:
            raise SchemaOutdated(
                "the database has no Daybook tables: run `daybook migrate`"
            ) from fault
        if state == _UNDEFINED_COLUMN:
            raise SchemaOutdated(
                "the database's schema is behind this version: run `daybook migrate`"
            ) from fault
        if state is None:
            _raise_own_fault(original)
        if (refused := _refused(original, state)) is not None:
            raise StoreRefused(f"Postgres refused: {refused}") from fault
        raise StoreUnavailable(f"Postgres: {_first_line(original)}") from fault


def _raise_own_fault(fault: BaseException | None) -> None:
    """Raises StoreRefused when the address can't work, which another attempt does not change."""
    for pattern, meaning, mend in _OWN_FAULTS:
        if found := pattern.search(str(fault)):
            said = meaning.format(*found.groups())
            raise StoreRefused(f"Postgres: {said}", mend) from fault


def _refused(fault: object, state: str | None) -> str | None:
    """What the server refused; None when it did not."""
    if state is not None:
        return _first_line(fault) if state.startswith(_REFUSED) else None
    said = _SERVER_SAYS.search(str(fault))
    return None if said is None or _FOR_NOW.search(said["what"]) else said["what"]


def _first_line(fault: object) -> str:
    lines = str(fault).strip().splitlines()
    return lines[0] if lines else type(fault).__name__
