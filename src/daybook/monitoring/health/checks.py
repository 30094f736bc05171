"""What every check of ``daybook health`` is made of: what it finds, and whom it may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from sqlalchemy import Engine, text

from daybook.errors import (
    DaybookError,
    LogRefused,
    LogUnavailable,
    SchemaOutdated,
    StoreUnavailable,
)
from daybook.next_steps import next_step
from daybook.queue.connect import connect
from daybook.queue.log import Log
from daybook.settings import Settings
from daybook.store.engine import make_engine, translated_faults

ANSWER_SECONDS_MAX = 3.0
"""How long a server may take for one answer: a check that hangs is no check."""

State = Literal["ok", "unknown", "warning", "failed", "unavailable"]

_DEGREES: tuple[State, ...] = ("ok", "unknown", "warning", "failed", "unavailable")


class Finding(NamedTuple):
    """What a check found, and what that means."""

    state: State
    detail: str


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found.

    state: ``failed``: something that is promised does not hold. ``warning``: all works, and
    something is at risk, or waits for a person. ``unknown``: the server does not tell.
    ``unavailable``: the server, or what the check needs of it, can't be asked.
    """

    name: str
    state: State
    detail: str


def worst(findings: Sequence[Finding], otherwise: str) -> Finding:
    """All that was found, as bad as the worst of it. otherwise: what is said of nothing."""
    if not findings:
        return Finding("ok", otherwise)
    state = max((found.state for found in findings), key=_DEGREES.index)
    return Finding(state, "; ".join(found.detail for found in findings))


@dataclass(slots=True)
class Asked:
    """The servers, and the bounds that are judged by.

    seconds_max: how long something may stand still. away: servers that did not answer, and why:
    each further check would wait for them once more.
    """

    settings: Settings
    engine: Engine
    log: Log
    seconds_max: float
    away: dict[str, str] = field(default_factory=dict)

    def row(self, query: str, values: Mapping[str, Any] | None = None) -> Any:
        """The first row of a query. Raises StoreUnavailable."""
        with translated_faults(), self.engine.connect() as connection:
            return connection.execute(text(query), values or {}).first()


Judge = Callable[[Asked], Finding]


class Inspection(NamedTuple):
    """A check. needs: which of the servers ``log`` and ``database`` it asks."""

    name: str
    needs: frozenset[str]
    judge: Judge


def inspection(name: str, judge: Judge, *needs: str) -> Inspection:
    """A check of the servers that it needs."""
    return Inspection(name, frozenset(needs), judge)


@contextmanager
def inspecting(settings: Settings, seconds_max: float) -> Iterator[Asked]:
    """Connections to the servers, impatient ones. Raises ConfigError."""
    quick = impatient(settings)
    with ExitStack() as closing:
        engine = make_engine(
            settings.require_database_url(), quick, "daybook health", int(ANSWER_SECONDS_MAX)
        )
        closing.callback(engine.dispose)
        client = connect(settings.require_redis_url(), quick, patient=False)
        closing.callback(client.close)
        yield Asked(settings, engine, Log(client, settings.namespace), seconds_max)


def impatient(settings: Settings) -> Settings:
    """The settings, with a server's answer awaited for ANSWER_SECONDS_MAX at most."""
    names = ("redis_timeout_seconds", "lock_timeout_seconds", "statement_timeout_seconds")
    return settings.model_copy(update=dict.fromkeys(names, ANSWER_SECONDS_MAX))


def inspect(asked: Asked, one: Inspection) -> Check:
    """Run one check. Whatever it raises is what it found."""
    for server in sorted(one.needs & asked.away.keys()):
        return Check(one.name, "unavailable", asked.away[server])
    try:
        return Check(one.name, *one.judge(asked))
    except LogUnavailable as error:
        if type(error) is LogUnavailable:  # not one that answers, and refuses
            asked.away["log"] = _with_next_step(error)
        return Check(one.name, "unavailable", _with_next_step(error))
    except StoreUnavailable as error:
        if not isinstance(error, SchemaOutdated) and not _answers(asked):
            asked.away["database"] = _with_next_step(error)
        return Check(one.name, "unavailable", _with_next_step(error))
    except DaybookError as error:
        return Check(one.name, "unavailable", _with_next_step(error))
    except Exception as error:  # what it read was none of what may stand there
        return Check(one.name, "failed", f"can't be judged: {type(error).__name__}: {error}")


def _with_next_step(error: DaybookError) -> str:
    step = next_step(error)
    return f"{error}; {step}" if step else str(error)


def _answers(asked: Asked) -> bool:
    """Whether the database answers at all."""
    try:
        asked.row("SELECT 1")
    except DaybookError:
        return False
    return True


def refused(ask: Callable[[], Any]) -> Any:
    """What the log's server answers; None when it refuses, as servers of others do."""
    try:
        return ask()
    except LogRefused:
        return None
