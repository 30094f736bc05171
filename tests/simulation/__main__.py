"""``make simulate``: runs by seed, or the search for deliberate faults. Failures replay."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.simulation.mutations import MUTATIONS, Mutation, mutated
from tests.simulation.world import Verdict, run

STEPS = 24
RUNS = 2_000
MUTANT_RUNS_MAX = 2_000
CHUNK_RUNS = 25
SHOWN_MAX = 3
HASH_SEED = "0"
"""Python's own, so that sets are walked in the same order on each run."""


def main() -> int:
    """Run what was asked for; 0 only when nothing was found, or every deliberate fault was."""
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    options = _options()
    if options.mutations:
        return _search(options)
    began = time.monotonic()
    runs = 1 if options.seed is not None else options.runs
    verdicts = list(_verdicts(options.seed or options.first, runs, options.steps))
    return _report(verdicts, time.monotonic() - began, as_json=options.json)


def replay_line(verdict: Verdict) -> str:
    """What repeats a run."""
    return f"make simulate SEED={verdict.seed} STEPS={verdict.steps}"


def _verdicts(first: int, runs: int, steps: int) -> Iterator[Verdict]:
    """The verdicts of so many seeds, by all cores. Progress is shown on a terminal only."""
    starts = range(first, first + runs, CHUNK_RUNS)
    chunks = [(start, min(CHUNK_RUNS, first + runs - start), steps) for start in starts]
    console = Console(stderr=True)
    with ProcessPoolExecutor() as pool:
        found = pool.map(_chunk, chunks)
        shown = track(found, "runs", len(chunks), console=console, disable=not console.is_terminal)
        for chunk in shown:
            yield from chunk


def _chunk(chunk: tuple[int, int, int]) -> list[Verdict]:
    first, number, steps = chunk
    return [run(seed, steps) for seed in range(first, first + number)]


def _report(verdicts: list[Verdict], seconds: float, *, as_json: bool) -> int:
    failed = [verdict for verdict in verdicts if verdict.violations]
    happened: Counter[str] = Counter()
    for verdict in verdicts:
        for (fault, _), times in verdict.happened.items():
            happened[str(fault)] += times
    places = {place for verdict in verdicts for place in verdict.happened}
    summary = {
        "runs": len(verdicts),
        "runs_per_minute": round(len(verdicts) / seconds * 60),
        "accepted": sum(verdict.accepted for verdict in verdicts),
        "records": sum(verdict.records for verdict in verdicts),
        "faults": dict(happened.most_common()),
        "kinds_of_faults_at_their_places": len(places),
        "failed": [asdict(verdict) | {"happened": None} for verdict in failed],
    }
    if as_json:
        print(json.dumps(summary, indent=2))
        return 1 if failed else 0
    table = Table("fault", "times", title=f"{len(verdicts):,} runs, {len(places)} places")
    for fault, times in happened.most_common():
        table.add_row(fault, f"{times:,}")
    console = Console()
    console.print(table)
    console.print(
        f"{summary['runs_per_minute']:,} runs a minute; {summary['accepted']:,} requests accepted, "
        f"{summary['records']:,} records, {len(failed)} runs with violations."
    )
    for verdict in failed:
        console.print(f"\nFAILED: {replay_line(verdict)}", style="bold red", highlight=False)
        for violation in verdict.violations[:SHOWN_MAX]:
            console.print(f"  {violation}", highlight=False, markup=False)
    return 1 if failed else 0


def _search(options: argparse.Namespace) -> int:
    """Let the simulation find every deliberate fault."""
    table = Table("deliberate fault", "found in run", "by")
    missed = []
    with ProcessPoolExecutor() as pool:
        bounds = [options.runs or MUTANT_RUNS_MAX] * len(MUTATIONS)
        for mutation, found in zip(MUTATIONS, pool.map(find, MUTATIONS, bounds), strict=True):
            runs, violation = found or (None, "not found")
            table.add_row(mutation.name, str(runs or "-"), violation[:70])
            missed += [mutation.name] if found is None else []
    Console().print(table)
    return 1 if missed else 0


def find(mutation: Mutation, runs_max: int) -> tuple[int, str] | None:
    """In which run a deliberate fault shows, and how; None if in none of so many."""
    with mutated(mutation):
        for seed in range(runs_max):
            verdict = run(seed, STEPS)
            if verdict.violations:
                return seed + 1, verdict.violations[0]
    return None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return number


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="one run; by default many, from --first on")
    parser.add_argument("--first", type=int, default=0, help="the first seed of many")
    parser.add_argument("--runs", type=_positive, default=RUNS, help="how many")
    parser.add_argument(
        "--steps", type=_positive, default=STEPS, help="requests that a run sends, about"
    )
    parser.add_argument("--mutations", action="store_true", help="find the deliberate faults")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
