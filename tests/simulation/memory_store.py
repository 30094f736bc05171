"""Postgres in memory: units of work with locks, conflicts and time-outs, over plain tables.

Statements see what others have committed, and a unit's own changes come true with its commit, as
under READ COMMITTED. Faults are psycopg's own, as the real store raises them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import psycopg
from psycopg import errors as pg

from daybook.apply.ports import Store
from daybook.ledger.balance import Balance
from daybook.ledger.batch import Parked
from daybook.ledger.book import Book, Recorded
from daybook.ledger.chain import GENESIS, link
from daybook.ledger.entry import LogEntry
from daybook.ledger.ids import ID_LENGTH
from daybook.ledger.instructions import RETRIED, MultiLeg, Transaction
from daybook.ledger.money import FIGURE_MAX
from daybook.ledger.posting.kinds import reads_of
from daybook.ledger.record import Record, Status
from daybook.ledger.rejection import Reason
from daybook.queue.epochs import FIRST_EPOCH
from daybook.requests import fingerprint_of
from daybook.steps import Point, reach
from daybook.store.batch.again import Stale
from daybook.store.batch.balances import KnownBalances, _figures_wanted
from daybook.store.batch.changes import Changes, PartitionChanges
from daybook.store.batch.references import Claims, ReferenceTaken
from daybook.store.batch.rows import Deferral, DeferredEntry, PartitionRow, RejectedRequest
from daybook.store.batch.statuses import ids_to_check
from daybook.store.engine import translated_faults
from daybook.store.epochs import OpenPartition, StoredEpoch
from daybook.store.store import DueHold, DueSchedule, Marks
from tests.engine.shelf import _HOLD_FIELDS, Journal, Shelf, _add, _recorded
from tests.simulation.chaos import Chaos, Fault
from tests.simulation.scheduler import Scheduler

LOCK_TIMEOUT_MS = 5_000
IDLE_TIMEOUT_MS = 30_000
"""A unit that does nothing for so long is ended by the server, when somebody waits for it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CREATIONS = ("ledger", "balance", "identity")
_ROWS = ("partition", "balance", "reference")
"""What is locked in one order, and so never deadlocks: rows that are always there, references."""

Lock = tuple[str, Any]


