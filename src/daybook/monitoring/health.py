"""The checks of ``daybook health``: one line each, and what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Engine, select

from daybook.errors import DaybookError
from daybook.monitoring.distrust import check_strangers
from daybook.monitoring.instance import check_parts
from daybook.monitoring.progress import (
    LOOK_PAUSE_SECONDS,
    LOOKS_MAX,
    Progress,
    find_stalled,
)
from daybook.queue.connect import connect
from daybook.queue.log import Log
from daybook.settings import Settings, running_instance
from daybook.store.engine import make_engine, translated_faults
from daybook.store.migrate import check_revision
from daybook.store.quarantine import count_quarantined
from daybook.store.schema import partitions

ASKING_SECONDS_MAX = 3.0
"""How long a server may take for one answer: a check that hangs is no check."""

State = Literal["ok", "warning", "failed", "unavailable"]


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found. unavailable: it, or what it needs, can't be asked."""

    name: str
    state: State
    detail: str


def examine(
    settings: Settings, *, stall_seconds_max: float, only_progress: bool
) -> Iterator[Check]:
    """Run the checks, one after the other; a failed one does not keep the next from running.

    only_progress: whether partitions move, and nothing else. Raises ConfigError.
    """
    with _servers(settings) as (engine, log):
        if not only_progress:
            yield _checked("log", lambda: _check_log(log))
            yield _checked("database", lambda: _check_database(engine))
            yield _checked("schema", lambda: _check_schema(engine))
        yield _checked(
            "progress",
            lambda: _check_progress(engine, log, stall_seconds_max, settings.held_over_max),
        )
        if not only_progress:
            yield _checked("replies", lambda: _check_replies(engine, log))
            yield _checked("quarantine", lambda: _check_quarantine(engine))
            yield _checked("strangers", lambda: check_strangers(engine, log))
    if not only_progress and running_instance(settings.home):
        yield _checked("parts", lambda: check_parts(settings.home))


@contextmanager
def _servers(settings: Settings) -> Iterator[tuple[Engine, Log]]:
    quick = settings.model_copy(
        update=dict.fromkeys(
            ("redis_timeout_seconds", "lock_timeout_seconds", "statement_timeout_seconds"),
            ASKING_SECONDS_MAX,
        )
    )
    with ExitStack() as closing:
        engine = make_engine(settings.require_database_url(), quick, "daybook health")
        closing.callback(engine.dispose)
        client = connect(settings.require_redis_url(), quick)
        closing.callback(client.close)
        yield engine, Log(client, settings.namespace)


def _checked(name: str, check: Callable[[], tuple[State, str]]) -> Check:
    try:
        return Check(name, *check())
    except DaybookError as error:
        return Check(name, "unavailable", str(error))


def _check_log(log: Log) -> tuple[State, str]:
    return "ok", f"{log.partitions()} partitions"


def _check_database(engine: Engine) -> tuple[State, str]:
    with translated_faults(), engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    return "ok", "answers"


def _check_schema(engine: Engine) -> tuple[State, str]:
    with translated_faults(), engine.connect() as connection:
        check_revision(connection)
    return "ok", "as this version needs it"


def _check_progress(
    engine: Engine, log: Log, seconds_max: float, held_over_max: int
) -> tuple[State, str]:
    found = find_stalled(engine, log, seconds_max, held_over_max)
    if not found:
        return "ok", "every partition is idle or moves"
    return "failed", "; ".join(_told(one, seconds_max) for one in found)


def _told(one: Progress, seconds_max: float) -> str:
    what = "entries held over" if one.unread is None else "unread entries"
    return f"partition {one.partition} has {what} and did not move for {seconds_max:g} s"


def _check_replies(engine: Engine, log: Log) -> tuple[State, str]:
    """Whether every unit of work was replied to: a moment after it, at the latest."""
    unsent = _unsent(engine, log)
    for _ in range(LOOKS_MAX):
        if not unsent:
            return "ok", "all sent"
        time.sleep(LOOK_PAUSE_SECONDS)
        unsent &= _unsent(engine, log)
    names = ", ".join(str(partition) for partition, _ in sorted(unsent))
    return "failed", f"producers were not told the outcomes of the last batch of {names}"


def _unsent(engine: Engine, log: Log) -> set[tuple[int, int]]:
    """Partition and number of the units of work that nobody was told of."""
    with translated_faults(), engine.connect() as connection:
        rows = connection.execute(select(partitions.c.partition, partitions.c.batch)).all()
    replied = log.replied_batches()
    return {(row.partition, row.batch) for row in rows if row.batch > replied.get(row.partition, 0)}


def _check_quarantine(engine: Engine) -> tuple[State, str]:
    with translated_faults(), engine.connect() as connection:
        number = count_quarantined(connection)
    if not number:
        return "ok", "empty"
    return "warning", f"{number} set aside and open: see `daybook quarantine list`"
