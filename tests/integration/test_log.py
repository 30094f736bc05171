"""The log: one clock, one guard, one step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice

from tests.harness import Installation

from daybook import Client
from daybook.producing import Receipt
from daybook.queue.entries import NewEntry, position_of


def entry(number: int, slot: int = 0) -> NewEntry:
    return NewEntry(slot, f"t:{number}", bytes(32), f"txn_{number}", b"body", "")


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
    installation.log.reply(0, 7, 700 << 20, [("t:new", "x")], 60)
    installation.log.reply(0, 6, 600 << 20, [("t:old", "y")], 60)
    assert installation.log.replied_batches() == {0: 7}
    assert installation.redis.hget(installation.log.keys.cursors, "0") == b"700-0"
    assert installation.log.outcomes(["t:new", "t:old"]) == [b"x", b"y"]


def test_an_entry_written_past_the_script_is_overtaken(installation: Installation) -> None:
    """Somebody's own ``XADD`` a little ahead of the clock stops no producer."""
    seconds, micros = installation.redis.time()
    ahead = seconds * 1000 + micros // 1000 + 5_000
    installation.redis.xadd(installation.log.keys.log(0), {"b": "x"}, id=f"{ahead}-7")
    (result,), _ = installation.log.append([entry(1)])
    assert result.position is not None
    assert result.position > position_of(f"{ahead}-7")
    assert installation.log.clock() == result.position