@dataclass
class Tables:
    """Everything that is committed."""

    shelf: Shelf
    rows: dict[int, PartitionRow]
    held: dict[tuple[int, int], Deferral] = field(default_factory=dict)
    rejections: list[tuple[int, RejectedRequest]] = field(default_factory=list)
    taken: dict[str, str | None] = field(default_factory=dict)
    refused_references: dict[str, Recorded] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)
    epochs: list[StoredEpoch] = field(default_factory=list)
    resolved: dict[tuple[int, str], str] = field(default_factory=dict)

    @classmethod
    def empty(cls, partitions: int) -> Tables:
        """A ledger after its installation."""
        made = cls(Shelf(partitions), {})
        made.advance(StoredEpoch(FIRST_EPOCH, partitions, 0))
        return made

    def advance(self, epoch: StoredEpoch) -> None:
        """Turn to another epoch: new partitions, and all of them behind its fence."""
        for p in range(epoch.partitions):
            if p not in self.rows:
                self.rows[p] = PartitionRow(p, 0, 0, GENESIS, 0, 0, None, 0, 0)
        self.shelf.journals += [Journal() for _ in range(len(self.shelf.journals), len(self.rows))]
        for p, row in self.rows.items():
            self.rows[p] = row._replace(
                cursor=max(row.cursor, epoch.fence), partitions=epoch.partitions, epoch=epoch.number
            )
        self.epochs.append(epoch)

    def change(self, changes: Changes, rows: Iterable[PartitionRow]) -> None:
        """What a batch changes comes true. rows: its partitions as they stand afterwards."""
        book, shelf = changes.book, self.shelf
        shelf._create(book)
        self.taken.update(changes.claims)
        for part in changes.partitions:
            self._append(part.row.partition, part.records)
            for position in part.released:
                self.held.pop((part.row.partition, position), None)
            for item in part.deferred:
                self.held[part.row.partition, item.entry.position] = item
            for rejection in part.rejected:
                self._reject(part.row.partition, rejection)
        self.resolved |= {place: wanted.how for place, (wanted, _) in book.resolutions.items()}
        for hold in book.changed_holds():
            kept = {name: getattr(hold, name) for name in _HOLD_FIELDS}
            shelf.holds[hold.transaction_id] = kept
        for entry in book.new_schedules:
            shelf.schedules[entry.request_id] = entry
            self.flags[entry.request_id] = changes.flags.get(entry.position, "")
        for transaction_id in book.closed_schedules:
            shelf.schedules.pop(transaction_id, None)
        for balance in in_global_order(book.touched_balances()):
            stored = shelf.balances[balance.balance_id]
            precision = stored["precision"]
            _add(stored, balance)
            if precision is not None:
                stored["precision"] = precision
        for row in rows:
            epoch = self.rows[row.partition]
            self.rows[row.partition] = row._replace(
                batch=epoch.batch + 1, partitions=epoch.partitions, epoch=epoch.epoch
            )

    def _append(self, partition: int, records: Sequence[Record]) -> None:
        self.shelf.journals[partition].records.extend(records)
        for record in records:
            self.shelf.records[record.transaction_id] = record
            if not record.derived:
                self.shelf.references[record.reference] = _recorded(record)

    def _reject(self, partition: int, rejection: RejectedRequest) -> None:
        self.rejections.append((partition, rejection))
        self.shelf.refused_ids.add(rejection.request_id)
        if rejection.uses_reference and rejection.reference:
            self.refused_references[rejection.reference] = Recorded(
                rejection.request_id,
                Status.REJECTED,
                fingerprint_of(rejection.body),
                rejection.reason,
                rejection.detail,
            )

    def quarantined(self) -> dict[tuple[int, str], RejectedRequest]:
        """What was ever quarantined, by position and id."""
        return {
            (rejection.position, rejection.request_id): rejection
            for _, rejection in self.rejections
            if rejection.reason == Reason.QUARANTINED
        }

    def open_quarantined(self) -> dict[tuple[int, str], RejectedRequest]:
        """What is quarantined and not resolved."""
        found = self.quarantined()
        return {place: found[place] for place in found if place not in self.resolved}

    def owner_beside(self, reference: str) -> Recorded | None:
        """The rejected request that has a reference."""
        own = self.refused_references.get(reference)
        if own is None:
            return None
        hows = [
            self.resolved.get(place)
            for place, rejection in self.quarantined().items()
            if rejection.reference == reference and rejection.uses_reference
        ]
        return own._replace(is_retried=bool(hows) and hows[-1] == RETRIED)

    def open_rows(self) -> dict[int, PartitionRow]:
        """The partitions that are not closed."""
        return {p: row for p, row in self.rows.items() if p < row.partitions}

    def references_beside(self) -> list[tuple[str, str]]:
        """References of what the journal need not show, with its id."""
        found = [
            (name, refused.transaction_id) for name, refused in self.refused_references.items()
        ]
        for own, entry in self.shelf.schedules.items():
            assert isinstance(entry.instruction, Transaction | MultiLeg)
            found.append((entry.instruction.reference, own))
        return found


