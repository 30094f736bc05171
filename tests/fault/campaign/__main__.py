"""Run kinds of faults and print a table: ``python -m tests.fault.campaign [--json] [kind ...]``.

``one+other`` brings two kinds about at once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.fault.campaign.kinds import Kind, catalogue, drawn_pairs, go_together, named
from tests.fault.campaign.run import Result
from tests.fault.campaign.runners import run_all
from tests.harness import keep_files_in_memory

PAIR = 2
AT_ONCE = 2
"""A kind waits half of its time: so many keep two cores busy, and three slow each other down."""
AT_ONCE_MAX = 16
TABLE_COLUMNS = 100
"""What the longest name of a kind and the figures need beside a verdict."""
FIGURES_COLUMNS = 60


def chosen(names: Sequence[str], known: dict[str, Kind]) -> list[Kind]:
    """The kinds and pairs of these names, or all kinds.

    Exits when there is no such kind, or when two of them can't go together.
    """
    for name in names:
        _check(name, known)
    return [named(name, known) for name in dict.fromkeys(names)] or list(known.values())


def _check(name: str, known: Mapping[str, Kind]) -> None:
    parts = name.split("+")
    strangers = [part for part in parts if part not in known]
    if strangers:
        sys.exit(f"no such kind: {', '.join(strangers)}; --list names all")
    if len(parts) > PAIR:
        sys.exit(f"{name}: two kinds at once, not more")
    one, other = known[parts[0]], known[parts[-1]]
    if len(parts) == PAIR and (one is other or not go_together(one, other)):
        taken = sorted(one.takes & (other.takes | other.needs) | other.takes & one.needs)
        sys.exit(f"{name}: they can't go together, for {', '.join(taken) or 'they are the same'}")


def table(results: Sequence[Result]) -> Table:
    """A line for each kind. again: requests sent again; back s: until new ones were applied."""
    shown = Table(title="Faults under live traffic of all kinds", box=box.SIMPLE, padding=(0, 1))
    shown.add_column("kind", no_wrap=True)
    for name in ("accepted", "applied", "again", "back s", "all s"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("verdict")
    for result in results:
        back = "" if result.back_seconds is None else f"{result.back_seconds:.1f}"
        verdict = f"skipped: {result.skipped}" if result.skipped else "right"
        if result.violations:
            plural = "" if len(result.violations) == 1 else "s"
            verdict = f"[red]{len(result.violations)} violation{plural}"
        figures = (result.accepted, result.applied, result.sent_again, back)
        shown.add_row(result.kind, *map(str, figures), f"{result.seconds:.0f}", verdict)
    return shown


def line(result: Result) -> str:
    """What became of a kind, and all of its violations."""
    back = "" if result.back_seconds is None else f", back after {result.back_seconds:.1f} s"
    said = f"{result.kind}: {result.accepted} accepted, {result.applied} applied{back}"
    said += f", skipped: {result.skipped}" if result.skipped else ""
    said += f" (seed {result.seed}, {result.seconds:.0f} s)"
    if result.violations:
        said += f"\nagain: {replay_line(result)}"
    return "\n".join([said, *result.violations])


def replay_line(result: Result) -> str:
    """What brings it about once more."""
    return f"make faults KINDS='{result.kind}' SEED={result.seed}"


def main() -> int:
    """Run, show, and answer 1 when anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault.campaign", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="kind", help="all, when none is named")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--pairs", type=int, default=0, help="instead, so many pairs of kinds, drawn by the seed"
    )
    parser.add_argument(
        "--at-once",
        type=int,
        choices=range(1, AT_ONCE_MAX + 1),
        default=AT_ONCE,
        metavar="KINDS",
        help=f"how many kinds run at a time, each on servers of its own (default: {AT_ONCE})",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--list", action="store_true", help="name the kinds and what they do")
    options = parser.parse_args()
    known = catalogue()
    kinds = chosen(options.kinds, known)
    if options.pairs:
        kinds = drawn_pairs(kinds, options.pairs, options.seed)
    keep_files_in_memory()
    if options.list:
        for kind in kinds:
            print(f"{kind.name:32} {kind.what}")
        return 0
    results = _run_shown(kinds, options.seed, options.at_once)
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        _show(results, options.seed)
    return int(any(result.violations for result in results))


def _run_shown(kinds: Sequence[Kind], seed: int, at_once: int) -> list[Result]:
    """With a bar on a terminal, a line for each kind elsewhere; violations at once."""
    console = Console(stderr=True)
    results: dict[str, Result] = {}
    with (
        tempfile.TemporaryDirectory(prefix="daybook-faults-") as folder,
        Progress(console=console, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("faults", total=len(kinds))
        for result in run_all(kinds, seed, Path(folder), at_once):
            results[result.kind] = result
            progress.update(task, advance=1, description=result.kind)
            if result.violations or not console.is_terminal:
                console.print(line(result), markup=False, soft_wrap=True)
    return [results[kind.name] for kind in kinds]


def _show(results: Sequence[Result], seed: int) -> None:
    console = Console()
    longest = max((len(result.kind) for result in results), default=0)
    console.width = max(console.width, TABLE_COLUMNS, longest + FIGURES_COLUMNS)
    console.print(table(results))
    wrong = sum(bool(result.violations) for result in results)
    console.print(f"seed {seed}: {len(results)} kinds, {wrong} with violations")
    for result in results:
        if result.violations:
            console.print(f"again: {replay_line(result)}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
