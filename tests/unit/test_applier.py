"""The drain of a partition: how large its batches are, when it ends, and whom it helps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.simulation.place import Place, Told, money, spend

from daybook.apply import applier as drains
from daybook.apply.report import DrainReport
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.steps import Point, watched


def deposits(count: int, word: str = "d") -> list[dict[str, Any]]:
    """As many, under references of their own."""
    return [money(f"{word}{n}") for n in range(count)]


def test_batches_grow_under_load_and_shrink_when_idle() -> None:
    """Twice as large after a full one, half as large after less than a quarter, within bounds."""
    place = Place()
    applier = place.applier()

    def sizes(count: int) -> list[int]:
        place.log.reads.clear()
        place.send(*deposits(count, f"{len(place.calls)}-"))
        applier.drain(0)
        return [size for _, size in place.log.reads]

    assert sizes(36) == [3, 6, 12, 13, 13, 6]  # two of thirteen are less than a quarter
    assert [sizes(0), sizes(0)] == [[3], [3]]
    assert sizes(3) == [3, 6]
    assert sizes(9) == [3, 6, 12]
    assert sizes(1) == [6, 6]  # one of six is a quarter, rounded down
    assert sizes(0) == [3]


def test_a_drain_tells_what_it_did() -> None:
    """Once everything is applied, it is over, and there is no more."""
    place = Place()
    place.send(*deposits(4))
    drained = place.applier().drain(0)
    assert (drained.partition, drained.batches, drained.outcomes) == (0, 2, {"applied": 4})
    assert (drained.more, drained.busy, drained.deferred, drained.helped) == (
        False,
        False,
        0,
        set(),
    )


@pytest.mark.parametrize(("seconds", "batches"), [(11.9, 2), (12.0, 1), (99.0, 1)])
def test_a_drain_ends_when_its_time_is_over(seconds: float, batches: int) -> None:
    """After the batch in which that happens; the rest is said to be there."""
    place = Place()
    place.seconds = iter([10.0, seconds, 99.0])
    place.send(*deposits(20))
    drained = place.applier(drain_seconds_max=2).drain(0)
    assert (drained.batches, drained.more) == (batches, True)


def test_a_partition_that_somebody_has_is_busy() -> None:
    """Unless the drain has applied some of it itself: then it is in good hands."""
    place = Place()
    place.send(*deposits(20))
    other = place.lock(0)
    drained = place.applier().drain(0)
    assert (drained.busy, drained.batches, drained.more) == (True, 0, False)
    other.rollback()

    def locked_later() -> Iterator[float]:
        yield 0.0
        place.lock(0)
        yield 0.0

    place.seconds = locked_later()
    drained = place.applier().drain(0)
    assert (drained.busy, drained.batches, drained.more) == (False, 1, False)


def test_what_comes_while_the_lock_is_held_is_not_left() -> None:
    """Its doorbell found the partition taken, and nobody comes for it any more."""
    place = Place()
    late = [money("late")]

    def come(point: Point) -> None:
        if point is Point.HORIZON_READ and late:
            place.send(late.pop())

    with watched(come):
        drained = place.applier().drain(0)
    assert (drained.outcomes, drained.more) == ({"applied": 1}, False)
    assert len(place.log.reads) == 3
    assert "lock" not in place.calls


def test_what_another_worker_has_taken_meanwhile_is_its_own() -> None:
    """Then nothing is open, and the drain is over."""
    place = Place()
    late = [money("late")]

    def come(point: Point) -> None:
        if point is Point.HORIZON_READ and late:
            place.send(late.pop())

    def take(call: str) -> None:
        if call == "cursors":
            place.on_call = lambda call: None
            assert place.applier().drain(0).outcomes == {"applied": 1}

    place.on_call = take
    with watched(come):
        drained = place.applier().drain(0)
    assert (drained.outcomes, drained.more) == ({}, False)
    assert len(place.log.reads) == 3


def test_a_needed_partition_is_waited_for() -> None:
    """As many entries are taken as may be, at once: others stand still until then."""
    place = Place()
    place.applier().apply_next(0)
    assert place.log.reads == [(0, 13)]
    assert ("lock" in place.calls, "lock_if_free" in place.calls) == (True, False)


def test_a_partition_is_helped_in_batches_of_its_own_size() -> None:
    """They grow as its own would, and a worker that has it is waited for."""
    place = Place(2)
    place.send(*(money(f"a{n}", 1, place) for n in range(20)), spend("b", 0, place))
    drained = place.applier().drain(0)
    assert drained.outcomes == {"applied": 21}
    assert [count for partition, count in place.log.reads if partition == 1] == [3, 6, 12]
    assert place.calls.count("lock") == 3


def test_a_drain_helps_those_that_its_entries_wait_for() -> None:
    """The partition whose oldest open entry is the oldest of all comes first, be it deferred."""
    place = Place(3)
    place.send(
        money("a", 1, place),
        money("b", 2, place),
        spend("c", 0, place),
        *(money(f"d{n}", 1, place) for n in range(20)),
    )
    drained = place.applier().drain(0)
    assert (drained.helped, drained.deferred, drained.more) == ({1, 2}, 0, False)
    assert drained.outcomes == {"applied": 5}
    assert place.log.reads == [(0, 3), (0, 3), (1, 3), (0, 3), (2, 3), (0, 3)]


def test_what_is_deferred_is_helped_before_what_is_younger() -> None:
    """Though its partition has younger entries, too, which are unread."""
    place = Place(3)
    first = [money("a", 2, place), spend("b", 1, place)]
    place.send(*first)
    applier = place.applier()
    applier.apply_batch(1, 1)
    place.send(money("c", 2, place), money("d", 1, place), spend("e", 0, place))
    applier.apply_batch(2, 1)
    assert applier._oldest_open(0) == 1
    assert applier._oldest_open(1) == 1
    applier.apply_batch(1, 1)
    assert applier._oldest_open(0) == 2
    assert Place(2).applier()._oldest_open(0) is None


def test_of_two_that_share_their_oldest_position_it_is_the_other() -> None:
    """A wide request and its barriers: anyone who comes to one of them takes all of them."""
    place = Place(2)
    position = place.send_wide("wide", 0, 1)
    assert place.log.first_behind({0: 0, 1: 0}) == {0: position, 1: position}
    assert [place.applier()._oldest_open(own) for own in (0, 1)] == [1, 0]
    drained = DrainReport(0)
    assert place.applier()._help(0, drained)
    assert (drained.helped, drained.outcomes) == ({1}, {"rejected": 1})


def test_a_drain_that_cannot_help_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many rounds; then there is more for the next one."""
    monkeypatch.setattr(drains, "HELP_ROUNDS_MAX", 3)
    place = Place(2)
    place.send(money("a", 1, place), spend("b", 0, place))
    other = place.lock(1)
    drained = place.applier().drain(0)
    assert (drained.batches, drained.deferred, drained.more, drained.helped) == (1, 1, True, {1})
    assert place.calls.count("oldest_deferred") == 3
    other.rollback()
    drained = place.applier().drain(0)
    assert (drained.outcomes, drained.more) == ({"applied": 2}, False)


