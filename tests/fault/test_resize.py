"""The number of partitions changes while things fail: nothing is lost, doubled or refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from daybook.apply.applier import Applier
from daybook.apply.epochs import advance
from daybook.apply.sweep import sweep_partitions
from daybook.client.receipts import Receipt
from daybook.errors import LogUnavailable
from daybook.installation.resize import begin
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.queue.connect import connect
from daybook.queue.entries import RawEntry
from daybook.queue.log import Log
from daybook.steps import Point, watched
from daybook.store.engine import make_engine
from daybook.store.proof.verify import verify
from daybook.store.store import Store
from tests.fault.dying import DIED, POINTS, die_at, dies, live
from tests.fault.killer import Killer
from tests.fault.proof import assert_proved
from tests.fault.requests import deposit, make_balances, move
from tests.fault.restoring import copy_of, restore
from tests.fault.sweeping import decide_all, drain_due, wait_decided
from tests.harness import COMMAND_SECONDS_MAX, Installation, wait_ended, wait_until
from tests.traffic.mix import mixed

Install = Callable[[int], Installation]
LONG = [pytest.param(seed, 500, marks=pytest.mark.campaign) for seed in range(2, 8)]
STEPS = [Point.BEGUN, Point.ADVANCING, Point.ADVANCED]
SECONDS_MAX = 120
PATIENT = {"patient": True}
SMALL = {"batch_entries_min": 4, "batch_entries_max": 16}


def sweep(installation: Installation) -> None:
    """What the sweeper does beside appending what is due."""
    applier = installation.applier()
    sweep_partitions(installation.store, installation.log, applier, lambda partition: None)


def assert_all_told(installation: Installation, receipts: list[Receipt]) -> None:
    """Everything came to its end, its producers were told, and the judge finds nothing."""
    decide_all(installation)
    outcomes = installation.client.wait_many(receipts, 5)
    assert {o and o.final for o in outcomes} == {True}
    assert_proved(installation)


def epoch_of(installation: Installation) -> tuple[int, int]:
    """The epoch that workers decide in, and its number of partitions."""
    (found,) = installation.rows("SELECT epoch, partitions FROM epochs ORDER BY 1 DESC LIMIT 1")
    return found[0], found[1]


def forked(work: Callable[[], object]) -> int:
    """Run ``work`` in a process of its own; its pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def own_log(installation: Installation) -> Log:
    """The log over a connection of this process: that of its parent is not to be touched."""
    return Log(connect(installation.redis_url, installation.settings), "daybook")


def die_resizing(installation: Installation, point: Point, number: int) -> bool:
    """Change the number in a process that dies at ``point``; returns whether it did."""

    def resize() -> None:
        engine, log = make_engine(installation.worker_url), own_log(installation)
        with watched(dies(point)):
            begin(engine, log, number)
            live(installation, tuple(range(log.partitions())), {})
            advance(Store(engine), log)

    _, status = os.waitpid(forked(resize), 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, DIED), code
    return code == DIED


@pytest.mark.parametrize("point", STEPS)
def test_a_resize_dies_at_every_step(install_daybook: Install, point: Point) -> None:
    """Run again it goes on from there; everything is decided once, in its order."""
    installation = install_daybook(2)
    balances, receipts = make_balances(installation, 8, seed=3)
    requests = mixed(Random(3), balances, 60, "m")
    receipts += installation.client.enqueue_many(requests[:30])
    assert die_resizing(installation, point, 4)
    receipts += installation.client.enqueue_many(requests[30:50])
    begin(installation.engine, installation.log, 4)
    installation.drain()
    receipts += installation.client.enqueue_many(requests[50:])
    assert_all_told(installation, receipts)
    assert epoch_of(installation) == (2, 4)


@pytest.mark.parametrize("point", STEPS)
def test_a_resize_that_died_is_taken_back(install_daybook: Install, point: Point) -> None:
    """Back to the number before, whatever had happened; what came in between keeps its order."""
    installation = install_daybook(3)
    balances, receipts = make_balances(installation, 8, seed=4)
    requests = mixed(Random(4), balances, 45, "m")
    receipts += installation.client.enqueue_many(requests[:20])
    assert die_resizing(installation, point, 2)
    receipts += installation.client.enqueue_many(requests[20:35])
    begin(installation.engine, installation.log, 3)
    receipts += installation.client.enqueue_many(requests[35:])
    assert_all_told(installation, receipts)
    assert epoch_of(installation)[1] == 3


