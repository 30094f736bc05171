"""``daybook status``: how far the partitions are, and who works on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daybook.cli.exits import Exit, code_of
from daybook.cli.output import AsJson, cell, console, print_json, print_table, without_password
from daybook.cli.wiring import current, open_log, open_reading
from daybook.counting import counted
from daybook.errors import DaybookError, LogUnavailable
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.next_steps import next_step

if TYPE_CHECKING:
    from daybook.instance import FailingPart
    from daybook.store.read.views import PartitionView

WORKERS_ANSWER_SECONDS_MAX = 1.0
"""How long workers may take to answer; all of it is always waited for."""


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition.

    queued: entries of the log that are not read yet. deferred: read, and waiting for the past.
    cursor_time, cursor_counter: the two halves of the cursor, the position last read.
    lag_seconds: age of the oldest entry that is not read; 0 when all are.
    oldest_age_seconds: age of the oldest open entry, queued or deferred; None without one.
    The log's figures are None when the log cannot be asked.
    """

    partition: int
    queued: int | None
    deferred: int
    cursor: int
    cursor_time: datetime | None
    cursor_counter: int
    lag_seconds: float | None
    oldest_age_seconds: float | None
    sequence: int
    head: str
    applied_at: datetime | None


@dataclass(slots=True)
class Status:
    """Everything that ``daybook status`` shows. errors: what could not be asked, and why.
    next_steps: what to do about each of them; empty where the error says it.

    schedules, holds: how many transactions wait for their time, and how many open holds have a
    date; due: those whose time has come. quarantined: requests that were quarantined and are open.
    None while the schema is not the newest. failing: parts of `daybook up` that do not stay up.
    """

    database_url: str | None = None
    redis_url: str | None = None
    schema_revision: str | None = None
    schema_newest: str | None = None
    partitions: list[PartitionStatus] = field(default_factory=list)
    queued: int | None = None
    deferred: int = 0
    oldest_age_seconds: float | None = None
    schedules: int | None = None
    schedules_due: int | None = None
    holds: int | None = None
    holds_due: int | None = None
    quarantined: int | None = None
    workers: list[str] | None = None
    failing: list[FailingPart] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    next_steps: list[str] = field(default_factory=list)