def test_a_drain_that_may_defer_no_more_helps() -> None:
    """It reads what it can't take before what it has deferred is decided."""
    place = Place(2)
    place.send(money("a", 1, place), spend("b", 0, place), spend("c", 0, place))
    drained = place.applier(deferred_max=1).drain(0)
    assert (drained.helped, drained.outcomes["applied"], drained.more) == ({1}, 2, False)
    assert drained.reasons == {"insufficient_funds": 1}


def test_a_drain_rings_for_those_that_it_has_helped_before_the_fence() -> None:
    """Also where the next epoch has no such partition: its replies may be open."""
    place = Place(3)
    place.send(money("a", 2, place), spend("b", 0, place), spend("c", 0, place))
    place.log.epochs.begin(1)
    assert place.applier(deferred_max=1).drain(0).helped == {0, 2}


def test_a_drain_at_the_fence_goes_on_to_the_next_epoch() -> None:
    """It applies what others have left before it, and rings for everything behind it."""
    place = Place(2)
    place.send(money("a", 0, place), *(money(f"b{n}", 1, place) for n in range(9)))
    place.log.epochs.begin(3)
    place.partitions = 3
    place.send(money("c", 0, place))
    applier = place.applier()
    drained = applier.drain(0)
    assert place.store.tables.epochs[-1].partitions == 3
    assert drained.outcomes == {"applied": 2}
    assert (drained.helped, drained.more, drained.busy) == ({0, 1, 2}, False, False)
    assert (1, 13) in place.log.reads


def test_a_fence_that_others_have_not_reached_ends_the_drain() -> None:
    """The last of them advances, or the sweeper."""
    place = Place(2)
    place.send(money("a", 0, place), money("b", 1, place))
    place.log.epochs.begin(3)
    place.lock(1)
    drained = place.applier().drain(0)
    assert len(place.store.tables.epochs) == 1
    assert (drained.outcomes, drained.more) == ({"applied": 1}, False)


@pytest.mark.parametrize(
    ("retention", "age_ms", "applied", "kept"),
    [(60, 60_000, 3, 3), (60, 60_001, 3, 1), (60, 60_001, 1, 3), (60, 60_001, 2, 2), (0, 1, 3, 1)],
)
def test_what_was_applied_long_ago_is_trimmed(
    retention: int, age_ms: int, applied: int, kept: int
) -> None:
    """It is kept for the retention, and what is not applied for ever."""
    place = Place()
    positions = place.send(*deposits(3))
    place.now_ms = (positions[0] >> POSITION_COUNTER_BITS) + age_ms
    place.applier(log_retention_seconds=retention).trim(0, positions[applied - 1])
    assert len(place.log.state.streams[0]) == kept


def test_a_clock_before_the_retention_trims_nothing() -> None:
    """The server has a clock that begins at zero."""
    place = Place()
    place.now_ms = 0
    positions = place.send(*deposits(3))
    place.applier(log_retention_seconds=60).trim(0, positions[-1])
    assert len(place.log.state.streams[0]) == 3


def test_outcomes_are_told_to_those_who_wait() -> None:
    """Of each batch, after its commit."""
    place, told = Place(), Told()
    place.send(*(money(f"r{n}") for n in range(4)))
    place.applier(told).drain(0)
    assert [key for keys, _, _ in told.calls for key in keys] == ["t:r0", "t:r1", "t:r2", "t:r3"]
    assert all((wanted, asked) == ([], []) for _, wanted, asked in told.calls)


def test_a_closed_partition_tells_its_last_outcomes_again() -> None:
    """Where the log has lost them: no batch comes to it any more."""
    place = Place(2)
    place.send(money("a", 1, place))
    place.log.epochs.begin(1)
    place.applier().drain(0)
    assert place.store.tables.epochs[-1].partitions == 1
    outcome = place.log.state.outcomes.pop("t:a")
    place.log.state.replied.clear()
    place.log.state.told.clear()
    place.applier().reply_to_closed(1)
    assert place.log.state.outcomes["t:a"] == outcome
