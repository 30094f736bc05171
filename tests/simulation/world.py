"""One run: producers, workers, a sweeper and what goes wrong, until nothing is open; the judge."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any, cast
from unittest import mock

import psycopg
import structlog

from daybook.apply.applier import Applier
from daybook.apply.due import append_due
from daybook.apply.epochs import advance
from daybook.apply.sweep import sweep_partitions
from daybook.client.client import Blocking, Client
from daybook.client.flows import Flows
from daybook.client.quarantine import discarding, retrying
from daybook.client.receipts import Outcome, Receipt
from daybook.errors import (
    DaybookError,
    LogFull,
    LogUnavailable,
    MalformedRequest,
    ReferenceConflict,
    StoreUnavailable,
)
from daybook.installation.resize import begin_after
from daybook.ledger.rejection import Reason
from daybook.queue.doorbell import Doorbell
from daybook.queue.entries import NewEntry, read_value
from daybook.queue.log import Log
from daybook.settings import Settings
from daybook.steps import Point, watched
from tests.simulation.chaos import STALL_MS, Chaos, Fault
from tests.simulation.judgement import violations_of
from tests.simulation.memory_log import MemoryLog
from tests.simulation.memory_store import MemoryStore
from tests.simulation.poison import BOOM, ODD, Poison
from tests.simulation.scheduler import Crash, Scheduler
from tests.traffic.mix import RACING, Mix, drawn, openings, some_of
from tests.traffic.purses import Wait

FIRST_MS = 1_790_000_000_000
RESTART_MS = 500
RETRY_MS = 200
SWEEP_MS = 300
LIFE_MS_MAX = 4_000
"""What comes back, or is restored, was taken so long before at most."""
CLOCK_BACK_MS_MAX, CLOCK_AHEAD_MS_MAX = 10_000, 3_000
CLOCK_JUMPS = 0.7
TURNS_MAX = 60_000
"""A run that has not come to rest after so many turns is stuck."""
RESIZES_MAX = 3
PARTITIONS_MAX = 5
RESIZE_MS_MAX = 2_500
"""So long passes at most from one change of the number to the next."""
TYPED_MAX = 500
"""So often an operator types a command again that could not be done."""
FOLLOWED_MAX = 20
"""So often anyone who changes the number tries again, and looks whether the workers follow."""
PRODUCERS = 2
LOOKS = 0.3
"""How often a producer asks what has become of what it sent."""
PAUSES_MS = (5, 20, 20, 1_200, 3_000)
"""Most requests come in a rush, some much later: when the servers are not what they were."""
ENTRIES_MAX = 100_000
WAITS_SECONDS = (None, None, None, None, None, None, 0.02, 0.3)
"""A rejection waits for the past, or so long at most."""
SPOILT = 0.12
"""How often a request makes the code raise, in runs in which any does."""

Making = Callable[[str, int, bytes, int, str, str], list[NewEntry]]
"""What makes entries of what was quarantined: see ``daybook.client.quarantine``."""
_RETRY: list[Making] = [retrying]
_DISCARD: list[Making] = [discarding]
MENDINGS: list[list[Making]] = [
    *4 * [_RETRY],
    *2 * [_DISCARD],
    [retrying, retrying],
    [retrying, discarding],
    [discarding, retrying],
]
"""What operators do about an entry; also two of them, who know nothing of each other."""


_IN_A_UNIT = [
    *list(Point)[list(Point).index(Point.LOCKED) : list(Point).index(Point.REPLIED)],
    Point.ADVANCING,
]


@dataclass
class Verdict:
    """What came of a run. trace: digest of all that happened, the same for the same seed."""

    seed: int
    steps: int
    violations: list[str]
    accepted: int = 0
    records: int = 0
    turns: int = 0
    trace: str = ""
    happened: dict[tuple[str, str], int] = field(default_factory=dict)


class _Bells:
    """Doorbells between producers and workers: lost, late and doubled."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.rung: list[tuple[int, int]] = []

    def ring(self, partitions: Iterable[int]) -> None:
        """As ``Doorbell.ring``."""
        for partition in partitions:
            self.ring_one(partition)

    def ring_one(self, partition: int) -> None:
        world = self._world
        if world.chaos.strikes(Fault.BELL_LOST):
            return
        late = world.random.randint(0, 2_000) if world.chaos.strikes(Fault.BELL_LATE) else 0
        self.rung.append((world.scheduler.now_ms + late, partition))

    def any_due(self) -> bool:
        return any(due <= self._world.scheduler.now_ms for due, _ in self.rung)

    def take(self) -> int | None:
        """A partition whose doorbell has come, in no order."""
        due = [
            at for at, (moment, _) in enumerate(self.rung) if moment <= self._world.scheduler.now_ms
        ]
        return self.rung.pop(self._world.random.choice(due))[1] if due else None

    def close(self) -> None:
        """Nothing is open."""