@pytest.mark.parametrize(("seed", "number"), [(1, 90), *LONG])
def test_workers_die_at_every_point_across_resizes(
    install_daybook: Install, seed: int, number: int
) -> None:
    """At drawn points of drawn batches, while the number goes up and down all the time."""
    installation = install_daybook(2)
    random = Random(f"resize-{seed}")
    balances, receipts = make_balances(installation, 12, seed=seed)
    requests = mixed(Random(seed), balances, number, "m")
    deaths = 0
    for start in range(0, number, 10):
        receipts += installation.client.enqueue_many(requests[start : start + 5])
        if random.random() < 0.5:
            begin(installation.engine, installation.log, random.randint(1, 5))
        receipts += installation.client.enqueue_many(requests[start + 5 : start + 10])
        partitions = installation.log.partitions()
        order = random.sample(range(partitions), partitions)
        point, hits = random.choice([*POINTS, *STEPS[1:]]), random.randint(1, 3)
        deaths += die_at(installation, point, *order, hits=hits, batch_entries_min=8)
    assert deaths > 3
    assert_all_told(installation, receipts)
    assert epoch_of(installation)[0] > 2


@pytest.mark.parametrize(("seed", "wallets"), [(1, 60), *LONG])
def test_money_that_is_passed_on_is_there_across_resizes(
    install_daybook: Install, seed: int, wallets: int
) -> None:
    """A → B, then B → C, and so on, while the number changes: no spend is refused."""
    installation = install_daybook(2)
    random = Random(f"passed-{seed}")
    names, _ = make_balances(installation, wallets, seed=seed)
    installation.client.enqueue(deposit("in", names[0], 700))
    applier = installation.applier(**SMALL)
    for at, (source, destination) in enumerate(pairwise(names)):
        installation.client.enqueue(move(f"pass-{at}", source, destination, 700))
        if at % 7 == 3:
            begin(installation.engine, installation.log, random.randint(1, 6))
        if at % 5 == 4:  # some partitions lag behind others
            applier.apply_batch(random.randrange(installation.log.partitions()), 3, patient=True)
    installation.drain(applier=applier)
    decide_all(installation)
    refused = installation.rows("SELECT reference, reason FROM transactions WHERE reason <> ''")
    assert refused == []
    assert installation.client.status(reference=f"pass-{wallets - 2}").status == "APPLIED"
    assert epoch_of(installation)[0] > 3
    assert_proved(installation)


@contextmanager
def stopped_at(installation: Installation, point: Point, partition: int) -> Iterator[None]:
    """A worker that is stopped at a point of its first batch, and goes on when the block ends."""

    def work() -> None:
        with watched(_stops(point)):
            live(installation, (partition,), {})

    with _stopped(work):
        yield


def _stops(point: Point) -> Callable[[Point], None]:
    def stop(reached: Point) -> None:
        if reached is point:
            os.kill(os.getpid(), signal.SIGSTOP)

    return stop


@contextmanager
def _stopped(work: Callable[[], object]) -> Iterator[None]:
    """A process that stops itself; it goes on when the block ends."""
    pid = forked(work)
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    try:
        yield
    finally:
        _go_on(pid)


def _go_on(pid: int) -> None:
    """Continue a process each time that it stops, until it ends."""
    for _ in range(1_000):
        os.kill(pid, signal.SIGCONT)
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return
    raise AssertionError("it did not end")


