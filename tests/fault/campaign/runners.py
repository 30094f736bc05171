"""Several kinds at once: processes with servers of their own take them from one list."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

import structlog

from daybook.embedded.servers import start_servers
from tests.fault.campaign.kinds import Kind, catalogue, named
from tests.fault.campaign.run import Result, run_kind
from tests.harness import Cluster

_SPAWNING = multiprocessing.get_context("spawn")


def run_all(kinds: Sequence[Kind], seed: int, folder: Path, at_once: int) -> Iterator[Result]:
    """Run kinds, ``at_once`` of them at a time; what became of each, in the order of their ends."""
    idle: SimpleQueue[Runner] = SimpleQueue()

    def run(kind: Kind) -> Result:
        runner = idle.get()
        try:
            return runner.run(kind.name, seed)
        finally:
            idle.put(runner)

    with contextlib.ExitStack() as runners:
        for number in range(min(at_once, len(kinds))):
            own = folder / str(number)
            own.mkdir()
            idle.put(runners.enter_context(contextlib.closing(Runner(own))))
        with ThreadPoolExecutor(at_once) as threads:
            for future in as_completed([threads.submit(run, kind) for kind in kinds]):
                yield future.result()


class Runner:
    """A process that runs kinds, one after the other, on servers of its own."""

    def __init__(self, folder: Path) -> None:
        self._connection, theirs = _SPAWNING.Pipe()
        self._process = _SPAWNING.Process(target=_serve, args=(theirs, folder))
        self._process.start()
        theirs.close()

    def run(self, name: str, seed: int) -> Result:
        """Run the kind of this name; a process that has ended is a violation."""
        try:
            self._connection.send((name, seed))
            result: Result = self._connection.recv()
        except (EOFError, OSError):
            return Result(name, seed, violations=["the process that ran it has ended"])
        return result

    def close(self) -> None:
        """Wait until the process has stopped its servers."""
        self._connection.close()
        self._process.join()


def _serve(connection: Connection, folder: Path) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    known = catalogue()
    with start_servers(folder / "servers") as servers:
        cluster = Cluster(servers.migration_database_url, servers.redis_url)
        while True:
            try:
                name, seed = connection.recv()
            except EOFError:
                return
            own = folder / name
            own.mkdir()
            connection.send(run_kind(named(name, known), servers, cluster, own, seed))
