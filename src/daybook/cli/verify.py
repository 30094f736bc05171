"""``daybook verify``: the proof of the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from daybook.cli.exits import Exit
from daybook.cli.output import AsJson, print_json, printable
from daybook.cli.wiring import open_engine
from daybook.counting import counted

if TYPE_CHECKING:
    from daybook.store.proof.verify import Progress, VerifyReport

VIOLATIONS_PRINTED_MAX = 20


def verify(as_json: AsJson = False) -> None:
    """Prove the ledger: chain, numbering, balances, holds and sums, all from the journal.

    It reads one snapshot, changes nothing, and may run beside live traffic. Exit code 1 when
    a claim does not hold.
    """
    from daybook.store.proof.verify import verify as check

    with open_engine() as engine, progress_bar() as progress:
        report = check(engine, progress)
    if as_json:
        fields = {"ok": report.ok, "violations_total": report.violations_total, **asdict(report)}
        print_json(fields)
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(Exit.BAD_ANSWER)


@contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """A bar on stderr while a person looks; nothing otherwise."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def tell(check: str, done: int, end: int) -> None:
            bar.update(task, description=check, completed=done, total=max(end, 1))

        yield tell


def _print(report: VerifyReport) -> None:
    scope = (
        f"{counted(report.records, 'record')} in {counted(len(report.heads), 'partition')}, "
        f"{counted(report.balances, 'balance')}, {counted(report.holds, 'hold')}"
    )
    if report.ok:
        typer.echo(f"All is right: {scope}.")
        for head in report.heads:
            typer.echo(f"  partition {head.partition} ends at {head.sequence}, {head.hash}")
        return
    typer.echo(f"NOT right: {counted(report.violations_total, 'violation')} in {scope}.")
    print_violations(report)


def print_violations(report: VerifyReport) -> None:
    """How many there are of each kind, and the first of them."""
    for code, count in report.violations_by_code.items():
        typer.echo(f"  {code}: {count}")
    for violation in report.violations[:VIOLATIONS_PRINTED_MAX]:
        line = f"{violation.code}  {violation.where}: {violation.message}"
        typer.echo(printable(line))
    unseen = report.violations_total - VIOLATIONS_PRINTED_MAX
    if unseen > 0:
        typer.echo(f"… and {unseen} more (--json shows the first of each kind)")
