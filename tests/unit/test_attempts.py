"""One batch: which locks it takes, what it moves, and what it says of what is no request."""

from __future__ import annotations

import json
from typing import Any

from tests.simulation.place import Place, money, spend

from daybook.ledger.balance import internal_balance_id
from daybook.queue.entries import RawEntry, outcome_value, read_value
from daybook.requests import fingerprint_of, slot_of
from daybook.steps import Point, watched


def cursors(place: Place) -> list[int]:
    return [row.cursor for row in place.store.tables.rows.values()]


def test_a_wide_request_moves_all_of_its_partitions() -> None:
    """With what they hold behind it: they are decided together."""
    place = Place(3)
    wide = place.send_wide("wide", 0, 1)
    (behind,) = place.send(money("a", 1, place))
    report = place.applier().apply_batch(0, 9)
    assert cursors(place) == [wide, behind, 0]
    assert (report.opened, report.read, report.progress) == ({1}, 3, True)
    assert report.outcomes == {"rejected": 1, "applied": 1}


def test_nothing_is_locked_for_a_request_whose_turn_has_not_come() -> None:
    """What stands before it is decided on its own."""
    place = Place(3)
    place.send(money("older", 2, place))
    (before,) = place.send(money("a", 0, place))
    place.send_wide("wide", 0, 1)
    report = place.applier().apply_batch(0, 9)
    assert (cursors(place), report.outcomes) == ([before, 0, 0], {"applied": 1})
    assert (report.opened, "lock" in place.calls) == (set(), False)


def test_a_source_of_another_partition_is_debited_under_its_lock() -> None:
    """Its entries are none of the batch's business."""
    place = Place(2)
    names = (f"bln_00000000-0000-4000-8000-{n:012}" for n in range(99))
    source = next(name for name in names if slot_of(name) % 2 == 1)
    (own,) = place.send(money("a", 0, place, source=source, allow_overdraft=False))
    place.send(money("b", 1, place))
    report = place.applier().apply_batch(0, 9)
    assert cursors(place) == [own, 0]
    assert (report.opened, place.calls.count("lock")) == ({1}, 1)


def test_an_internal_balance_is_debited_under_a_lock_of_its_own() -> None:
    """It is of no partition."""
    place = Place(2)
    seen: set[tuple[str, Any]] = set()

    def look(point: Point) -> None:
        if point is Point.LOADED:
            seen.update(place.store.holders)

    place.send(spend("b", 0, place))
    with watched(look):
        place.applier().apply_batch(0, 9)
    assert seen == {("partition", 0), ("right", internal_balance_id("@Till", "USD"))}


def test_what_waits_is_counted() -> None:
    """What was deferred before, and what is deferred now."""
    place = Place(2)
    place.send(money("a", 1, place), spend("b", 0, place), spend("c", 0, place))
    applier = place.applier()
    counts = [applier.apply_batch(0, 1) for _ in range(3)]
    assert [(report.read, report.deferred) for report in counts] == [(1, 1), (1, 2), (0, 2)]
    assert [report.progress for report in counts] == [True, True, False]


def test_what_the_database_refuses_is_quarantined_alone() -> None:
    """With the reason for it. Neighbours are applied, and nobody waits."""
    place = Place()
    place.send(*(money(name) for name in ("a", "odd", "b")))
    place.store.refuses = lambda record: record.reference == "odd"
    drained = place.applier(batch_entries_min=9).drain(0)
    assert drained.outcomes == {"applied": 2, "rejected": 1}
    assert drained.reasons == {"quarantined": 1}
    ((_, kept),) = place.store.tables.rejections
    assert (kept.reference, kept.uses_reference, kept.reason) == ("odd", True, "quarantined")
    assert "too odd" in (kept.traceback or "")
    assert read_value(place.log.state.outcomes["t:odd"]).reason == "quarantined"


def test_an_older_entry_that_comes_meanwhile_is_not_the_one_that_was_refused() -> None:
    """It is decided first, and the other one is quarantined after it."""
    place = Place()
    place.send(money("older"), money("odd"))
    place.store.refuses = lambda record: record.reference == "odd"
    stream = place.log.state.streams[0]
    older = stream.pop(0)
    tried: list[str] = []

    def comes(call: str) -> None:
        tried.append(call)
        if tried.count("load_book") == 3 and older not in stream:
            stream.insert(0, older)

    place.on_call = comes
    drained = place.applier(batch_entries_min=9).drain(0)
    assert drained.outcomes == {"applied": 1, "rejected": 1}
    assert read_value(place.log.state.outcomes["t:older"]).status == "APPLIED"
    assert read_value(place.log.state.outcomes["t:odd"]).reason == "quarantined"


