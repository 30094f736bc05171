"""The batch: read entries, decide them, write all that follows in one unit of work, reply.

So an entry is either wholly applied and behind the cursor, or not applied and still ahead of it.
"""

from __future__ import annotations

import gc
import json
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
import structlog
from psycopg import errors as pg
from sqlalchemy import Engine

from daybook.ledger.balance import may_be_internal
from daybook.ledger.batch import ALONE, BatchDecision, Horizon, decide_batch
from daybook.ledger.book import Book
from daybook.ledger.rejection import Reason, Rejected
from daybook.ledger.transaction import (
    POSITION_COUNTER_BITS,
    Commit,
    Entry,
    Outcome,
    Status,
    Transaction,
    Void,
)
from daybook.queue.entries import CELERY_RESULT, RawEntry, outcome_value
from daybook.queue.log import Log
from daybook.requests import decode, fingerprint_of, reference_in, slot_of
from daybook.settings import Settings
from daybook.store.engine import translated_faults
from daybook.store.journal import (
    DecideAgain,
    write_balances,
    write_creations,
    write_holds,
    write_records,
)
from daybook.store.loading import KnownBalances, load_book
from daybook.store.unit_of_work import HeldEntry, PartitionRow, Refusal, UnitOfWork
from daybook.worker.results import (
    BatchReport,
    DrainReport,
    Replies,
    celery_result,
    count_outcomes,
    replies_from_journal,
    reply_to,
)

ATTEMPTS_MAX = 12
"""How often a batch is decided again before the task gives up and the sweeper tries later."""

HELP_ROUNDS_MAX = 64
"""How often one drain looks for a lagging partition that its held-over entries wait for."""

SHRINK_FACTOR = 8
"""A batch that Postgres refuses for its data is tried again with so many times fewer entries."""

WARY_BATCHES = 16
"""After a batch with a reference that was taken, so many look references up before they write."""

StoreCeleryResult = Callable[[str, dict[str, Any]], None]

log = structlog.get_logger()


class _MoreRights(Exception):  # noqa: N818 - an order to the caller, not an error
    """The batch debits balances of other partitions: their locks come first, in order."""

    def __init__(self, partitions: set[int]) -> None:
        super().__init__(partitions)
        self.partitions = partitions


class _Undecodable(NamedTuple):
    """An entry of the log that is no request."""

    raw: RawEntry
    rejected: Rejected
    traceback: str | None = None


class _Batch(NamedTuple):
    """What was read: held-over entries, new ones, and those that are no requests.

    held: positions of what was held over. flags: of entries that have some, by position.
    """

    held: list[int]
    waiting: list[Entry]
    entries: list[Entry]
    undecodable: list[_Undecodable]
    flags: dict[int, str]

    @property
    def decodable(self) -> list[Entry]:
        return self.waiting + self.entries