class MemoryStore:
    """A store with the interface of ``Store``."""

    def __init__(self, partitions: int, scheduler: Scheduler, chaos: Chaos) -> None:
        self.tables = Tables.empty(partitions)
        self.scheduler = scheduler
        self.chaos = chaos
        self.holders: dict[Lock, MemoryUnit] = {}
        self.deadlocks: list[str] = []
        self.refuses: Callable[[Record], bool] = lambda record: False

    @contextmanager
    def units(self) -> Iterator[Callable[[], MemoryUnit]]:
        with translated_faults():
            self.touch("connect")
            yield lambda: MemoryUnit(self)

    def touch(self, call: str) -> None:
        """Others may take their turns; or the server does not answer."""
        self.scheduler.pause()
        if self.chaos.strikes(Fault.ERROR, f"store:{call}"):
            raise psycopg.OperationalError("the connection is lost")

    def marks(self) -> Marks:
        with translated_faults():
            self.touch("marks")
        rows = self.tables.rows
        cursors = {p: row.cursor for p, row in rows.items()}
        waiting = {partition for partition, _ in self.tables.held}
        batches = {p: row.batch for p, row in rows.items()}
        closed = rows.keys() - self.tables.open_rows().keys()
        epoch = self.tables.epochs[-1]
        return Marks(cursors, batches, waiting, max(cursors.values()), epoch, closed)

    def due_schedules(
        self, now: datetime, after: datetime, position: int, limit: int
    ) -> Sequence[DueSchedule]:
        with translated_faults():
            self.touch("due_schedules")
        found = []
        for transaction_id, entry in self.tables.shelf.schedules.items():
            wanted = entry.instruction
            assert isinstance(wanted, Transaction | MultiLeg)
            moment = _moment(wanted.whole.scheduled_micros or 0)
            if moment <= now and (moment, entry.position) > (after, position):
                flags = self.tables.flags.get(transaction_id, "")
                bare = transaction_id[-ID_LENGTH:]
                found.append(
                    DueSchedule(moment, entry.position, bare, wanted.reference, flags, entry.body)
                )
        return sorted(found)[:limit]

    def due_holds(self, now: datetime, after: datetime, last: str, limit: int) -> Sequence[DueHold]:
        with translated_faults():
            self.touch("due_holds")
        found = []
        for hold_id, hold in self.tables.shelf.holds.items():
            dates = [hold[name] for name in ("expires_micros", "commits_micros") if hold[name]]
            if dates and hold["amount"] > hold["committed"] + hold["voided"]:
                moment, bare = _moment(min(dates)), hold_id[-ID_LENGTH:]
                if moment <= now and (moment, bare) > (after, last):
                    named = (hold["leg_of"] or hold_id)[-ID_LENGTH:]
                    found.append(DueHold(moment, named, bare))
        return sorted(found, key=itemgetter(0, 2))[:limit]

    # --- what happens to the server ---

    def backup(self) -> Tables:
        """What could be restored later."""
        return copy.deepcopy(self.tables)

    def restore(self, tables: Tables) -> None:
        """The server comes back as it was then; every connection is gone."""
        for unit in set(self.holders.values()):
            unit.end(dead=True)
        self.tables = tables


