"""One batch, tried until it is done; and what is told of it, by anyone who comes after it."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from psycopg import errors as pg
from tests.simulation.memory_log import MemoryLog
from tests.simulation.memory_store import MemoryUnit
from tests.simulation.place import Place, Told, money
from tests.simulation.scheduler import Crash
from tests.simulation.world import FIRST_MS

from daybook.apply import late
from daybook.apply.tries import ATTEMPTS_MAX, WARY_BATCHES
from daybook.errors import StoreUnavailable
from daybook.ledger.book import Book
from daybook.queue.entries import CELERY_RESULT, read_value
from daybook.queue.waiting import Wanted
from daybook.steps import Point, watched

Reply = tuple[int, int, int, tuple[int, int], list[str], int]


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[Reply]:
    """What the log was told: partition, batch, cursor, records, keys and retention."""
    found: list[Reply] = []
    reply = MemoryLog.reply

    def noted(log: MemoryLog, *given: Any) -> Any:
        *first, outcomes, retention = given
        found.append((*first, [key for key, _ in outcomes], retention))
        return reply(log, *given)

    monkeypatch.setattr(MemoryLog, "reply", noted)
    return found


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each try, whether it looked up what is taken."""
    found: list[bool] = []
    load = MemoryUnit.load_book

    def noted(unit: MemoryUnit, *given: Any, check_taken: bool, **more: Any) -> Book:
        found.append(check_taken)
        return load(unit, *given, check_taken=check_taken, **more)

    monkeypatch.setattr(MemoryUnit, "load_book", noted)
    return found


def forget(place: Place) -> None:
    """The log has lost its outcomes: whatever is sent again is accepted."""
    place.log.state.outcomes.clear()
    place.log.state.queued.clear()


def test_after_a_repetition_batches_look_before_they_write(checks: list[bool]) -> None:
    """For a while: where one came, others may follow."""
    place = Place()
    applier = place.applier()
    place.send(money("a"))
    applier.apply_batch(0, 9)
    forget(place)
    place.send(money("a"))
    report = applier.apply_batch(0, 9)
    assert report.outcomes == {"duplicate": 1}
    assert checks == [False, False, True]
    checks.clear()
    for number in range(WARY_BATCHES + 1):
        place.send(money(f"b{number}"))
        applier.apply_batch(0, 9)
    assert checks == [True] * WARY_BATCHES + [False]


def test_a_partition_that_somebody_has_is_busy() -> None:
    """Its locks are not waited for."""
    place = Place()
    place.send(money("a"))

    def taken(call: str) -> None:
        if call == "lock_internal":
            raise pg.LockNotAvailable

    place.on_call = taken
    report = place.applier().apply_batch(0, 9)
    assert (report.busy, report.progress) == (True, False)


