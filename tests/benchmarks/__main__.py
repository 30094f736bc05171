"""``make bench``: every figure of one run on one machine, as a table or as JSON.

The absolute figures say something about the machine; the ratios say something about Daybook.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.history import history_times
from tests.benchmarks.measures import (
    apply_rate,
    bulk_rate,
    copy_rate,
    draft_rate,
    idle_latency,
    make_balances,
    memory_growth,
    one_message_each_rate,
    split_rate,
    warm_workers,
)
from tests.benchmarks.over_http import http_rates
from tests.harness import Cluster, Installation, cluster_from_environment

BALANCES = 10_000
REPEATS = 3
REFUSED_EVERY = 10
BULK_SIZE = 1_000
LEGS = 100
HTTP_REQUESTS_MAX = 10_000


def main() -> int:
    """Run what was asked for and print it."""
    options = _options()
    sizes = (options.transactions, options.backlog, options.statement_rows)
    with (
        Console(stderr=True).status("starting") as status,  # only on a terminal
        tempfile.TemporaryDirectory(prefix="daybook-bench-") as folder,
        cluster_from_environment(Path(folder) / "servers") as cluster,
    ):
        report = run(cluster, Path(folder), *sizes, status.update)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)
    return 0


def run(
    cluster: Cluster,
    folder: Path,
    transactions: int,
    backlog: int,
    statement_rows: int,
    tell: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """All figures. transactions: in each measured backlog; backlog: for the memory;
    statement_rows: of the balance whose history is read; tell: is told what is measured next."""
    report: dict[str, Any] = {"machine": machine(), "commit": commit(), "balances": BALANCES}

    def repeated(name: str, rate: Callable[[], dict[str, Any]]) -> None:
        measured = []
        for number in range(REPEATS):
            tell(f"{name.replace('_', ' ')}, {number + 1} of {REPEATS}")
            measured.append(rate())
        report[name] = _median(measured)

    tell("starting")
    with installed(cluster, folder, 2) as two:
        balances = make_balances(two, BALANCES)
        workers = warm_workers(two, 2)
        tell("idle")
        report["idle"] = idle_latency(two, balances, min(500, transactions))
        repeated("drafts_per_core", lambda: draft_rate(balances, transactions))
        repeated("apply", lambda: apply_rate(two, balances, transactions))
        repeated(
            "apply_with_rejections", lambda: apply_rate(two, balances, transactions, REFUSED_EVERY)
        )
        tell("copy")
        report["copy"] = copy_rate(two)
        repeated("bulks", lambda: bulk_rate(two, balances, transactions, BULK_SIZE))
        splits = max(transactions // LEGS, 1)
        repeated("splits", lambda: split_rate(two, balances, splits, LEGS))
        if backlog:
            tell("memory")
            report["memory"] = memory_growth(two, workers, balances, backlog)
        tell("over HTTP")
        report["http"] = http_rates(two, balances, min(transactions, HTTP_REQUESTS_MAX))
        workers.stop()
        warm_workers(two, 2, task_events=True)
        repeated("apply_with_task_events", lambda: apply_rate(two, balances, transactions))
    with installed(cluster, folder, 1) as one:
        balances = make_balances(one, BALANCES)
        warm_workers(one, 1)
        repeated("apply_one_partition", lambda: apply_rate(one, balances, transactions))
        tell("one message each")
        report["one_message_each"] = one_message_each_rate(one, min(transactions, 4_000))
    with installed(cluster, folder, 3) as read:
        tell(f"history of {statement_rows:,} rows")
        report["history"] = history_times(read, statement_rows)
    report["ratios"] = ratios(report)
    return report


def ratios(report: dict[str, Any]) -> dict[str, float]:
    """The figures that hold on any machine."""
    rate = report["apply"]["per_second"]
    return {
        "apply / plain COPY": rate / report["copy"]["per_second"],
        "with rejections / without": report["apply_with_rejections"]["per_second"] / rate,
        "with task events / without": report["apply_with_task_events"]["per_second"] / rate,
        "one partition / two": report["apply_one_partition"]["per_second"] / rate,
        f"in atomic bulks of {BULK_SIZE:,} / single": report["bulks"]["per_second"] / rate,
        f"cost of {LEGS} legs / of a single": rate / report["splits"]["per_second"],
        "apply / one Celery message each": rate / report["one_message_each"]["per_second"],
    }


def show(report: dict[str, Any]) -> None:
    """The report as tables."""
    console = Console()
    console.print(f"{report['machine']}, commit {report['commit']}, {BALANCES:,} balances")
    figures = Table("figure", "value", title="Measured")
    for name in (
        "drafts_per_core",
        "apply",
        "apply_with_rejections",
        "apply_with_task_events",
        "apply_one_partition",
        "bulks",
        "splits",
        "copy",
        "one_message_each",
    ):
        figures.add_row(name.replace("_", " "), f"{report[name]['per_second']:,.0f}/s")
    if "memory" in report:
        figures.add_row("memory growth of a worker", f"{report['memory']['growth_mib']:.1f} MiB")
    history = report["history"]
    of = f"of {history['rows']:,}"
    for name, title in (
        ("last_100_ms", f"statement, last 100 {of}"),
        ("last_100_then_ms", "statement, last 100 before a day in the past"),
        ("last_100_then_with_snapshot_ms", "the same with a snapshot of the day before"),
        ("at_ms", "balance at a time in the past"),
        ("at_with_snapshot_ms", "the same with a snapshot of the day before"),
    ):
        figures.add_row(title, f"{history[name]:.1f} ms")
    figures.add_row("statement of all rows", f"{history['export_per_second']:,.0f} rows/s")
    idle = report["idle"]
    figures.add_row("idle, enqueue to outcome, median", f"{idle['median_ms']:.1f} ms")
    figures.add_row("idle, enqueue to outcome, p99", f"{idle['p99_ms']:.1f} ms")
    console.print(figures)
    console.print(http_table(report["http"]))
    table = Table("ratio", "value", title="Ratios")
    for name, value in report["ratios"].items():
        table.add_row(name, f"{value:.2f}")
    console.print(table)


def http_table(http: dict[str, Any]) -> Table:
    """What was measured over HTTP, on the same cores as everything else."""
    table = Table("request", "answers/s", "applied/s", "median", "p99", title="Over HTTP")
    for name, title in (
        ("post", "POST /transactions"),
        ("post_from_one", "the same, all from @World"),
        ("post_and_wait", "the same, answered with the outcome"),
        ("bulk", "POST /transactions/bulk of 500"),
        ("balance", "GET /balances/{id}"),
        ("post_paced", "POST /transactions, 1,000 a second asked for"),
    ):
        one = http[name]
        applied = one.get("applied_per_second")
        table.add_row(
            title,
            f"{one['per_second']:,.0f}",
            "" if applied is None else f"{applied:,.0f}",
            f"{one['median_ms']:.1f} ms",
            f"{one['p99_ms']:.1f} ms",
        )
    return table


def machine() -> str:
    """The machine in a line."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def commit() -> str:
    """The commit that is measured; ``+`` when files have changed since."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


@contextmanager
def installed(cluster: Cluster, folder: Path, partitions: int) -> Iterator[Installation]:
    """An installation for one part of the run."""
    home = folder / f"partitions{partitions}"
    home.mkdir()
    installation = Installation(cluster, partitions, home)
    try:
        yield installation
    finally:
        installation.close()


def _median(rates: list[dict[str, Any]]) -> dict[str, Any]:
    ordered = sorted(rates, key=lambda rate: rate["per_second"])
    return {**ordered[len(ordered) // 2], "all": [round(rate["per_second"]) for rate in rates]}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--transactions", type=int, default=50_000, help="in each backlog")
    parser.add_argument("--backlog", type=int, default=200_000, help="for the memory; 0: skip it")
    parser.add_argument(
        "--statement-rows",
        type=int,
        default=1_000_000,
        help="of one balance, looked back at",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
