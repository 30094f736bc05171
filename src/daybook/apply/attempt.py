"""One try at one batch: lock, read, decode, load, decide, write, commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from daybook.apply.batch import Batch
from daybook.apply.changes import changes_of
from daybook.apply.decoding import LargeDecoded, decode_all
from daybook.apply.late import Reply, reply_for_the_dead
from daybook.apply.locks import lock, rights_of, to_join
from daybook.apply.order import before_turns, new_cursors, oldest
from daybook.apply.ports import Log, Unit
from daybook.apply.reader import Found, Reader
from daybook.apply.replies import Replies, replies_of, taken_keys
from daybook.apply.report import BatchReport
from daybook.apply.tactics import Again, Done, Tactics, with_locks, with_raised
from daybook.ledger.batch import BatchDecision, decide_batch
from daybook.ledger.book import Book
from daybook.requests import reference_in
from daybook.settings import Settings
from daybook.steps import Point, reach
from daybook.store.batch.balances import KnownBalances
from daybook.store.batch.rows import PartitionRow


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all attempts of one worker share. decoded: large entries that were read before."""

    log: Log
    settings: Settings
    known_balances: KnownBalances
    decoded: LargeDecoded
    reply: Reply


class Attempt:
    """One try at one batch, in one unit of work.

    oldest: position of the oldest entry that is tried; None when it has none, or has not read yet.
    """

    def __init__(
        self, surroundings: Surroundings, unit: Unit, partition: int, tactics: Tactics
    ) -> None:
        self.tactics = tactics
        self.oldest: int | None = None
        self._surroundings = surroundings
        self._log = surroundings.log
        self._unit = unit
        self._partition = partition
        self._report = BatchReport(partition)

    def run(self) -> Done | Again:
        """Try it. Raises what the unit of work raises: ``tactics`` tells what follows from that."""
        rows = lock(self._unit, self._partition, self.tactics)
        reach(Point.LOCKED)
        own = rows.get(self._partition)
        if own is None:
            self._report.busy = True
            return Done(self._report, [])
        self._report.cursor = own.cursor
        reply_for_the_dead(self._log, self._unit, rows.values(), self._surroundings.reply)
        joined = list(rows.values()) if self.tactics.join else [own]
        found = self._reader(joined).read()
        if found.join:
            return with_locks(self.tactics, found.join - {own.partition}, join=True)
        reach(Point.HORIZON_READ)
        self.oldest = oldest(found.reads)
        refused_data = self.tactics.refused_data(self.oldest)
        batch = decode_all(found.reads, refused_data, self._surroundings.decoded)
        others = to_join(batch, own, {row.partition for row in joined})
        if others:
            return with_locks(self.tactics, others, join=True)
        limit = before_turns(batch, found.horizon)
        if limit is not None:
            found = found.up_to(limit)
        return self._decide(rows, found, batch)

    def _reader(self, joined: list[PartitionRow]) -> Reader:
        return Reader(self._log, self._unit, self._surroundings.settings, joined, self.tactics)

    def _decide(self, rows: Mapping[int, PartitionRow], found: Found, batch: Batch) -> Done | Again:
        """Load what the batch may look at, and decide it."""
        report, raised, horizon = self._report, self.tactics.raised, found.horizon
        parked = found.parked()
        report.read = sum(len(read.raws) for read in found.reads)
        report.deferred = len(parked)
        report.fenced = found.is_fenced
        if not report.read and not batch.deferred:
            return Done(report, [])
        rights = rights_of(batch.decodable, rows[self._partition].partitions)
        missing = rights.partitions - rows.keys()
        if missing:
            return with_locks(self.tactics, missing, join=False)
        self._unit.lock_internal(rights.internal)
        reach(Point.RIGHTS_TAKEN)
        book = self._load(batch)
        reach(Point.LOADED)
        deferred_max = self._surroundings.settings.deferred_max
        decision = decide_batch(
            book, batch.waiting, batch.entries, horizon, deferred_max, parked, raised
        )
        reach(Point.DECIDED)
        if decision.is_spoilt:
            return with_raised(self.tactics, decision.quarantined)
        report.deferred = len(parked) + len(decision.deferred)
        report.opened = rows.keys() - {self._partition}
        return self._write(found, batch, book, decision)

    def _load(self, batch: Batch) -> Book:
        return self._unit.load_book(
            batch.decodable,
            self._surroundings.known_balances,
            check_taken=self.tactics.check_taken or bool(batch.undecodable),
            refused=[
                (reference_in(item.raw.body), item.raw.request_id) for item in batch.undecodable
            ],
        )

    def _write(self, found: Found, batch: Batch, book: Book, decision: BatchDecision) -> Done:
        report, unit = self._report, self._unit
        cursors = new_cursors(found.reads, batch, decision)
        batch = batch.up_to(cursors)
        taken = taken_keys(self._log, batch.undecodable)
        replies = replies_of(batch, book, decision, taken)
        changes = changes_of(found.reads, batch, book, decision, cursors, replies)
        if not changes.partitions:
            return Done(report, [])
        report.progress = True
        moved = unit.write(changes)
        done = [(row, replies.get(row.partition, Replies())) for row in moved]
        reach(Point.BEFORE_COMMIT)
        unit.commit()
        reach(Point.COMMITTED)
        report.count_decisions(decision)
        for item in batch.undecodable:
            report.count_rejected(item.rejected.reason)
        return Done(report, done)
