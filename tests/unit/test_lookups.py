"""What is known of a request by its id: recorded, deferred, or unread in one of few places."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine
from tests.simulation.test_conformance import Quiet
from tests.simulation.world import FIRST_MS, real

from daybook.apply import lookup
from daybook.apply.lookup import _Known, _known, find, recorded_under
from daybook.client.drafts import drafts
from daybook.queue.entries import Money, NewEntry, outcome_value, read_value
from daybook.requests import slot_of_transaction
from daybook.store.epochs import StoredEpoch
from daybook.store.read.outcomes import RecordedOutcome

UNKNOWN = _Known(None, None, {}, 1)
RECORDED = RecordedOutcome("txn_1", "r", "APPLIED", b"f" * 32, 7, "why", "so", 5, 100, "USD")


def told(quiet: Quiet, known: _Known, own: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is said of a request, when the database knows this."""
    engine = create_engine("postgresql+psycopg://nowhere")

    def known_of(asked: object, request_id: str) -> _Known:
        assert (asked, request_id) == (engine, own)
        return known

    monkeypatch.setattr(lookup, "_known", known_of)
    found: dict[str, str] = json.loads(find(engine, real(quiet.log), own))
    return found


def entry(reference: str | None = "r") -> NewEntry:
    """A request as it stands in the log; a void has no reference."""
    request = {
        "kind": "transaction",
        "reference": reference,
        "source": "@World",
        "destination": "@Till",
        "currency": "USD",
        "precise_amount": 5,
        "precision": 100,
    }
    if reference is None:
        request = {"kind": "void", "transaction_id": entry().request_id}
    (draft,) = drafts([request], lambda: FIRST_MS / 1000)
    return draft.entry


@pytest.mark.parametrize(("reference", "key"), [("r", "t:r"), (None, "i:txn_1")])
def test_what_is_recorded_has_its_outcome(
    reference: str | None, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every word of it; a position only where it is known."""
    recorded = RECORDED._replace(reference=reference)
    found = told(Quiet(2), UNKNOWN._replace(recorded=recorded), "txn_1", monkeypatch)
    assert found["key"] == key
    said, money = ("66" * 32, "txn_1", "APPLIED", "why", "so"), Money(5, 100, "USD")
    assert found["value"] == outcome_value(*said, position=7, money=money)
    recorded = recorded._replace(position=0)
    found = told(Quiet(2), UNKNOWN._replace(recorded=recorded), "txn_1", monkeypatch)
    assert read_value(found["value"]).position is None


@pytest.mark.parametrize("reference", ["r", None])
def test_what_is_deferred_is_known_by_its_key(
    reference: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outcome is still to come."""
    deferred = entry(reference)
    known = UNKNOWN._replace(body=deferred.body)
    assert told(Quiet(2), known, deferred.request_id, monkeypatch) == {"key": deferred.key}


def test_what_is_unread_is_found_in_its_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the present number of partitions, or one that entries were routed by before."""
    unread = entry()
    own = unread.request_id
    homes = {number: slot_of_transaction(own) % number for number in (2, 7, 3)}
    for number in homes:
        quiet = Quiet(number)
        (accepted,), _ = quiet.log.append([unread])
        for later in (7, 3):
            quiet.log.epochs.begin(later)
        assert told(quiet, UNKNOWN, own, monkeypatch) == {"key": "t:r"}
        behind = UNKNOWN._replace(cursors={homes[number]: accepted.position or 0})
        assert told(quiet, behind, own, monkeypatch) == {}
        before = UNKNOWN._replace(cursors={homes[number]: (accepted.position or 0) - 1})
        assert told(quiet, before, own, monkeypatch) == {"key": "t:r"}
    quiet = Quiet(2)
    quiet.log.append([unread])
    for epoch in (1, 9):  # Postgres may be ahead of a log that was restored
        assert told(quiet, UNKNOWN._replace(epoch=epoch), own, monkeypatch) == {"key": "t:r"}
    quiet.log.epochs.begin(7)
    assert told(quiet, UNKNOWN._replace(epoch=2), own, monkeypatch) == {}


@pytest.mark.parametrize(
    ("key", "asked"), [("t:r", ("reference", "r")), ("i:txn_1", ("id", "txn_1"))]
)
def test_the_ledger_is_asked_by_reference_or_by_id(
    key: str, asked: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the outcome key says; what is not recorded has no text."""
    known: list[RecordedOutcome | None] = [RECORDED, None]
    calls: list[tuple[str, str]] = []

    def answer(way: str) -> Any:
        def found(connection: object, name: str) -> RecordedOutcome | None:
            calls.append((way, name))
            assert connection is engine
            return known[len(calls) - 1]

        return found

    engine = create_engine("postgresql+psycopg://nowhere")
    monkeypatch.setattr(lookup, "reading", nullcontext)
    monkeypatch.setattr(lookup, "recorded_by_reference", answer("reference"))
    monkeypatch.setattr(lookup, "recorded_by_id", answer("id"))
    assert read_value(recorded_under(engine, key) or "").detail == "so"
    assert recorded_under(engine, key) is None
    assert calls == [asked, asked]


@pytest.mark.parametrize("recorded", [None, RECORDED])
def test_what_the_database_knows_is_read_at_one_instant(
    recorded: RecordedOutcome | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body is looked for only where nothing is recorded."""
    engine = create_engine("postgresql+psycopg://nowhere")
    bodies: list[str] = []

    def body(connection: object, request_id: str) -> bytes:
        bodies.append(request_id)
        return b"{}"

    def by_id(connection: object, request_id: str) -> RecordedOutcome | None:
        assert (connection, request_id) == (engine, "txn_1")
        return recorded

    views = [SimpleNamespace(partition=3, cursor=8)]
    monkeypatch.setattr(lookup, "reading", nullcontext)
    monkeypatch.setattr(lookup, "recorded_by_id", by_id)
    monkeypatch.setattr(lookup, "deferred_body", body)
    monkeypatch.setattr(lookup, "list_partitions", lambda connection: views)
    for epoch, number in ((None, 1), (StoredEpoch(4, 2, 9), 4)):
        monkeypatch.setattr(lookup, "newest_epoch", lambda connection, epoch=epoch: epoch)
        expected = None if recorded else b"{}"
        assert _known(engine, "txn_1") == _Known(recorded, expected, {3: 8}, number)
    assert bodies == ([] if recorded else ["txn_1"] * 2)


def test_what_nobody_knows_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a creation looked for in the log: it is known by its id."""
    quiet = Quiet(2)
    assert told(quiet, UNKNOWN, entry().request_id, monkeypatch) == {}
    made = NewEntry(0, "i:x", b"f" * 32, "ldg_00000000-0000-4000-8000-000000000001", b"{}")
    quiet.log.append([made])
    assert told(quiet, UNKNOWN, made.request_id, monkeypatch) == {}
