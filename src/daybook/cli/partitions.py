"""``daybook partitions``: how far each is, and how many there shall be."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daybook.cli.exits import Exit
from daybook.cli.numbers import PATIENCE_SECONDS_MAX
from daybook.cli.output import AsJson, print_json, print_table
from daybook.cli.status import shown_cursor
from daybook.cli.verify import progress_bar
from daybook.cli.wiring import open_engine, open_log, open_reading, warn_on_stderr
from daybook.counting import counted
from daybook.errors import OutcomeUnknown
from daybook.installation.bounds import PARTITIONS_MAX
from daybook.ledger.entry import POSITION_COUNTER_BITS

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from daybook.queue.log import Log
    from daybook.store.proof.verify import Progress
    from daybook.store.read.views import PartitionView

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.1
"""How often the command looks whether the workers are through."""

COLUMNS = ("partition", "unread", "deferred", "cursor", "sequence", "lag s", "workers")


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """One partition.

    unread: entries of the log behind the cursor. lag_seconds: age of the oldest of them.
    sequence: the number of its last record. workers: how many listen to its queue.
    is_closed: it is not read any more, its journal stays.
    """

    partition: int
    unread: int
    deferred: int
    cursor: int
    sequence: int
    lag_seconds: float
    workers: int
    is_closed: bool


@dataclass(frozen=True, slots=True)
class Resized:
    """What a resize did. seconds: from the first new entry until all older ones were decided."""

    partitions: int
    before: int
    epoch: int
    seconds: float


def show(as_json: AsJson = False) -> None:
    """Show each partition: what is unread, deferred, how far it is, and who listens to it.

    A closed one had entries when there were more partitions: its records stay, and are proved.
    """
    from daybook.installation.resize import stored_epoch
    from daybook.store.read.queries import list_partitions

    with open_reading() as connection, open_log() as log:
        stored = stored_epoch(connection)
        rows = _rows(log, list_partitions(connection))
        number = log.partitions()
    if as_json:
        print_json(
            {
                "partitions": number,
                "decided_by": stored.partitions,
                "epoch": stored.number,
                "rows": [asdict(row) for row in rows],
            }
        )
        return
    print_table(
        COLUMNS, [_cells(row) for row in rows], right=("unread", "deferred", "sequence", "lag s")
    )
    if number != stored.partitions:
        typer.echo(
            f"New requests go to {counted(number, 'partition')}; workers still decide older ones "
            f"by {stored.partitions}. To follow: `daybook partitions resize {number}`."
        )
    deaf = [row.partition for row in rows if not row.workers and not row.is_closed]
    if deaf:
        typer.echo(
            f"No worker listens to {', '.join(map(str, deaf))}. Those that run take new ones by "
            "themselves in some seconds; else start `daybook worker`, or add its queue to a -Q."
        )


def resize(
    number: Annotated[
        int, typer.Argument(min=1, max=PARTITIONS_MAX, help="How many partitions there shall be.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    patience: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=PATIENCE_SECONDS_MAX,
            help="Seconds to wait for the workers.",
        ),
    ] = PATIENCE_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Change the number of partitions while everything runs.

    Nobody has to be stopped: new requests go by the new number at once, and wait until the
    workers have decided what was accepted before. Running it again goes on where it was; taking
    it back is a resize to the number before. Needs the database login of a worker. Exit code 4:
    the workers were not through when the patience ended, and go on by themselves.
    """
    from daybook.installation.resize import begin, stored_epoch
    from daybook.store.engine import translated_faults

    warn_on_stderr()
    with open_engine() as engine, open_log() as log:
        with translated_faults(), engine.connect() as connection:
            before = stored_epoch(connection)
        if log.partitions() != number:
            _ask(log.partitions(), number, yes=yes)
        start = time.monotonic()
        epoch = begin(engine, log, number).number
        with progress_bar() as progress:
            _follow(engine, log, epoch, patience, progress)
        done = Resized(number, before.partitions, epoch, round(time.monotonic() - start, 3))
    if as_json:
        print_json(asdict(done))
    elif before.number == epoch:
        typer.echo(f"{counted(number, 'partition')} already: nothing was changed.")
    else:
        typer.echo(
            f"{counted(number, 'partition')} now, {before.partitions} before. Requests that came "
            f"meanwhile waited for at most {done.seconds:.1f} s."
        )


def _ask(before: int, number: int, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        print(
            "error: --yes: must be given where nobody can be asked; nothing was changed",
            file=sys.stderr,
        )
        raise typer.Exit(Exit.BAD_INPUT)
    typer.confirm(f"From {before} to {counted(number, 'partition')}?", abort=True, err=True)


def _follow(
    engine: Engine, log: Log, epoch: int, patience: float, progress: Progress | None
) -> None:
    """Wait until the workers are in ``epoch``. Raises OutcomeUnknown."""
    from daybook.apply.epochs import advance
    from daybook.installation.resize import open_before, stored_epoch
    from daybook.store.engine import translated_faults
    from daybook.store.store import Store

    deadline = time.monotonic() + patience
    most = left = 0
    while True:
        advance(Store(engine), log)
        with translated_faults(), engine.connect() as connection:
            if stored_epoch(connection).number >= epoch:
                return
        left = open_before(engine, log)
        most = max(most, left)
        if progress:
            progress("older requests", most - left, most)
        if time.monotonic() > deadline:
            raise OutcomeUnknown(
                f"after {patience:g} s the workers still have {counted(left, 'older request')} to "
                "decide; new ones wait for them. They go on by themselves (`daybook partitions`): "
                "run this again to follow, or with the number before to take it back"
            )
        time.sleep(LOOK_SECONDS)


def _rows(log: Log, views: list[PartitionView]) -> list[PartitionRow]:
    from daybook.queue.announcements import announced
    from daybook.queue.doorbell import queue_of

    now_ms = log.now_ms()
    first = log.first_unread({view.partition: view.cursor for view in views})
    workers = announced(log).values()
    return [
        PartitionRow(
            view.partition,
            log.count_unread(view.partition, view.cursor),
            view.deferred,
            view.cursor,
            view.sequence,
            _age(first.get(view.partition), now_ms),
            sum(queue_of(view.partition) in each.queues for each in workers),
            view.is_closed,
        )
        for view in views
    ]


def _age(position: int | None, now_ms: int) -> float:
    return 0.0 if position is None else max(0, now_ms - (position >> POSITION_COUNTER_BITS)) / 1000


def _cells(row: PartitionRow) -> tuple[Any, ...]:
    return (
        row.partition,
        row.unread,
        row.deferred,
        shown_cursor(row.cursor),
        row.sequence,
        f"{row.lag_seconds:.1f}",
        "closed" if row.is_closed else row.workers,
    )
