"""``daybook demo``: see all of it work, in a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daybook.cli.exits import Exit
from daybook.cli.output import AsJson, print_json, print_table
from daybook.cli.wiring import warn_on_stderr
from daybook.errors import ConfigError
from daybook.ledger.money import amount_text
from daybook.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from daybook.demo.play import Result, Tell

TRANSACTIONS_MAX = 100_000
WORKERS_MAX = 256
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


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

    Exit code 0 only if all is right: each outcome, each balance, each record. Servers that
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
            _print(result)
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
    from daybook.embedded.supervisor import Plan, running, until_signal

    warn_on_stderr()
    settings = Settings(home=folder)
    plan = Plan(folder, partitions, workers)
    with until_signal(), _progress(console) as tell:
        require_empty(settings)
        console.print(f"Starting servers, {workers} worker processes and beat in {folder}")
        with running(plan, settings) as (servers, instance):
            story = Story(transactions)
            console.print(f"Sending {transactions} requests of {len(story.customers)} customers")
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


def _print(result: Result) -> None:
    print_table(
        ("name", "currency", "balance", "inflight", "transactions"),
        [
            (
                view.indicator or view.meta_data.get("external_id"),
                view.currency,
                amount_text(view.balance, view.precision or 1),
                amount_text(view.inflight_balance, view.precision or 1),
                view.version,
            )
            for view in result.balances
        ],
        right=("balance", "inflight", "transactions"),
    )
    print_table(
        ("outcome", "reason", "requests"),
        [(*outcome, count) for outcome, count in sorted(result.outcomes.items())],
        right=("requests",),
    )
    typer.echo(
        f"{result.transactions} transactions in {result.seconds:.1f} s: {result.rate:,.0f}/s from "
        "the first request to the last outcome, a killed worker included.\n"
    )
    for check in result.checks:
        typer.echo(f"{'right' if check.ok else 'WRONG'}  {check.claim}")
        if check.detail:
            typer.echo(f"       {check.detail}")
    proved = result.verified
    typer.echo(
        f"\nverify: {proved.records} records in {len(proved.heads)} partitions, {proved.balances} "
        f"balances and {proved.holds} holds, {proved.violations_total} violations."
    )
    typer.echo("All is right." if result.ok else "NOT right: see above.")


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
        "balances": [view.asdict() for view in result.balances],
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
