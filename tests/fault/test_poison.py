"""Entries that are no requests, and requests that make the code raise."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from daybook.apply.tries import ATTEMPTS_MAX
from daybook.ledger import batch
from daybook.ledger.instructions import Transaction
from daybook.ledger.posting.kinds import KINDS
from daybook.requests import TransactionRequest, mint_id, slot_of
from daybook.requests.decode import instructions as decoding_module
from daybook.requests.fields import check_meta_data
from tests.fault.proof import assert_proved
from tests.fault.requests import deposit, make_balances, move
from tests.harness import Installation


def test_a_request_that_makes_the_code_raise_is_quarantined(
    install_daybook: Callable[[int], Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is quarantined with its bytes and the traceback; the requests around it are applied."""
    installation = install_daybook(1)
    (a,), _ = make_balances(installation, 1)
    decide = KINDS[Transaction].post

    def raise_for_one(book: Any, entry: Any, wanted: Transaction) -> Any:
        if wanted.description == "boom":
            raise ZeroDivisionError("a fault of ours")
        return decide(book, entry, wanted)

    monkeypatch.setitem(KINDS, Transaction, replace(KINDS[Transaction], post=raise_for_one))
    requests = [deposit(f"r{i}", a, 100, description="boom" * (i == 2)) for i in range(5)]
    receipts = installation.client.enqueue_many(requests)
    installation.drain()
    outcomes = installation.client.wait_many(receipts, 5)
    assert [o and (o.status, o.reason) for o in outcomes] == [
        ("REJECTED", "quarantined") if i == 2 else ("APPLIED", None) for i in range(5)
    ]
    ((body, trace),) = installation.rows("SELECT body, traceback FROM rejected_requests")
    assert json.loads(bytes(body))["reference"] == "r2"
    assert "ZeroDivisionError: a fault of ours" in trace
    assert_proved(installation)


