"""``daybook export`` and ``daybook import``: the whole ledger as a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from daybook.cli.exits import Exit, show_error
from daybook.cli.output import AsJson, print_json
from daybook.cli.verify import progress_bar
from daybook.cli.wiring import current, open_engine, open_log, open_owner
from daybook.counting import counted
from daybook.errors import ConfigError

if TYPE_CHECKING:
    from daybook.queue.log import Log
    from daybook.store.epochs import StoredEpoch
    from daybook.store.transfer.exporting import TransferReport

STANDARD = "-"


def export_ledger(
    file: Annotated[
        str, typer.Argument(help="File to write; - for standard output.", show_default=True)
    ] = STANDARD,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it is there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the whole ledger as lines of JSON, as it is at one instant.

    It changes nothing, and may run beside live traffic. What was accepted and is not applied yet
    is not part of it.
    """
    from daybook.store.transfer import exporting

    with open_engine() as engine, progress_bar() as progress, _writing(file, overwrite) as write:
        report = exporting.export_ledger(engine, write, progress)
    _show("Exported", report, as_json=as_json, error=file == STANDARD)


def import_ledger(
    file: Annotated[str, typer.Argument(help="File that was exported; - for standard input.")],
    as_json: AsJson = False,
) -> None:
    """Read an exported ledger into an empty one: the same balances, the same chains.

    Stop workers and producers first. All of it is imported, or nothing. The partitions' number
    becomes that of the file. It needs the owner of the schema: DAYBOOK_MIGRATION_DATABASE_URL.
    """
    from daybook.store.transfer import importing

    try:
        with (
            _reading(file) as lines,
            open_owner() as engine,
            open_log() as log,
            progress_bar() as progress,
        ):
            _require_empty(log)
            report = importing.import_ledger(engine, lines, _install(log), progress)
    except ConfigError as error:
        show_error(error)
        raise typer.Exit(Exit.BAD_INPUT) from error
    _show("Imported", report, as_json=as_json)
    if not as_json:
        typer.echo("Next: `daybook verify`, then start the workers.")


def _require_empty(log: Log) -> None:
    """Refuse a log that holds requests: they would land in partitions that are not theirs."""
    unread = log.first_unread(dict.fromkeys(range(log.partitions()), 0))
    if unread:
        raise ConfigError(
            "the log is not empty: import into a new installation, with a Redis database "
            "(or DAYBOOK_NAMESPACE) of its own, after `daybook migrate`"
        )


def _install(log: Log) -> Callable[[StoredEpoch, int], None]:
    """What makes the log go on behind the imported ledger."""

    def install(epoch: StoredEpoch, newest: int) -> None:
        _require_empty(log)
        entries_max = current().log_entries_max
        log.install(epoch.partitions, entries_max, newest, epoch.number, anew=True)

    return install


@contextmanager
def _writing(file: str, overwrite: bool) -> Iterator[Callable[[bytes], object]]:
    """Where lines go."""
    from daybook.store.transfer.files import whole_file

    if file == STANDARD:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    if path.exists() and not overwrite:
        raise _bad(f"{file} exists: choose another name, or --overwrite")
    try:
        with whole_file(path) as write:
            yield write
    except OSError as fault:
        raise _bad(f"{file} cannot be written: {fault.strerror}") from fault


@contextmanager
def _reading(file: str) -> Iterator[BinaryIO]:
    if file == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        lines = Path(file).open("rb")  # noqa: SIM115 - closed below
    except OSError as fault:
        raise _bad(f"{file} cannot be read: {fault.strerror}") from fault
    with lines:
        yield lines


def _bad(message: str) -> typer.Exit:
    print(f"error: {message}", file=sys.stderr)
    return typer.Exit(Exit.BAD_INPUT)


def _show(done: str, report: TransferReport, *, as_json: bool, error: bool = False) -> None:
    if as_json and not error:
        print_json(
            {
                "lines": report.lines,
                "counts": report.counts,
                "heads": [
                    {"partition": h.partition, "sequence": h.sequence, "hash": h.hash}
                    for h in report.heads
                ],
            }
        )
        return
    counts = report.counts
    typer.echo(
        f"{done} {counted(counts['transactions'], 'record')} in "
        f"{counted(len(report.heads), 'partition')}, {counted(counts['balances'], 'balance')}, "
        f"{counted(counts['holds'], 'hold')}: {counted(report.lines, 'line')}.",
        err=error,
    )