@pytest.mark.parametrize("point", [Point.LOCKED, Point.READ, Point.DECIDED, Point.BEFORE_COMMIT])
def test_a_worker_that_stands_still_holds_up_the_turn(
    install_daybook: Install, point: Point
) -> None:
    """It has the partition: nobody turns before it ends, and it goes no further than the fence."""
    installation = install_daybook(2)
    balances, receipts = make_balances(installation, 6, seed=6)
    requests = mixed(Random(6), balances, 40, "m")
    receipts += installation.client.enqueue_many(requests[:20])
    with stopped_at(installation, point, 0):
        begin(installation.engine, installation.log, 3)
        receipts += installation.client.enqueue_many(requests[20:])
        assert not advance(installation.store, installation.log)
        assert epoch_of(installation) == (1, 2)
    assert_all_told(installation, receipts)
    assert epoch_of(installation) == (2, 3)


@pytest.mark.parametrize("point", [Point.READ, Point.BEFORE_COMMIT])
def test_a_zombie_of_the_epoch_before_writes_nothing(
    install_daybook: Install, point: Point
) -> None:
    """Postgres ended its session, others advanced: when it wakes up, its batch is not committed."""
    installation = install_daybook(2)
    balances, receipts = make_balances(installation, 6, seed=7)
    requests = mixed(Random(7), balances, 40, "m")
    receipts += installation.client.enqueue_many(requests[:20])
    with stopped_at(installation, point, 1):
        installation.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction'"
        )
        begin(installation.engine, installation.log, 1)
        receipts += installation.client.enqueue_many(requests[20:])
        wait_until(
            lambda: _drained(installation),
            "everything is applied",
            progress=installation.progress,
        )
        assert epoch_of(installation) == (2, 1)
        before = installation.rows("SELECT count(*) FROM transactions")
    assert installation.rows("SELECT count(*) FROM transactions") == before
    assert_all_told(installation, receipts)


def _drained(installation: Installation) -> bool:
    drain_due(installation)
    return installation.open_entries() == 0


def test_a_worker_that_died_before_its_replies_is_stood_in_for(
    installation: Installation,
) -> None:
    """Producers of a partition that is closed are told what became of their requests."""
    balances, receipts = make_balances(installation, 8, seed=8)
    assert die_at(installation, Point.COMMITTED, 1)
    assert die_at(installation, Point.COMMITTED, 0)
    begin(installation.engine, installation.log, 1)
    assert not advance(installation.store, installation.log)
    installation.drain(0)
    assert epoch_of(installation) == (2, 1)
    assert {o and o.final for o in installation.client.wait_many(receipts, 1)} == {True}
    assert len(balances) == 8


class ResizingLog(Log):
    """A log whose number changes just before a worker reads it, with requests behind that."""

    def __init__(self, installation: Installation, number: int, requests: list[Any]) -> None:
        super().__init__(installation.redis, installation.settings.namespace)
        self._installation = installation
        self._number, self._requests = number, requests

    def read(self, partition: int, after: int, count: int, bytes_max: int) -> list[RawEntry]:
        self.epochs.begin(self._number)
        self._installation.client.enqueue_many(self._requests)
        return super().read(partition, after, count, bytes_max)


def test_a_closed_partition_tells_once_more_what_the_log_lost(installation: Installation) -> None:
    """No batch comes to it any more, so the sweeper says what became of its last requests."""
    balances, receipts = make_balances(installation, 8, seed=3)
    receipts += installation.client.enqueue_many(
        [deposit(f"in-{number}", name, 100) for number, name in enumerate(balances)]
    )
    installation.drain()
    keys, redis = installation.log.keys, installation.redis
    begin(installation.engine, installation.log, 1)
    sweep(installation)
    assert epoch_of(installation)[1] == 1
    for receipt in receipts:  # as they stood before any batch
        redis.delete(keys.outcome(receipt.key))
    redis.delete(keys.replied, keys.told)
    sweep(installation)
    assert_all_told(installation, receipts)


def test_a_batch_that_reads_over_the_fence_stops_at_it(installation: Installation) -> None:
    """The end of the epoch is asked for after the entries were read, not before."""
    requests = [deposit(f"in-{i}", "@Till", 1) | {"ordering_key": str(i)} for i in range(40)]
    log = ResizingLog(installation, 3, requests)
    Applier(installation.store, log, installation.settings).apply_batch(0, 100)
    assert installation.rows("SELECT count(*) FROM rejected_requests") == [(0,)]
    assert installation.rows("SELECT count(*) FROM transactions") == [(0,)]
    installation.drain()
    assert installation.rows("SELECT count(*) FROM rejected_requests") == [(0,)]
    assert_proved(installation)


