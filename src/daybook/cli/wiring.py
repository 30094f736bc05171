"""What commands are wired to: the database, the log and the client of the settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from daybook.client.client import Client
    from daybook.queue.log import Log
    from daybook.settings import Settings


def current() -> Settings:
    """The settings of this process, read once. Raises ConfigError.

    A variable that is a setting misspelt is told on stderr.
    """
    from daybook.settings import current as read_once

    _tell_misspelt()
    return read_once()


@lru_cache(maxsize=1)
def _tell_misspelt() -> None:
    from daybook.settings import misspelt

    for warning in misspelt(os.environ):
        print(f"warning: {warning}", file=sys.stderr)


def warn_on_stderr() -> None:
    """Keep warnings out of standard output: that is for what was asked for, and for programs.

    What goes well is not told at all: it would break into a progress bar.
    """
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@contextmanager
def open_engine() -> Iterator[Engine]:
    """The database. Raises ConfigError."""
    from daybook.store.engine import make_engine

    settings = current()
    engine = make_engine(settings.require_database_url(), settings, "daybook cli")
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def open_owner() -> Iterator[Engine]:
    """The database as the owner of the schema, without the time-outs of workers.

    Raises ConfigError.
    """
    from daybook.store.engine import make_engine

    engine = make_engine(current().require_migration_database_url(), name="daybook cli")
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def open_reading() -> Iterator[Connection]:
    """One snapshot of the database, read only. Raises ConfigError, StoreUnavailable."""
    from daybook.store.read.queries import reading

    with open_engine() as engine, reading(engine) as connection:
        yield connection


@contextmanager
def open_log() -> Iterator[Log]:
    """The log. Raises ConfigError."""
    from daybook.queue.connect import connect
    from daybook.queue.log import Log

    settings = current()
    client = connect(settings.require_redis_url(), settings)
    try:
        yield Log(client, settings.namespace)
    finally:
        client.close()


@contextmanager
def open_client() -> Iterator[Client]:
    """The client. Raises ConfigError."""
    from daybook.client.client import Client

    warn_on_stderr()
    with Client(settings=current()) as client:
        yield client
