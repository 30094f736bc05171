"""A log and a store in memory in which nothing goes wrong, for tests of a worker's parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from daybook.apply.applier import Applier
from daybook.client.drafts import drafts
from daybook.queue.entries import RawEntry
from daybook.queue.waiting import Wanted
from daybook.requests import slot_of
from daybook.settings import Settings
from tests.simulation.chaos import Chaos
from tests.simulation.memory_log import MemoryLog
from tests.simulation.memory_store import MemoryStore
from tests.simulation.scheduler import Scheduler
from tests.simulation.world import FIRST_MS


class Counted(MemoryLog):
    """A log in memory that notes what was read. reads: partition and most entries, in order."""

    reads: list[tuple[int, int]]

    def read(self, partition: int, after: int, count: int, bytes_max: int) -> list[RawEntry]:
        self.reads.append((partition, count))
        return super().read(partition, after, count, bytes_max)


class Place:
    """A log and a store of some partitions. seconds: the worker's clock."""

    def __init__(self, partitions: int = 1) -> None:
        self.now_ms = FIRST_MS
        self.seconds: Iterator[float] = iter(lambda: 0.0, None)
        self.calls: list[str] = []
        self.on_call: Callable[[str], None] = lambda call: None
        self.partitions = partitions
        chaos = Chaos(Random(1))
        chaos.calm = True
        self.log = Counted(lambda: self.now_ms, self._called)
        self.log.reads = []
        self.log.install(partitions, 100_000, 0)
        self.store = MemoryStore(partitions, Scheduler(Random(1), FIRST_MS), chaos)
        self.store.touch = self._called  # type: ignore[method-assign]

    def _called(self, call: str) -> None:
        self.calls.append(call)
        self.on_call(call)

    def applier(self, answers: Any = None, **settings: Any) -> Applier:
        """A worker with batches of 3 to 13 entries."""
        sizes = {"batch_entries_min": 3, "batch_entries_max": 13}
        made = Settings(**{**sizes, **settings})
        return Applier(self.store, self.log, made, answers, lambda: next(self.seconds))

    def send(self, *requests: dict[str, Any], flags: str = "") -> list[int]:
        """Append requests: their positions."""
        made = [
            draft.entry._replace(flags=draft.entry.flags + flags)
            for draft in drafts(requests, lambda: FIRST_MS / 1000)
        ]
        return [each.position or 0 for each in self.log.append(made)[0]]

    def send_wide(self, reference: str, *homes: int) -> int:
        """Append a request that spends in these partitions, the first of them its home."""
        names = [f"bln_00000000-0000-4000-8000-00000000{n:04}" for n in range(9_999)]
        sides = [
            next(name for name in names if slot_of(name) % self.partitions == home)
            for home in homes
        ]
        legs = [{"identifier": name, "precise_distribution": "5"} for name in sides]
        wide = money(reference, sources=legs, precise_amount=5 * len(legs), allow_overdraft=False)
        del wide["source"], wide["ordering_key"]
        return self.send(wide)[0]

    def lock(self, *partitions: int) -> Any:
        """Another worker has these partitions."""
        with self.store.units() as begin:
            unit = begin()
        unit.lock(partitions)
        return unit


class Told:
    """Notes whom it was to answer: keys of outcomes, who wants results, and who asks, by call."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], list[Wanted], list[tuple[str, bytes]]]] = []

    def tell(
        self,
        outcomes: Sequence[tuple[str, str]],
        wanted: Sequence[Wanted],
        asked: Sequence[tuple[str, bytes]],
    ) -> None:
        self.calls.append(([key for key, _ in outcomes], list(wanted), list(asked)))


def money(reference: str, home: int = 0, place: Place | None = None, **more: Any) -> dict[str, Any]:
    """A deposit into an internal balance, in the log of partition ``home``."""
    partitions = place.partitions if place else 1
    key = next(f"k{n}" for n in range(10_000) if slot_of(f"k{n}") % partitions == home)
    request = {
        "kind": "transaction",
        "reference": reference,
        "ordering_key": key,
        "source": "@World",
        "destination": "@Till",
        "currency": "USD",
        "precision": 1,
        "precise_amount": 5,
        "allow_overdraft": True,
    }
    return request | more


def spend(reference: str, home: int, place: Place) -> dict[str, Any]:
    """A payment of what was deposited."""
    more: dict[str, Any] = {"source": "@Till", "destination": "@Shop", "allow_overdraft": False}
    return money(reference, home, place, **more)
