"""The sweeper: whom it rings for, what it repairs and trims, and what its failures keep it from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
from tests.simulation.place import Place, money, spend
from tests.simulation.world import FIRST_MS, real

from daybook.apply import sweep as sweeps
from daybook.apply.sweep import (
    RING_FAILURES_MAX,
    Steps,
    decided_up_to,
    repair,
    set_marks_back,
    sweep,
    sweep_partitions,
)
from daybook.errors import LogFull, LogRefused, LogUnavailable, StoreUnavailable
from daybook.ledger.batch import POSITION_MAX
from daybook.queue.log import Log
from daybook.store.epochs import StoredEpoch
from daybook.store.store import Marks


def fails(*arguments: Any) -> Any:
    raise ValueError("no")


def is_full(*arguments: Any) -> Any:
    raise LogFull("it is full")


def swept(place: Place, applier: Any = None) -> tuple[dict[str, Any], list[int]]:
    """A sweep of the partitions: what it says, and for whom it rang."""
    rung: list[int] = []
    return sweep_partitions(place.store, place.log, applier or place.applier(), rung.append), rung


def test_a_step_that_fails_keeps_no_other_from_being_done() -> None:
    """Each is told once, and the first is raised at the end, with the others as notes."""
    steps = Steps()
    assert steps.run("right", divmod, 7, 2) == (3, 1)
    steps.end()
    assert steps.run("wrong", fails, 1) is None
    first = steps.faults["wrong"]
    assert steps.run("wrong", fails) is None
    assert steps.run("full", is_full) is None
    assert (list(steps.faults), steps.faults["wrong"]) == (["wrong", "full"], first)
    with pytest.raises(ValueError, match="no") as raised:
        steps.end()
    assert raised.value.__notes__ == [
        "in the step 'wrong' of the sweep",
        "the step 'full' failed, too: it is full",
    ]
    steps.faults = {"full": LogFull("it is full"), "wrong": ValueError("no")}
    with pytest.raises(LogFull) as other:
        steps.end()
    assert other.value.__notes__[1] == "the step 'wrong' failed, too: ValueError: no"


def test_it_rings_for_what_is_unread_deferred_or_not_told() -> None:
    """And for nobody else."""
    place = Place(5)
    place.send(
        *(money("a", 1, place), spend("b", 2, place), money("c", 3, place), money("d", 4, place))
    )
    applier = place.applier()
    for partition in (2, 3, 4):
        applier.apply_batch(partition, 1)
    del place.log.state.replied[3]
    assert swept(place) == ({"rung": [1, 2, 3]}, [1, 2, 3])


def test_doorbells_that_fail_are_left_to_the_next_sweep() -> None:
    """After some of them: each may wait for a broker that is away. The first fault is raised."""
    place, tried = Place(4), []

    def ring(partition: int) -> None:
        tried.append(partition)
        raise LogUnavailable("no broker")

    place.send(*(money(f"a{home}", home, place) for home in range(4)))
    with pytest.raises(LogUnavailable) as raised:
        sweep_partitions(place.store, place.log, place.applier(), ring)
    assert raised.value.__notes__ == ["in the step 'ring' of the sweep"]
    assert tried == [0, 1]
    assert place.calls.count("trim") == 4
    assert RING_FAILURES_MAX == 2


def test_a_closed_partition_is_told_and_not_rung() -> None:
    """If the log has lost its last outcomes; nobody else comes to it."""
    place = Place(2)
    place.send(money("a", 1, place))
    place.log.epochs.begin(1)
    place.applier().drain(0)
    outcome = place.log.state.outcomes.pop("t:a")
    place.log.state.replied.clear()
    place.log.state.told.clear()
    assert swept(place)[1] == []
    assert place.log.state.outcomes["t:a"] == outcome
    place.calls.clear()
    assert swept(place)[1] == []
    assert not {"records_since", "lock_if_free"} & set(place.calls)


def test_it_goes_on_to_the_next_epoch() -> None:
    """When all of the present one is decided and no worker has come."""
    place = Place(2)
    place.log.epochs.begin(3)
    swept(place)
    assert place.store.tables.epochs[-1].partitions == 3


def test_the_log_learns_up_to_where_all_is_decided() -> None:
    """All that was accepted; else up to what is unread or deferred, and no further than a fence."""
    place = Place(3)
    swept(place)
    assert place.log.state.decided == place.log.state.clock
    first, second, third = place.send(
        money("a", 1, place), spend("b", 0, place), money("c", 2, place)
    )
    applier = place.applier()
    swept(place)
    assert place.log.state.decided == first - 1
    applier.apply_batch(1, 1)
    swept(place)
    assert place.log.state.decided == second - 1
    applier.apply_batch(0, 1)
    swept(place)
    assert place.log.state.decided == third - 1
    applier.drain(0)
    applier.drain(2)
    place.log.epochs.begin(5)
    fence = place.log.state.clock
    place.now_ms += 5
    place.send(money("d"))
    place.lock(0)  # nobody can advance
    swept(place)
    assert place.log.state.decided == fence


def test_nothing_is_decided_behind_what_is_deferred() -> None:
    """Of what is unread and what is deferred, the oldest counts; without any, no bound is known."""
    place = Place(2)
    older, younger = place.send(money("a", 1, place), spend("b", 0, place))
    place.applier().apply_batch(0, 1)
    marks = place.store.marks()
    assert decided_up_to(place.store, marks, {}) == younger - 1
    assert decided_up_to(place.store, marks, {1: older}) == older - 1
    idle = marks._replace(waiting=set())
    assert decided_up_to(place.store, idle, {}) == POSITION_MAX - 1


@pytest.mark.parametrize(
    ("fault", "trimmed"), [(LogUnavailable("away"), [0]), (LogRefused("no"), [0, 1, 2])]
)
def test_every_partition_is_trimmed_while_there_is_a_server(
    fault: Exception, trimmed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses one may allow the next; one that is away is not asked again."""
    place, tried = Place(3), []
    applier = place.applier()

    def trim(partition: int, cursor: int) -> None:
        tried.append(partition)
        assert cursor == place.store.tables.rows[partition].cursor
        raise fault

    monkeypatch.setattr(applier, "trim", trim)
    with pytest.raises(type(fault)):
        swept(place, applier)
    assert tried == trimmed


