"""The composition root of a worker process: its connections, made on first use."""

from __future__ import annotations

import os
import time
from functools import lru_cache

import structlog
from sqlalchemy import Engine

from daybook.apply.applier import Applier
from daybook.client.client import Client
from daybook.errors import ConfigError, SchemaOutdated, StoreRefused, StoreUnavailable
from daybook.installation.migrate import check_revision
from daybook.queue.connect import connect
from daybook.queue.log import Log
from daybook.settings import read_settings
from daybook.store.engine import make_engine, make_worker_engine, translated_faults
from daybook.store.epochs import installation_id, newest_epoch
from daybook.store.store import Store
from daybook.worker.answers import Answers
from daybook.worker.app import app
from daybook.worker.events import RequestEvents
from daybook.worker.intake import Desk

READY_PAUSE_SECONDS = 1.0
READY_ATTEMPTS_MAX = 300
"""So often a worker that starts looks for its Postgres. Then it ends, for its supervisor to see."""

log = structlog.get_logger()


class Runtime:
    """What the tasks of one process share."""

    def __init__(self) -> None:
        self.settings = read_settings()
        self.engine: Engine = make_worker_engine(
            self.settings.require_database_url(), self.settings
        )
        self.log = Log(
            connect(self.settings.require_redis_url(), self.settings), self.settings.namespace
        )
        self.store = Store(self.engine)
        every_request = bool(app.conf.get("daybook_tells_every_request"))
        events = RequestEvents(app, every_request=every_request)
        kept_seconds = self.settings.outcome_retention_seconds
        self.answers = Answers(self.log, app.backend, kept_seconds, events)
        self.applier = Applier(self.store, self.log, self.settings, self.answers)
        self.client = Client(settings=self.settings)
        self.desk = Desk(self.client, self.answers.asked, app.backend)

    def recognise_log(self) -> None:
        """Before anything of the log is used: know whose it must be. Raises StoreUnavailable."""
        if self.log.installation_id is None:
            with translated_faults(), self.engine.connect() as connection:
                self.log.installation_id = installation_id(connection)


def runtime() -> Runtime:
    """The runtime of this process. A forked child makes its own."""
    return _runtime_of(os.getpid())


@lru_cache(maxsize=2)
def _runtime_of(pid: int) -> Runtime:
    del pid
    return Runtime()


def partitions_of_installation() -> int:
    """The number of partitions, as Postgres has it.

    Raises SchemaOutdated or ConfigError before ``daybook migrate``.
    """
    settings = read_settings()
    engine = make_engine(settings.require_database_url(), settings, name="daybook worker")
    try:
        with translated_faults(), engine.connect() as connection:
            check_revision(connection)
            epoch = newest_epoch(connection)
    finally:
        engine.dispose()
    if epoch is None:
        raise ConfigError("nothing is installed in this database: run `daybook migrate`")
    return epoch.partitions


def partitions_when_ready() -> int:
    """The same, waiting for a Postgres that is away: it may start after the worker does.

    Raises SchemaOutdated, StoreRefused or ConfigError at once, StoreUnavailable after
    READY_ATTEMPTS_MAX.
    """
    for attempt in range(READY_ATTEMPTS_MAX):
        try:
            return partitions_of_installation()
        except (SchemaOutdated, StoreRefused):
            raise
        except StoreUnavailable as away:
            log.warning("worker.waits", fault=str(away), attempt=attempt + 1)
            time.sleep(READY_PAUSE_SECONDS)
    return partitions_of_installation()
