"""What ``daybook health`` asks of the log: whether somebody wrote past the scripts."""

from __future__ import annotations

import time
from collections.abc import Callable

from daybook.queue.log import Log
from daybook.queue.mending import LogFault

LOOKS_MAX = 8
LOOK_PAUSE_SECONDS = 0.5
"""The sweeper repairs within a second or two: what is still there after four seconds stays."""


def log_faults(
    log: Log, partitions: int, newest: int, sleep: Callable[[float], None] = time.sleep
) -> list[LogFault]:
    """What is strange in Redis and is not being repaired.

    partitions, newest: how many there are, and the newest position, as Postgres knows them. Raises
    LogUnavailable.
    """
    faults = _look(log, partitions, newest)
    for _ in range(LOOKS_MAX):
        if not faults:
            break
        sleep(LOOK_PAUSE_SECONDS)
        still = {(fault.kind, fault.name) for fault in _look(log, partitions, newest)}
        faults = [fault for fault in faults if (fault.kind, fault.name) in still]
    return faults


def _look(log: Log, partitions: int, newest: int) -> list[LogFault]:
    found = log.mender.look(partitions, newest, newest).faults
    wrong = {fault.name for fault in found if fault.kind == "type"}
    if wrong & {"state", "cursors", "replied", "told"}:
        return found  # what is no hash has no fields
    return found + log.mender.strange_fields()
