"""Whether the machines agree on the time.

The log's server says when something was accepted and what is due; the others' clocks decide how
long messages live: beat's sweeps and doorbells expire by the clock of their sender.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from daybook.monitoring.health.checks import Asked, Finding, inspection, worst
from daybook.queue.announcements import announced

CLOCK_SKEW_SECONDS_MAX = 5.0
"""How far two machines' clocks may lie apart. A sweep that is ten intervals old is thrown away by
whatever worker takes it: with twice this bound, and sweeps every second, nothing due happens."""

READINGS = 3
"""A clock is read so often; the reading that took the least time counts."""

_NOW = "SELECT extract(epoch FROM clock_timestamp())::double precision"


class Reading(NamedTuple):
    """How far a clock is ahead of this process's, in seconds, and how far that may be wrong."""

    ahead: float
    uncertain: float


def read_clock(read: Callable[[], float], clock: Callable[[], float]) -> Reading:
    """Read a clock of somebody else's against ``clock``: both in seconds since the epoch."""
    readings = []
    for _ in range(READINGS):
        before, theirs, after = clock(), read(), clock()
        half = (after - before) / 2
        readings.append(Reading(theirs - (before + half), abs(half)))
    return min(readings, key=lambda reading: reading.uncertain)


def judge_clocks(asked: Asked, clock: Callable[[], float] = time.time) -> Finding:
    """This process, Redis, Postgres, and the workers by what they say of themselves."""
    log = read_clock(lambda: asked.log.now_ms() / 1000, clock)
    database = read_clock(lambda: float(asked.row(_NOW)[0]), clock)
    apart = {
        "PostgreSQL": Reading(database.ahead - log.ahead, database.uncertain + log.uncertain),
        "this process": Reading(-log.ahead, log.uncertain),
    }
    for name, worker in announced(asked.log).items():
        if worker.ahead_ms is not None:
            apart[name] = Reading(worker.ahead_ms / 1000, 0.0)
    found = [
        Finding("warning", f"{name} is {abs(ahead):.1f} s {_side(ahead)} the log's server")
        for name, (ahead, uncertain) in apart.items()
        if abs(ahead) - uncertain > CLOCK_SKEW_SECONDS_MAX
    ]
    return worst(found, f"within {CLOCK_SKEW_SECONDS_MAX:g} s of each other")


def _side(ahead: float) -> str:
    return "ahead of" if ahead > 0 else "behind"


CLOCKS = (inspection("clocks", judge_clocks, "log", "database"),)