class Applier:
    """Applies partitions, one batch after the other. One per process (or thread).

    store_celery_result: stores an outcome as the result of a Celery task, by task id.
    clock: seconds, monotonic; bounds how long a drain lasts.
    """

    def __init__(
        self,
        engine: Engine,
        request_log: Log,
        settings: Settings,
        store_celery_result: StoreCeleryResult | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self.log = request_log
        self.settings = settings
        self._store_celery_result = store_celery_result
        self._clock = clock
        self.known_balances = KnownBalances()
        self._batch_entries: dict[int, int] = {}
        self._wary: dict[int, int] = {}

    def drain(self, partition: int) -> DrainReport:
        """Apply batches of ``partition`` until it is empty or the turn is over.

        What is held over for the past of other partitions is helped along: any worker may apply
        any partition. Raises StoreUnavailable, LogUnavailable.
        """
        drained = DrainReport(partition)
        deadline = self._clock() + self.settings.drain_seconds_max
        helped = 0
        while True:
            report = self.apply_batch(partition, self._size(partition))
            drained.add(report)
            if report.busy:
                drained.busy = drained.batches == 0
                break
            self._adapt(partition, report)
            stuck = report.held_over > 0 and not report.progress
            if report.read == 0 and report.held_over == 0:
                break
            if report.read == 0 or stuck:
                helped += 1
                if helped > HELP_ROUNDS_MAX or not self._help(partition, drained):
                    drained.more = report.held_over > 0
                    break
            if self._clock() >= deadline:
                drained.more = True
                break
        return drained

    def apply_batch(self, partition: int, count: int, *, patient: bool = False) -> BatchReport:
        """Apply the next batch of at most ``count`` entries.

        patient: wait for a partition that another worker is applying, up to the lock time-out,
        instead of answering ``busy`` at once. Raises StoreUnavailable, LogUnavailable.
        """
        with _collector_paused():
            return self._apply_batch(partition, count, patient)

    def _apply_batch(self, partition: int, count: int, patient: bool) -> BatchReport:
        rights: set[int] = set()
        refused_data: str | None = None
        check_taken = self._wary.get(partition, 0) > 0
        with translated_faults(), self._engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            for _ in range(ATTEMPTS_MAX):
                unit = UnitOfWork(raw)
                attempt = _Attempt(self, unit, partition, count)
                try:
                    done = attempt.run(rights, patient, check_taken, refused_data)
                except _MoreRights as needed:
                    rights |= needed.partitions
                except (pg.LockNotAvailable, pg.QueryCanceled):
                    return BatchReport(partition, busy=True)
                except pg.UniqueViolation:
                    check_taken = True
                    self._wary[partition] = WARY_BATCHES
                except (DecideAgain, pg.SerializationFailure, pg.DeadlockDetected) as fault:
                    self.known_balances.forget()
                    log.info("batch.decided_again", partition=partition, why=str(fault))
                except (pg.DataError, pg.ProgramLimitExceeded, UnicodeError):
                    refused_data = traceback.format_exc() if count == 1 else None
                    count = max(1, count // SHRINK_FACTOR)
                else:
                    break
                finally:
                    unit.rollback()  # does nothing after a commit
            else:
                return BatchReport(partition, busy=True)
        if check_taken and not done.report.outcomes.get("duplicate"):
            self._wary[partition] = self._wary.get(partition, 0) - 1
        if done.row is not None:
            self.reply(done.row, done.replies.all, done.replies.celery)
        return done.report

    def reply(
        self,
        row: PartitionRow,
        outcomes: Sequence[tuple[str, str]],
        celery_results: Iterable[tuple[str, dict[str, Any]]],
    ) -> None:
        """Tell producers what the committed batch ``row.batch`` decided."""
        retention = self.settings.outcome_retention_seconds
        self.log.reply(row.partition, row.batch, row.cursor, outcomes, retention)
        if self._store_celery_result is None:
            return
        for task_id, result in celery_results:
            try:
                self._store_celery_result(task_id, result)
            except Exception as fault:  # whatever the result backend raises: the outcome stands
                log.warning("celery_result.lost", task_id=task_id, fault=str(fault))

    def _size(self, partition: int) -> int:
        return self._batch_entries.get(partition, self.settings.batch_entries_min)

    def _adapt(self, partition: int, report: BatchReport) -> None:
        """Large batches under load, small ones when idle."""
        size = self._size(partition)
        if report.read >= size:
            size = min(size * 2, self.settings.batch_entries_max)
        elif report.read < size // 4:
            size = max(size // 2, self.settings.batch_entries_min)
        self._batch_entries[partition] = size

    def _help(self, partition: int, drained: DrainReport) -> bool:
        """Apply the partition whose oldest open entry is the oldest of all, if it is another's."""
        lagging = self._oldest_open()
        if lagging is None:
            return False
        if lagging != partition:
            drained.add(self.apply_batch(lagging, self._size(lagging), patient=True))
        return True

    def _oldest_open(self) -> int | None:
        with translated_faults(), self._engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            unit = UnitOfWork(raw)
            cursors = unit.cursors()
            oldest = unit.oldest_held()
            unit.rollback()
        for partition, position in self.log.first_unread(cursors).items():
            oldest[partition] = min(position, oldest.get(partition, position))
        return min(oldest, key=lambda p: oldest[p]) if oldest else None

    def trim(self, partition: int, cursor: int) -> None:
        """Drop entries of ``partition`` that were applied longer ago than the retention."""
        kept_ms = self.log.now_ms() - self.settings.log_retention_seconds * 1000
        self.log.trim(partition, min(cursor, kept_ms << POSITION_COUNTER_BITS))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the cycle collector from walking a batch's many small tuples again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Done(NamedTuple):
    """A finished attempt: its report and, when something was written, what to reply."""

    report: BatchReport
    replies: Replies
    row: PartitionRow | None


class _Attempt:
    """One try at one batch, in one unit of work."""

    def __init__(self, applier: Applier, unit: UnitOfWork, partition: int, count: int) -> None:
        self._applier = applier
        self._log = applier.log
        self._settings = applier.settings
        self._unit = unit
        self._partition = partition
        self._count = count
        self._report = BatchReport(partition)

    def run(
        self, rights: set[int], patient: bool, check_taken: bool, refused_data: str | None
    ) -> _Done:
        """Lock, read, decide, write, commit.

        refused_data: why Postgres refused the one entry of this batch: it is set aside.
        """
        row = self._lock(rights, patient)
        if row is None:
            self._report.busy = True
            return _Done(self._report, Replies(), None)
        self._reply_for_the_dead(row)
        held = self._unit.held(self._partition)
        raws = self._log.read(
            self._partition, row.cursor, self._count, self._settings.batch_bytes_max
        )
        self._report.read = len(raws)
        if not raws and not held:
            return _Done(self._report, Replies(), None)
        batch = _decode_all(held, raws, row, refused_data)
        self._take_rights(batch, row, rights)
        horizon = self._horizon(row)
        book = load_book(
            self._unit.cursor,
            batch.decodable,
            self._applier.known_balances,
            mixed_precision=self._settings.precision_policy == "mixed",
            check_taken=check_taken or bool(batch.undecodable),
            refused_references=[reference_in(item.raw.body) for item in batch.undecodable],
        )
        decision = decide_batch(
            book, batch.waiting, batch.entries, horizon, self._settings.held_over_max
        )
        return self._write(row, batch, raws, book, decision)

    def _lock(self, rights: set[int], patient: bool) -> PartitionRow | None:
        if rights or patient:
            return self._unit.lock(sorted({self._partition, *rights})).get(self._partition)
        return self._unit.lock_if_free(self._partition)

    def _reply_for_the_dead(self, row: PartitionRow) -> None:
        """Reply to the last batch, when its worker died between its commit and its replies."""
        if self._log.replied_batches().get(self._partition, 0) >= row.batch:
            return
        beside = json.loads(row.batch_outcomes or "{}")
        outcomes = replies_from_journal(self._unit.last_records(row))
        outcomes += [(key, value) for key, value in beside.get("outcomes", [])]
        self._applier.reply(row, outcomes, beside.get("celery", []))

    def _take_rights(self, batch: _Batch, row: PartitionRow, rights: set[int]) -> None:
        """See that every funds-checked debit is ours to decide (design, section 3)."""
        foreign: set[int] = set()
        internal: set[str] = set()
        for entry in batch.decodable:
            wanted = entry.instruction
            if isinstance(wanted, Transaction) and wanted.checks_funds:
                if may_be_internal(wanted.source_id):
                    internal.add(wanted.source_id)
                if wanted.source_indicator is None:
                    foreign.add(slot_of(wanted.source_id) % row.partitions)
        missing = foreign - rights - {self._partition}
        if missing:
            raise _MoreRights(missing)
        self._unit.lock_internal(internal)

    def _horizon(self, row: PartitionRow) -> Horizon:
        """What is open elsewhere. Read after the batch and before the figures."""
        if row.partitions == 1:
            return ALONE
        cursors = self._unit.cursors()
        cursors.pop(self._partition, None)
        unread = self._log.first_unread(cursors)
        held_elsewhere = self._unit.held_elsewhere(self._partition)
        final_before = 0
        bound = self._settings.refusal_wait_seconds_max
        if bound is not None:
            final_before = (self._log.now_ms() - int(bound * 1000)) << POSITION_COUNTER_BITS
        return Horizon(min(unread.values(), default=None), held_elsewhere, final_before)

    def _write(
        self,
        row: PartitionRow,
        batch: _Batch,
        raws: Sequence[RawEntry],
        book: Book,
        decision: BatchDecision,
    ) -> _Done:
        report = self._report
        cursor = _new_cursor(row, batch, raws, decision)
        undecodable = [item for item in batch.undecodable if item.raw.position <= cursor]
        still_held = {held.entry.position for held in decision.held_over}
        released = [position for position in batch.held if position not in still_held]
        report.held_over = len(decision.held_over)
        if cursor == row.cursor and not released:
            return _Done(report, Replies(), None)
        report.progress = True
        replies = _replies(batch, book, decision, undecodable)
        unit = self._unit
        write_creations(unit.cursor, book)
        sequence, head = write_records(
            unit.cursor, self._partition, row.sequence, row.head, book.records
        )
        write_holds(unit.cursor, book.changed_holds())
        known = set(batch.held)
        unit.change_held(
            self._partition,
            released,
            [
                (_held_entry(held.entry, batch.flags), held.entry.slot, held.brings)
                for held in decision.held_over
                if held.entry.position not in known
            ],
        )
        unit.refuse(self._partition, _refusals(book, decision, undecodable))
        beside = {"outcomes": replies.beside, "celery": replies.celery}
        write_balances(unit.cursor, book.touched_balances(), mixed_precision=book.mixed_precision)
        unit.advance(row, cursor, sequence, head, beside)
        unit.commit()
        count_outcomes(report, decision)
        for _ in undecodable:
            report.count("rejected")
        return _Done(report, replies, row._replace(batch=row.batch + 1, cursor=cursor))


def _decode_all(
    held: Sequence[HeldEntry],
    raws: Sequence[RawEntry],
    row: PartitionRow,
    refused_data: str | None,
) -> _Batch:
    batch = _Batch([item.position for item in held], [], [], [], {})
    for item in held:
        raw = RawEntry(item.position, item.request_id, "", item.flags, item.body)
        _decode_one(batch, raw, row, batch.waiting)
    for raw in raws:
        if refused_data is not None:
            rejected = Rejected(Reason.QUARANTINED, "Postgres refused its data: it was set aside")
            batch.undecodable.append(_Undecodable(raw, rejected, refused_data))
        else:
            _decode_one(batch, raw, row, batch.entries)
    return batch


def _decode_one(batch: _Batch, raw: RawEntry, row: PartitionRow, into: list[Entry]) -> None:
    position = raw.position
    try:
        decoded = decode(raw.body, raw.request_id, position >> POSITION_COUNTER_BITS)
    except Exception as fault:  # any fault of ours: the partition must not stop for one entry
        rejected = Rejected(
            Reason.QUARANTINED, f"reading it raised {type(fault).__name__}: it was set aside"
        )
        batch.undecodable.append(_Undecodable(raw, rejected, traceback.format_exc()))
        return
    if not isinstance(decoded, Rejected) and decoded.slot % row.partitions != row.partition:
        # Two partitions that act on one hold at once would lose money: neither locks it.
        decoded = Rejected(Reason.MALFORMED, "request: stands in the log of another partition")
    if isinstance(decoded, Rejected):
        batch.undecodable.append(_Undecodable(raw, decoded))
        return
    if raw.flags:
        batch.flags[position] = raw.flags
    into.append(
        Entry(
            position,
            decoded.slot,
            decoded.request_id,
            decoded.instruction,
            fingerprint_of(raw.body),
            raw.body,
        )
    )


def _new_cursor(
    row: PartitionRow, batch: _Batch, raws: Sequence[RawEntry], decision: BatchDecision
) -> int:
    """The position of the last entry that this batch takes; a cut batch leaves the rest unread."""
    if decision.consumed < len(batch.entries):
        first_left = batch.entries[decision.consumed].position
        taken = [raw.position for raw in raws if raw.position < first_left]
        return taken[-1] if taken else row.cursor
    return raws[-1].position if raws else row.cursor


def _held_entry(entry: Entry, flags: dict[int, str]) -> HeldEntry:
    return HeldEntry(entry.position, entry.request_id, flags.get(entry.position, ""), entry.body)


def _replies(
    batch: _Batch, book: Book, decision: BatchDecision, undecodable: Sequence[_Undecodable]
) -> Replies:
    replies = Replies()
    entries = {entry.position: entry for entry in batch.decodable}
    for outcome in decision.outcomes:
        reply_to(replies, book, entries[outcome.position], outcome)
        if CELERY_RESULT in batch.flags.get(outcome.position, ""):
            task_id = outcome.reference or outcome.request_id
            replies.celery.append((task_id, celery_result(outcome)))
    for raw, rejected, _ in undecodable:
        fingerprint = fingerprint_of(raw.body).hex()
        value = outcome_value(
            fingerprint, _stored(raw.request_id), Status.REJECTED, rejected.reason, rejected.detail
        )
        if raw.key:
            replies.beside.append((raw.key, value))
        reference = reference_in(raw.body)
        if CELERY_RESULT in raw.flags and reference:
            outcome = Outcome(
                raw.position,
                raw.request_id,
                _stored(raw.request_id),
                reference,
                Status.REJECTED,
                rejected.reason,
                rejected.detail,
            )
            replies.celery.append((reference, celery_result(outcome)))
    return replies


_RAW_BYTES_TOO = frozenset(
    {
        Reason.UNKNOWN_BALANCE,
        Reason.UNKNOWN_LEDGER,
        Reason.UNKNOWN_TRANSACTION,
        Reason.REFERENCE_CONFLICT,
    }
)
"""Refusals whose journal row, if any, cannot show both sides."""


def _refusals(
    book: Book, decision: BatchDecision, undecodable: Sequence[_Undecodable]
) -> list[Refusal]:
    refusals = [
        Refusal(
            entry.position,
            entry.request_id,
            getattr(entry.instruction, "reference", None),
            False,
            rejected.reason,
            rejected.detail,
            entry.body,
        )
        for entry, rejected in decision.refused
        if rejected.reason in _RAW_BYTES_TOO
        or not isinstance(entry.instruction, Transaction | Commit | Void)
    ]
    refusals += [
        Refusal(
            item.entry.position,
            item.entry.request_id,
            getattr(item.entry.instruction, "reference", None),
            False,
            Reason.QUARANTINED,
            "deciding it raised",
            item.entry.body,
            item.traceback,
        )
        for item in decision.quarantined
    ]
    used = set(book.references)
    for raw, rejected, trace in undecodable:
        reference = reference_in(raw.body)
        uses = reference is not None and reference not in used
        if reference is not None:
            used.add(reference)
        refusals.append(
            Refusal(
                raw.position,
                _stored(raw.request_id),
                reference,
                uses,
                rejected.reason,
                rejected.detail,
                raw.body,
                trace,
            )
        )
    return refusals


def _stored(text: str) -> str:
    """Text of an unknown producer, as Postgres and JSON can keep it."""
    return text.replace("\x00", "\\0")[:255]
