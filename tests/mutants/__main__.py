"""``make mutants``: change the code in small ways, and see that some test fails for each."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, Phase, settings
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.mutants.making import PACKAGE, Mutant, candidates_of
from tests.mutants.running import try_all
from tests.mutants.survivors import ACCEPTED, Survivor, accepted

ROOMS = ("ledger", "apply")
KILLED_SHARE_MIN = 0.95
AT_ONCE = 2
PROFILE = "mutants"
EXAMPLES = 8
"""Of each property: what one of them needs many for is noticed by a smaller test."""
HASH_SEED = "0"
"""Python's own, so that simulated runs are the same in each process."""
LOADED_FIRST = ("hypothesis", "psycopg", "pydantic", "redis", "sqlalchemy", "structlog")
"""Loaded once, and not by each fork. None of them loads Daybook."""

ENVIRONMENT = {
    "PYTHONHASHSEED": HASH_SEED,
    "DAYBOOK_HYPOTHESIS_PROFILE": PROFILE,
    "COVERAGE_CORE": "ctrace",  # the only one that knows which test executes a line
}


def main() -> int:
    """Try the mutants; 0 when enough are killed and each survivor is accepted for a reason."""
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        os.environ.update(ENVIRONMENT)
        os.execv(sys.executable, [sys.executable, "-m", "tests.mutants", *sys.argv[1:]])
    options = _options()
    paths = list(_files(options.paths or ROOMS))
    mutants = list(_mutants(paths, options.sample, options.seed))
    began = time.monotonic()
    killed = _tried(mutants, options.at_once)
    if killed is None:
        print("the tests fail without a mutant: see above", file=sys.stderr)
        return 1
    seconds = time.monotonic() - began
    whole = frozenset() if options.sample else frozenset(str(p.relative_to(PACKAGE)) for p in paths)
    return _report(mutants, killed, seconds, whole, options)


def _files(paths: Iterable[str]) -> Iterator[Path]:
    """The modules below files or folders, as people name them."""
    for name in paths:
        path = PACKAGE / name.removeprefix("src/daybook/")
        if not path.exists():
            raise SystemExit(f"{name}: no such file or folder below src/daybook/")
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _mutants(paths: Iterable[Path], sample: int | None, seed: int) -> Iterator[Mutant]:
    """All mutants of the modules, or so many of them, drawn by a seed."""
    candidates = [candidate for path in paths for candidate in candidates_of(path)]
    if sample is not None:
        drawn = Random(seed).sample(range(len(candidates)), min(sample, len(candidates)))
        candidates = [candidates[number] for number in sorted(drawn)]
    for candidate in candidates:
        mutant = candidate.made()
        if mutant is not None:
            yield mutant


def _tried(mutants: Sequence[Mutant], at_once: int) -> list[bool] | None:
    """Whether each was killed; None when the tests fail without a mutant."""
    settings.register_profile(
        PROFILE,
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],  # the first failure is enough
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile(PROFILE)
    for module in LOADED_FIRST:
        importlib.import_module(module)
    found = [False] * len(mutants)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("mutants", total=len(mutants))

        def report(number: int, was_killed: bool) -> None:
            found[number] = was_killed
            progress.advance(task)
            if not was_killed:
                progress.console.print(_line(mutants[number]), markup=False, highlight=False)

        return found if try_all(mutants, at_once, report) else None


def _line(mutant: Mutant) -> str:
    return f"{mutant.file}:{mutant.lines[0]} {mutant.where}: {mutant.change}"


def _report(
    mutants: Sequence[Mutant],
    killed: Sequence[bool],
    seconds: float,
    whole: frozenset[str],
    options: argparse.Namespace,
) -> int:
    """Print what was found; 1 when too few were killed, or the list of survivors is not right."""
    known = accepted()
    survived = [mutant for mutant, dead in zip(mutants, killed, strict=True) if not dead]
    survivors = {Survivor(each.file, each.where, each.change): each for each in survived}
    unknown = [mutant for key, mutant in survivors.items() if key not in known]
    gone = [key for key in known if key.file in whole and key not in survivors]
    console = Console()
    console.print(_table(mutants, survived, unknown))
    share = 1 - len(survived) / max(1, len(mutants))
    console.print(
        f"{len(mutants):,} mutants, {share:.1%} killed, {len(survived)} survived, "
        f"{len(unknown)} of them not in {ACCEPTED.name}; "
        f"{seconds / max(1, len(mutants)):.2f} s for each."
        + (f" A sample by SEED={options.seed}." if options.sample else "")
    )
    for mutant in unknown:
        console.print(_toml(mutant), markup=False, highlight=False, soft_wrap=True)
    for key in gone:
        console.print(f"no survivor any more: {key}", markup=False, soft_wrap=True)
    return int(share < KILLED_SHARE_MIN or bool(unknown) or bool(gone))


def _table(
    mutants: Sequence[Mutant], survived: Sequence[Mutant], unknown: Sequence[Mutant]
) -> Table:
    table = Table("file", "mutants", "killed", "survived", "accepted")
    left, new = Counter(each.file for each in survived), Counter(each.file for each in unknown)
    for file, number in sorted(Counter(each.file for each in mutants).items()):
        share = f"{1 - left[file] / number:.1%}"
        table.add_row(file, f"{number:,}", share, str(left[file]), str(left[file] - new[file]))
    return table


def _toml(mutant: Mutant) -> str:
    """The survivor as the list has it, without its reason."""
    lines = (f"{name} = '''{getattr(mutant, name)}'''" for name in Survivor._fields)
    return "\n".join([f"\n# line {mutant.lines[0]}", "[[survivor]]", *lines, 'why = ""'])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("paths", nargs="*", help=f"files or folders; by default {' '.join(ROOMS)}")
    parser.add_argument("--sample", type=int, help="so many, drawn by the seed; by default all")
    parser.add_argument("--seed", type=int, default=1, help="what draws the sample")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="how many at a time")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