def test_a_worker_that_waits_for_the_turn_decides_by_the_new_number(
    installation: Installation,
) -> None:
    """Its statement began before the turn was committed, and is answered after it."""
    begin(installation.engine, installation.log, 3)
    requests = [deposit(f"in-{i}", "@Till", 1) | {"ordering_key": str(i)} for i in range(40)]
    installation.client.enqueue_many(requests)

    def turn_slowly() -> None:
        with watched(_stops(Point.ADVANCING)):
            advance(Store(make_engine(installation.worker_url)), own_log(installation))

    with _stopped(turn_slowly):
        applier = installation.applier()
        waiting = threading.Thread(target=applier.apply_batch, args=(0, 100), kwargs=PATIENT)
        waiting.start()
        wait_until(
            lambda: installation.rows(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND datname = current_database()"
            ),
            "a worker waits for the lock",
        )
    waiting.join(SECONDS_MAX)
    assert epoch_of(installation) == (2, 3)
    installation.drain()
    assert installation.rows("SELECT count(*) FROM rejected_requests") == [(0,)]
    assert_proved(installation)


def test_what_is_written_past_the_script_into_a_closed_partition_holds_up_nobody(
    installation: Installation,
) -> None:
    """Nobody was told that it is accepted: rejections of others are final without it."""
    balances, _ = make_balances(installation, 6)
    for number in (3, 2):
        begin(installation.engine, installation.log, number)
        installation.drain()
    installation.redis.xadd(installation.log.keys.log(2), {"i": "x", "k": "", "c": "", "b": "{}"})
    refused = installation.client.enqueue(move("poor", balances[0], "@Shop", 5))
    installation.drain()
    assert refused.wait(5).reason == "insufficient_funds"
    begin(installation.engine, installation.log, 4)
    installation.drain()
    assert epoch_of(installation) == (4, 4)


# --- servers that lose something ------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [(4,), (1,), (5, 3), (1, 4)])
def test_a_database_from_before_the_resizes_replays_them(
    install_daybook: Install, numbers: tuple[int, ...]
) -> None:
    """The log knows where each number begins: the gap is decided as it was, turn by turn."""
    installation = install_daybook(2)
    balances, receipts = make_balances(installation, 10, seed=9)
    requests = mixed(Random(9), balances, 20 * len(numbers) + 20, "m")
    receipts += installation.client.enqueue_many(requests[:10])
    drain_due(installation)
    backup = copy_of(installation)
    for at, number in enumerate(numbers):
        receipts += installation.client.enqueue_many(requests[10 + at * 20 : 20 + at * 20])
        begin(installation.engine, installation.log, number)
        receipts += installation.client.enqueue_many(requests[20 + at * 20 : 30 + at * 20])
        drain_due(installation)
    before = installation.rows("SELECT * FROM epochs ORDER BY 1")
    restore(installation, backup)
    assert epoch_of(installation) == (1, 2)
    sweep(installation)
    receipts += installation.client.enqueue_many(requests[10 + 20 * len(numbers) :])
    assert_all_told(installation, receipts)
    after = installation.rows("SELECT * FROM epochs ORDER BY 1")
    assert [row[:3] for row in after] == [row[:3] for row in before]


def test_entries_of_a_gap_are_not_trimmed_for_room(installation: Installation) -> None:
    """Marks of partitions that the restored database does not have yet are taken down."""
    backup = copy_of(installation)
    requests = [deposit(f"in-{i}", "@Till", 1) | {"ordering_key": str(i)} for i in range(60)]
    installation.client.enqueue_many(requests[:20])
    begin(installation.engine, installation.log, 4)
    installation.client.enqueue_many(requests[20:])
    installation.drain()
    assert installation.log.cursor_marks().keys() == {0, 1, 2, 3}
    restore(installation, backup)
    sweep(installation)
    assert installation.log.cursor_marks().keys() <= {0, 1}
    installation.drain()
    assert_proved(installation)


