"""The sweeper, run by beat: rings where nobody rang, repairs and trims the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from daybook.errors import LogNotInstalled
from daybook.queue.log import Log
from daybook.store.store import Store
from daybook.worker.apply import Applier

log = structlog.get_logger()


def sweep_partitions(
    store: Store, request_log: Log, applier: Applier, ring: Callable[[int], None]
) -> dict[str, Any]:
    """Ring for every partition with open entries or unsent replies; answers which."""
    known = request_log.cursor_marks()  # before the cursors that they follow
    cursors, batches, waiting, newest = store.marks()
    repair(request_log, applier, len(cursors), newest)
    set_marks_back(request_log, known, cursors)
    unread = set(request_log.first_unread(cursors))
    replied = request_log.replied_batches()
    unsent = {own for own, batch in batches.items() if batch > replied.get(own, 0)}
    rung = sorted(unread | waiting | unsent)
    for partition in rung:
        ring(partition)
    for partition, cursor in cursors.items():
        applier.trim(partition, cursor)
    return {"rung": rung}


def repair(request_log: Log, applier: Applier, partitions: int, newest: int) -> None:
    """Make a log that came back empty, or with an older clock, go on behind ``newest``.

    Producers are refused until then, so that nothing is accepted behind a cursor and skipped.
    """
    try:
        request_log.partitions()
    except LogNotInstalled:
        log.warning("log.reinstalled", partitions=partitions)
        request_log.install(partitions, applier.settings.log_entries_max, newest)
    if request_log.clock() < newest:
        log.warning("log.clock_forwarded", position=newest)
        request_log.forward_clock(newest)


def set_marks_back(request_log: Log, known: dict[int, int], cursors: dict[int, int]) -> None:
    """Follow a Postgres that was restored to an earlier point.

    The log's marks must not be ahead of the cursors: entries of the gap would be trimmed when room
    is needed, and batches count from there again.
    """
    for partition, position in known.items():
        if position > cursors.get(partition, position):
            log.warning("log.marks_set_back", partition=partition, position=cursors[partition])
            request_log.set_back(partition, cursors[partition])
