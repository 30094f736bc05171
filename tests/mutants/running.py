"""The tests against each mutant: in a fork of a process that has loaded and tried everything.

First all tests run once as they are; what each of them executes, and how long it takes, is noted.
For a mutant a fork gets its code into the functions that are loaded, and runs the tests that
execute the changed lines, the fastest first, up to the first that fails. What shows only where a
module is loaded is loaded by a fork that has loaded nothing of Daybook yet.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import _lru_cache_wrapper
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from math import ceil
from time import process_time
from types import CodeType, FunctionType
from typing import Any

import coverage
import pytest

from tests.mutants.making import PACKAGE, Mutant

SUITE = (
    "tests/unit/ledger",
    "tests/unit/test_applier.py",
    "tests/unit/test_attempts.py",
    "tests/unit/test_changes.py",
    "tests/unit/test_decodings.py",
    "tests/unit/test_dues.py",
    "tests/unit/test_epochs.py",
    "tests/unit/test_lookups.py",
    "tests/unit/test_orders.py",
    "tests/unit/test_outcomes.py",
    "tests/unit/test_previews.py",
    "tests/unit/test_quarantined.py",
    "tests/unit/test_raising.py",
    "tests/unit/test_readers.py",
    "tests/unit/test_refused.py",
    "tests/unit/test_replies.py",
    "tests/unit/test_reports.py",
    "tests/unit/test_sweeps.py",
    "tests/unit/test_tactics.py",
    "tests/unit/test_tries.py",
    "tests/property/test_canonical_bytes.py",
    "tests/property/test_engine.py",
    "tests/property/test_partitions.py",
    "tests/simulation/test_conformance.py",
    "tests/mutants/simulated.py",
)
"""The tests that need no server and execute what is mutated."""

OPTIONS = (
    *("-q", "--capture=no", "--tb=short", "--override-ini=addopts="),
    *("-m", "not servers and not benchmark and not campaign"),
    *("-p", "no:cacheprovider", "-p", "no:xdist", "--override-ini=timeout=0"),
)
SECONDS_MORE, TIMES_LONGER = 4, 8
"""A test that computes this much longer than without the mutant never ends."""
WAITS_SECONDS = 600
"""A mutant that does nothing for so long waits for what never comes."""
MEMORY_BYTES = 4 << 30

SURVIVED, KILLED, BROKEN = 0, 1, 2
"""How a fork ends. BROKEN: it could not try its mutant, by a fault of this module."""

Report = Callable[[int, bool], None]
"""Takes the number of a mutant, and whether it was killed."""


@dataclass
class Baseline:
    """What the tests do without a mutant, by their ids. executing: those of a line of a file."""

    seconds: dict[str, float] = field(default_factory=dict)
    executing: dict[str, dict[int, list[str]]] = field(default_factory=dict)

    def tests_for(self, mutant: Mutant) -> set[str]:
        """Ids of the tests that may notice it."""
        if mutant.on_load:
            return set(self.seconds)
        lines = self.executing.get(str(mutant.path), {})
        return {test for line in mutant.lines for test in lines.get(line, ())}


@dataclass
class InForks:
    """A plugin of pytest that tries mutants after the tests have run without one."""

    mutants: Sequence[Mutant]
    at_once: int
    report: Report
    baseline: Baseline = field(default_factory=Baseline)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Note what the tests do, then try every mutant."""
        _note(session, self.baseline)
        if session.testsfailed:
            raise session.Failed("the tests fail without a mutant")
        gc.unfreeze()  # what is frozen, since the tests were collected, is not found
        _forget()
        functions = _functions()
        gc.collect()
        gc.freeze()  # a fork that looked for garbage among all this would copy it

        def attempt(mutant: Mutant) -> None:
            _replace(mutant, functions)
            _run(session, self.baseline, self.baseline.tests_for(mutant))

        chosen = [number for number, mutant in enumerate(self.mutants) if not mutant.on_load]
        _fork_each(self.mutants, chosen, attempt, self.at_once, self.report)
        return True


@dataclass
class OnLoad:
    """A plugin of pytest in a fork that has loaded a mutant."""

    mutant: Mutant
    baseline: Baseline

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests, the fastest first."""
        _run(session, self.baseline, self.baseline.tests_for(self.mutant))
        return True


def try_all(mutants: Sequence[Mutant], at_once: int, report: Report) -> bool:
    """Try every mutant; False when the tests fail without one."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _in_forks(mutants, at_once, writing)
    os.close(writing)
    seconds: dict[str, float] = {}
    with os.fdopen(reading) as lines:
        for line in lines:
            found = json.loads(line)
            if isinstance(found, dict):
                seconds = found
            else:
                report(*found)
    os.waitpid(pid, 0)
    if not seconds:
        return False
    chosen = [number for number, mutant in enumerate(mutants) if mutant.on_load]

    def attempt(mutant: Mutant) -> None:
        sys.meta_path.insert(0, _Mutated(mutant))
        if pytest.main([*SUITE, *OPTIONS], plugins=[OnLoad(mutant, Baseline(seconds))]):
            os._exit(KILLED)

    _fork_each(mutants, chosen, attempt, at_once, report)
    return True


