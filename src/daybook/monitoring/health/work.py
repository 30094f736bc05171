"""Whether the work is done: partitions move, somebody is there, producers are told."""

from __future__ import annotations

import time
from collections.abc import Iterable

from sqlalchemy import select

from daybook.monitoring.health.checks import Asked, Finding, inspection, worst
from daybook.monitoring.progress import Progress, find_stalled
from daybook.monitoring.recheck import LOOK_PAUSE_SECONDS, LOOKS_MAX, what_stays
from daybook.queue.announcements import Announcement, announced
from daybook.queue.doorbell import INTAKE_QUEUE, queue_of
from daybook.store.engine import translated_faults
from daybook.store.read.quarantine import count_quarantined
from daybook.store.schema import partitions

_OPEN = """
SELECT coalesce(array_agg(partition ORDER BY partition), '{}'),
    coalesce(array_agg(cursor ORDER BY partition), '{}'), (SELECT count(*) FROM deferred_entries)
FROM partitions WHERE partition < total
"""


def judge_workers(asked: Asked) -> Finding:
    """Somebody is there to take each queue: looked at for some seconds while nobody is.

    Workers say of themselves that they are there, every few seconds; who was not heard of for
    fifteen is none.
    """
    for _ in range(LOOKS_MAX):
        found = list(announced(asked.log).values())
        if found or not _has_open(asked):
            return _heard_of(asked, found)
        time.sleep(LOOK_PAUSE_SECONDS)
    return Finding(
        "failed", "none has announced itself, and requests wait: start one with `daybook worker`"
    )


def _heard_of(asked: Asked, found: Iterable[Announcement]) -> Finding:
    names = {worker.worker for worker in found}
    if not names:
        return Finding("ok", "none has announced itself; no request waits")
    taken = {queue for worker in found for queue in worker.queues}
    wanted = {INTAKE_QUEUE, *map(queue_of, range(asked.log.partitions()))}
    if missing := sorted(wanted - taken):
        return Finding("warning", f"{len(names)} announced; nobody listens to {', '.join(missing)}")
    return Finding("ok", f"{len(names)} announced")


def _has_open(asked: Asked) -> bool:
    numbers, cursors, deferred = asked.row(_OPEN)
    return deferred > 0 or bool(asked.log.first_unread(dict(zip(numbers, cursors, strict=True))))


def judge_progress(asked: Asked) -> Finding:
    """Partitions with open entries move."""
    found = find_stalled(asked.engine, asked.log, asked.seconds_max, asked.settings.deferred_max)
    if not found:
        return Finding("ok", "every partition is idle or moves")
    return Finding("failed", "; ".join(_told(one, asked.seconds_max) for one in found))


def _told(one: Progress, seconds_max: float) -> str:
    what = "deferred entries" if one.unread is None else "unread entries"
    return f"partition {one.partition} has {what} and did not move for {seconds_max:g} s"


def judge_replies(asked: Asked) -> Finding:
    """Every unit of work was replied to, a moment after it at the latest, and none before it."""
    wrong = what_stays(lambda: _not_as_told(asked), set.intersection)
    unsent = sorted(number for number, batch, replied in wrong if replied < batch)
    ahead = sorted(number for number, batch, replied in wrong if replied > batch)
    found = []
    if unsent:
        text = "producers were not told the outcomes of the last batch of"
        found.append(Finding("failed", f"{text} {_listed(unsent)}"))
    if ahead:
        text = "producers were told of later batches than the database has, in"
        why = "until it is past them, nobody is told: was it restored, and does nobody sweep?"
        found.append(Finding("failed", f"{text} {_listed(ahead)}; {why}"))
    return worst(found, "all sent")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _not_as_told(asked: Asked) -> set[tuple[int, int, int]]:
    """Partition, number of its last unit of work, and of the last that was told of, if another."""
    with translated_faults(), asked.engine.connect() as connection:
        rows = connection.execute(select(partitions.c.partition, partitions.c.batch)).all()
    replied = asked.log.replied_batches()
    told = ((row.partition, row.batch, replied.get(row.partition, 0)) for row in rows)
    return {one for one in told if one[1] != one[2]}


def judge_quarantine(asked: Asked) -> Finding:
    """Nothing that was quarantined is open."""
    with translated_faults(), asked.engine.connect() as connection:
        number = count_quarantined(connection)
    if not number:
        return Finding("ok", "empty")
    return Finding("warning", f"{number} quarantined and open: see `daybook quarantine list`")


WORK = (
    inspection("workers", judge_workers, "log", "database"),
    inspection("progress", judge_progress, "log", "database"),
    inspection("replies", judge_replies, "log", "database"),
    inspection("quarantine", judge_quarantine, "database"),
)
