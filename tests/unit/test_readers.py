"""What a batch is made from: what is new, what is deferred, and what is open elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from tests.simulation.place import Place, money, spend
from tests.simulation.world import FIRST_MS

from daybook.apply.reader import Found, Reader
from daybook.apply.tactics import Tactics
from daybook.ledger.batch import ALONE, Horizon
from daybook.settings import Settings


def found(place: Place, *joined: int, tactics: Tactics | None = None, **settings: Any) -> Found:
    """What is read for these partitions."""
    unit = place.lock()
    rows = list(unit.lock(joined).values())
    place.calls.clear()
    read = Reader(place.log, unit, Settings(**settings), rows, tactics or Tactics(99)).read()
    unit.rollback()
    return read


def new(read: Found) -> list[list[int]]:
    return [[raw.position for raw in one.raws] for one in read.reads]


def test_of_the_only_partition_nothing_is_open_elsewhere() -> None:
    """And nobody is asked."""
    place = Place(1)
    sent = place.send(money("a"), money("b"))
    read = found(place, 0)
    assert (new(read), read.horizon, read.is_fenced, read.join) == ([sent], ALONE, False, set())
    assert not {"cursors", "first_unread", "deferred_elsewhere", "front"} & set(place.calls)


def test_what_is_open_elsewhere_is_the_horizon() -> None:
    """The first unread entry of the others, what they defer, and until when that is waited for."""
    place = Place(3)
    first, _, third, own = place.send(
        money("a", 1, place), spend("b", 2, place), money("c", 2, place), money("d", 0, place)
    )
    assert found(place, 0).horizon == Horizon(first, {}, 0)
    applier = place.applier()
    applier.apply_batch(2, 1)
    applier.apply_batch(1, 1)
    read = found(place, 0, rejection_wait_seconds_max=2.5)
    assert read.horizon.open_from == third
    assert len(read.horizon.deferred_elsewhere) == 2  # who is paid, and who pays
    assert read.horizon.final_before == (FIRST_MS - 2_500) << 20
    assert new(read) == [[own]]
    assert place.calls.index("read") < place.calls.index("cursors")
    assert place.calls.index("first_unread") < place.calls.index("deferred_elsewhere")


def test_what_is_deferred_is_ripe_or_parked() -> None:
    """By the horizon: what is younger than what is unread elsewhere waits on."""
    place = Place(2)
    sent = place.send(money("a", 1, place), spend("b", 0, place), money("c", 1, place))
    place.send(spend("d", 0, place))
    place.applier().apply_batch(0, 9)
    read = found(place, 0)
    assert [item.position for item in read.reads[0].deferred] == []
    assert [item.position for item in read.parked()] == [sent[1], sent[2] + 1]
    place.applier().apply_batch(1, 1)
    read = found(place, 0)
    assert [item.position for item in read.reads[0].deferred] == [sent[1]]
    assert [item.position for item in read.parked()] == [sent[2] + 1]


def test_nothing_is_read_behind_the_fence() -> None:
    """What comes after it is routed by another number."""
    place = Place(2)
    sent = place.send(money("a", 0, place), money("b", 0, place))
    assert found(place, 0).is_fenced is False
    place.log.epochs.begin(1)
    place.send(money("c"))
    read = found(place, 0)
    assert (new(read), read.is_fenced) == ([sent], True)


def test_only_as_much_is_read_as_is_asked_for() -> None:
    """So many entries, or so many bytes."""
    place = Place(1)
    sent = place.send(*(money(f"a{n}", meta_data={"note": "x" * 15_000}) for n in range(7)))
    assert new(found(place, 0, tactics=Tactics(3))) == [sent[:3]]
    assert new(found(place, 0, batch_bytes_max=1 << 16)) == [sent[:5]]


def test_of_joined_partitions_nothing_older_is_left_in_any() -> None:
    """One may have more behind what was read of it; and that is open, then."""
    place = Place(3)
    homes = (0, 1, 1, 0, 1, 0)
    sent = place.send(*(money(f"a{n}", home, place) for n, home in enumerate(homes)))
    read = found(place, 0, 1)
    assert new(read) == [[sent[0], sent[3], sent[5]], [sent[1], sent[2], sent[4]]]
    assert read.horizon == Horizon(sent[5] + 1, {}, 0)
    read = found(place, 0, 1, tactics=Tactics(2))
    assert new(read) == [[sent[0]], [sent[1], sent[2]]]
    assert read.horizon == Horizon(sent[2] + 1, {}, 0)
    assert found(Place(2), 0, 1).horizon == Horizon(1, {}, 0)


def test_of_all_partitions_joined_none_is_elsewhere() -> None:
    """What is open is what is left unread in their own."""
    place = Place(2)
    sent = place.send(money("a", 1, place), money("b", 0, place))
    read = found(place, 0, 1)
    assert (new(read), read.horizon) == ([[sent[1]], [sent[0]]], Horizon(sent[1] + 1, {}, 0))
    assert "cursors" not in place.calls


def test_a_barrier_that_comes_first_joins_its_home() -> None:
    """With what is joined already; once the home has been read so far, it is no obstacle."""
    place = Place(3)
    wide = place.send_wide("wide", 0, 1)
    (behind,) = place.send(money("a", 1, place))
    read = found(place, 1)
    assert (read.join, new(read)) == ({0, 1}, [[wide, behind]])
    assert found(place, 1, 2).join == {0, 1, 2}
    assert found(place, 0, 1).join == set()
    assert new(found(place, 0)) == [[wide]]


def test_what_stands_before_a_barrier_is_decided_first() -> None:
    """Deferred or new, alone; what stands behind it waits."""
    place = Place(3)
    (older,) = place.send(spend("b", 1, place))
    place.send_wide("wide", 0, 1)
    place.send(money("a", 1, place))
    read = found(place, 1)
    assert (read.join, new(read)) == (set(), [[older]])
    place = Place(3)
    place.send(money("x", 2, place), spend("b", 1, place))
    wide = place.send_wide("wide", 0, 1)
    place.applier().apply_batch(1, 1)
    assert found(place, 1).join == {0, 1}  # it is parked: nothing can be decided before
    place.applier().apply_batch(2, 1)
    read = found(place, 1)
    assert (read.join, new(read)) == (set(), [[]])
    assert [item.position < wide for item in read.reads[0].deferred] == [True]


@pytest.mark.parametrize("count", [1, 2])
def test_an_entry_alone_is_the_oldest(count: int) -> None:
    """What is deferred counts, too; then nothing new is decided, and the rest is parked."""
    place = Place(3)
    tactics = Tactics(count, alone=True)
    sent = place.send(
        *(spend("a", 0, place), spend("b", 0, place), money("c", 1, place), money("d", 0, place))
    )
    first = found(place, 0, tactics=tactics)
    assert new(first) == [sent[:2]] if count > 1 else [sent[:1]]
    place.send(money("e", 2, place))
    older = Place(3)
    sent = older.send(
        *(money("x", 1, older), spend("a", 0, older), spend("b", 0, older), money("d", 0, older))
    )
    older.applier().apply_batch(0, 2)
    assert new(found(older, 0, tactics=tactics)) == ([[sent[3]]])
    older.applier().apply_batch(1, 1)
    read = found(older, 0, tactics=tactics)
    assert (new(read), [item.position for item in read.reads[0].deferred]) == ([[]], [sent[1]])
    assert [one.row.partition for one in read.reads] == [0]
    assert [item.position for item in read.parked()] == [sent[2]]


def test_a_new_entry_alone_parks_what_is_deferred() -> None:
    """What is younger is not decided before it. Barriers before it are taken along."""
    place = Place(3)
    place.send(money("x", 2, place), spend("a", 1, place))
    place.applier().apply_batch(1, 1)
    read = found(place, 0, 1, tactics=Tactics(1, alone=True))
    assert new(read) == [[], []]
    (new_one,) = place.send(money("b", 0, place))
    read = found(place, 0, 1, tactics=Tactics(1, alone=True))
    assert new(read) == [[new_one], []]
    assert [len(one.deferred) for one in read.reads] == [0, 0]
    assert len(read.parked()) == 1


def test_a_new_entry_alone_comes_before_what_is_younger_and_ripe() -> None:
    """Which waits, and counts among what is parked."""
    place = Place(2)
    first, second = place.send(money("x", 0, place), spend("a", 1, place))
    place.applier().apply_batch(1, 1)
    both = found(place, 0, 1, tactics=Tactics(2))
    assert [[item.position for item in one.deferred] for one in both.reads] == [[], [second]]
    read = found(place, 0, 1, tactics=Tactics(1, alone=True))
    assert new(read) == [[first], []]
    assert [one.deferred for one in read.reads] == [[], []]
    assert [item.position for item in read.parked()] == [second]


def test_what_is_cut_off_is_open_again() -> None:
    """Behind the last position that stays nothing is decided."""
    place = Place(2)
    sent = place.send(money("a", 0, place), money("b", 0, place), money("c", 0, place))
    whole = found(place, 0, 1)
    cut = whole.up_to(sent[1])
    assert (new(cut), new(whole)) == ([sent[:2], []], [sent, []])
    before, after = cut.horizon.open_from, whole.horizon.open_from
    assert before is not None
    assert after is not None
    assert before <= sent[1] + 1 < after