def test_an_emptied_log_takes_the_number_from_the_database(installation: Installation) -> None:
    """The sweeper installs it with the number and the epoch that workers decide in."""
    balances, _ = make_balances(installation, 8)
    installation.drain()
    begin(installation.engine, installation.log, 3)
    installation.drain()
    installation.redis.flushdb()
    sweep(installation)
    assert (installation.log.partitions(), installation.log.epochs.newest()) == (3, 2)
    receipts = installation.client.enqueue_many([deposit(f"in-{b}", b, 5) for b in balances])
    begin(installation.engine, installation.log, 2)
    installation.drain()
    assert {o and o.status for o in installation.client.wait_many(receipts, 5)} == {"APPLIED"}
    assert epoch_of(installation) == (3, 2)


def test_a_log_from_before_the_resize_is_followed_and_resized(installation: Installation) -> None:
    """It lost the tail of its file: what it accepts by the old number is decided by that."""
    balances, receipts = make_balances(installation, 8)
    receipts += installation.client.enqueue_many([deposit(f"in-{b}", b, 50) for b in balances])
    installation.drain()
    redis, prefix = installation.redis, installation.log.keys.prefix
    kept = {key: redis.dump(key) or b"" for key in redis.keys(f"{prefix}*")}
    begin(installation.engine, installation.log, 5)
    installation.drain()
    assert epoch_of(installation) == (2, 5)
    redis.flushdb()
    for key, value in kept.items():
        redis.restore(key, 0, value)
    receipts += installation.client.enqueue_many(
        [move(f"early-{b}", b, "@Shop", 5) for b in balances]
    )
    installation.applier().drain(0)  # a worker that comes before the sweeper leaves them alone
    sweep(installation)
    assert (installation.log.partitions(), installation.log.epochs.newest()) == (5, 4)
    receipts += installation.client.enqueue_many(
        [move(f"late-{b}", b, "@Shop", 5) for b in balances]
    )
    installation.drain()
    assert epoch_of(installation) == (4, 5)
    assert installation.rows("SELECT count(*) FROM rejected_requests") == [(0,)]
    assert {o and o.final for o in installation.client.wait_many(receipts, 5)} == {True}
    assert installation.rows("SELECT DISTINCT status FROM transactions") == [("APPLIED",)]
    assert_proved(installation)


@pytest.mark.parametrize("number", [2, 5])
def test_what_was_decided_before_the_log_lost_its_end_keeps_its_number(
    installation: Installation, number: int
) -> None:
    """No epoch begins before it, whether the lost part had another number of partitions or not."""
    balances, _ = make_balances(installation, 8)
    installation.drain()
    redis, prefix = installation.redis, installation.log.keys.prefix
    kept = {key: redis.dump(key) or b"" for key in redis.keys(f"{prefix}*")}
    begin(installation.engine, installation.log, number)
    installation.client.enqueue_many([deposit(f"gone-{b}", b, 50) for b in balances])
    installation.drain()
    redis.flushdb()
    for key, value in kept.items():
        redis.restore(key, 0, value)
    with pytest.raises(LogUnavailable, match="older than the database"):
        begin(installation.engine, installation.log, 3)
    installation.client.enqueue_many([move(f"early-{b}", b, "@Shop", 5) for b in balances])
    sweep(installation)
    begin(installation.engine, installation.log, 3)
    installation.client.enqueue_many([move(f"late-{b}", b, "@Shop", 5) for b in balances])
    installation.drain()
    assert numbers_of(installation, "gone-%") == {number}
    assert numbers_of(installation, "early-%") == {2}
    assert numbers_of(installation, "late-%") == {3}
    assert installation.rows("SELECT DISTINCT status FROM transactions") == [("APPLIED",)]
    assert verify(installation.owner).violations == []