class MemoryUnit:
    """A unit of work with the interface of ``UnitOfWork``."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._tables = store.tables
        self._locks: list[Lock] = []
        self._changes: list[Callable[[], None]] = []
        self._created: set[str] = set()
        self._dead = False
        self._waits_for: MemoryUnit | None = None
        self._active_ms = store.scheduler.now_ms

    # --- locks ---

    def lock(self, partitions: Sequence[int]) -> dict[int, PartitionRow]:
        self._say("lock")
        for partition in partitions:
            self._take(("partition", partition))
            self._store.scheduler.pause()
        there = self._tables.open_rows()
        return {partition: there[partition] for partition in partitions if partition in there}

    def lock_all(self) -> None:
        self._say("lock_all")
        for partition in sorted(self._tables.rows):
            self._take(("partition", partition))
            self._store.scheduler.pause()

    def open_partitions(self) -> list[OpenPartition]:
        self._say("open_partitions")
        return [
            OpenPartition(p, r.cursor, r.batch, r.epoch)
            for p, r in self._tables.open_rows().items()
        ]

    def deferring(self) -> set[int]:
        self._say("deferring")
        return {partition for partition, _ in self._tables.held}

    def advance(self, epoch: StoredEpoch) -> None:
        self._say("advance")
        self._insert(("epoch", epoch.number), epoch.number <= self._tables.epochs[-1].number)
        self._changes.append(lambda: self._tables.advance(epoch))

    def lock_if_free(self, partition: int, *, closed: bool = False) -> PartitionRow | None:
        self._say("lock_if_free")
        holder = self._store.holders.get(("partition", partition))
        if holder is not None and not holder.is_idle():
            return None
        row = self._tables.rows.get(partition)
        if row is None or (partition >= row.partitions) != closed:
            return None
        self._take(("partition", partition))
        return row

    def lock_internal(self, balance_ids: Iterable[str]) -> None:
        self._say("lock_internal")
        for balance_id in sorted(set(balance_ids)):
            self._take(("right", balance_id))

    def is_idle(self) -> bool:
        """Whether the server may end this unit; then it does."""
        if self._store.scheduler.now_ms - self._active_ms < IDLE_TIMEOUT_MS or self._waits_for:
            return False
        self.end(dead=True)
        return True

    def _take(self, lock: Lock) -> None:
        holders = self._store.holders

        def is_free() -> bool:
            holder = holders.get(lock)
            return holder is None or holder is self or holder.is_idle()

        if not is_free():
            self._waits_for = holders[lock]
            try:
                self._refuse_deadlock(lock)
                if not self._store.scheduler.wait_for(is_free, LOCK_TIMEOUT_MS):
                    raise pg.LockNotAvailable("canceling statement due to lock timeout")
            finally:
                self._waits_for = None
            self._must_live()
        if holders.get(lock) is not self:
            holders[lock] = self
            self._locks.append(lock)

    def _refuse_deadlock(self, lock: Lock) -> None:
        unit, kinds = self._waits_for, {lock[0]}
        for _ in range(len(self._store.holders) + 1):
            if unit is None:
                return
            if unit is self:
                if kinds <= set(_ROWS):
                    self._store.deadlocks.append(f"deadlock at {lock}")
                raise pg.DeadlockDetected("deadlock detected")
            unit = unit._waits_for

    def _say(self, statement: str) -> None:
        """Send a statement: others may go first, and the connection may be gone."""
        self._store.touch(statement)
        self._must_live()
        self._active_ms = self._store.scheduler.now_ms

    def _must_live(self) -> None:
        if self._dead or self._tables is not self._store.tables:
            raise psycopg.OperationalError("terminating connection")

    # --- reading ---

    def cursors(self) -> dict[int, int]:
        self._say("cursors")
        return {partition: row.cursor for partition, row in self._tables.open_rows().items()}

    def deferred_elsewhere(self, partitions: Iterable[int]) -> dict[str, int]:
        self._say("deferred_elsewhere")
        own = set(partitions)
        oldest: dict[str, int] = {}
        for (partition, position), (_, _, may_credit) in self._tables.held.items():
            for name in () if partition in own else may_credit:
                oldest[name] = min(oldest.get(name, position), position)
        return oldest

    def oldest_deferred(self) -> dict[int, int]:
        self._say("oldest_deferred")
        oldest: dict[int, int] = {}
        for partition, position in self._tables.held:
            oldest[partition] = min(oldest.get(partition, position), position)
        return oldest

    def deferred(self, partition: int, before: int) -> list[DeferredEntry]:
        self._say("held")
        return [entry for entry, _, _ in self._held_in(partition) if entry.position < before]

    def parked(self, partition: int, start: int) -> list[Parked]:
        self._say("parked")
        return [
            Parked(entry.position, slot, may_credit)
            for entry, slot, may_credit in self._held_in(partition)
            if entry.position >= start
        ]

    def _held_in(self, partition: int) -> list[Deferral]:
        found = [held for (own, _), held in self._tables.held.items() if own == partition]
        return sorted(found, key=lambda held: held.entry.position)

    def load_book(
        self,
        entries: Sequence[LogEntry],
        known: KnownBalances,
        *,
        check_taken: bool,
        refused: Sequence[tuple[str | None, str]],
    ) -> Book:
        self._say("load_book")
        shelf = self._tables.shelf
        book = shelf.book_for(entries)
        if not check_taken:
            self._forget_taken(book, entries)
        references = [own for entry in entries for own in _references_of(entry) if own]
        references += [reference for reference, _ in refused if reference]
        for reference in references if check_taken else ():
            former = self._tables.owner_beside(reference)
            if reference in shelf.references:
                book.references[reference] = shelf.references[reference]
            elif former is not None:
                book.references[reference] = former
                book.taken[reference] = former.transaction_id
        self._read_quarantined(book, entries, check_taken=check_taken)
        for rejection in (rejection for _, rejection in self._tables.rejections):
            if rejection.request_id in _named(entries):
                book.transactions.setdefault(rejection.request_id, Status.REJECTED)
        wanted = _figures_wanted(entries)
        for balance_id, balance in list(book.balances.items()):
            recalled = None if balance_id in wanted else known.recall(balance_id)
            if recalled is not None:
                book.balances[balance_id] = recalled
            else:
                known.remember(balance)
        self._active_ms = self._store.scheduler.now_ms
        return book

    def _read_quarantined(
        self, book: Book, entries: Sequence[LogEntry], *, check_taken: bool
    ) -> None:
        """What is to be resolved, and ids that only what is quarantined has."""
        still_open = self._tables.open_quarantined()
        for request_id, position in reads_of(entries).quarantined:
            found = still_open.get((position, request_id))
            if found is None:
                continue
            reference = found.reference if found.uses_reference else None
            recorded = _quarantined(found)
            book.quarantined[position, request_id] = reference, recorded
            if reference is not None:
                book.references[reference] = recorded
                book.taken[reference] = request_id
        looked_up = set(ids_to_check(entries, everything=check_taken))
        for place, found in self._tables.quarantined().items():
            own, is_retried = found.request_id, self._tables.resolved.get(place) == RETRIED
            if own in looked_up and found.reference is None and not is_retried:
                book.taken_ids[own[-ID_LENGTH:]] = _quarantined(found)

    def _forget_taken(self, book: Book, entries: Sequence[LogEntry]) -> None:
        """What is only looked up when it is asked for, or when actions have no reference."""
        named = _named(entries) | {entry.request_id for entry in entries}
        for transaction_id in book.schedules.keys() - named:
            del book.schedules[transaction_id]
            book.taken_ids.pop(transaction_id[-ID_LENGTH:], None)
        own = {schedule.instruction.reference for schedule in book.schedules.values()}
        for recorded in (book.references, book.taken):
            for reference in recorded.keys() - own:
                del recorded[reference]
        looked_up = {
            entry.request_id[-ID_LENGTH:]
            for entry in entries
            if not getattr(entry.instruction, "reference", None)
        }
        for bare in list(book.taken_ids):
            if bare not in looked_up and f"txn_{bare}" not in book.schedules:
                del book.taken_ids[bare]

    def records_since(self, row: PartitionRow, sequence: int) -> list[tuple[Any, ...]]:
        self._say("records_since")
        return [
            (
                r.reference,
                r.derived,
                r.transaction_id[-ID_LENGTH:],
                r.status,
                r.reason,
                r.detail,
                r.fingerprint,
                r.position,
                r.precise_amount,
                r.precision,
                r.currency,
            )
            for r in self._tables.shelf.journals[row.partition].records[sequence:]
            if r.kind not in _CREATIONS and not _is_part(r.transaction_id[-ID_LENGTH:])
        ]

    # --- writing ---

    def write(self, changes: Changes) -> list[PartitionRow]:
        """What ``store.batch.writing`` does, statement for statement."""
        book, partitions = changes.book, changes.partitions
        self._create(book)
        self._take_references(changes.claims)
        rows = [part.row_after(self._append(part)) for part in partitions]
        reach(Point.RECORDS_WRITTEN)
        self._say("write_holds")
        reach(Point.HOLDS_WRITTEN)
        self._resolve(changes)
        for part in partitions:
            self._say("change_deferred")
            added = {(part.row.partition, item.entry.position) for item in part.deferred}
            if added & self._tables.held.keys():
                raise pg.UniqueViolation("duplicate key (partition, position) of deferred")
            self._say("refuse")
        self._lock_balances(in_global_order(book.touched_balances()))
        reach(Point.BALANCES_WRITTEN)
        for _ in rows:
            self._say("save_partition")
        self._changes.append(lambda: self._tables.change(changes, rows))
        return rows

    def _resolve(self, changes: Changes) -> None:
        """Also what is quarantined by the same batch, as a replay may find it."""
        new = {(each.position, each.request_id) for p in changes.partitions for each in p.rejected}
        for place in sorted(changes.book.resolutions):
            self._take(("quarantined", place))
            if place not in self._tables.open_quarantined().keys() | new:
                raise Stale("somebody else has resolved what was quarantined")

    def _create(self, book: Book) -> None:
        self._say("write_creations")
        shelf = self._tables.shelf
        for own in [new.ledger_id for new, *_ in book.new_ledgers]:
            self._insert(("ledger", own), own in shelf.ledgers)
        for own in [new.identity_id for new, *_ in book.new_identities]:
            self._insert(("identity", own), own in shelf.identities)
        for own in sorted(balance.balance_id for balance, _ in book.new_balances):
            self._take(("new balance", own))
            if own in shelf.balances:
                raise Stale("an internal balance was created meanwhile")
            self._created.add(own)

    def _insert(self, key: Lock, is_taken: bool) -> None:
        """Insert under a unique key: anyone who does the same at once waits for the end of this."""
        self._take(key)
        if is_taken:
            raise pg.UniqueViolation(f"duplicate key {key}")

    def _take_references(self, claims: Claims) -> None:
        self._say("take_references")
        for reference in sorted(claims):
            self._take(("reference", reference))
            if reference in self._tables.taken:
                raise ReferenceTaken(reference)

    def _append(self, part: PartitionChanges) -> bytes:
        """Append to a journal; returns the hash of its last row."""
        self._say("write_records")
        shelf, partition, head = self._tables.shelf, part.row.partition, part.row.head
        bare_ids = {own[-ID_LENGTH:] for own in shelf.records}
        for sequence, record in enumerate(part.records, part.row.sequence + 1):
            if self._store.refuses(record):
                raise pg.InvalidTextRepresentation("too odd")
            head = link(head, partition, sequence, record)
            bare = record.transaction_id[-ID_LENGTH:]
            self._insert(("id", bare), bare in bare_ids)
            bare_ids.add(bare)
            self._take(("sequence", (partition, sequence)))
        if len(shelf.journals[partition].records) != part.row.sequence:
            raise pg.UniqueViolation("duplicate key (partition, sequence)")
        return head

    def _lock_balances(self, ordered: Sequence[Balance]) -> None:
        self._say("write_balances")
        for balance in ordered:
            if balance.balance_id not in self._created:
                self._take(("balance", balance.balance_id))
                self._compare(balance)
            self._store.scheduler.pause()

    def _compare(self, balance: Balance) -> None:
        stored = self._tables.shelf.balances.get(balance.balance_id)
        if stored is None or stored["precision"] not in (None, balance.precision):
            raise Stale("a balance got another precision, or is gone")
        for side in ("credit", "debit"):
            figures = stored[side] + stored[f"inflight_{side}"]
            added = getattr(balance, f"added_{side}") + getattr(balance, f"added_inflight_{side}")
            if figures + added > FIGURE_MAX:
                raise Stale("a balance is full")

    def commit(self) -> None:
        self._say("commit")
        if self._store.chaos.strikes(Fault.CONFLICT, "commit"):
            raise pg.SerializationFailure("could not serialize access")
        for change in self._changes:
            change()
        self.end(dead=False)
        if self._store.chaos.strikes(Fault.UNKNOWN, "commit"):
            self._dead = True
            raise psycopg.OperationalError("the connection was lost after the commit was sent")

    def rollback(self) -> None:
        self.end(dead=self._dead)

    def end(self, *, dead: bool) -> None:
        """Forget what is not committed, and let go of every lock."""
        self._dead = dead
        for lock in self._locks:
            if self._store.holders.get(lock) is self:
                del self._store.holders[lock]
        self._locks.clear()
        self._changes.clear()
        self._created.clear()


def in_global_order(balances: Iterable[Balance]) -> list[Balance]:
    """The order in which their rows are locked."""
    return sorted(balances, key=lambda b: (b.indicator is not None, b.balance_id))


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _quarantined(found: RejectedRequest) -> Recorded:
    fingerprint = fingerprint_of(found.body)
    return Recorded(found.request_id, Status.REJECTED, fingerprint, found.reason, found.detail)


def _references_of(entry: LogEntry) -> list[str | None]:
    items = getattr(entry.instruction, "items", ())
    return [getattr(entry.instruction, "reference", None), *(item.reference for item in items)]


def _named(entries: Iterable[LogEntry]) -> set[str]:
    return {getattr(entry.instruction, "transaction_id", "") for entry in entries}


def _is_part(bare_id: str) -> bool:
    return bare_id[14] == "8" and bare_id[19] in "ab"


AS_STORE: Callable[..., Store] = MemoryStore
"""For the type checker: it is one, and so are its units."""