def _in_forks(mutants: Sequence[Mutant], at_once: int, writing: int) -> None:
    """Report what became of the mutants of functions, one line each; then how long tests take."""
    with os.fdopen(writing, "w") as lines:

        def report(number: int, killed: bool) -> None:
            print(json.dumps([number, killed]), file=lines, flush=True)

        plugin = InForks(mutants, at_once, report)
        if pytest.main([*SUITE, *OPTIONS], plugins=[plugin]) == pytest.ExitCode.OK:
            print(json.dumps(plugin.baseline.seconds), file=lines, flush=True)
    os._exit(0)


def _note(session: pytest.Session, baseline: Baseline) -> None:
    """Run all tests, and note what they execute and how long they take."""
    noted = coverage.Coverage(data_file=None, config_file=False, include=[f"{PACKAGE}/*"])
    noted.start()
    for item, following in _with_following(session.items):
        noted.switch_context(item.nodeid)
        began = process_time()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        baseline.seconds[item.nodeid] = process_time() - began
    noted.stop()
    data = noted.get_data()
    for file in data.measured_files():
        baseline.executing[file] = data.contexts_by_lineno(file)


def _run(session: pytest.Session, baseline: Baseline, tests: set[str]) -> None:
    """Run tests, the fastest first, and end the process at the first that fails."""
    items = [item for item in session.items if item.nodeid in tests]
    items.sort(key=lambda item: baseline.seconds[item.nodeid])
    for item, following in _with_following(items):
        _bound(baseline.seconds[item.nodeid])
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            os._exit(KILLED)
    os._exit(SURVIVED)


def _with_following(items: list[pytest.Item]) -> Iterable[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items[1:], None], strict=False)


def _bound(seconds: float) -> None:
    """Let the system end this process when the next test computes for too long."""
    until = ceil(process_time() + seconds * TIMES_LONGER + SECONDS_MORE)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


def _fork_each(
    mutants: Sequence[Mutant],
    chosen: Iterable[int],
    attempt: Callable[[Mutant], None],
    at_once: int,
    report: Report,
) -> None:
    """Try mutants in forks, some at once. A fork that ends in any other way has killed its own."""
    waiting: Iterator[int] = iter(chosen)
    running: dict[int, int] = {}
    while True:
        while len(running) < at_once and (number := next(waiting, None)) is not None:
            pid = os.fork()
            if pid == 0:
                _alone(attempt, mutants[number])
            running[pid] = number
        if not running:
            return
        pid, status = os.wait()
        number = running.pop(pid)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) not in (SURVIVED, KILLED):
            raise RuntimeError(f"could not try {mutants[number].where}: {mutants[number].change}")
        report(number, status != SURVIVED)


def _alone(attempt: Callable[[Mutant], None], mutant: Mutant) -> None:
    """Make an attempt in this fork, in silence and within bounds, and end it."""
    nowhere, shown = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WAITS_SECONDS)
    try:
        attempt(mutant)
    except MemoryError:
        os._exit(KILLED)
    except BaseException:
        os.write(shown, traceback.format_exc().encode())
    finally:
        os._exit(BROKEN)


def _forget() -> None:
    """Empty every cache of Daybook's: what it knows is of the code without a mutant."""
    for found in gc.get_objects():
        if isinstance(found, _lru_cache_wrapper):
            found.cache_clear()


def _functions() -> dict[CodeType, list[FunctionType]]:
    """Every loaded function by its code."""
    functions: dict[CodeType, list[FunctionType]] = {}
    for found in gc.get_objects():
        if isinstance(found, FunctionType) and found.__code__.co_filename.startswith(str(PACKAGE)):
            functions.setdefault(found.__code__, []).append(found)
    return functions


def _replace(mutant: Mutant, functions: dict[CodeType, list[FunctionType]]) -> None:
    """Give the loaded functions of a module the code of its mutant."""
    file = str(mutant.path)
    was = compile(mutant.path.read_bytes(), file, "exec", dont_inherit=True)
    code = compile(mutant.source, file, "exec", dont_inherit=True)
    changed = [
        (function, new)
        for old, new in _pairs(was, code)
        if old != new
        for function in functions.get(old, ())
    ]
    assert changed, f"{mutant.where} is not loaded"
    for function, new in changed:
        function.__code__ = new


def _pairs(was: CodeType, code: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """What is defined in two modules that differ in one function, side by side."""
    old, new = (
        [part for part in each.co_consts if isinstance(part, CodeType)] for each in (was, code)
    )
    for one, other in zip(old, new, strict=True):
        yield one, other
        if not one.co_flags & 2:  # a class: its functions are loaded
            yield from _pairs(one, other)


@dataclass
class _Mutated(MetaPathFinder):
    """Finds the mutated module instead of the module."""

    mutant: Mutant

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != self.mutant.module:
            return None
        file = str(self.mutant.path)
        return spec_from_file_location(fullname, file, loader=_Loader(fullname, file, self.mutant))


class _Loader(SourceFileLoader):
    """Loads the mutated source."""

    def __init__(self, fullname: str, path: str, mutant: Mutant) -> None:
        super().__init__(fullname, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._mutant.source, self.path, "exec", dont_inherit=True)
