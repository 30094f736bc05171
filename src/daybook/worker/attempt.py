"""One try at one batch: lock, read, decide, write, commit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from daybook.ledger.balance import may_be_internal
from daybook.ledger.batch import ALONE, BatchDecision, Horizon, decide_batch
from daybook.ledger.book import Book
from daybook.ledger.transaction import (
    POSITION_COUNTER_BITS,
    Bulk,
    Entry,
    Split,
    Transaction,
    movements,
)
from daybook.queue.entries import RawEntry
from daybook.queue.log import Log
from daybook.requests import reference_in, slot_of
from daybook.settings import Settings
from daybook.store.journal import (
    write_balances,
    write_changes,
    write_creations,
    write_holds,
    write_records,
    write_schedules,
)
from daybook.store.loading import KnownBalances, load_book
from daybook.store.unit_of_work import HeldEntry, PartitionRow, UnitOfWork
from daybook.worker.reading import Batch, LargeDecoded, before_barriers, decode_all
from daybook.worker.refusals import refusals_of
from daybook.worker.results import (
    BatchReport,
    Replies,
    count_outcomes,
    replies_from_journal,
    replies_of,
)


class MoreRights(Exception):  # noqa: N818 - an order to the caller, not an error
    """The batch debits balances of other partitions: their locks come first, in order."""

    def __init__(self, partitions: set[int]) -> None:
        super().__init__(partitions)
        self.partitions = partitions


class Done(NamedTuple):
    """A finished attempt: its report and, when something was written, what to reply."""

    report: BatchReport
    replies: Replies
    row: PartitionRow | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all attempts of one worker share.

    decoded: large entries that were read before. reply: tells producers the outcomes of a
    committed batch, and Celery those that it waits for.
    """

    log: Log
    settings: Settings
    known_balances: KnownBalances
    decoded: LargeDecoded
    reply: Callable[
        [PartitionRow, Sequence[tuple[str, str]], Iterable[tuple[str, dict[str, Any]]]], None
    ]


@dataclass(slots=True)
class Way:
    """How a batch is tried; what one attempt learns changes the next.

    rights: other partitions whose locks it needs. patient: wait for locks. check_taken: look up
    which references and ids are taken. alone: decide a single entry, the oldest. first: position
    of the oldest entry that was tried last. refused: of the entry that is set aside, its position
    and why Postgres refused it; by the next try, an older one may have to be decided before it.
    collisions: how often a reference or an id was taken although the journal did not have it.
    """

    patient: bool
    check_taken: bool
    rights: set[int] = field(default_factory=set)
    alone: bool = False
    first: int | None = None
    refused: tuple[int | None, str] | None = None
    collisions: int = 0

    def refused_data(self) -> str | None:
        """Why Postgres refused the entry that is tried now, if it did."""
        return self.refused[1] if self.refused and self.refused[0] == self.first else None


