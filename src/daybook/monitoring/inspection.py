"""What ``daybook health`` asks of the log: whether somebody wrote past the scripts."""

from __future__ import annotations

import time
from collections.abc import Callable

from daybook.monitoring.recheck import what_stays
from daybook.queue.log import Log
from daybook.queue.mending import LogFault


def log_faults(
    log: Log, partitions: int, newest: int, sleep: Callable[[float], None] = time.sleep
) -> list[LogFault]:
    """What is strange in Redis and is not being repaired.

    partitions, newest: how many there are, and the newest position, as Postgres knows them. Raises
    LogUnavailable.
    """
    return what_stays(lambda: _look(log, partitions, newest), _still, sleep)


def _still(before: list[LogFault], now: list[LogFault]) -> list[LogFault]:
    seen = {(fault.kind, fault.name) for fault in now}
    return [fault for fault in before if (fault.kind, fault.name) in seen]


def _look(log: Log, partitions: int, newest: int) -> list[LogFault]:
    found = log.mender.look(partitions, newest, newest).faults
    wrong = {fault.name for fault in found if fault.kind == "type"}
    if wrong & {"state", "cursors", "replied", "told"}:
        return found  # what is no hash has no fields
    return found + log.mender.strange_fields()
