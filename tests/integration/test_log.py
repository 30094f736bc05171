"""The log: one clock, one guard, one step."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.harness import Installation

from daybook import Client
from daybook.client.receipts import Receipt
from daybook.embedded.servers import Servers
from daybook.errors import LogUnavailable
from daybook.queue.connect import connect
from daybook.queue.entries import (
    BARRIER,
    BY_ID,
    DUE,
    NewEntry,
    RawEntry,
    outcome_value,
    position_of,
)
from daybook.queue.epochs import Epoch
from daybook.queue.log import FIND_SLICE, GREATEST_ID, Log
from daybook.queue.wire import pointer_call
from daybook.settings import Settings


def entry(
    number: int, slot: int = 0, body: bytes = b"body", slots: tuple[int, ...] = ()
) -> NewEntry:
    return NewEntry(slot, f"t:{number}", bytes(32), f"txn_{number}", body, "", slots)


def read_all(installation: Installation, partition: int) -> list[RawEntry]:
    return installation.log.read(partition, 0, 10_000, 1 << 30)


def test_positions_are_one_order_over_all_partitions(
    install_daybook: Callable[[int], Installation],
) -> None:
    """Producers append at once from several threads: every position once, rising for each."""
    installation = install_daybook(8)
    found: dict[int, list[int]] = {}

    def produce(name: int) -> None:
        numbers = iter(range(name * 1_000, name * 1_000 + 300))
        positions: list[int] = []
        for _ in range(30):
            some = [entry(number, slot=number % 4096) for number in islice(numbers, 10)]
            results, _ = installation.log.append(some)
            positions += [result.position for result in results if result.position is not None]
        found[name] = positions

    threads = [threading.Thread(target=produce, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    everything = [position for positions in found.values() for position in positions]
    assert len(everything) == len(set(everything)) > 1_000
    assert all(positions == sorted(positions) for positions in found.values())
    assert installation.log.clock() == max(everything)


def test_the_clock_never_goes_back(installation: Installation) -> None:
    """A clock ahead of the server's time is continued, not overtaken by older positions."""
    ahead = (installation.log.now_ms() + 3_600_000) << 20
    installation.log.forward_clock(ahead)
    installation.log.forward_clock(5)
    (result,), _ = installation.log.append([entry(1)])
    assert result.position == ahead + 1