def test_what_was_applied_long_ago_is_gone_after_a_sweep() -> None:
    """And nothing else."""
    place = Place(2)
    place.send(money("a", 1, place), money("b", 1, place))
    applier = place.applier(log_retention_seconds=60)
    applier.drain(1)
    swept(place, applier)
    assert len(place.log.state.streams[1]) == 2
    place.now_ms += 61_000
    swept(place, applier)
    assert len(place.log.state.streams[1]) == 1  # where its cursor stands


def test_a_log_that_came_back_empty_is_installed_again() -> None:
    """In the epoch of the database, behind all that it knows, and with the bound of the setting."""
    place = Place(2)
    newest = place.send(money("a", 0, place))[0] + 5
    place.log.state = type(place.log.state)()
    place.now_ms = FIRST_MS - 99_000
    place.store.tables.advance(StoredEpoch(2, 3, newest))
    assert swept(place, place.applier(log_entries_max=1_000)) == ({"rung": []}, [])
    state = place.log.state
    assert (state.partitions, state.epoch, state.entries_max, state.clock) == (3, 2, 1_000, newest)
    place.now_ms = FIRST_MS + 99_000
    place.log.state = type(state)()
    mended: list[int] = []
    mend = place.log.mend

    def noted(partitions: int, newest: int, present: int) -> int:
        mended.append(partitions)
        return mend(partitions, newest, present)

    place.log.mend = noted  # type: ignore[method-assign]
    clock = repair(place.log, place.applier(), StoredEpoch(2, 3, 0), newest)
    assert clock == place.log.state.clock == (FIRST_MS + 99_000) << 20
    assert mended == [3]
    assert "load_scripts" in place.calls


def test_a_log_that_does_not_know_the_epoch_follows() -> None:
    """It was restored from before the partitions were changed."""
    place = Place(2)
    place.store.tables.advance(StoredEpoch(2, 3, 7))
    swept(place)
    assert (place.log.state.partitions, place.log.state.epoch) == (3, 4)


def test_marks_ahead_of_a_restored_database_are_set_back() -> None:
    """Those of partitions that it does not have are taken down; others stay."""
    place = Place(1)
    place.log.state.cursors = {0: 5, 1: 6, 2: 7, 3: 8}
    set_marks_back(place.log, {0: 5, 1: 6, 2: 7, 3: 8}, {0: 5, 1: 4, 2: 9})
    assert place.log.state.cursors == {0: 5, 1: 4, 2: 7}
    assert place.calls.count("set_back") == 1