def status(
    workers: Annotated[
        bool, typer.Option(help="Ask which workers answer; that takes a second.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Show how far each partition is, and which workers answer.

    What can be asked is shown even when Redis or Postgres is down (exit code 3 then).
    """
    from daybook.instance import failing_parts

    shown, code = Status(failing=failing_parts(current().home)), Exit.OK
    views: list[PartitionView] = []
    if not _is_anywhere():
        shown.errors.append(
            f"nothing runs in {current().home.resolve()}: start it with `daybook up --detach`, "
            "or set DAYBOOK_DATABASE_URL and DAYBOOK_REDIS_URL"
        )
        _show(shown, as_json)
        raise typer.Exit(Exit.UNAVAILABLE)
    asks: list[Callable[[], None]] = [
        lambda: _ask_addresses(shown),
        lambda: views.extend(_ask_store(shown)),
        lambda: _ask_log(shown, views),
    ]
    if workers:
        asks.append(lambda: _ask_workers(shown))
    for ask in asks:
        try:
            ask()
        except DaybookError as error:
            code = max(code, code_of(error))
            if str(error) not in shown.errors:
                shown.errors.append(str(error))
                shown.next_steps.append(next_step(error))
    _show(shown, as_json)
    if code is not Exit.OK:
        raise typer.Exit(code)


def _is_anywhere() -> bool:
    """Whether there is any address to ask at."""
    from daybook.instance import running_instance

    settings = current()
    return bool(settings.database_url or settings.redis_url or running_instance(settings.home))


def _ask_addresses(shown: Status) -> None:
    shown.redis_url = without_password(current().require_redis_url())
    shown.database_url = without_password(current().require_database_url())


def _ask_store(shown: Status) -> list[PartitionView]:
    """What Postgres knows: everything but what is in the log and not read yet."""
    from daybook.installation.migrate import NEWEST_REVISION, current_revision
    from daybook.store.read.quarantine import count_quarantined
    from daybook.store.read.queries import count_dates, list_partitions

    with open_reading() as connection:
        shown.schema_newest = NEWEST_REVISION
        shown.schema_revision = current_revision(connection)
        views = [view for view in list_partitions(connection) if not view.is_closed]
        dates = count_dates(connection) if _is_newest(shown) else None
        if _is_newest(shown):
            shown.quarantined = count_quarantined(connection)
    if dates is not None:
        shown.schedules, shown.schedules_due = dates.schedules, dates.schedules_due
        shown.holds, shown.holds_due = dates.holds, dates.holds_due
    shown.partitions = [_partition(view) for view in views]
    shown.deferred = sum(view.deferred for view in views)
    return views


def _partition(view: PartitionView) -> PartitionStatus:
    return PartitionStatus(
        view.partition,
        None,
        view.deferred,
        view.cursor,
        _time_of(view.cursor) if view.cursor else None,
        view.cursor & ((1 << POSITION_COUNTER_BITS) - 1),
        None,
        None,
        view.sequence,
        view.head,
        view.applied_at,
    )


def _ask_log(shown: Status, views: list[PartitionView]) -> None:
    """What is in the log behind the cursors, and how old it is by the log's own clock."""
    with open_log() as log:
        log.partitions()  # an empty Redis has nothing queued, but it is not well
        if not views:
            return
        now_ms = log.now_ms()
        first = log.first_unread({view.partition: view.cursor for view in views})
        for place, view in enumerate(views):
            unread = first.get(view.partition)
            opened = [at for at in (unread, view.oldest_deferred) if at is not None]
            shown.partitions[place] = replace(
                shown.partitions[place],
                queued=log.count_unread(view.partition, view.cursor),
                lag_seconds=_age(unread, now_ms) if unread is not None else 0.0,
                oldest_age_seconds=_age(min(opened), now_ms) if opened else None,
            )
    shown.queued = sum(partition.queued or 0 for partition in shown.partitions)
    ages = [p.oldest_age_seconds for p in shown.partitions if p.oldest_age_seconds is not None]
    shown.oldest_age_seconds = max(ages, default=None)


def _ask_workers(shown: Status) -> None:
    """Who answers a ping. Without the log there is nobody to ask."""
    if shown.queued is None:
        return
    shown.workers = answering_workers(WORKERS_ANSWER_SECONDS_MAX)


def answering_workers(seconds: float) -> list[str]:
    """The names of the workers that answer a ping within ``seconds``. Raises LogUnavailable."""
    from kombu.exceptions import OperationalError

    from daybook.worker import app

    try:
        answers = app.control.inspect(timeout=seconds).ping()
    except (OperationalError, OSError) as fault:
        raise LogUnavailable(f"the Celery broker cannot be asked for workers: {fault}") from fault
    return sorted(answers or {})


def _time_of(position: int) -> datetime:
    return datetime.fromtimestamp((position >> POSITION_COUNTER_BITS) / 1000, UTC)


def _age(position: int, now_ms: int) -> float:
    """Seconds between an entry's acceptance and now, both by the log's clock."""
    return max(0, now_ms - (position >> POSITION_COUNTER_BITS)) / 1000


def _show(shown: Status, as_json: bool) -> None:
    if as_json:
        print_json(asdict(shown))
        return
    if shown.redis_url or shown.database_url:
        _print(shown)
    for error, step in zip_longest(shown.errors, shown.next_steps, fillvalue=""):
        typer.echo(f"error: {error}" + (f"\nnext: {step}" if step else ""), err=True)


def _print(shown: Status) -> None:
    print_table(
        ("partition", "queued", "deferred", "cursor", "lag s", "oldest s"),
        [_row(partition) for partition in shown.partitions],
        right=("queued", "deferred", "lag s", "oldest s"),
    )
    lines: dict[str, Any] = {
        "total": f"{_known(shown.queued)} queued, {shown.deferred} deferred",
        "dates": _dates(shown) if shown.schedules is not None else None,
        "quarantine": _quarantine(shown.quarantined),
        "workers": _workers(shown.workers),
        "failing": "; ".join(map(str, shown.failing)) or None,
        "schema": _schema(shown) if shown.schema_newest else None,
        "postgres": shown.database_url,
        "log": shown.redis_url,
    }
    out = console()
    for name, value in lines.items():
        if value is not None:
            out.print(f"[dim]{name:10}[/]", cell(value))


def _row(partition: PartitionStatus) -> tuple[Any, ...]:
    age = partition.oldest_age_seconds
    return (
        partition.partition,
        _known(partition.queued),
        partition.deferred,
        shown_cursor(partition.cursor),
        "?" if partition.lag_seconds is None else f"{partition.lag_seconds:.1f}",
        "" if age is None else f"{age:.1f}",
    )


def shown_cursor(cursor: int) -> str:
    """A cursor as people read it: the time of acceptance, and the counter within it."""
    shown = f"{_time_of(cursor):%Y-%m-%d %H:%M:%S.%f}"[:-3] if cursor else "start"
    return f"{shown} +{cursor & ((1 << POSITION_COUNTER_BITS) - 1)}"


def _known(count: int | None) -> str:
    return "?" if count is None else str(count)


def _workers(names: list[str] | None) -> str:
    if names is None:
        return "not asked"
    if not names:
        return "none answers: start one with `daybook worker`, or see `daybook up`"
    return f"{len(names)} answering: {', '.join(names)}"


def _dates(shown: Status) -> str:
    return (
        f"{shown.schedules} scheduled, {shown.schedules_due} of them due; "
        f"{counted(shown.holds or 0, 'hold')} with a date, {shown.holds_due} of them due"
    )


def _quarantine(open_ones: int | None) -> str | None:
    if not open_ones:
        return None
    return f"{open_ones} quarantined and open: see `daybook quarantine list`"


def _is_newest(shown: Status) -> bool:
    return shown.schema_revision == shown.schema_newest


def _schema(shown: Status) -> str:
    if _is_newest(shown):
        return f"{shown.schema_revision} (newest)"
    return f"{shown.schema_revision or 'none'}, newest is {shown.schema_newest}: `daybook migrate`"
