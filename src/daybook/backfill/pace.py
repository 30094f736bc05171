"""Not faster than asked: lines spread over time, to spare the traffic of others."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

CHUNKS_PER_SECOND = 10
"""A slowed run sends this many small chunks a second, rather than a large one now and then."""


class Clock(NamedTuple):
    """Time as the run sees it. now: seconds that only grow; sleep: waits that many seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Pace:
    """At most ``lines_per_second`` (None: as fast as it goes), without saving up what was idle."""

    def __init__(self, lines_per_second: float | None, clock: Clock) -> None:
        self._rate = lines_per_second
        self._clock = clock
        self._free_at = clock.now()

    def chunk_lines(self, lines_max: int) -> int:
        """Lines to send at once."""
        if self._rate is None:
            return lines_max
        return max(1, min(lines_max, int(self._rate / CHUNKS_PER_SECOND)))

    def wait_for(self, lines: int) -> None:
        """Sleep until these lines may be sent."""
        if self._rate is None:
            return
        now = self._clock.now()
        if self._free_at > now:
            self._clock.sleep(self._free_at - now)
        self._free_at = max(self._free_at, now) + lines / self._rate