def test_a_sweep_sets_the_marks_back_that_are_ahead() -> None:
    """By what it reads of the log first, and of the database then."""
    place = Place(2)
    place.send(money("a", 1, place))
    place.applier().drain(1)
    ahead = place.store.tables.rows[1].cursor + 9
    place.log.state.cursors |= {1: ahead, 7: 5}
    swept(place)
    assert place.log.state.cursors == {1: ahead - 9}


def test_before_the_ledger_is_installed_there_is_nothing_to_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log is not touched."""
    place = Place(2)
    place.send(money("a", 1, place))
    monkeypatch.setattr(place.store, "marks", lambda: Marks({}, {}, set(), 0, None, set()))
    place.calls.clear()
    assert swept(place) == ({"rung": []}, [])
    assert place.calls == []


def test_a_database_that_goes_away_ends_the_sweep_of_partitions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At its first step, or after the repair."""
    place = Place(2)
    place.send(money("a", 1, place))
    marks = [place.store.marks()]

    def away() -> Marks:
        if not marks:
            raise StoreUnavailable("away")
        return marks.pop()

    monkeypatch.setattr(place.store, "marks", away)
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as raised:
            swept(place)
        assert raised.value.__notes__ == ["in the step 'marks' of the sweep"]


Whole = tuple[dict[str, Any], dict[str, str], list[int], int]


def whole(place: Place, monkeypatch: pytest.MonkeyPatch, answer: Any = None) -> Whole:
    """A whole sweep: what it says and notes, for whom it rang, how often it answered."""
    noted: list[dict[str, str]] = []
    rung: list[int] = []
    answers: list[int] = []
    log = real(place.log)

    def note(own: Log, faults: Mapping[str, str]) -> None:
        assert own is log
        noted.append(dict(faults))

    monkeypatch.setattr(sweeps, "note_sweep", note)
    answer = answer or (lambda: answers.append(1))
    try:
        said = sweep(place.store, log, place.applier(), rung.append, answer)
    except ValueError as fault:
        said = {"raised": str(fault)}
    (faults,) = noted
    return said, faults, rung, len(answers)


def scheduled(place: Place) -> None:
    """A transaction that is due."""
    later = "2026-09-21T14:13:21+00:00"
    place.send(money("s", 1, place, scheduled_for=later))
    place.applier().drain(1)
    place.now_ms += 2_000_000_000


def test_a_whole_sweep_does_what_is_due_and_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so: how many were due, and that no step failed."""
    place = Place(2)
    scheduled(place)
    said, faults, rung, answered = whole(place, monkeypatch)
    assert said["due"] == 1
    assert (said["rung"], faults, answered) == ([], {}, 1)
    assert len(rung) == 1


def test_its_steps_have_names_that_health_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other; it rings for what is unread."""
    place, names = Place(2), []
    place.send(money("a", 1, place))
    place.log.epochs.begin(1)
    place.applier().drain(1)
    place.log.state.replied.clear()
    place.send(money("b"))
    run = Steps.run

    def noted(steps: Steps, name: str, *arguments: Any) -> Any:
        names.append(name)
        return run(steps, name, *arguments)

    monkeypatch.setattr(Steps, "run", noted)
    said, faults, rung, _ = whole(place, monkeypatch)
    assert (said["rung"], rung, faults) == ([0], [0], {})
    assert names == [
        *("marks", "repair", "epoch", "log marks", "marks", "set back", "replies", "look"),
        *("closed", "vouch", "ring", "trim", "trim", "due", "answers"),
    ]


@pytest.mark.parametrize(
    ("step", "call", "is_due"),
    [("marks", "marks", False), ("repair", "mend", False), ("log marks", "cursor_marks", True)],
)
def test_what_is_due_waits_for_a_log_that_is_right(
    step: str, call: str, is_due: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another clock it would be accepted behind the cursors. Any other fault is no reason."""
    place = Place(2)
    scheduled(place)
    monkeypatch.setattr(place.store if call == "marks" else place.log, call, fails)
    said, faults, _, answered = whole(place, monkeypatch)
    assert (said, faults, answered) == ({"raised": "no"}, {step: "ValueError: no"}, 1)
    assert ("due_schedules" in place.calls) is is_due


def test_who_can_not_be_answered_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a step like others. A note that can't be made is no fault of the sweep."""
    said, faults, _, _ = whole(Place(2), monkeypatch, fails)
    assert (said, faults) == ({"raised": "no"}, {"answers": "ValueError: no"})
    monkeypatch.setattr(sweeps, "note_sweep", is_full)
    place = Place(2)
    log = cast(Log, place.log)
    assert sweep(place.store, log, place.applier(), fails, lambda: None)["rung"] == []
