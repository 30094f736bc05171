"""Several partitions over one shelf, their steps interleaved in any way, as the design says.

A unit of work is a generator that stops between any two of its reads: others may commit there.
It may also be dropped there, as a killed worker would be.

A request that spends from balances of several slots leaves a barrier in the stream of each other
partition of these slots; nobody reads past it before the partition of the request has.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field

from daybook.ledger.batch import Horizon, Parked, decide_batch
from daybook.ledger.entry import LogEntry
from daybook.ledger.instructions import movements
from tests.engine.shelf import Shelf

IDLE_ROUNDS_MAX = 3
"""Rounds over all partitions in which nothing moved: then nothing ever will."""


@dataclass
class Town:
    """The log, the shelf, and the units of work under way, one a partition at most.

    batch_max: entries read at a time. deferred_max: as of ``decide_batch``.
    on_commit: called after each commit, to judge what a reader could see then.
    """

    entries: Sequence[LogEntry]
    partitions: int
    batch_max: int = 3
    deferred_max: int = 100
    on_commit: Callable[[Town], None] = lambda town: None
    appended: int = 0
    shelf: Shelf = field(init=False)
    working: dict[int, Generator[None, None, None]] = field(default_factory=dict)
    debit_rights: set[str] = field(default_factory=set)
    commits: int = 0
    decided_again: int = 0
    held_ever: int = 0
    cut: int = 0
    barriers: int = 0

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.partitions)

    def append(self, count: int) -> None:
        """Let producers append the next entries to the log."""
        self.appended = min(len(self.entries), self.appended + count)

    def step(self, partition: int) -> None:
        """Let a partition's unit of work go on to its next pause."""
        work = self.working.setdefault(partition, self._unit_of_work(partition))
        if next(work, self) is self:
            del self.working[partition]

    def kill(self, partition: int) -> None:
        """Drop a unit of work: nothing of it remains."""
        work = self.working.pop(partition, None)
        if work is not None:
            work.close()

    def run(self, partition: int) -> None:
        """Run a partition's unit of work to its end."""
        self.step(partition)
        while partition in self.working:
            self.step(partition)

    def drain(self) -> None:
        """Append everything, and run all partitions in turn until nothing is open.

        Raises AssertionError when nothing moves any more although something is open.
        """
        self.append(len(self.entries))
        idle = 0
        while self.open_entries():
            before = self.open_entries()
            for partition in range(self.partitions):
                self.run(partition)
            idle = 0 if self.open_entries() < before else idle + 1
            assert idle < IDLE_ROUNDS_MAX, f"{self.open_entries()} entries are stuck"

    def open_entries(self) -> int:
        """How many entries have no outcome."""
        return len(self.entries) - len(self.shelf.outcomes)

    def unread(self, partition: int) -> list[LogEntry]:
        """The stream of a partition behind its cursor, up to a barrier that nobody may pass."""
        unread = []
        for entry in self._stream(partition):
            home = entry.slot % self.partitions
            if home != partition and self.shelf.journals[home].cursor < entry.position:
                break
            if entry.position > self.shelf.journals[partition].cursor:
                unread.append(entry)
        return unread

    def _unit_of_work(self, partition: int) -> Generator[None, None, None]:
        journal = self.shelf.journals[partition]
        waiting = [entry for entry, _ in journal.held]
        read = self.unread(partition)[: self.batch_max]
        entries = [entry for entry in read if entry.slot % self.partitions == partition]
        if not waiting and not read:
            return
        yield
        rights = self._rights([*waiting, *entries])
        if rights & self.debit_rights:
            return  # somebody has them: tried again at the next doorbell
        self.debit_rights |= rights
        try:
            while not (yield from self._decided(partition, waiting, entries, read)):
                self.decided_again += 1
        finally:
            self.debit_rights -= rights
        self.on_commit(self)

    def _decided(
        self, partition: int, waiting: list[LogEntry], entries: list[LogEntry], read: list[LogEntry]
    ) -> Generator[None, None, bool]:
        others = [other for other in range(self.partitions) if other != partition]
        cursors = {other: self.shelf.journals[other].cursor for other in others}
        yield
        open_from = None
        for other in others:
            unread = [e for e in self._stream(other) if e.position > cursors[other]]
            if unread and (open_from is None or unread[0].position < open_from):
                open_from = unread[0].position
            yield
        horizon = Horizon(open_from, self._deferred_elsewhere(others))
        yield
        ripe = [entry for entry in waiting if entry.position < horizon.ripe_before]
        parked = [
            Parked(entry.position, entry.slot, brought)
            for entry, brought in self.shelf.journals[partition].held
            if entry.position >= horizon.ripe_before
        ]
        book = self.shelf.book_for([*ripe, *entries])
        yield
        decision = decide_batch(book, ripe, entries, horizon, self.deferred_max, parked)
        assert not decision.quarantined, decision.quarantined
        yield
        if not self.shelf.stands(book):
            return False
        stop = entries[decision.consumed].position if decision.consumed < len(entries) else None
        past = [entry.position for entry in read if stop is None or entry.position < stop]
        cursor = past[-1] if past else self.shelf.journals[partition].cursor
        self.shelf.commit(partition, book, decision, cursor)
        self.commits += 1
        self.held_ever += len(decision.deferred)
        self.cut += len(entries) - decision.consumed
        self.barriers += len(read) - len(entries)
        return True

    def _stream(self, partition: int) -> Iterable[LogEntry]:
        """The entries of a partition, and those that left a barrier in it."""
        return (
            entry
            for entry in self.entries[: self.appended]
            if any(slot % self.partitions == partition for slot in (entry.slot, *entry.slots))
        )

    def _deferred_elsewhere(self, others: Iterable[int]) -> dict[str, int]:
        oldest: dict[str, int] = {}
        for other in others:
            for entry, may_credit in self.shelf.journals[other].held:
                for name in may_credit:
                    oldest[name] = min(oldest.get(name, entry.position), entry.position)
        return oldest

    def _rights(self, entries: Iterable[LogEntry]) -> set[str]:
        """Balances whose funds it will look at: only one unit of work at a time may debit them."""
        return {
            leg.source_id
            for entry in entries
            for whole, leg in movements(entry.instruction)
            if whole.checks_funds
        }