def test_one_reference_is_accepted_once_however_many_race(installation: Installation) -> None:
    """Twenty threads send the same request: one is accepted, all learn the same id."""
    request = {
        "reference": "race",
        "source": "@World",
        "destination": "@Till",
        "currency": "USD",
        "precise_amount": 1,
        "precision": 100,
        "allow_overdraft": True,
    }
    receipts: list[Receipt] = []

    def produce() -> None:
        with Client(settings=installation.settings) as client:
            receipts.append(client.enqueue(request))

    threads = [threading.Thread(target=produce) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(receipt.state for receipt in receipts) == ["accepted"] + ["duplicate"] * 19
    assert len({receipt.id for receipt in receipts}) == 1


def test_a_doorbell_is_rung_once_until_somebody_reads(installation: Installation) -> None:
    """Appends behind the first do not ring again; reading takes the mark down."""
    assert installation.log.append([entry(1)])[1] == [0]
    assert installation.log.append([entry(2)])[1] == []
    assert len(installation.log.read(0, 0, 10, 1 << 20)) == 2
    assert installation.log.append([entry(3)])[1] == [0]


def test_trimming_leaves_what_is_not_applied(installation: Installation) -> None:
    """Entries behind the position go, the others stay in order; a batch is bounded in bytes."""
    results, _ = installation.log.append([entry(number) for number in range(2_000)])
    middle = results[1_500].position
    assert middle is not None
    installation.log.trim(0, middle)
    left = installation.log.read(0, 0, 10_000, 1 << 30)
    assert [raw.position for raw in left][-500:] == [r.position for r in results[1_500:]]
    assert installation.log.count_unread(0, middle) == 499
    assert len(installation.log.read(0, 0, 10_000, 1)) < 1_000
    assert position_of("5-3") == (5 << 20) + 3


def test_a_late_reply_never_moves_the_marks_back(installation: Installation) -> None:
    """A worker that was stopped for long replies for an old batch: the newer mark stands."""
    new, old = (outcome_value("0" * 64, f"txn_{n}", "APPLIED", position=n) for n in (1, 2))
    installation.log.reply(0, 7, 700 << 20, (0, 9), [("t:new", new)], 60)
    installation.log.reply(0, 6, 600 << 20, (0, 8), [("t:old", old)], 60)
    assert installation.log.replied_batches() == {0: 7}
    assert installation.redis.hget(installation.log.keys.cursors, "0") == b"700-0"
    assert installation.log.outcomes(["t:new", "t:old"]) == [new.encode(), old.encode()]


def test_a_late_reply_never_takes_a_later_outcome_back(installation: Installation) -> None:
    """SCHEDULED, told by a worker that was stopped for long, does not hide what became of it."""
    request, other = entry(1), entry(2)
    fingerprint = request.fingerprint.hex()
    scheduled = outcome_value(fingerprint, "txn_1", "SCHEDULED", position=7)
    applied = outcome_value(fingerprint, "txn_1", "APPLIED", position=8)
    installation.log.append([other])
    installation.log.reply(0, 2, 0, (0, 0), [(request.key, applied)], 60)
    installation.log.reply(0, 1, 0, (0, 0), [(request.key, scheduled), (other.key, scheduled)], 60)
    told = installation.log.outcomes([request.key, other.key])
    assert told == [applied.encode(), scheduled.encode()]


def test_an_entry_written_past_the_script_is_overtaken(installation: Installation) -> None:
    """Somebody's own ``XADD`` a little ahead of the clock stops no producer."""
    seconds, micros = installation.redis.time()
    ahead = seconds * 1000 + micros // 1000 + 5_000
    installation.redis.xadd(installation.log.keys.log(0), {"b": "x"}, id=f"{ahead}-7")
    (result,), _ = installation.log.append([entry(1)])
    assert result.position is not None
    assert result.position > position_of(f"{ahead}-7")
    assert installation.log.clock() == result.position


def test_a_wide_request_leaves_a_barrier_in_every_other_partition(
    install_daybook: Callable[[int], Installation],
) -> None:
    """One position, the request in its own stream, its barriers in those of its other slots."""
    installation = install_daybook(4)
    wide = entry(1, slot=1, slots=(1, 2, 5, 4095))
    results, bells = installation.log.append([entry(0, slot=2), wide, entry(2, slot=3)])
    position = results[1].position
    assert position is not None
    assert bells == [2, 1, 3]
    assert read_all(installation, 1) == [RawEntry(position, "txn_1", "t:1", "", b"body")]
    barrier = RawEntry(position, "txn_1", "", BARRIER, b"1")
    assert read_all(installation, 2)[1:] == [barrier]
    assert read_all(installation, 3)[:1] == [barrier]
    assert read_all(installation, 0) == []
    assert installation.log.append([wide])[0][0].state == "duplicate"
    assert [installation.log.count_unread(partition, 0) for partition in range(4)] == [0, 1, 2, 2]


def test_a_wide_request_overtakes_what_was_written_past_the_script(
    installation: Installation,
) -> None:
    """The same id fits every stream concerned; an entry in the far future stops it whole."""
    seconds, _ = installation.redis.time()
    streams = [installation.log.keys.log(partition) for partition in (0, 1)]
    wide = entry(1, slot=0, slots=(0, 1))
    installation.redis.xadd(streams[1], {"b": "x"}, id=f"{(seconds + 5) * 1000}-7")
    (result,), _ = installation.log.append([wide])
    assert result.position == position_of(f"{(seconds + 5) * 1000}-8")
    assert {read_all(installation, partition)[-1].position for partition in (0, 1)} == {
        result.position
    }
    installation.redis.xadd(streams[1], {"b": "x"}, id=f"{(seconds + 900) * 1000}-0")
    with pytest.raises(LogUnavailable, match="can't have written"):
        installation.log.append([wide._replace(key="t:2")])
    assert installation.log.outcomes(["t:2"]) == [None]
    assert [installation.redis.xlen(stream) for stream in streams] == [1, 3]


def test_a_full_partition_refuses_a_wide_request_whole(installation: Installation) -> None:
    """No stream has a part of it; when the full one was applied, it finds its room."""
    installation.redis.hset(installation.log.keys.state, "entries_max", 3)
    first, _ = installation.log.append([entry(number, slot=1) for number in range(3)])
    wide = entry(7, slot=0, slots=(0, 1))
    (refused, after), bells = installation.log.append([wide, entry(8, slot=0)])
    assert (refused.state, after.state, bells) == ("full", "full", [])
    assert installation.log.outcomes([wide.key, "t:8"]) == [None, None]
    assert read_all(installation, 0) == []
    assert first[2].position is not None
    installation.log.reply(1, 1, first[2].position, (0, 0), [], 60)
    (accepted,), bells = installation.log.append([wide])
    assert (accepted.state, bells) == ("accepted", [0])
    assert [raw.flags for raw in read_all(installation, 1)] == [BARRIER]


@pytest.fixture
def without_memory(installation: Installation) -> Iterator[Callable[[], object]]:
    """Takes all spare memory from the server; gives it back afterwards."""
    yield lambda: installation.redis.config_set("maxmemory", 1)
    installation.redis.config_set("maxmemory", 0)


def mark_applied(installation: Installation, results: list[Any], number: int) -> None:
    """The log knows that the first entries of both partitions were applied; nothing is trimmed."""
    installation.redis.config_set("maxmemory", 0)
    for partition in (0, 1):
        installation.log.set_back(partition, results[number + partition].position)


def test_a_server_without_memory_refuses_a_wide_request_whole(
    installation: Installation, without_memory: Callable[[], None]
) -> None:
    """Nothing of it is written; a bulk needs the room of as many applied entries as it is worth."""
    old, _ = installation.log.append([entry(number, slot=number) for number in range(200)])
    wide = entry(777, slot=0, slots=(0, 1), body=bytes(100_000))
    without_memory()
    (refused,), _ = installation.log.append([wide])
    assert refused.state == "full"
    assert installation.log.outcomes([wide.key]) == [None]
    assert not any(raw.flags for raw in read_all(installation, 1))
    mark_applied(installation, old, 50)
    without_memory()
    assert installation.log.append([wide])[0][0].state == "full"  # 52 entries went for it
    mark_applied(installation, old, 198)
    without_memory()
    (accepted,), _ = installation.log.append([wide])
    assert accepted.position is not None
    assert [raw.position for raw in read_all(installation, 1)] == [accepted.position]


def test_a_reply_makes_room_when_the_log_is_nearly_full(installation: Installation) -> None:
    """At seven eighths of the length what was applied goes, unread entries stay; not before."""
    installation.redis.hset(installation.log.keys.state, "entries_max", 16)
    results, _ = installation.log.append([entry(number, slot=0) for number in range(14)])
    stream = installation.log.keys.log(0)
    installation.redis.hset(installation.log.keys.state, "entries_max", 17)
    installation.log.reply(0, 1, results[9].position or 0, (0, 0), [], 60)
    assert installation.redis.xlen(stream) == 14
    installation.redis.hset(installation.log.keys.state, "entries_max", 16)
    installation.log.reply(0, 2, results[10].position or 0, (0, 0), [], 60)
    assert [raw.position for raw in read_all(installation, 0)] == [
        result.position for result in results[11:]
    ]
    assert installation.redis.xlen(stream) == 3


def test_a_reply_makes_room_in_every_partition_when_memory_is_short(
    installation: Installation, without_memory: Callable[[], None]
) -> None:
    """Applied entries of an idle partition go too, unread ones stay."""
    results, _ = installation.log.append([entry(number, slot=number % 2) for number in range(8)])
    installation.log.reply(1, 1, results[5].position or 0, (0, 0), [], 60)
    assert [installation.redis.xlen(installation.log.keys.log(p)) for p in (0, 1)] == [4, 4]
    without_memory()
    installation.log.reply(0, 1, results[6].position or 0, (0, 0), [], 60)
    assert [installation.redis.xlen(installation.log.keys.log(p)) for p in (0, 1)] == [0, 1]


def test_large_entries_are_read_within_a_bound(installation: Installation) -> None:
    """Megabytes come a few at a time, also before, between and behind many small entries."""
    large, bodies = bytes(1 << 20), []
    for number in range(240):
        is_large = number % 60 in {10, 11, 12, 13} or number >= 230
        bodies.append(large if is_large else b"small")
    results, _ = installation.log.append(
        [entry(number, body=body) for number, body in enumerate(bodies)]
    )
    positions = [result.position for result in results]
    assert installation.log.count_unread(0, 0) == 240
    assert installation.log.count_unread(0, positions[9] or 0) == 230
    assert installation.log.first_unread({0: positions[9] or 0, 1: 0}) == {0: positions[10]}
    seen: list[RawEntry] = []
    for _ in range(240):
        some = installation.log.read(0, seen[-1].position if seen else 0, 100, 3 << 20)
        if not some:
            break
        assert sum(len(raw.body) for raw in some) < 5 << 20
        seen += some
    assert [raw.position for raw in seen] == positions
    assert [raw.body for raw in seen] == bodies
    assert len(installation.log.read(0, positions[230] or 0, 100, 1)) == 1
    installation.log.trim(0, positions[235] or 0)
    assert installation.redis.xlen(installation.log.keys.large(0)) == 5


@pytest.fixture
def lone_log() -> Iterator[Log]:
    """A log of one partition on a server of its own: what that took at most is this test's."""
    with (
        tempfile.TemporaryDirectory(prefix="daybook-log-") as folder,
        Servers(Path(folder) / "servers", with_postgres=False) as servers,
        connect(servers.redis_url, Settings()) as client,
    ):
        log = Log(client, "daybook")
        log.install(1, 1_000, 0)
        yield log


def test_large_entries_are_searched_within_a_bound(lone_log: Log) -> None:
    """An id behind a hundred megabytes of bulks is found, and the server never holds them twice."""
    bodies = [b"small", *[bytes(4 << 20)] * 25, b"small", *[bytes(100_000)] * 100, b"small"]
    for number, body in enumerate(bodies):
        lone_log.append([entry(number, body=body)])
    before = lone_log.client.info("memory")["used_memory_peak"]
    for number in (0, 5, 26, 99, len(bodies) - 1):
        assert lone_log.unread_key(0, 0, f"txn_{number}") == f"t:{number}"
    assert lone_log.unread_key(0, 0, "txn_none") is None
    assert lone_log.client.info("memory")["used_memory_peak"] - before < 40 << 20


def test_forged_marks_hide_no_entry(installation: Installation) -> None:
    """Producers may write marks: of what is not there, without a size, and of the greatest id."""
    large = installation.log.keys.large(0)
    for number in range(3, FIND_SLICE + 9):
        installation.redis.xadd(large, {"n": "x"} if number % 2 else {"m": "1"}, id=f"{number}-0")
    results, _ = installation.log.append([entry(number) for number in range(FIND_SLICE + 9)])
    installation.redis.xadd(large, {"n": "9"}, id=GREATEST_ID)
    assert installation.log.unread_key(0, 0, f"txn_{FIND_SLICE + 8}") == f"t:{FIND_SLICE + 8}"
    assert installation.log.unread_key(0, results[-1].position or 0, "txn_1") is None


def test_nothing_is_looked_for_behind_the_greatest_id(installation: Installation) -> None:
    """A stranger's entry there ends the search, also as the last one of a slice."""
    installation.log.append([entry(number) for number in range(FIND_SLICE - 1)])
    installation.redis.xadd(installation.log.keys.log(0), {"b": "x"}, id=GREATEST_ID)
    assert installation.log.unread_key(0, 0, "txn_none") is None
    assert installation.log.unread_key(0, 0, "txn_7") == "t:7"


@pytest.mark.parametrize("retention_seconds", [60, 10**6])
def test_a_pointer_lives_as_long_as_the_outcome(
    installation: Installation, retention_seconds: int
) -> None:
    """What an append leaves under an id goes with what it points to; a mark under an id stays."""
    pointed, unpointed = entry(1)._replace(flags=BY_ID), entry(2)
    creation = entry(3)._replace(key="i:txn_3")
    installation.log.append([pointed, unpointed, creation])
    place, other, mark = (installation.log.keys.queued(f"i:txn_{n}") for n in (1, 2, 3))
    assert 0 < installation.redis.ttl(place) <= 3_600
    assert (installation.redis.exists(other), installation.redis.ttl(mark)) == (0, -1)
    outcomes = [
        (request.key, outcome_value("0" * 64, request.request_id, "APPLIED", position=5))
        for request in (pointed, unpointed)
    ]
    stranger = ("t:stranger", outcome_value("0" * 64, "txn_3", "APPLIED", position=5))
    installation.log.reply(0, 1, 5, (0, 0), [*outcomes, stranger], retention_seconds)
    lives = [installation.redis.ttl(at) for at in (place, installation.log.keys.outcome("t:1"))]
    assert max(lives) - min(lives) <= 1
    assert retention_seconds - 60 < lives[0] <= retention_seconds
    assert installation.log.call(pointer_call(installation.log.keys, "txn_1")) == "t:1"
    assert (installation.redis.exists(other), installation.redis.ttl(mark)) == (0, -1)


def test_what_stands_in_place_of_a_mark_hinders_no_outcome(installation: Installation) -> None:
    """No text, and a text that promises a pointer that isn't there: both go, and are not missed."""
    places = [installation.log.keys.queued(entry(n).key) for n in (1, 2)]
    installation.redis.hset(places[0], "x", "y")
    installation.redis.set(places[1], "0" * 64 + "Ptxn_2 0 1-1")
    told = [(entry(n).key, outcome_value("0" * 64, f"txn_{n}", "APPLIED")) for n in (1, 2)]
    installation.log.reply(0, 1, 5, (0, 2), told, 60)
    assert [installation.redis.exists(place) for place in places] == [0, 0]
    known = installation.log.outcomes([key for key, _ in told])
    assert [value.decode() for value in known if value] == [value for _, value in told]


def test_a_log_catches_up_by_a_clock_that_workers_vouch_for(installation: Installation) -> None:
    """A clock that a producer put back is no fence, and without one nothing is written."""
    log, state = installation.log, installation.log.keys.state
    (taken,), _ = log.append([entry(1)])
    assert taken.position is not None
    log.forward_clock(taken.position)  # as sweeps do
    before = installation.redis.hgetall(state)
    installation.redis.delete(log.keys.clock)
    with pytest.raises(LogUnavailable, match="its clock"):
        log.epochs.catch_up(2, 5, 0, 0)
    assert installation.redis.hgetall(state) == before
    installation.redis.set(log.keys.clock, "1-0")
    assert log.epochs.catch_up(2, 5, 0, 0)
    assert log.epochs.after(3) == Epoch(4, 5, taken.position)


def test_a_mark_whose_entry_is_gone_stops_no_reader(installation: Installation) -> None:
    """An operator deleted a large entry by hand: what is behind it is read all the same."""
    bodies = [b"a", bytes(100_000), b"b"]
    results, _ = installation.log.append([entry(n, body=body) for n, body in enumerate(bodies)])
    ((large, _),) = installation.stream(installation.log.keys.large(0))
    installation.redis.xdel(installation.log.keys.log(0), large)
    assert [raw.body for raw in installation.log.read(0, 0, 100, 10)] == [b"a", b"b"]
    assert installation.log.first_unread({0: results[0].position or 0}) == {0: results[2].position}


def test_what_is_due_is_accepted_once_behind_its_schedule(installation: Installation) -> None:
    """A producer hears SCHEDULED again, the sweeper gets one entry in."""
    request = entry(1)
    due = request._replace(flags=DUE)
    scheduled = outcome_value(request.fingerprint.hex(), "txn_1", "SCHEDULED", position=7)
    installation.log.reply(0, 1, 0, (0, 0), [(request.key, scheduled)], 60)
    results, _ = installation.log.append([request, due, due])
    assert [result.state for result in results] == ["duplicate", "accepted", "duplicate"]
    assert [raw.flags for raw in read_all(installation, 0)] == [DUE]
    refused = outcome_value(request.fingerprint.hex(), "txn_1", "REJECTED", "x", position=8)
    installation.log.reply(0, 2, 0, (0, 0), [(request.key, refused)], 60)
    assert installation.log.append([due])[0][0].state == "duplicate"


def test_a_retention_older_than_time_keeps_everything(installation: Installation) -> None:
    """The sweeper, which trims, must not fail at it: all that is due would wait."""
    results, _ = installation.log.append([entry(1)])
    installation.applier(log_retention_seconds=10**12).trim(0, (results[0].position or 0) + 1)
    assert len(read_all(installation, 0)) == 1
