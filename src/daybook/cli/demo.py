"""``daybook demo``: see all of it work, in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daybook.cli.exits import INTERRUPTED, Exit
from daybook.cli.output import AsJson, print_json, print_table
from daybook.cli.wiring import warn_on_stderr
from daybook.counting import counted
from daybook.errors import ConfigError
from daybook.ledger.money import amount_text

if TYPE_CHECKING:
    from rich.console import Console

    from daybook.demo.checks import Check
    from daybook.demo.observer import Seen
    from daybook.demo.play import Result, Tell

TRANSACTIONS_MAX = 100_000
WORKERS_MAX = 256
CLAIM_WIDTH = 52
KINDS_WIDTH = 90
"""Characters of the reasons that are named on one line."""


def demo(
    transactions: Annotated[
        int, typer.Option(min=200, max=TRANSACTIONS_MAX, help="How many to send.")
    ] = 5_000,
    partitions: Annotated[int, typer.Option(min=1, max=256, help="Partitions of the log.")] = 2,
    workers: Annotated[
        int, typer.Option(min=1, max=WORKERS_MAX, help="Worker processes; one will be killed.")
    ] = 2,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the folder, and say how to look at it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Post some thousand transactions in a temporary folder, kill a worker, prove the ledger.

    After them, one request of every kind is played, each with what the ledger shows then. Exit code
    0 only if all is right: each outcome, each balance, each record. Servers that
    DAYBOOK_DATABASE_URL and DAYBOOK_REDIS_URL name are used if they are empty; the demo's ledger
    stays there.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="daybook-demo-"))
    is_kept = True
    try:
        result = _play(folder, transactions, partitions, workers, console)
        is_kept = keep or not (result is None or result.ok)
        if result is None:
            console.print("Interrupted: everything is stopped.")
            raise typer.Exit(INTERRUPTED)
        if as_json:
            print_json({**_plain(result), "folder": str(folder) if is_kept else None})
        else:
            print_result(result)
        if not result.ok:
            raise typer.Exit(Exit.BAD_ANSWER)
    except ConfigError:
        is_kept = keep
        raise
    finally:
        if is_kept:
            _say_where(folder, console)
        else:
            shutil.rmtree(folder)


def _play(
    folder: Path, transactions: int, partitions: int, workers: int, console: Console
) -> Result | None:
    """The result of the play; None when a signal ended it."""

    from daybook.demo.play import Play, require_empty
    from daybook.demo.story import Story
    from daybook.embedded.supervisor import Plan, running
    from daybook.interrupts import until_signal
    from daybook.settings import Settings

    warn_on_stderr()
    settings = Settings(home=folder)
    plan = Plan(folder, partitions, workers)
    with until_signal(), _progress(console) as tell:
        require_empty(settings)
        console.print(f"Starting servers, {counted(workers, 'worker')} and beat in {folder}")
        with running(plan, settings) as (servers, instance):
            story = Story(transactions)
            console.print(
                f"Sending {counted(transactions, 'request')} of "
                f"{counted(len(story.customers), 'customer')}"
            )
            play = Play(story, tell, console.print)
            return play.run(instance, servers.pid("worker"), settings)
    return None


@contextmanager
def _progress(console: Console) -> Iterator[Tell]:
    """A bar while a person looks; nothing otherwise."""
    if not console.is_terminal:
        yield lambda what, done, end: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("start", total=None)

        def tell(what: str, done: int, end: int) -> None:
            bar.update(task, description=what, completed=done, total=max(end, 1))

        yield tell


def print_result(result: Result) -> None:
    """What a person sees when all is done."""
    print_table(
        ("outcome", "requests", "of which"),
        list(_outcome_rows(result.outcomes)),
        right=("requests",),
    )
    typer.echo(
        f"{counted(result.transactions, 'request')} in {result.seconds:.1f} s: "
        f"{result.rate:,.0f}/s from the first to the last outcome, a killed worker included."
    )
    _print_scenes(result.scenes)
    print_table(
        ("currency", "balances", "credits", "debits", "credits - debits"),
        [
            (
                one.currency,
                one.balances,
                amount_text(one.credits, one.precision),
                amount_text(one.debits, one.precision),
                amount_text(one.remainder, one.precision),
            )
            for one in result.sums
        ],
        right=("balances", "credits", "debits", "credits - debits"),
    )
    _print_checks(result.checks)
    proved = result.verified
    typer.echo(
        f"verify: {counted(proved.records, 'record')} in "
        f"{counted(len(proved.heads), 'partition')}, {counted(proved.balances, 'balance')} and "
        f"{counted(proved.holds, 'hold')}, {counted(proved.violations_total, 'violation')}. "
        f"{'All is right.' if result.ok else 'NOT right: see above.'}"
    )


def _print_scenes(scenes: Sequence[Seen]) -> None:
    """Each scene with what may be spent of each balance after it."""
    from daybook.demo.tally import EUR

    names = list(scenes[0].figures)
    print_table(
        ("then one of every kind", "what the ledger shows, and what can be spent", *names),
        [
            (
                scene.what,
                scene.shown,
                *(f"{Decimal(scene.figures[name]) / EUR.precision:.2f}" for name in names),
            )
            for scene in scenes
        ],
        right=names,
    )


def _print_checks(checks: Sequence[Check]) -> None:
    """Those that hold two on a line, the others with what breaks them."""
    claims = [check.claim for check in checks if check.ok]
    for left, right in zip_longest(claims[::2], claims[1::2]):
        beside = f"  right  {right}" if right else ""
        typer.echo(f"right  {left:{CLAIM_WIDTH if right else 0}}{beside}")
    for check in checks:
        if not check.ok:
            typer.echo(f"WRONG  {check.claim}\n       {check.detail}")


def _outcome_rows(outcomes: Mapping[tuple[str, str], int]) -> Iterator[tuple[str, Any, str]]:
    """How many there are of each status, and of which kind: a few of them on a line."""
    statuses = sorted({status for status, _ in outcomes})
    for status in statuses:
        kinds = {why: count for (of, why), count in sorted(outcomes.items()) if of == status}
        named = [f"{count} {why}" for why, count in kinds.items() if why]
        lines = textwrap.wrap(", ".join(named), KINDS_WIDTH) or [""]
        yield status, sum(kinds.values()), lines[0]
        yield from (("", "", line) for line in lines[1:])


def _plain(result: Result) -> dict[str, Any]:
    return {
        "ok": result.ok,
        "transactions": result.transactions,
        "seconds": round(result.seconds, 3),
        "transactions_per_second": round(result.rate),
        "outcomes": [
            {"status": status, "reason": reason or None, "count": count}
            for (status, reason), count in sorted(result.outcomes.items())
        ],
        "scenes": [asdict(scene) for scene in result.scenes],
        "sums": [asdict(one) for one in result.sums],
        "killed_worker": asdict(result.kill),
        "verify": {"ok": result.verified.ok, **asdict(result.verified)},
        "checks": [asdict(check) for check in result.checks],
    }


def _say_where(folder: Path, console: Console) -> None:
    home = f"DAYBOOK_HOME={folder} daybook"
    console.print(
        f"Kept: {folder} (logs in {folder / 'log'}). To look at it:\n"
        f"  {home} up --detach\n  {home} balances\n  {home} down",
        markup=False,
    )