def strange(place: Place, reference: str, **more: Any) -> RawEntry:
    """What is no request, though it names a reference, as somebody has written it by hand."""
    body = json.dumps({"kind": "transaction", "reference": reference, **more}).encode()
    position = place.log.state.clock + 1
    place.log.state.clock = position
    own = f"txn_00000000-0000-7000-8000-{position % 10**12:012}"
    raw = RawEntry(position, own, f"t:{reference}", "", body)
    place.log.state.streams.setdefault(0, []).append(raw)
    return raw


def test_what_is_no_request_is_rejected_and_told() -> None:
    """It uses its reference up; anyone who sent it learns why."""
    place = Place()
    raw = strange(place, "r")
    report = place.applier().apply_batch(0, 9)
    assert (report.outcomes, report.reasons) == ({"rejected": 1}, {"malformed": 1})
    state = read_value(place.log.state.outcomes["t:r"])
    assert (state.status, state.reason) == ("REJECTED", "malformed")
    ((_, kept),) = place.store.tables.rejections
    assert (kept.position, kept.body, kept.uses_reference) == (raw.position, raw.body, True)
    assert place.store.tables.taken == {"r": raw.request_id}


def test_what_the_journal_cannot_show_is_kept_with_its_reason() -> None:
    """A payment from a balance that there is not."""
    place, unknown = Place(), "bln_00000000-0000-4000-8000-000000000009"
    place.send(money("r", source=unknown, allow_overdraft=False))
    place.applier().apply_batch(0, 9)
    ((_, kept),) = place.store.tables.rejections
    state = read_value(place.log.state.outcomes["t:r"])
    assert (kept.reason, kept.detail) == (state.reason, state.detail)
    assert (kept.reason, unknown in (kept.detail or "")) == ("unknown_balance", True)
    assert (kept.detail or "").endswith("to @Till")


def test_what_is_no_request_takes_nothing_from_others() -> None:
    """Neither a reference that is recorded, nor an outcome that the log knows."""
    place = Place()
    place.send(money("r"))
    place.applier().apply_batch(0, 9)
    place.log.state.outcomes.clear()
    strange(place, "r")
    place.applier().apply_batch(0, 9)
    assert place.log.state.outcomes == {}
    ((_, kept),) = place.store.tables.rejections
    assert (kept.reference, kept.uses_reference) == ("r", False)
    known = outcome_value("00" * 32, "txn_x", "APPLIED")
    place.log.state.outcomes["t:s"] = known
    strange(place, "s")
    place.applier().apply_batch(0, 9)
    assert place.log.state.outcomes == {"t:s": known}


def test_what_is_no_request_is_told_where_it_is_queued_itself() -> None:
    """The mark under its key is its own; that of another is not."""
    place = Place()
    raw = strange(place, "r")
    own = fingerprint_of(raw.body).hex()
    for fingerprint, is_told in ((own, True), ("00" * 32, False)):
        place.log.state.outcomes["t:r"] = f"{fingerprint}Q{raw.request_id} 0 {raw.position}-0"
        assert read_value(place.log.state.outcomes["t:r"]).status == "QUEUED"
        place.store = type(place.store)(1, place.store.scheduler, place.store.chaos)
        place.log.state.replied.clear()
        place.applier().apply_batch(0, 9)
        assert (read_value(place.log.state.outcomes["t:r"]).status == "REJECTED") is is_told


def test_what_names_a_reference_that_was_refused_is_told_whose_it_is() -> None:
    """What is no request brings that look-up into its batch."""
    place = Place()
    strange(place, "r")
    place.applier().apply_batch(0, 9)
    place.log.state.outcomes.clear()
    place.send(money("r"))
    strange(place, "s")
    place.applier().apply_batch(0, 9)
    states = {key: read_value(value) for key, value in place.log.state.outcomes.items()}
    assert states["t:s"].reason == "malformed"
    assert states["t:r"].status == "REJECTED"
