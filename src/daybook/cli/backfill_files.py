"""One ``daybook backfill`` from its options to its exit code: files, progress bar, summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from daybook.backfill.lines import Reject
from daybook.backfill.loading import load_mapping
from daybook.backfill.mapped_lines import LineBuilder
from daybook.backfill.rejects import RejectsFile, default_rejects_path
from daybook.backfill.report import Summary
from daybook.backfill.request_lines import RequestLines
from daybook.backfill.run import Backfill, Builder, dry_run
from daybook.backfill.source import Source, open_source
from daybook.cli.exits import INTERRUPTED, Exit, show_error
from daybook.cli.output import print_json, print_table
from daybook.cli.wiring import open_client
from daybook.client.client import Client
from daybook.counting import counted
from daybook.errors import ConfigError, LogUnavailable
from daybook.next_steps import next_step

BROKEN_OFF = "interrupted from the keyboard."
"""Why a run stopped that Ctrl-C ended."""

PROGRESS_SECONDS = 10.0
"""Between two lines of progress, where there is no terminal for a bar."""

SHOWN_REJECTS_MAX = 20
"""Rejects that a dry run prints when it writes no rejects file."""


@dataclass(frozen=True, slots=True)
class Command:
    """The options.

    mapping: None when the lines are requests. patience_seconds: None does not wait for outcomes.
    """

    file: str
    mapping: Path | None
    data_format: str | None
    is_dry_run: bool
    is_reversed: bool
    lines_per_second: float | None
    rejects: Path | None
    patience_seconds: float | None
    is_strict: bool
    as_json: bool


def run_command(command: Command) -> int:
    """Run it, print the summary; the exit code. Raises ConfigError when there is no Redis.

    What is wrong with the two files is told first: for that no instance is needed.
    """
    notes = Console(stderr=True, highlight=False)
    with ExitStack() as opened:
        try:
            mapping = load_mapping(command.mapping) if command.mapping else None
            builder = LineBuilder(mapping, warn=_say_to(notes)) if mapping else RequestLines()
            source = opened.enter_context(
                open_source(
                    command.file,
                    mapping,
                    command.data_format,
                    order_key=builder.order_key,
                    group_key=builder.group_key,
                    is_reversed=command.is_reversed,
                )
            )
        except ConfigError as error:
            return _bad_input(error)
        client = None if command.is_dry_run else opened.enter_context(open_client())
        return _run(command, notes, builder, source, client)


def _say_to(notes: Console) -> Callable[[str], None]:
    return lambda text: notes.print(text, markup=False, soft_wrap=True)


def _run(
    command: Command, notes: Console, builder: Builder, source: Source, client: Client | None
) -> int:
    try:
        if client is None:
            summary = _dry_run(command, notes, source, builder)
        else:
            summary = _post(command, notes, source, builder, client)
    except ConfigError as error:
        return _bad_input(error)
    _print(summary, command.as_json)
    return _exit_code(summary, command.is_strict)


def _bad_input(error: ConfigError) -> int:
    show_error(error)
    return Exit.BAD_INPUT


def _post(
    command: Command, notes: Console, source: Source, builder: Builder, client: Client
) -> Summary:
    path = command.rejects or default_rejects_path(command.file, source.data_format)
    rejects = RejectsFile(path, command.file, source)
    run = Backfill(
        client,
        builder,
        reject=rejects.add,
        say=_say_to(notes),
        lines_per_second=command.lines_per_second,
        patience_seconds=command.patience_seconds,
    )
    try:
        _follow(notes, source, run.run(source))
    except KeyboardInterrupt:
        run.summary.stopped = BROKEN_OFF
    except (ConfigError, LogUnavailable) as fault:
        if not run.summary.lines:
            raise
        step = next_step(fault)
        run.summary.stopped = f"{fault}; {step}" if step else str(fault)
    finally:
        _close(rejects, run.summary)
    return _noticed(run.summary, source)


def _close(rejects: RejectsFile, summary: Summary) -> None:
    """Write the rejects. Where that fails the summary says so: lines may have been posted."""
    try:
        rejects.close()
    except (ConfigError, OSError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else fault
        summary.rejects_fault = f"{rejects.path}: {why}"
    else:
        summary.rejects_path = str(rejects.path) if rejects.count else None


def _dry_run(command: Command, notes: Console, source: Source, builder: Builder) -> Summary:
    """Writes rejects only where ``--rejects`` says; otherwise it prints the first of them."""
    if command.rejects is None:
        summary = _follow(notes, source, dry_run(source, builder, _Shown(notes).add))
    else:
        rejects, summary = RejectsFile(command.rejects, command.file, source), Summary()
        try:
            summary = _follow(notes, source, dry_run(source, builder, rejects.add))
        finally:
            _close(rejects, summary)
    return _noticed(summary, source)


def _noticed(summary: Summary, source: Source) -> Summary:
    """With what was noticed of the file itself."""
    summary.unseen_columns = sorted(source.unseen)
    summary.spans = source.spans
    return summary


class _Shown:
    """Prints the first rejects."""

    def __init__(self, notes: Console) -> None:
        self._notes = notes
        self._count = 0

    def add(self, reject: Reject) -> None:
        self._count += 1
        if self._count <= SHOWN_REJECTS_MAX:
            text = f"line {reject.number}: {reject.code}: {reject.reason}"
            self._notes.print(text, markup=False, soft_wrap=True)
        elif self._count == SHOWN_REJECTS_MAX + 1:
            self._notes.print("… more lines are refused; --rejects PATH lists them all")


def _follow(notes: Console, source: Source, summaries: Iterator[Summary]) -> Summary:
    """Run to the end with a progress bar; without a terminal, with a line now and then."""
    summary = Summary()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[lines]}, {task.fields[rate]}/s"),
        TimeRemainingColumn(),
        console=notes,
        disable=not notes.is_terminal,
        transient=True,
    )
    said_at = 0.0
    with bar:
        task = bar.add_task("backfill", total=source.bytes_total, lines="", rate="0")
        for summary in summaries:
            read = source.lines_read
            rate = f"{read / summary.seconds:,.0f}" if summary.seconds else "0"
            bar.update(task, completed=source.bytes_read, lines=counted(read, "line"), rate=rate)
            if bar.disable and summary.seconds - said_at >= PROGRESS_SECONDS:
                said_at = summary.seconds
                notes.print(f"{counted(read, 'line')}{_share(source)}, {rate}/s", soft_wrap=True)
    return summary


def _share(source: Source) -> str:
    """How much of the file was read, where that is known."""
    total = source.bytes_total
    return f", {source.bytes_read / total:.0%} of the file" if total else ""


def _print(summary: Summary, as_json: bool) -> None:
    if as_json:
        print_json(summary.as_dict())
        return
    rows = [(label, f"{count:,}", remark) for label, count, remark in summary.rows()]
    print_table(("outcome", "lines", ""), rows, right=("lines",))
    for remark in summary.remarks():
        print(remark)


def _exit_code(summary: Summary, is_strict: bool) -> int:
    if summary.stopped is not None:
        return INTERRUPTED if summary.stopped == BROKEN_OFF else Exit.UNAVAILABLE
    if summary.rejects_fault is not None:
        return Exit.UNAVAILABLE
    return Exit.BAD_ANSWER if is_strict and summary.is_in_doubt else Exit.OK