def test_what_raises_one_after_the_other_is_quarantined(
    install_daybook: Callable[[int], Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many: each raises only where the one before it is left out."""
    installation = install_daybook(1)
    (a,), _ = make_balances(installation, 1)
    names = [f"r{number}" for number in range(2 * ATTEMPTS_MAX)]
    before = dict(zip(names, [None, *names], strict=False))
    begun: list[tuple[Any, set[str | None]]] = []
    decide = KINDS[Transaction].post

    def raise_without_the_one_before(book: Any, entry: Any, wanted: Transaction) -> Any:
        decided = decide(book, entry, wanted)
        if not begun or begun[-1][0] is not book:
            begun.append((book, set()))
        in_this_decision = begun[-1][1]
        in_this_decision.add(wanted.reference)
        if wanted.reference in before and before[wanted.reference] not in in_this_decision:
            raise ZeroDivisionError("a fault of ours")
        return decided

    raising = replace(KINDS[Transaction], post=raise_without_the_one_before)
    monkeypatch.setitem(KINDS, Transaction, raising)
    receipts = installation.client.enqueue_many([deposit(name, a, 100) for name in names])
    installation.drain()
    outcomes = installation.client.wait_many(receipts, 5)
    assert [o and o.reason for o in outcomes] == ["quarantined"] * len(names)
    assert_proved(installation)


@pytest.mark.parametrize("is_checked", [True, False])
def test_a_request_that_would_make_money_is_quarantined(
    install_daybook: Callable[[int], Installation],
    monkeypatch: pytest.MonkeyPatch,
    is_checked: bool,
) -> None:
    """By the kernel's own check, or by the database's; those around it are applied."""
    installation = install_daybook(1)
    (a,), _ = make_balances(installation, 1)
    decide = KINDS[Transaction].post

    def take_too_much(book: Any, entry: Any, wanted: Transaction) -> Any:
        decided = decide(book, entry, wanted)
        if wanted.description == "boom":
            book.balances[a].added_credit -= 1_000_000
        return decided

    monkeypatch.setitem(KINDS, Transaction, replace(KINDS[Transaction], post=take_too_much))
    if not is_checked:
        monkeypatch.setattr(batch, "check_conserved", lambda book: None)
    requests = [deposit(f"r{i}", a, 100, description="boom" * (i == 7)) for i in range(20)]
    receipts = installation.client.enqueue_many(requests)
    installation.drain()
    outcomes = installation.client.wait_many(receipts, 5)
    assert [o and (o.status, o.reason) for o in outcomes] == [
        ("REJECTED", "quarantined") if i == 7 else ("APPLIED", None) for i in range(20)
    ]
    ((trace,),) = installation.rows("SELECT traceback FROM rejected_requests")
    assert ("ConservationError" if is_checked else "CheckViolation") in trace
    assert_proved(installation)


def test_an_entry_that_breaks_the_reader_is_quarantined(
    install_daybook: Callable[[int], Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in reading one entry is recorded with its traceback, and the partition goes on."""
    installation = install_daybook(1)
    (a,), _ = make_balances(installation, 1)

    def raise_for_one(value: Any) -> Any:
        if value == {"note": "boom"}:
            raise KeyError("a fault of ours")
        return check_meta_data(value)

    requests = [
        TransactionRequest(**deposit(f"r{i}", a, 100, meta_data={"note": "boom"} if i == 1 else {}))
        for i in range(3)
    ]
    receipts = installation.client.enqueue_many(requests)
    monkeypatch.setattr(decoding_module, "check_meta_data", raise_for_one)
    installation.drain()
    outcomes = installation.client.wait_many(receipts, 5)
    assert [o and o.reason for o in outcomes] == [None, "quarantined", None]
    ((trace,),) = installation.rows("SELECT traceback FROM rejected_requests")
    assert "KeyError: 'a fault of ours'" in trace


GARBAGE: list[dict[bytes | str, bytes | str]] = [
    {"x": "y"},
    {"b": ""},
    {"b": b"\xff\xfe\x00binary", "i": b"\xff", "k": b"\xff\x00", "c": b"\xff\x00"},
    {"b": b"\x00" * 100, "i": "txn_", "k": "t:nul"},
    {"b": "{" * 100_000, "i": "x", "k": "t:deep"},
    {"b": b"9" * 3_000_000, "i": "x" * 5_000, "k": "t:huge"},
    {"b": "null", "i": "x", "k": "t:null"},
    {"b": "[]", "i": "x", "k": "t:list"},
    {"b": '{"v":1,"kind":"refund"}', "i": "x", "k": "t:kind"},
    {"b": '{"v":2,"kind":"transaction","reference":"future"}', "i": "x", "k": "t:future"},
    {"b": '{"v":2,"kind":"transaction","reference":"future"}', "i": "y", "k": "t:future"},
    {"b": '{"v":true,"kind":"void","reference":7}', "i": "x", "k": "t:types"},
    {"b": '{"v":1e400,"kind":"void"}', "i": "x", "k": "t:number"},
    {"b": '{"v":1,"kind":"void","transaction_id":"\\ud800"}', "i": "x", "k": "t:surrogate"},
    {"b": '{"v":1,"kind":"void","reference":"nul\\u0000"}', "i": "x", "k": "t:escaped"},
]


def test_garbage_in_the_log_becomes_recorded_rejections(
    install_daybook: Callable[[int], Installation],
) -> None:
    """Whatever stands in a stream is recorded as refused, and what comes behind it is applied."""
    installation = install_daybook(1)
    (a,), made = make_balances(installation, 1)
    first = installation.client.enqueue(deposit("before", a, 500))
    for round_ in range(2):  # the second round finds the references of the first used up
        for fields in GARBAGE:
            installation.put(installation.log.keys.log(0), fields)
        installation.log.forward_clock(installation.log.clock() + (1 << 21))
        behind = installation.client.enqueue(move(f"behind-{round_}", a, "@Shop", 100))
        installation.drain()
        assert behind.wait(5).status == "APPLIED"
    assert first.wait(5).status == "APPLIED"
    assert installation.client.wait_many(made, 5)[0] is not None
    rows = installation.rows("SELECT reason, body FROM rejected_requests ORDER BY position")
    assert len(rows) == 2 * len(GARBAGE)
    assert {reason for reason, _ in rows} == {"malformed", "unsupported_version"}
    bodies = [fields.get("b", b"") for fields in GARBAGE] * 2
    assert [bytes(body) for _, body in rows] == [
        body.encode() if isinstance(body, str) else body for body in bodies
    ]
    assert_proved(installation)


def test_a_refused_body_never_takes_a_recorded_reference(
    install_daybook: Callable[[int], Installation],
) -> None:
    """Garbage under the reference of an applied request leaves that outcome as it was."""
    installation = install_daybook(1)
    (a,), _ = make_balances(installation, 1)
    original = installation.client.enqueue(deposit("mine", a, 500))
    installation.drain()
    garbage = {"b": '{"v":2,"reference":"mine"}', "i": "x", "k": "t:elsewhere"}
    installation.put(installation.log.keys.log(0), garbage)
    installation.drain()
    installation.redis.delete(installation.log.keys.outcome("t:mine"))
    again = installation.client.enqueue(deposit("mine", a, 500))
    assert again.state == "accepted"
    installation.drain()
    outcome = again.wait(5)
    assert (outcome.status, outcome.duplicate) == ("APPLIED", True)
    assert outcome.transaction_id == original.id


def append_straight(
    installation: Installation, partition: int, request_id: str, request: TransactionRequest
) -> str:
    fields = {"i": request_id, "k": f"t:{request.reference}", "c": "", "b": request.body()}
    return str(installation.put(installation.log.keys.log(partition), fields))


def test_an_id_that_lies_or_is_taken_is_refused(installation: Installation) -> None:
    """Another slot's id, another partition's entry and an id in use change nothing."""
    (a,), _ = make_balances(installation, 1)
    request = TransactionRequest(**deposit("lies", a, 500))
    home = request.slot % 2
    append_straight(installation, home, mint_id("txn", (request.slot + 2) % 4096), request)
    away = TransactionRequest(**deposit("away", a, 500))
    append_straight(installation, 1 - home, mint_id("txn", away.slot), away)
    used = installation.client.enqueue(deposit("used", a, 500))
    installation.drain()
    append_straight(installation, home, used.id, TransactionRequest(**deposit("taken", a, 700)))
    installation.drain()
    rejections = installation.rows(
        "SELECT reference, reason, detail FROM rejected_requests ORDER BY 1"
    )
    assert [(reference, reason) for reference, reason, _ in rejections] == [
        ("away", "malformed"),
        ("lies", "malformed"),
        ("taken", "reference_conflict"),
    ]
    assert "another partition" in rejections[0][2]
    assert "slot" in rejections[1][2]
    assert installation.rows("SELECT credit_balance FROM balances WHERE indicator IS NULL") == [
        (500,)
    ]


def test_data_that_postgres_refuses_is_quarantined_alone(
    install_daybook: Callable[[int], Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One record that the database will not take costs its neighbours in the batch nothing."""
    installation = install_daybook(1)
    (a,), _ = make_balances(installation, 1)
    receipts = installation.client.enqueue_many([deposit(f"r{i}", a, 100) for i in range(40)])
    installation.rows(
        "CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'too odd' USING ERRCODE = 'data_exception'; END $$"
    )
    installation.rows(
        "CREATE TRIGGER refuse_one BEFORE INSERT ON transactions FOR EACH ROW "
        "WHEN (NEW.reference = 'r17') EXECUTE FUNCTION refuse_one()"
    )
    installation.drain()
    outcomes = installation.client.wait_many(receipts, 5)
    assert [o and o.reason for o in outcomes] == [
        "quarantined" if i == 17 else None for i in range(40)
    ]
    ((trace,),) = installation.rows("SELECT traceback FROM rejected_requests")
    assert "too odd" in trace
    assert_proved(installation)


def test_data_that_postgres_refuses_does_not_stop_what_is_deferred(
    installation: Installation,
) -> None:
    """Also an entry that waited is quarantined alone, and its partition goes on."""
    client = installation.client
    ledger_id = _id_in("ldg", partition=0)
    poison, innocent = _id_in("bln", partition=1), _id_in("bln", partition=1)
    client.create_ledger("Late", ledger_id=ledger_id)
    creations = [
        client.create_balance(ledger_id, "USD", balance_id=poison),
        client.create_balance(ledger_id, "USD", balance_id=innocent),
    ]
    installation.rows(
        "CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'too odd' USING ERRCODE = 'data_exception'; END $$"
    )
    installation.rows(
        "CREATE TRIGGER refuse_one BEFORE INSERT ON balances FOR EACH ROW "
        f"WHEN (NEW.balance_id = '{poison[4:]}') EXECUTE FUNCTION refuse_one()"
    )
    applier = installation.applier()
    applier.apply_batch(1, 100)
    assert installation.rows("SELECT count(*) FROM deferred_entries") == [(2,)]
    installation.drain(0, 1)
    receipt = client.enqueue(deposit("after", innocent, 100))
    installation.drain(0, 1)
    outcomes = client.wait_many([*creations, receipt], 5)
    assert [o and o.reason for o in outcomes] == ["quarantined", None, None]
    assert installation.open_entries() == 0


def _id_in(prefix: str, partition: int) -> str:
    """A new id whose own slot lies in a partition of two."""
    for _ in range(1_000):
        made = mint_id(prefix)
        if slot_of(made) % 2 == partition:
            return made
    raise AssertionError("no slot found")
