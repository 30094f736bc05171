"""Fixtures: real servers for the whole run, an installation of its own for each test.

With DAYBOOK_DATABASE_URL (a role that may create databases and roles) and DAYBOOK_REDIS_URL set,
tests use those servers: they make databases ``daybook_test_…`` and empty the Redis databases 1..15.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tests.profiles  # noqa: F401 - it loads one
from tests.guarded import Guarded, guarded_valkey
from tests.harness import (
    Cluster,
    Installation,
    cluster_from_environment,
    keep_files_in_memory,
)

keep_files_in_memory()


ROOT = "PYTEST_DEBUG_TEMPROOT"
"""Below what pytest makes temporary folders."""
_OWN_ROOT = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Give each run a root of its own for temporary folders.

    pytest's is one for each user, and every run that starts closes it to others: under root, to
    the account of the servers that another run has there.
    """
    if ROOT not in os.environ:  # it is for all processes of a run
        config.stash[_OWN_ROOT] = tempfile.mkdtemp(prefix="daybook-tests-")
        os.environ[ROOT] = config.stash[_OWN_ROOT]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode
) -> None:
    """Keep the folders of a run that failed, and no others."""
    root = terminalreporter.config.stash.get(_OWN_ROOT, None)
    if root is None:
        return
    if exitstatus != pytest.ExitCode.TESTS_FAILED:
        shutil.rmtree(root, ignore_errors=True)
    else:
        terminalreporter.line(f"What tests that failed had is in {root}.")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what has servers, so that `make quick` has none."""
    if isinstance(item, pytest.Function) and "cluster" in item.fixturenames:
        item.add_marker("servers")


@pytest.hookimpl(trylast=True)  # after what is not asked for was left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each process begin with its share of what is long: none of it is left at the end.

    xdist deals tests out in slices, one for each process.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    short = [item for item in items if not item.get_closest_marker("long")]
    size = len(items) // processes
    ordered: list[pytest.Item] = []
    for number in range(processes):
        own = long[number::processes]
        wanted = len(short) if number == processes - 1 else max(0, size - len(own))
        ordered += [*own, *short[:wanted]]
        del short[:wanted]
    items[:] = ordered


def pytest_collection() -> None:
    """Collect no garbage while tests are collected: nearly all that is made then stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect it from now on, but never again walk through thousands of tests."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL and a Redis-protocol server.

    Not below pytest's folder: another run closes that to other users when it starts, and under
    root the database runs as one.
    """
    with (
        tempfile.TemporaryDirectory(prefix="daybook-tests-") as folder,
        cluster_from_environment(Path(folder) / "servers") as found,
    ):
        yield found
        gc.collect()  # Celery's results take leave of their server, and wait for one that is away


@pytest.fixture
def install_daybook(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[[int], Installation]]:
    """Makes installations with as many partitions as asked for."""
    made: list[Installation] = []

    def make(partitions: int = 2) -> Installation:
        folder = tmp_path / f"installation{len(made)}"
        folder.mkdir()
        made.append(Installation(cluster, partitions, folder))
        return made[-1]

    yield make
    for installation in made:
        installation.close()


@pytest.fixture
def installation(install_daybook: Callable[[int], Installation]) -> Installation:
    """An installation with two partitions."""
    return install_daybook(2)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    """A server with the shipped users."""
    with (
        tempfile.TemporaryDirectory(prefix="daybook-users-") as folder,
        guarded_valkey(Path(folder)) as server,
    ):
        yield server


@pytest.fixture
def parted(guarded: Guarded, installation: Installation) -> Installation:
    """An installation whose workers and producers have the rights of their users."""
    guarded.admin.flushall()
    guarded.guard(installation)
    guarded.denied()
    return installation