def test_a_batch_is_tried_so_often_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the sweeper rings again. Balances are not taken for known after a collision."""
    place = Place()
    place.send(money("a"))
    applier = place.applier()
    forgotten: list[int] = []
    monkeypatch.setattr(applier._tries._known_balances, "forget", lambda: forgotten.append(1))

    def collides(unit: MemoryUnit) -> None:
        raise pg.SerializationFailure("collided")

    with monkeypatch.context() as broken:
        broken.setattr(MemoryUnit, "commit", collides)
        with pytest.raises(StoreUnavailable):
            applier.apply_batch(0, 9)
    assert (len(forgotten), place.calls.count("load_book")) == (ATTEMPTS_MAX, ATTEMPTS_MAX)
    assert applier.apply_batch(0, 9).outcomes == {"applied": 1}
    assert place.store.holders == {}


def test_the_collector_rests_during_a_batch() -> None:
    """And is as it was afterwards."""
    place, seen = Place(), []

    def look(point: Point) -> None:
        seen.append(gc.isenabled())

    for enabled in (False, True):
        (gc.enable if enabled else gc.disable)()
        try:
            with watched(look):
                place.applier().apply_batch(0, 9)
            assert gc.isenabled() is enabled
        finally:
            gc.enable()
    assert seen
    assert not any(seen)


def test_what_is_told_of_a_batch(replies: list[Reply]) -> None:
    """Its partition, number and cursor, which records it has, and for how long it is kept."""
    place = Place(2)
    sent = place.send(money("a", 1, place), money("b", 1, place), money("c", 1, place))
    applier = place.applier(outcome_retention_seconds=7_000)
    applier.apply_batch(1, 2)
    applier.apply_batch(1, 2)
    records = [len(place.store.tables.shelf.journals[1].records)]
    assert records == [3]
    assert replies == [
        (1, 1, sent[1], (0, 2), ["t:a", "t:b"], 7_000),
        (1, 2, sent[2], (2, 3), ["t:c"], 7_000),
    ]


@pytest.fixture
def died(replies: list[Reply]) -> Place:
    """A place in which a worker died between its commit and its replies."""
    place = Place(2)
    place.send(money("a", 1, place))
    place.applier().apply_batch(1, 9)
    forget(place)
    place.send(
        money("b", 1, place), money("a", 1, place), money("d", 1, place), flags=CELERY_RESULT
    )

    def die(point: Point) -> None:
        if point is Point.COMMITTED:
            raise Crash

    with watched(die), pytest.raises(Crash):
        place.applier().apply_batch(1, 9)
    replies.clear()
    return place


def test_the_next_worker_replies_for_the_dead(died: Place, replies: list[Reply]) -> None:
    """Also what the journal does not show, and to those who wait for a result of Celery."""
    told = Told()
    died.applier(told).apply_batch(1, 9)
    row = died.store.tables.rows[1]
    assert [each[:4] for each in replies] == [(1, 2, row.cursor, (1, 3))]
    keys = ["t:b", "t:d", "t:a"]
    assert replies[0][4] == keys
    ((outcomes, wanted, asked),) = told.calls
    assert (outcomes, asked) == (keys, [])
    assert [each.task_id for each in wanted] == ["b", "a", "d"]
    assert all(isinstance(each, Wanted) and each.at == FIRST_MS for each in wanted)
    said = {key: read_value(value) for key, value in died.log.state.outcomes.items()}
    assert {key: state.status for key, state in said.items()} == dict.fromkeys(keys, "APPLIED")
    assert said["t:b"].position is not None
    replies.clear()
    died.applier().apply_batch(1, 9)
    assert replies == []


def test_what_the_log_has_lost_is_told_once_more(died: Place, replies: list[Reply]) -> None:
    """From where it knows, and no more than so much of it."""
    died.log.state.told.clear()
    died.applier().apply_batch(1, 9)
    assert [each[3:5] for each in replies] == [((0, 3), ["t:a", "t:b", "t:d", "t:a"])]


def test_a_bound_of_records_is_told_late(
    died: Place, replies: list[Reply], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of them."""
    monkeypatch.setattr(late, "TOLD_LATE_MAX", 1)
    died.log.state.told.clear()
    died.applier().apply_batch(1, 9)
    assert [each[3:5] for each in replies] == [((0, 3), ["t:d", "t:a"])]


def test_marks_of_batches_that_never_were_are_set_back(replies: list[Reply]) -> None:
    """The database was restored: what is to be replayed must not be trimmed."""
    place = Place(2)
    sent = place.send(money("a", 1, place))
    place.applier().apply_batch(1, 9)
    replies.clear()
    place.log.state.cursors[1] = sent[0] + 99
    place.log.state.replied[1] = 5
    place.applier().apply_batch(1, 9)
    assert place.log.state.cursors[1] == sent[0]
    assert (replies, place.log.state.replied) == ([], {})


def test_nobody_is_told_of_a_closed_partition_that_somebody_has() -> None:
    """Nor of one that is open: its next batch does it."""
    place = Place(2)
    place.send(money("a", 1, place))
    place.log.epochs.begin(1)
    applier = place.applier()
    applier.drain(0)
    forget(place)
    place.log.state.replied.clear()
    place.log.state.told.clear()
    other = MemoryUnit(place.store)
    other.lock_if_free(1, closed=True)
    applier.reply_to_closed(1)
    assert place.log.state.outcomes == {}
    other.rollback()
    applier.reply_to_closed(0)
    assert place.log.state.outcomes == {}
    applier.reply_to_closed(1)
    assert list(place.log.state.outcomes) == ["t:a"]
    assert place.store.holders == {}
