"""The sweeper, run by beat: rings where nobody rang, repairs and trims the log, does what is due.

Its steps have names and stand on their own feet: one that fails is told, counted, and keeps none
of the others from being done. The sweep as a whole fails then all the same, for anyone who watches
Celery; ``daybook health`` reads what it left behind (``queue.sweeps``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import structlog

from daybook.apply.applier import Applier
from daybook.apply.due import append_due
from daybook.apply.epochs import advance
from daybook.apply.ports import Log, Store
from daybook.errors import DaybookError, LogNotInstalled, LogRefused, LogUnavailable
from daybook.ledger.batch import POSITION_MAX
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.queue import log as queue_log
from daybook.queue.sweeps import note_sweep
from daybook.store.epochs import StoredEpoch
from daybook.store.store import Marks

ResultT = TypeVar("ResultT")
Ring = Callable[[int], None]

RING_FAILURES_MAX = 2
"""After so many doorbells that could not be sent a sweep leaves the rest to the next one: each may
wait for a broker that is away."""

log = structlog.get_logger()


class Steps:
    """The steps of one sweep. faults: what the failed ones raised first, by name."""

    def __init__(self) -> None:
        self.faults: dict[str, Exception] = {}

    def run(self, name: str, step: Callable[..., ResultT], *arguments: Any) -> ResultT | None:
        """Do one step; None when it failed, which is told once for each name."""
        try:
            return step(*arguments)
        except Exception as fault:  # whatever it is, the other steps have nothing to do with it
            if name not in self.faults:
                self.faults[name] = fault
                log.warning(
                    "sweep.step_failed",
                    step=name,
                    fault=_told(fault),
                    exc_info=None if isinstance(fault, DaybookError) else fault,
                )
        return None

    def end(self) -> None:
        """Raise what the first step that failed has raised, naming the others."""
        if not self.faults:
            return
        (first, fault), *others = self.faults.items()
        fault.add_note(f"in the step {first!r} of the sweep")
        for name, other in others:
            fault.add_note(f"the step {name!r} failed, too: {_told(other)}")
        raise fault


def sweep(
    store: Store,
    request_log: queue_log.Log,
    applier: Applier,
    ring: Ring,
    answer: Callable[[], object],
) -> dict[str, Any]:
    """Do every step of a sweep; returns which partitions were rung, and how much was due.

    answer: tells those who asked by a Celery message and whom nobody told. Leaves a sign of life.
    Raises what the first step that failed has raised, at the end.
    """
    steps = Steps()
    swept = _sweep_partitions(steps, store, request_log, applier, ring)
    # In a log whose clock is not right yet, what is due would be accepted behind the cursors.
    if not steps.faults.keys() & {"marks", "repair"}:
        swept["due"] = steps.run("due", append_due, store, request_log, ring)
    steps.run("answers", answer)
    try:
        note_sweep(request_log, {name: _told(fault) for name, fault in steps.faults.items()})
    except DaybookError as fault:  # health finds the sign of life too old
        log.warning("sweep.not_noted", fault=str(fault))
    steps.end()
    return swept


def sweep_partitions(
    store: Store, request_log: Log, applier: Applier, ring: Ring
) -> dict[str, Any]:
    """Ring for every partition with open entries or unsent replies; returns which.

    Raises what the first step that failed has raised, at the end.
    """
    steps = Steps()
    swept = _sweep_partitions(steps, store, request_log, applier, ring)
    steps.end()
    return swept


def _sweep_partitions(
    steps: Steps, store: Store, request_log: Log, applier: Applier, ring: Ring
) -> dict[str, Any]:
    marks = steps.run("marks", store.marks)
    if marks is None or marks.epoch is None:
        return {"rung": []}
    # First what producers wait for; nothing else can be read before, either.
    clock = steps.run("repair", repair, request_log, applier, marks.epoch, marks.newest)
    steps.run("epoch", advance, store, request_log)
    known = steps.run("log marks", request_log.cursor_marks)  # before the cursors that they follow
    marks = steps.run("marks", store.marks)
    if marks is None:
        return {"rung": []}
    if known is not None:
        steps.run("set back", set_marks_back, request_log, known, marks.cursors)
    unsent = steps.run("replies", _unsent, request_log, marks) or set()
    rung = steps.run("look", _to_ring, request_log, marks, unsent) or []
    for partition in sorted(unsent & marks.closed):  # nobody else comes there any more
        steps.run("closed", applier.reply_to_closed, partition)
    if clock is not None:
        steps.run("vouch", _vouch, store, request_log, marks, clock)
    failures = 0
    for partition in rung:
        failures += steps.run("ring", _ring, ring, partition) is None
        if failures == RING_FAILURES_MAX:
            break
    _trim_all(steps, applier, marks.cursors)
    return {"rung": rung}


def _to_ring(request_log: Log, marks: Marks, unsent: set[int]) -> list[int]:
    """The partitions that somebody has to come to."""
    unread = set(request_log.first_unread(marks.cursors))
    return sorted((unread | marks.waiting | unsent) - marks.closed)


def _unsent(request_log: Log, marks: Marks) -> set[int]:
    """The partitions whose last batch the log knows nothing of."""
    replied = request_log.replied_batches()
    return {own for own, batch in marks.batches.items() if batch > replied.get(own, 0)}


def _vouch(store: Store, request_log: Log, marks: Marks, clock: int) -> None:
    """Let the log know up to where all is decided, of what was accepted by ``clock``."""
    end = request_log.end_of(marks.epoch.number) if marks.epoch else clock
    unread = request_log.first_unread(marks.cursors)
    request_log.vouch_decided(min(clock, end, decided_up_to(store, marks, unread)))


def _ring(ring: Ring, partition: int) -> bool:
    ring(partition)
    return True


def _trim_all(steps: Steps, applier: Applier, cursors: dict[int, int]) -> None:
    """Trim each partition, as long as there is a server to ask."""
    for partition, cursor in cursors.items():
        steps.run("trim", applier.trim, partition, cursor)
        fault = steps.faults.get("trim")
        if isinstance(fault, LogUnavailable) and not isinstance(fault, LogRefused):
            return  # it would be waited for as often as there are partitions


def _told(fault: Exception) -> str:
    return str(fault) if isinstance(fault, DaybookError) else f"{type(fault).__name__}: {fault}"


def decided_up_to(store: Store, marks: Marks, unread: Mapping[int, int]) -> int:
    """The position up to which nothing is open: neither unread nor deferred."""
    still_open = list(unread.values())
    if marks.waiting:
        with store.units() as begin:
            unit = begin()
            still_open += unit.oldest_deferred().values()
            unit.rollback()
    return min(still_open, default=POSITION_MAX) - 1


def repair(request_log: Log, applier: Applier, epoch: StoredEpoch, newest: int) -> int:
    """Make a log that came back empty, or with an older clock, go on behind ``newest``.

    Producers are refused until then, so that nothing is accepted behind a cursor and skipped. Also
    puts right what somebody wrote past the scripts. Returns the position of the newest entry.
    """
    request_log.load_scripts()
    # A worker may still have entries that were lost, younger than all that the database knows of:
    # the new ones must come behind those, too, also when the server's clock is put back later.
    present = max(newest, request_log.now_ms() << POSITION_COUNTER_BITS)
    clock = request_log.mend(epoch.partitions, newest, present)
    try:
        request_log.partitions()
    except LogNotInstalled:
        log.warning("log.reinstalled", partitions=epoch.partitions)
        entries_max = applier.settings.log_entries_max
        request_log.install(epoch.partitions, entries_max, present, epoch.number)
    if request_log.epochs.catch_up(*epoch, newest):
        log.warning("log.resized", epoch=epoch.number, partitions=epoch.partitions)
    return clock


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
