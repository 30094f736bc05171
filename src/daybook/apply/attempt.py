"""One try at one batch: lock, read, decide, write, commit."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from daybook.apply.order import (
    before_turns,
    before_twins,
    by_home,
    in_order,
    left_unread,
    limited,
    new_cursors,
    oldest,
    read_up_to,
    up_to,
)
from daybook.apply.reading import (
    Batch,
    LargeDecoded,
    Read,
    Undecodable,
    decode_all,
    first_closed_barrier,
    home_of,
    is_barrier,
)
from daybook.apply.rejections import claims_of, rejections_of
from daybook.apply.replies import (
    BatchReport,
    Replies,
    count_outcomes,
    replies_from_journal,
    replies_of,
)
from daybook.ledger.balance import may_be_internal
from daybook.ledger.batch import (
    ALONE,
    POSITION_MAX,
    BatchDecision,
    Horizon,
    Quarantined,
    decide_batch,
)
from daybook.ledger.book import Book
from daybook.ledger.entry import POSITION_COUNTER_BITS, LogEntry
from daybook.ledger.instructions import movements
from daybook.ledger.record import Status
from daybook.queue.entries import read_value
from daybook.queue.log import Log
from daybook.queue.waiting import Wanted
from daybook.requests import fingerprint_of, reference_in, slot_of
from daybook.settings import Settings
from daybook.steps import Point, reach
from daybook.store.batch.again import Stale
from daybook.store.batch.balances import KnownBalances
from daybook.store.batch.quarantine import resolved_around
from daybook.store.batch.rows import DeferredEntry, PartitionRow
from daybook.store.batch.unit_of_work import UnitOfWork

TOLD_LATE_MAX = 50_000
"""Records whose outcomes are written once more at most, after the log has lost its end."""


class NeedsLocks(Exception):  # noqa: N818 - an order to the caller, not an error
    """The batch needs the locks of other partitions, too: they are taken first, in order.

    join: their entries are to be read and decided together with its own.
    """

    def __init__(self, partitions: set[int], *, join: bool) -> None:
        super().__init__(partitions)
        self.partitions = partitions
        self.join = join


class Done(NamedTuple):
    """A finished attempt: its report and, of each partition that it moved, what to reply."""

    report: BatchReport
    replies: list[tuple[PartitionRow, Replies]]


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
    reply: Callable[[PartitionRow, Sequence[tuple[str, str]], Sequence[Wanted]], None]


@dataclass(slots=True)
class Tactics:
    """How a batch is tried; what one attempt learns changes the next.

    rights: other partitions whose locks it needs. join: their entries are decided together with
    its own, in one order. patient: wait for locks. check_taken: look up which references and ids
    are taken. alone: decide a single entry, the oldest. first: position of the oldest entry that
    was tried last. refused: of the entry that is quarantined, its position and why Postgres refused
    it; by the next try, an older one may have to be decided before it. collisions: how often an id
    was taken although the journal did not have it. raised: entries whose
    decision raised, by position.
    """

    patient: bool
    check_taken: bool
    rights: set[int] = field(default_factory=set)
    join: bool = False
    alone: bool = False
    first: int | None = None
    refused: tuple[int | None, str] | None = None
    collisions: int = 0
    raised: dict[int, Quarantined] = field(default_factory=dict)

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

    def run(self, tactics: Tactics) -> Done:
        """Lock, read, decide, write, commit."""
        rows = self._lock(tactics)
        reach(Point.LOCKED)
        if self._partition not in rows:
            self._report.busy = True
            return Done(self._report, [])
        own = rows[self._partition]
        self._report.cursor = own.cursor
        replied = self._log.replied_batches()
        for row in rows.values():
            self._reply_for_the_dead(row, replied.get(row.partition, 0))
        joined = list(rows.values()) if tactics.join else [own]
        reads, horizon = self._read(joined, tactics)
        reach(Point.HORIZON_READ)
        batch = decode_all(reads, tactics.refused_data(), self._surroundings.decoded)
        self._join_for_wide(batch, own, {row.partition for row in joined})
        limit = before_turns(batch, horizon)
        if limit is not None:
            reads = limited(reads, limit)
            horizon = horizon.up_to(limit)
        self._report.read = sum(len(read.raws) for read in reads)
        parked = sorted(item for read in reads for item in read.parked)
        self._report.deferred = len(parked) + len(batch.deferred)
        if not self._report.read and not batch.deferred:
            return Done(self._report, [])
        self._take_rights(batch, own, rows.keys())
        reach(Point.RIGHTS_TAKEN)
        book = self._unit.load_book(
            batch.decodable,
            self._surroundings.known_balances,
            check_taken=tactics.check_taken or bool(batch.undecodable),
            refused=[
                (reference_in(item.raw.body), item.raw.request_id) for item in batch.undecodable
            ],
        )
        reach(Point.LOADED)
        decision = decide_batch(
            book,
            batch.waiting,
            batch.entries,
            horizon,
            self._settings.deferred_max,
            parked,
            tactics.raised,
        )
        reach(Point.DECIDED)
        if decision.quarantined and not tactics.raised:
            tactics.raised = {found.entry.position: found for found in decision.quarantined}
            tactics.check_taken = True  # what is recorded already is no fault, whatever it raises
            raise Stale("a request made the code raise")
        self._report.deferred = len(parked) + len(decision.deferred)
        self._report.opened = rows.keys() - {self._partition}
        return self._write(reads, batch, book, decision)

    def _lock(self, tactics: Tactics) -> dict[int, PartitionRow]:
        if tactics.rights or tactics.patient:
            return self._unit.lock(sorted({self._partition, *tactics.rights}))
        row = self._unit.lock_if_free(self._partition)
        return {} if row is None else {self._partition: row}

    def _read(self, joined: Sequence[PartitionRow], tactics: Tactics) -> tuple[list[Read], Horizon]:
        """What is new and what is deferred in the joined partitions, and what is open elsewhere.

        Of several partitions only so much is taken that nothing older is left in any of them.
        """
        fence = self._log.fence() if len(joined) > 1 else POSITION_MAX
        bytes_max = self._settings.batch_bytes_max
        found = [
            self._log.read(row.partition, row.cursor, self._count, bytes_max) for row in joined
        ]
        # Asked after the entries were read: none of another epoch is among them unnoticed.
        end = self._log.end_of(joined[0].epoch)
        self._report.fenced = end < POSITION_MAX
        found = up_to(end, found) if self._report.fenced else found
        reach(Point.READ)
        unread = self._unread_elsewhere(joined)
        horizon = self._horizon(joined, unread)
        reads = [
            Read(
                row,
                raws,
                self._unit.deferred(row.partition, horizon.ripe_before),
                self._unit.parked(row.partition, horizon.ripe_before),
            )
            for row, raws in zip(joined, found, strict=True)
        ]
        if len(joined) > 1:
            fence = max(fence, *(raws[0].position for raws in found if raws), 0)
            fence = min([fence, *read_up_to(found, self._count, bytes_max)])
            reads = before_twins(limited(reads, fence))
        barrier = first_closed_barrier(in_order(reads), unread)
        if barrier is not None:
            first = next(in_order(reads)).position
            if barrier.position == first and not any(read.deferred for read in reads):
                # Other barriers may stand at this position, too: one home after the other joins.
                home = {home_of(barrier)} | {row.partition for row in joined}
                raise NeedsLocks(home - {self._partition}, join=True)
            reads = limited(reads, barrier.position - 1)
        if tactics.alone:
            reads = self._first_alone(reads)
        tactics.first = oldest(reads)
        if len(joined) > 1:
            # What is deferred in one partition may need what is left unread in another.
            horizon = horizon.up_to(min([fence, *left_unread(found, reads)]))
        return reads, horizon

    def _first_alone(self, reads: Sequence[Read]) -> list[Read]:
        """Only the oldest entry, be it deferred or new. Barriers before it are taken along."""
        waiting = min(
            (item.position for read in reads for item in read.deferred), default=POSITION_MAX
        )
        new = next((raw.position for raw in in_order(reads) if not is_barrier(raw)), POSITION_MAX)
        if waiting < new:
            return [
                Read(
                    read.row,
                    [],
                    [item for item in read.deferred if item.position == waiting],
                    self._unit.parked(read.row.partition, waiting + 1),
                )
                for read in reads
            ]
        if self._count > 1 or new == POSITION_MAX:
            return list(reads)
        return [
            read._replace(deferred=[], parked=self._unit.parked(read.row.partition, 0))
            for read in limited(reads, new)
        ]

    def _reply_for_the_dead(self, row: PartitionRow, replied: int) -> None:
        """Reply to the last batch, when its worker died between its commit and its replies.

        Also to those before it, where the log has lost its end, and what it had been told with it.
        """
        if replied > row.batch:
            # Postgres was restored to an earlier point: what is to be replayed must not be trimmed.
            self._log.set_back(row.partition, row.cursor)
        if replied >= row.batch:
            return
        beside = json.loads(row.batch_outcomes or "{}")
        told = min(self._log.told_sequences().get(row.partition, 0), row.batch_sequence)
        since = max(told, row.sequence - TOLD_LATE_MAX)
        outcomes = replies_from_journal(self._unit.records_since(row, since))
        outcomes += [(key, value) for key, value in beside.get("outcomes", [])]
        now = row._replace(batch_sequence=told)
        wanted = [Wanted(*one) for one in beside.get("celery", [])]
        self._surroundings.reply(now, outcomes, wanted)

    def _join_for_wide(self, batch: Batch, own: PartitionRow, joined: set[int]) -> None:
        """A request that spends in several partitions is decided together with their entries.

        So many such requests behind each other do not send the workers to and fro. It is done
        when one comes first, so that what lies before it goes its own tactics.
        """
        if batch.waiting or not batch.entries:
            return
        needed = {slot % own.partitions for slot in batch.entries[0].slots}
        if needed - joined:
            raise NeedsLocks((needed | joined) - {self._partition}, join=True)

    def _take_rights(self, batch: Batch, own: PartitionRow, locked: Collection[int]) -> None:
        """See that every funds-checked debit is ours to decide (design, section 3)."""
        foreign: set[int] = set()
        internal: set[str] = set()
        for entry in batch.decodable:
            foreign.update(slot % own.partitions for slot in entry.slots)
            for whole, leg in movements(entry.instruction):
                if not whole.checks_funds:
                    continue
                if may_be_internal(leg.source_id):
                    internal.add(leg.source_id)
                if leg.source_indicator is None:
                    foreign.add(slot_of(leg.source_id) % own.partitions)
        missing = foreign - set(locked)
        if missing:
            raise NeedsLocks(missing, join=False)
        self._unit.lock_internal(internal)

    def _unread_elsewhere(self, joined: Sequence[PartitionRow]) -> dict[int, int]:
        """The first unread entry of each other partition. Read after the batch."""
        if joined[0].partitions == len(joined):
            return {}
        cursors = self._unit.cursors()
        for row in joined:
            cursors.pop(row.partition, None)
        return self._log.first_unread(cursors)

    def _horizon(self, joined: Sequence[PartitionRow], unread: Mapping[int, int]) -> Horizon:
        """What is open elsewhere. Read before the figures."""
        if joined[0].partitions == len(joined):
            return ALONE
        deferred_elsewhere = self._unit.deferred_elsewhere(row.partition for row in joined)
        final_before = 0
        bound = self._settings.rejection_wait_seconds_max
        if bound is not None:
            final_before = (self._log.now_ms() - int(bound * 1000)) << POSITION_COUNTER_BITS
        return Horizon(min(unread.values(), default=None), deferred_elsewhere, final_before)

    def _taken_keys(self, undecodable: Sequence[Undecodable]) -> set[str]:
        """Outcome keys that entries name which are no requests, and that belong to others.

        Whatever has an outcome is told already: the same bytes once more, in another partition's
        stream, are a stranger's.
        """
        own = {
            item.raw.key: fingerprint_of(item.raw.body).hex()
            for item in undecodable
            if item.raw.key
        }
        taken = set()
        for key, value in zip(own, self._log.outcomes(list(own)), strict=True):
            state = read_value(value) if value is not None else None
            if state is not None and (state.status, state.fingerprint) != (Status.QUEUED, own[key]):
                taken.add(key)
        return taken

    def _write(
        self, reads: Sequence[Read], batch: Batch, book: Book, decision: BatchDecision
    ) -> Done:
        report, unit = self._report, self._unit
        cursors = new_cursors(reads, batch, decision)
        undecodable = [
            item
            for item in batch.undecodable
            if item.raw.position <= cursors[batch.homes[item.raw.position]]
        ]
        still_deferred = {item.entry.position for item in decision.deferred}
        released = by_home(reads, batch, batch.deferred, lambda position: position)
        released = {
            home: [position for position in found if position not in still_deferred]
            for home, found in released.items()
        }
        moved = [
            read.row
            for read in reads
            if cursors[read.row.partition] != read.row.cursor or released.get(read.row.partition)
        ]
        if not moved:
            return Done(report, [])
        report.progress = True
        replies = replies_of(batch, book, decision, undecodable, self._taken_keys(undecodable))
        refused = rejections_of(book, decision, undecodable)
        unit.write_creations(book)
        unit.take_references(claims_of(book, refused))
        records = by_home(reads, batch, book.records, lambda record: record.position)
        ends = {
            row.partition: unit.write_records(row, records.get(row.partition, ())) for row in moved
        }
        reach(Point.RECORDS_WRITTEN)
        unit.write_holds(book, batch.flags)
        reach(Point.HOLDS_WRITTEN)
        known = set(batch.deferred)
        added = [item for item in decision.deferred if item.entry.position not in known]
        deferred = by_home(reads, batch, added, lambda item: item.entry.position)
        rejections = by_home(reads, batch, refused, lambda rejection: rejection.position)
        resolved_before, resolved_after = resolved_around(book.resolutions, refused)
        unit.resolve(resolved_before)
        for row in moved:
            unit.change_deferred(
                row.partition,
                released.get(row.partition, []),
                [
                    (_deferred_entry(item.entry, batch.flags), item.entry.slot, item.may_credit)
                    for item in deferred.get(row.partition, ())
                ],
            )
            unit.reject(row.partition, rejections.get(row.partition, []))
        unit.resolve(resolved_after)
        unit.write_balances(book)
        reach(Point.BALANCES_WRITTEN)
        done: list[tuple[PartitionRow, Replies]] = []
        for row in moved:
            told = replies.get(row.partition, Replies())
            cursor = cursors[row.partition]
            beside = {"outcomes": told.beside, "celery": told.celery}
            unit.advance(row, cursor, *ends[row.partition], beside)
            now = row._replace(
                cursor=cursor,
                sequence=ends[row.partition][0],
                batch=row.batch + 1,
                batch_sequence=row.sequence,
            )
            done.append((now, told))
        reach(Point.BEFORE_COMMIT)
        unit.commit()
        reach(Point.COMMITTED)
        count_outcomes(report, decision)
        for _ in undecodable:
            report.count("rejected")
        return Done(report, done)


def _deferred_entry(entry: LogEntry, flags: dict[int, str]) -> DeferredEntry:
    return DeferredEntry(
        entry.position, entry.request_id, flags.get(entry.position, ""), entry.body
    )