def real(log: MemoryLog) -> Log:
    """It, for those who name the class: what they call of it, the conformance's tests do too."""
    return cast(Log, log)


class SimulatedClient(Client):
    """The real client, over a log in memory."""

    def __init__(self, world: World) -> None:
        log, bells = real(world.log), cast(Doorbell, world.bells)
        patience = world.settings.retry_seconds_max
        self._flows = Flows(Blocking(log), log.keys, bells, patience)
        self._clock = lambda: world.scheduler.now_ms / 1000


class World:
    """Everything that one seed decides."""

    def __init__(self, seed: int, steps: int) -> None:
        self.seed = seed
        self.random = Random(f"world-{seed}")
        self.chaos = Chaos(Random(f"chaos-{seed}"))
        self.scheduler = Scheduler(Random(f"turns-{seed}"), FIRST_MS)
        self.partitions = self.random.choice([1, 2, 2, 3, 4])
        self.is_restored = self.chaos.loss is Fault.RESTORE
        self.settings = Settings(
            batch_entries_min=self.random.choice([1, 2, 4, 8]),
            batch_entries_max=self.random.choice([8, 16]),
            deferred_max=self.random.choice([1, 2, 5, 100]),
            log_retention_seconds=3_600 if self.is_restored else self.random.choice([0, 60]),
            drain_seconds_max=0.5,
            rejection_wait_seconds_max=self.random.choice(WAITS_SECONDS),
        )
        self.poison = Poison()
        self.skew_ms = 0
        self.log = MemoryLog(self._log_ms, self._touch_log)
        self.store = MemoryStore(self.partitions, self.scheduler, self.chaos)
        self.store.refuses = self.poison.refuses
        self.bells = _Bells(self)
        self.producing = 0
        self.sweeps = 0
        self.told: dict[tuple[str, str], Outcome] = {}
        self.violations: list[str] = []
        self._digest = sha256()
        self.log.state.partitions, self.log.state.entries_max = self.partitions, ENTRIES_MAX
        if not self.is_restored:  # else what is to be replayed would not be kept
            self.log.state.entries_max = self.random.choice([ENTRIES_MAX, ENTRIES_MAX, 24, 12])
        self._load(steps)

    # --- who acts ---

    def _load(self, steps: int) -> None:
        names, first = openings(Random(f"openings-{self.seed}"), self.random.randint(6, 8))
        each = max(steps // PRODUCERS, 1)
        weights = some_of(RACING, self.random)
        spoilt = (BOOM, ODD), self.random.choice([0.0, 0.0, SPOILT])
        for number in range(PRODUCERS):
            random = Random(f"load-{self.seed}-{number}")
            mix = Mix(random, names, f"p{number}", weights, self._log_ms, spoilt)
            self._spawn_producer(number, first if number == 0 else [], mix, random, each)
        for number in range(self.random.choice([1, 2, 2, 3])):
            self.scheduler.spawn(f"worker-{number}", lambda: self._work(self._applier()))
        self.scheduler.spawn("beat", self._beat)
        self.scheduler.spawn("fate", self._fate)
        self.scheduler.spawn("mender", self._mend)
        if self.chaos.has(Fault.RESIZE):
            self.scheduler.spawn("operator", self._resize)

    def _spawn_producer(
        self, number: int, first: list[dict[str, Any]], mix: Mix, random: Random, count: int
    ) -> None:
        self.producing += 1

        def produce() -> None:
            if first:
                self._send(first, random)
            done = 0
            while done < count or mix.is_unfinished:
                size = max(1, min(random.choice([1, 1, 1, 2, 5]), count - done))
                requests = drawn(mix, random, size, f"p{number}-{done}")
                self._send(requests, random)
                done += len(requests)
                self._wait(mix.wait, random)
            self.producing -= 1

        self.scheduler.spawn(f"producer-{number}", produce)

    def _wait(self, wait: Wait | None, random: Random) -> None:
        """Between two calls of a producer."""
        if wait is None:
            self.scheduler.pause(random.randrange(random.choice(PAUSES_MS)))
        elif wait.until_ms:
            self.scheduler.wait_for(lambda: self._log_ms() >= wait.until_ms, STALL_MS)
        else:
            self.scheduler.pause(wait.for_ms)

    def _send(self, requests: Sequence[dict[str, Any]], random: Random) -> None:
        """Send until it is known that all were accepted; after a death, by another process."""
        client = SimulatedClient(self)
        repeated = False
        while True:
            try:
                receipts = client.enqueue_many(requests)
                if self.chaos.strikes(Fault.REPEAT, "producer") and not repeated:
                    repeated = True
                    continue
            except MalformedRequest:
                return self._send_those_that_are(requests, client)
            except (LogUnavailable, LogFull):
                self.scheduler.pause(RETRY_MS)
            except Crash:
                self.scheduler.pause(RESTART_MS)
                client = SimulatedClient(self)
            else:
                return self._look(client, receipts, random)

    def _send_those_that_are(self, requests: Sequence[dict[str, Any]], client: Client) -> None:
        """One by one: what is refused at the door is not accepted."""
        for request in requests:
            for _ in range(100):
                try:
                    client.enqueue(request)
                    break
                except (MalformedRequest, ReferenceConflict):
                    break
                except (LogUnavailable, LogFull, Crash):
                    self.scheduler.pause(RETRY_MS)

    def _look(self, client: Client, receipts: Sequence[Receipt], random: Random) -> None:
        """See what has become of some of it: what is told once is true for ever."""
        with suppress(LogUnavailable):  # then nothing is told
            if random.random() >= LOOKS:
                return
            self.scheduler.pause(random.randrange(400))
            for receipt, outcome in zip(receipts, client.wait_many(receipts, 0), strict=True):
                if outcome is not None and receipt.state == "accepted":
                    self.notice(receipt, outcome)
                    self._must_be_true(receipt.key, outcome)

    def notice(self, receipt: Receipt, outcome: Outcome) -> None:
        """An outcome that somebody was told of a request of theirs."""
        key = receipt.key
        before = None if self.may_change else self.told.get((key, receipt.id))
        if (
            before is not None
            and before.final
            and before.reason != Reason.QUARANTINED
            and (before.status, before.reason) != (outcome.status, outcome.reason)
        ):
            self.violations.append(f"3: {key} was {before.status}, and is {outcome.status}")
        self.told[key, receipt.id] = outcome

    def _must_be_true(self, key: str, outcome: Outcome) -> None:
        """Anyone who is told an outcome finds it in the ledger."""
        shelf, reference = self.store.tables.shelf, key[2:]
        if self.is_of_another(reference, outcome):
            return
        if outcome.final and key.startswith("t:") and not self.is_restored:
            known = shelf.references.get(reference)
            refused = self.store.tables.refused_references.get(reference)
            if outcome.status not in {each.status for each in (known, refused) if each}:
                self.violations.append(f"3: {key} was told {outcome.status} before it was true")

    def is_of_another(self, reference: str, outcome: Outcome) -> bool:
        """Whether somebody was told of a conflict, and another has the reference indeed."""
        if outcome.reason != Reason.REFERENCE_CONFLICT:
            return False
        owner = self.store.tables.taken.get(reference)
        return owner is not None and owner != outcome.transaction_id

    @property
    def may_change(self) -> bool:
        """With several partitions a replay may fund a spend by a credit that was accepted later."""
        return self.is_restored and (self.partitions > 1 or Fault.RESIZE in self.chaos.rates)

    def _applier(self) -> Applier:
        return Applier(
            self.store, self.log, self.settings, clock=lambda: self.scheduler.now_ms / 1000
        )

    def _work(self, applier: Applier) -> None:
        """What the task of a doorbell does, in a process that is started again when it dies."""
        while True:
            self.scheduler.wait_for(self.bells.any_due, 10_000)
            partition = self.bells.take()
            if partition is None:
                continue
            try:
                drained = applier.drain(partition)
                for other in sorted(drained.helped | ({partition} if drained.more else set())):
                    self.bells.ring_one(other)
            except (StoreUnavailable, LogUnavailable, LogFull):
                self.scheduler.pause(RETRY_MS)
                self.bells.ring_one(partition)
            except Crash:
                self.scheduler.pause(RESTART_MS)
                applier = self._applier()

    def _beat(self) -> None:
        applier = self._applier()
        while True:
            self.scheduler.pause(SWEEP_MS)
            for _ in range(2 if self.chaos.strikes(Fault.BEAT_DOUBLED) else 1):
                self._sweep(applier)

    def _sweep(self, applier: Applier) -> None:
        try:
            sweep_partitions(self.store, self.log, applier, self.bells.ring_one)
            append_due(self.store, self.log, self.bells.ring_one)
            self.sweeps += 1
        except DaybookError:
            self.scheduler.pause(RETRY_MS)
        except Crash:
            self.scheduler.pause(RESTART_MS)

    def _resize(self) -> None:
        """Somebody changes the number now and then, and follows until it is done."""
        random = Random(f"resizes-{self.seed}")
        for _ in range(random.randint(1, RESIZES_MAX)):
            self.scheduler.pause(random.randint(1, RESIZE_MS_MAX))
            self._resize_to(random.randint(1, PARTITIONS_MAX))

    def _resize_to(self, number: int) -> None:
        """What the command does; after a death it is run again."""
        begun = None
        for _ in range(FOLLOWED_MAX):
            try:
                marks = self.store.marks()
                stored = marks.epoch
                assert stored is not None
                if begun is None:
                    begun = begin_after(stored, marks.newest, real(self.log), number)
                    self.chaos.happened[Fault.RESIZE, "log"] = 1
                if stored.number >= begun.number or advance(self.store, self.log):
                    return
                self.scheduler.pause(RETRY_MS)
            except DaybookError:
                self.scheduler.pause(RETRY_MS)
            except Crash:
                self.scheduler.pause(RESTART_MS)

    def _mend(self) -> None:
        """After a while the workers are mended; what is quarantined is retried, or discarded."""
        random = Random(f"mender-{self.seed}")
        self.scheduler.pause(random.randint(300, LIFE_MS_MAX))
        self.poison.is_mended = True
        while True:
            self.scheduler.pause(random.randint(50, 600))
            for place, rejection in self.store.tables.open_quarantined().items():
                for making in random.choice(MENDINGS):
                    self._resolve(making, place, rejection.body)

    def _resolve(self, making: Making, place: tuple[int, str], body: bytes) -> None:
        """What the commands do; typed again while the log is full or away."""
        position, request_id = place
        for _ in range(TYPED_MAX):
            try:
                entries = making(request_id, position, body, self.log.now_ms(), "mender", "")
                (known,) = self.log.outcomes([entries[-1].key])
                if known and read_value(known).fingerprint != entries[-1].fingerprint.hex():
                    return
                results, bells = self.log.append(entries)
                self.bells.ring(bells)
                if results[-1].state != "full":
                    return
            except DaybookError:
                pass
            self.scheduler.pause(RETRY_MS)

    # --- what happens ---

    def _fate(self) -> None:
        """What befalls the servers, once or a few times."""
        random, loss = self.random, self.chaos.loss
        self.scheduler.pause(random.randint(1, 1_500))
        taken, tables = self.log.state.copy(), self.store.tables
        if loss is Fault.RESTORE:
            tables = self.store.backup()
        self.scheduler.pause(random.randint(1, LIFE_MS_MAX))
        cursors = {p: row.cursor for p, row in self.store.tables.rows.items()}
        if loss is Fault.TAIL_LOST:
            self.log.come_back(taken, cursors)
        elif loss is Fault.LOG_EMPTY:
            self.log.come_back(type(taken)(), cursors)
        elif loss is Fault.RESTORE:
            self.store.restore(tables)
        elif loss is Fault.OUTCOMES_LOST:
            outcomes = self.log.state.outcomes
            for key in [key for key, value in outcomes.items() if value[64] == "R"]:
                del outcomes[key]
        if loss is not None:
            self.chaos.happened[loss, "server"] = 1
        # With its end lost and its clock behind at once, nobody could know what was accepted twice.
        seen = self.sweeps + 1
        swept = self.scheduler.wait_for(lambda: self.sweeps > seen, STALL_MS)
        if loss is Fault.RESTORE and swept and random.random() < 0.5:
            self.log.state.entries_max = 12  # what makes room must not be what is replayed
        while True:
            self.scheduler.pause(random.randint(1, 600))
            if self.chaos.has(Fault.CLOCK_JUMP) and random.random() < CLOCK_JUMPS:
                self.skew_ms = random.randint(-CLOCK_BACK_MS_MAX, CLOCK_AHEAD_MS_MAX)
                self.chaos.happened[Fault.CLOCK_JUMP, "log"] = 1

    def _log_ms(self) -> int:
        """The time of the log's server."""
        return self.scheduler.now_ms + self.skew_ms

    def _touch_log(self, call: str) -> None:
        self.scheduler.pause()
        if self.chaos.strikes(Fault.ERROR, f"log:{call}"):
            raise LogUnavailable("the connection is lost")

    def reach(self, point: Point) -> None:
        """Somebody came to a point of the pipeline."""
        self._digest.update(f"{self.scheduler.current} {point} {self.scheduler.now_ms}\n".encode())
        self.scheduler.pause()
        fault = self.chaos.at(point)
        if fault is Fault.CRASH:
            raise Crash(point)
        if fault is Fault.STALL:
            self.scheduler.pause(self.random.randint(1, STALL_MS))
        elif fault is Fault.REPEAT:
            for partition in list(self.store.tables.rows):
                self.bells.ring_one(partition)
        elif fault is Fault.ERROR:
            if point in _IN_A_UNIT:
                raise psycopg.OperationalError("the connection is lost")
            raise LogUnavailable("the connection is lost")

    # --- the run ---

    def run(self) -> Verdict:
        """Play, come to rest, judge."""
        with (
            _seeded(self.seed, self.scheduler),
            watched(self.reach),
            self.poison.in_the_code(),
        ):
            try:
                self._play()
            finally:
                self.chaos.calm = True
                self.scheduler.end()
        self.violations += violations_of(self)
        records = sum(len(journal.records) for journal in self.store.tables.shelf.journals)
        return Verdict(
            self.seed,
            0,
            self.violations,
            len(self.log.accepted),
            records,
            self.scheduler.turns,
            self._digest.hexdigest(),
            self.chaos.happened,
        )

    def _play(self) -> None:
        if not self.scheduler.run(lambda: not self.producing and self._past_fate(), TURNS_MAX):
            self.violations.append("4: producers do not come to an end")
        self.chaos.calm = True
        if not self.scheduler.run(self._at_rest, TURNS_MAX):
            self.violations.append(f"11: still open: {self._open()}")

    def _past_fate(self) -> bool:
        return self.scheduler.now_ms > FIRST_MS + LIFE_MS_MAX + 1_500

    def _open(self) -> str:
        tables = self.store.tables
        cursors = {p: row.cursor for p, row in tables.rows.items()}
        return (
            f"unread {self.log.first_behind(cursors)}, deferred {sorted(tables.held)}, "
            f"scheduled {len(tables.shelf.schedules)}, epochs {tables.epochs[-1].number} and "
            f"{self.log.state.epoch}"
        )

    def _at_rest(self) -> bool:
        if self.scheduler.turns % 16:
            return False
        tables = self.store.tables
        if tables.held or tables.shelf.schedules or self.log.state.partitions is None:
            return False
        if tables.open_quarantined():
            return False
        if self.log.first_behind({p: row.cursor for p, row in tables.rows.items()}):
            return False
        if any(
            row.batch > self.log.state.replied.get(p, 0) for p, row in tables.open_rows().items()
        ):
            return False
        if tables.epochs[-1].number != self.log.state.epoch:
            return False
        return not any(
            (hold["expires_micros"] or hold["commits_micros"])
            and hold["amount"] > hold["committed"] + hold["voided"]
            for hold in tables.shelf.holds.values()
        )


class _Time:
    """The time of the simulation, for code that sleeps."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.monotonic = lambda: scheduler.now_ms / 1000
        self.sleep = lambda seconds: scheduler.pause(int(seconds * 1000) + 1)


@contextmanager
def _seeded(seed: int, scheduler: Scheduler) -> Iterator[None]:
    """Ids that are minted anew are the same for the same seed, and so are the pauses of clients."""
    random = Random(f"ids-{seed}")
    quiet = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with (
            mock.patch("daybook.requests.routing.os.urandom", random.randbytes),
            mock.patch("daybook.queue.patience.time", _Time(scheduler)),
            mock.patch("daybook.client.client.time", _Time(scheduler)),
            mock.patch("daybook.queue.patience.random", random),
        ):
            yield
    finally:
        structlog.configure(**quiet)


def run(seed: int, steps: int) -> Verdict:
    """One run. steps: requests that producers send, about."""
    verdict = World(seed, steps).run()
    verdict.steps = steps
    return verdict


__all__ = ["Verdict", "World", "run"]
