"""The advance to another number of partitions: when it happens, and for whom it waits."""

from __future__ import annotations

from psycopg import errors as pg
from tests.simulation.place import Place, money

from daybook.apply.epochs import ADVANCE_ROUNDS_MAX, advance
from daybook.ledger.batch import POSITION_MAX


def epochs(place: Place) -> list[int]:
    return [each.number for each in place.store.tables.epochs]


def test_there_is_nothing_to_advance_to_without_a_next_epoch() -> None:
    """Nor without a partition, before the first migration."""
    place = Place(2)
    assert advance(place.store, place.log) is False
    assert "lock_all" not in place.calls
    place.log.epochs.begin(3)
    place.store.tables.rows.clear()
    assert advance(place.store, place.log) is False


def test_it_happens_once_when_all_is_decided() -> None:
    """A second time there is nothing left to do."""
    place = Place(2)
    before = len(epochs(place))
    place.log.epochs.begin(3)
    assert advance(place.store, place.log) is True
    assert len(epochs(place)) == before + 1
    assert advance(place.store, place.log) is False
    assert len(epochs(place)) == before + 1


def test_partitions_that_are_behind_are_applied_first() -> None:
    """Each of them, and no more than so often."""
    place = Place(3)
    place.send(money("a", 2, place), money("b", 1, place))
    place.log.epochs.begin(2)
    applier = place.applier()
    asked: list[int] = []
    assert advance(place.store, place.log, asked.append) is False
    assert asked == [1, 2] * ADVANCE_ROUNDS_MAX
    assert advance(place.store, place.log) is False

    def apply(partition: int) -> None:
        applier.apply_batch(partition, 9)

    assert advance(place.store, place.log, apply) is True


def test_it_waits_until_producers_were_told() -> None:
    """Of a closed partition nobody would tell them any more."""
    place = Place(1)
    place.send(money("a"))
    place.applier().apply_batch(0, 9)
    place.log.epochs.begin(2)
    place.log.state.replied.clear()
    asked: list[int] = []
    assert advance(place.store, place.log, asked.append) is False
    assert set(asked) == {0}
    place.log.state.replied[0] = 1
    assert advance(place.store, place.log) is True


def test_what_comes_before_the_locks_is_seen() -> None:
    """Another worker may have gone on meanwhile, or have read less than was thought."""
    place = Place(1)
    place.send(money("a"))
    place.applier().apply_batch(0, 9)
    place.log.epochs.begin(2)
    row = place.store.tables.rows[0]

    def went_back(call: str) -> None:
        if call == "lock_all":
            place.store.tables.rows[0] = row._replace(cursor=0)

    place.on_call = went_back
    before = epochs(place)
    assert advance(place.store, place.log) is False
    assert epochs(place) == before

    def went_on(call: str) -> None:
        if call == "lock_all":
            newest = place.store.tables.epochs[-1]
            place.store.tables.epochs.append(newest._replace(number=2, fence=POSITION_MAX))
            place.store.tables.rows[0] = row._replace(epoch=2)

    place.store.tables.rows[0] = row
    place.on_call = went_on
    assert advance(place.store, place.log) is False
    assert place.store.tables.epochs[-1].fence == POSITION_MAX


def test_a_lock_that_is_not_to_be_had_leaves_it_to_the_next() -> None:
    """Nobody is applied for it."""
    place = Place(1)
    place.log.epochs.begin(2)

    def busy(call: str) -> None:
        if call == "lock_all":
            raise pg.LockNotAvailable

    place.on_call = busy
    asked: list[int] = []
    assert advance(place.store, place.log, asked.append) is False
    assert asked == []