class Attempt:
    """One try at one batch, in one unit of work."""

    def __init__(
        self, surroundings: Surroundings, unit: UnitOfWork, partition: int, count: int
    ) -> None:
        self._surroundings = surroundings
        self._log = surroundings.log
        self._settings = surroundings.settings
        self._unit = unit
        self._partition = partition
        self._count = count
        self._report = BatchReport(partition)

    def run(self, way: Way) -> Done:
        """Lock, read, decide, write, commit."""
        row = self._lock(way)
        if row is None:
            self._report.busy = True
            return Done(self._report, Replies(), None)
        self._reply_for_the_dead(row)
        raws = self._log.read(
            self._partition, row.cursor, self._count, self._settings.batch_bytes_max
        )
        unread = self._unread_elsewhere(row)
        raws = before_barriers(raws, unread)
        horizon = self._horizon(row, unread)
        ripe = self._unit.held(self._partition, horizon.ripe_before)
        parked = self._unit.parked(self._partition, horizon.ripe_before)
        if way.alone and ripe:
            parked = self._unit.parked(self._partition, ripe[0].position + 1)
            ripe, raws = ripe[:1], []
        way.first = ripe[0].position if ripe else raws[0].position if raws else None
        batch = decode_all(ripe, raws, row, way.refused_data(), self._surroundings.decoded)
        raws = _before_turns(batch, raws, horizon)
        self._report.cursor = row.cursor
        self._report.read = len(raws)
        self._report.held_over = len(parked) + len(ripe)
        if not raws and not ripe:
            return Done(self._report, Replies(), None)
        self._take_rights(batch, row, way.rights)
        book = load_book(
            self._unit.cursor,
            batch.decodable,
            self._surroundings.known_balances,
            mixed_precision=self._settings.precision_policy == "mixed",
            check_taken=way.check_taken or bool(batch.undecodable),
            refused_references=[reference_in(item.raw.body) for item in batch.undecodable],
        )
        decision = decide_batch(
            book, batch.waiting, batch.entries, horizon, self._settings.held_over_max, parked
        )
        self._report.held_over = len(parked) + len(decision.held_over)
        return self._write(row, batch, raws, book, decision)

    def _lock(self, way: Way) -> PartitionRow | None:
        if way.rights or way.patient:
            return self._unit.lock(sorted({self._partition, *way.rights})).get(self._partition)
        return self._unit.lock_if_free(self._partition)

    def _reply_for_the_dead(self, row: PartitionRow) -> None:
        """Reply to the last batch, when its worker died between its commit and its replies."""
        replied = self._log.replied_batches().get(self._partition, 0)
        if replied > row.batch:
            # Postgres was restored to an earlier point: what is to be replayed must not be trimmed.
            self._log.set_back(self._partition, row.cursor)
        if replied >= row.batch:
            return
        beside = json.loads(row.batch_outcomes or "{}")
        outcomes = replies_from_journal(self._unit.last_records(row))
        outcomes += [(key, value) for key, value in beside.get("outcomes", [])]
        self._surroundings.reply(row, outcomes, beside.get("celery", []))

    def _take_rights(self, batch: Batch, row: PartitionRow, rights: set[int]) -> None:
        """See that every funds-checked debit is ours to decide (design, section 3)."""
        foreign: set[int] = set()
        internal: set[str] = set()
        for entry in batch.decodable:
            foreign.update(slot % row.partitions for slot in entry.slots)
            wanted = entry.instruction
            if isinstance(wanted, Transaction):
                if not wanted.checks_funds:
                    continue
                if may_be_internal(wanted.source_id):
                    internal.add(wanted.source_id)
                if wanted.source_indicator is None:
                    foreign.add(slot_of(wanted.source_id) % row.partitions)
            elif isinstance(wanted, Split | Bulk):
                for whole, leg in movements(wanted):
                    if whole.checks_funds and may_be_internal(leg.source_id):
                        internal.add(leg.source_id)
                    if whole.checks_funds and leg.source_indicator is None:
                        foreign.add(slot_of(leg.source_id) % row.partitions)
        missing = foreign - rights - {self._partition}
        if missing:
            raise MoreRights(missing)
        self._report.opened = foreign - {self._partition}
        self._unit.lock_internal(internal)

    def _unread_elsewhere(self, row: PartitionRow) -> dict[int, int]:
        """The first unread entry of each other partition. Read after the batch."""
        if row.partitions == 1:
            return {}
        cursors = self._unit.cursors()
        cursors.pop(self._partition, None)
        return self._log.first_unread(cursors)

    def _horizon(self, row: PartitionRow, unread: Mapping[int, int]) -> Horizon:
        """What is open elsewhere. Read before the figures."""
        if row.partitions == 1:
            return ALONE
        held_elsewhere = self._unit.held_elsewhere(self._partition)
        final_before = 0
        bound = self._settings.refusal_wait_seconds_max
        if bound is not None:
            final_before = (self._log.now_ms() - int(bound * 1000)) << POSITION_COUNTER_BITS
        return Horizon(min(unread.values(), default=None), held_elsewhere, final_before)

    def _write(
        self,
        row: PartitionRow,
        batch: Batch,
        raws: Sequence[RawEntry],
        book: Book,
        decision: BatchDecision,
    ) -> Done:
        report = self._report
        cursor = _new_cursor(row, batch, raws, decision)
        undecodable = [item for item in batch.undecodable if item.raw.position <= cursor]
        still_held = {held.entry.position for held in decision.held_over}
        released = [position for position in batch.held if position not in still_held]
        if cursor == row.cursor and not released:
            return Done(report, Replies(), None)
        report.progress = True
        replies = replies_of(batch, book, decision, undecodable)
        unit = self._unit
        write_creations(unit.cursor, book)
        sequence, head = write_records(
            unit.cursor, self._partition, row.sequence, row.head, book.records
        )
        write_holds(unit.cursor, book.changed_holds())
        write_schedules(unit.cursor, book, batch.flags)
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
        unit.refuse(self._partition, refusals_of(book, decision, undecodable))
        beside = {"outcomes": replies.beside, "celery": replies.celery}
        write_changes(unit.cursor, book)
        write_balances(unit.cursor, book.touched_balances(), mixed_precision=book.mixed_precision)
        unit.advance(row, cursor, sequence, head, beside)
        unit.commit()
        count_outcomes(report, decision)
        for _ in undecodable:
            report.count("rejected")
        return Done(report, replies, row._replace(batch=row.batch + 1, cursor=cursor))


def _before_turns(batch: Batch, raws: list[RawEntry], horizon: Horizon) -> list[RawEntry]:
    """Cut the batch before the first entry of several slots whose turn has not come.

    So its partitions are not locked for nothing.
    """
    for index, entry in enumerate(batch.entries):
        if entry.slots and not horizon.is_turn_of(entry.position):
            del batch.entries[index:]
            return [raw for raw in raws if raw.position < entry.position]
    return raws


def _new_cursor(
    row: PartitionRow, batch: Batch, raws: Sequence[RawEntry], decision: BatchDecision
) -> int:
    """The position of the last entry that this batch takes; a cut batch leaves the rest unread."""
    if decision.consumed < len(batch.entries):
        first_left = batch.entries[decision.consumed].position
        taken = [raw.position for raw in raws if raw.position < first_left]
        return taken[-1] if taken else row.cursor
    return raws[-1].position if raws else row.cursor


def _held_entry(entry: Entry, flags: dict[int, str]) -> HeldEntry:
    return HeldEntry(entry.position, entry.request_id, flags.get(entry.position, ""), entry.body)