def test_an_epoch_begins_in_the_present(installation: Installation) -> None:
    """A worker may still decide entries that the log has lost: they are older than the fence."""
    installation.client.enqueue(move("a", "@World", "@Shop", 5, allow_overdraft=True))
    installation.drain()
    before = installation.log.now_ms() << POSITION_COUNTER_BITS
    begun = begin(installation.engine, installation.log, 3)
    assert begun.fence >= before > installation.rows("SELECT max(cursor) FROM partitions")[0][0]
    receipt = installation.client.enqueue(move("b", "@World", "@Shop", 5, allow_overdraft=True))
    installation.drain()
    assert receipt.wait(5).status == "APPLIED"
    assert installation.log.clock() > begun.fence
    assert verify(installation.owner).violations == []


def test_no_epoch_begins_at_a_clock_that_is_none(installation: Installation) -> None:
    """A stranger has written over it: nobody knows where the fence would lie."""
    installation.redis.set(installation.log.keys.clock, "garbage")
    with pytest.raises(LogUnavailable, match="can't have written its clock"):
        begin(installation.engine, installation.log, 3)
    assert installation.log.partitions() == 2


def numbers_of(installation: Installation, references: str) -> set[int]:
    """How many partitions there were at the positions of these transactions."""
    rows = installation.rows(
        "SELECT DISTINCT (SELECT partitions FROM epochs WHERE fence < t.position "
        "ORDER BY epoch DESC LIMIT 1) FROM transactions t WHERE reference LIKE %s",
        references,
    )
    return {number for (number,) in rows}


# --- live -----------------------------------------------------------------------------------------


class Traffic:
    """A producer that goes on until the block ends; nothing that it sends may be refused a place.

    receipts: of all that was accepted.
    """

    def __init__(self, installation: Installation, requests: list[Any], seconds: float) -> None:
        self._installation = installation
        self._requests = requests
        self._pause = seconds / max(1, len(requests) // 5)
        self._thread = threading.Thread(target=self._run)
        self.receipts: list[Receipt] = []
        self.faults: list[Exception] = []

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        wait_ended([self._thread], lambda: len(self.receipts))

    def _run(self) -> None:
        try:
            for start in range(0, len(self._requests), 5):
                part = self._requests[start : start + 5]
                self.receipts += self._installation.client.enqueue_many(part)
                time.sleep(self._pause)
        except Exception as fault:
            self.faults.append(fault)


def resize_with_kills(installation: Installation, number: int, random: Random) -> None:
    """The command is killed at some moment, and run again until it is done."""
    words = [sys.executable, "-m", "daybook.cli", "partitions", "resize", str(number), "--yes"]
    killed = subprocess.Popen(words, env=installation.environment, stderr=subprocess.DEVNULL)
    time.sleep(random.uniform(0.5, 3.5))
    killed.kill()
    killed.wait()
    again = ["partitions", "resize", str(number), "--yes", "--patience", str(COMMAND_SECONDS_MAX)]
    done = installation.run_long(*again)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.campaign
@pytest.mark.parametrize(
    ("numbers", "number", "seconds"), [((4,), 200, 6.0), ((4, 1, 3, 2), 1_500, 40.0)]
)
def test_live_traffic_goes_on_while_everybody_is_killed(
    install_daybook: Install,
    monkeypatch: pytest.MonkeyPatch,
    numbers: tuple[int, ...],
    number: int,
    seconds: float,
) -> None:
    """Producers, workers that are killed, and a command that is killed: every entry ends once."""
    monkeypatch.setenv("DAYBOOK_BATCH_ENTRIES_MIN", "4")
    monkeypatch.setenv("DAYBOOK_BATCH_ENTRIES_MAX", "16")
    installation = install_daybook(2)
    balances, made = make_balances(installation, 16, seed=10)
    requests = mixed(Random(10), balances, number, "m")
    workers = installation.workers(2)
    with (
        Traffic(installation, requests, seconds) as traffic,
        Killer(installation, workers, 2.0, seed=10) as killer,
    ):
        for wanted in numbers:
            resize_with_kills(installation, wanted, Random(wanted))
    assert traffic.faults == []
    assert killer.kills > 0
    wait_decided(installation)
    assert epoch_of(installation)[1] == numbers[-1]
    outcomes = installation.client.wait_many(made + traffic.receipts, SECONDS_MAX)
    assert {o and o.final for o in outcomes} == {True}
    assert_proved(installation)
