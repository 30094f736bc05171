"""Kills workers with ``kill -9``, again and again, while something is being applied."""

from __future__ import annotations

import threading
import time
from random import Random
from types import TracebackType
from typing import Self

from tests.harness import Installation, Workers, wait_ended

PROGRESS_SECONDS_MAX = 30.0
"""A worker is killed after this time, even if nothing was applied since the last kill: on a busy
machine it takes long to start, and is to get as far as that."""


class Killer:
    """A thread that replaces one worker after another.

    pause_seconds: between two kills at least. It also waits until something was applied, if there
    is something, so that kills hit workers at work, and workers on a slow machine get as far.
    """

    def __init__(
        self, installation: Installation, workers: Workers, pause_seconds: float, seed: int
    ) -> None:
        self._installation = installation
        self._workers = workers
        self._pause_seconds = pause_seconds
        self._random = Random(seed)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.kills = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        wait_ended([self._thread], lambda: self.kills)

    def has_killed(self, number: int) -> bool:
        """Whether so many workers were killed."""
        return self.kills >= number

    def _run(self) -> None:
        seen = self._batches()
        while not self._stopped.wait(self._pause_seconds):
            deadline = time.monotonic() + PROGRESS_SECONDS_MAX
            while self._batches() == seen and time.monotonic() < deadline:
                if self._stopped.wait(0.03):
                    return
                if self._installation.open_entries() == 0:
                    break
            time.sleep(self._random.uniform(0, 0.05))
            self._workers.replace(self._random.randrange(len(self._workers.processes)))
            self.kills += 1
            seen = self._batches()

    def _batches(self) -> int:
        return int(self._installation.rows("SELECT sum(batch) FROM partitions")[0][0])
