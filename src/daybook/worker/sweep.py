"""The sweeper, run by beat: rings where nobody rang, repairs and trims the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from daybook.errors import LogNotInstalled
from daybook.ledger.transaction import POSITION_COUNTER_BITS
from daybook.queue.log import Log
from daybook.store.epochs import StoredEpoch
from daybook.store.store import Store
from daybook.worker.apply import Applier
from daybook.worker.turning import turn

log = structlog.get_logger()


def sweep_partitions(
    store: Store, request_log: Log, applier: Applier, ring: Callable[[int], None]
) -> dict[str, Any]:
    """Ring for every partition with open entries or unsent replies; answers which."""
    turn(store, request_log)
    known = request_log.cursor_marks()  # before the cursors that they follow
    marks = store.marks()
    if marks.epoch is None:
        return {"rung": []}
    repair(request_log, applier, marks.epoch, marks.newest)
    set_marks_back(request_log, known, marks.cursors)
    unread = set(request_log.first_unread(marks.cursors))
    replied = request_log.replied_batches()
    unsent = {own for own, batch in marks.batches.items() if batch > replied.get(own, 0)}
    rung = sorted((unread | marks.waiting | unsent) - marks.closed)
    for partition in rung:
        ring(partition)
    for partition, cursor in marks.cursors.items():
        applier.trim(partition, cursor)
    return {"rung": rung}


def repair(request_log: Log, applier: Applier, epoch: StoredEpoch, newest: int) -> None:
    """Make a log that came back empty, or with an older clock, go on behind ``newest``.

    Producers are refused until then, so that nothing is accepted behind a cursor and skipped.
    """
    # A worker may still have entries that were lost, younger than all that the database knows of:
    # the new ones must come behind those, too, also when the server's clock is put back later.
    present = max(newest, request_log.now_ms() << POSITION_COUNTER_BITS)
    try:
        request_log.partitions()
    except LogNotInstalled:
        log.warning("log.reinstalled", partitions=epoch.partitions)
        entries_max = applier.settings.log_entries_max
        request_log.install(epoch.partitions, entries_max, present, epoch.number)
    if request_log.clock() < newest:
        log.warning("log.clock_forwarded", position=newest)
        request_log.forward_clock(present)
    if request_log.epochs.catch_up(*epoch, newest):
        log.warning("log.resized", epoch=epoch.number, partitions=epoch.partitions)


def set_marks_back(request_log: Log, known: dict[int, int], cursors: dict[int, int]) -> None:
    """Follow a Postgres that was restored to an earlier point.

    The log's marks must not be ahead of the cursors: entries of the gap would be trimmed when room
    is needed, and batches count from there again.
    """
    for partition, position in known.items():
        if partition not in cursors:
            log.warning("log.marks_forgotten", partition=partition)
            request_log.forget_marks(partition)
        elif position > cursors[partition]:
            log.warning("log.marks_set_back", partition=partition, position=cursors[partition])
            request_log.set_back(partition, cursors[partition])
