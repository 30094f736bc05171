"""From requests of every kind to entries of the log."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any, cast

import pytest

from daybook import BulkRequest, MalformedRequest, RefundRequest, TransactionRequest
from daybook.apply.dry_run import DryRun
from daybook.cli.exits import show_error
from daybook.client.drafts import (
    APPEND_BYTES_MAX,
    APPEND_ENTRIES_MAX,
    Draft,
    append_slices,
    conflict,
    draft,
    drafts,
    original_slot,
    with_task_id,
)
from daybook.client.dry_run import AsyncDryRunCalls, DryRunCalls
from daybook.client.fields import TransactionFields
from daybook.client.names import name_of
from daybook.client.receipts import Outcome
from daybook.ledger.record import Status
from daybook.queue.entries import NO_MONEY, Money, NewEntry, outcome_value, read_value
from daybook.queue.keys import Keys
from daybook.queue.wire import append_arguments
from daybook.requests import (
    common_of,
    mint_bulk_id,
    mint_id,
    request_of,
    slot_of,
    slot_of_transaction,
)
from daybook.requests.bounds import BODY_BYTES_MAX

NOW = 1_790_000_000.0
A, B, C = (f"bln_0198a1b2-0000-7000-8000-00000000000{n}" for n in "abc")
LEDGER = "general_ledger_id"
HOLD = mint_id("txn", 77)
BULK = mint_bulk_id(78)


def of(given: Any) -> Draft:
    return draft(given, lambda: NOW)


def item(reference: str, **changes: Any) -> dict[str, Any]:
    return {
        "reference": reference,
        "source": "@World",
        "destination": A,
        "currency": "USD",
        "precise_amount": 5,
        "precision": 100,
        **changes,
    }


@pytest.mark.parametrize(
    ("given", "key", "prefix", "slot"),
    [
        (item("a"), "t:a", "txn_", slot_of(A)),
        ({"kind": "commit", "transaction_id": HOLD}, "i:", "txn_", 77),
        ({"kind": "void", "transaction_id": BULK, "reference": "v"}, "t:v", "txn_", 78),
        ({"kind": "refund", "transaction_id": BULK}, "i:", "txn_", 78),
        (RefundRequest(transaction_id=HOLD, reference="r"), "t:r", "txn_", 77),
        ({"kind": "cancel", "transaction_id": HOLD}, "i:", "txn_", 77),
        ({"kind": "ledger", "name": "L"}, "i:", "ldg_", None),
        ({"kind": "balance", "ledger_id": LEDGER, "currency": "EUR"}, "i:", "bln_", None),
        ({"kind": "identity", "first_name": "Ada"}, "i:", "idt_", None),
        ({"kind": "change", "subject_id": A, "meta_data": {"x": 1}}, "i:", "txn_", slot_of(A)),
        ({"kind": "change", "subject_id": HOLD, "meta_data": {"x": 1}}, "i:", "txn_", 77),
        ({"transactions": [item("a")], "reference": "b"}, "t:b", "bulk_", slot_of(A)),
    ],
)  # fmt: skip
def test_every_kind_has_an_id_a_key_and_a_slot(
    given: Any, key: str, prefix: str, slot: int | None
) -> None:
    """The id is minted with the slot in it, and is the key of what has no reference."""
    entry = of(given).entry
    assert entry.request_id.startswith(prefix)
    assert entry.key == (key if key.startswith("t:") else f"i:{entry.request_id}")
    if slot is None:
        assert entry.slot == slot_of(entry.request_id)
    else:
        assert entry.slot == slot_of_transaction(entry.request_id) == slot


def test_only_wide_requests_name_their_slots() -> None:
    """A bulk always does, several sources when they lie apart; nothing else."""
    assert of(item("a")).entry.slots == ()
    bulk = of({"transactions": [item("a", source=B, destination=C), item("b")]}).entry
    assert bulk.slots == tuple(sorted({slot_of(B), slot_of(A)}))
    assert bulk.slot == slot_of(B)
    shares = [{"identifier": name, "distribution": "50%"} for name in (A, B)]
    legs = {key: value for key, value in item("c", destination=C).items() if key != "source"}
    assert of({**legs, "sources": shares}).entry.slots == tuple(sorted({slot_of(A), slot_of(B)}))


def test_the_same_bulk_is_the_same_request() -> None:
    """Without a reference it is named by its content; its ids differ, its fingerprint does not."""
    first, again = (of({"transactions": [item("a"), item("b")]}) for _ in range(2))
    assert (first.reference, first.entry.fingerprint) == (again.reference, again.entry.fingerprint)
    assert first.entry.request_id != again.entry.request_id
    other = of({"transactions": [item("b"), item("a")]})
    assert other.reference != first.reference
    for said in ({"description": "may"}, {"effective_date": "2026-01-01T00:00:00Z"}):
        assert of({"transactions": [item("a"), item("b")], **said}).reference != first.reference


def test_what_is_made_for_a_draft_is_minted() -> None:
    """An id that was given, or that follows from an indicator, is not: another may have it."""
    own = {"transaction_id": mint_id("txn", slot_of(A)), "bulk_id": mint_bulk_id(slot_of(A))}
    balance = {"kind": "balance", "ledger_id": LEDGER, "currency": "EUR"}
    for given in (item("a"), {"transactions": [item("a")]}, balance):
        assert of(given).minted
    for given in (
        item("a", transaction_id=own["transaction_id"]),
        {"transactions": [item("a")], "bulk_id": own["bulk_id"]},
        balance | {"balance_id": A},
        balance | {"indicator": "@Fees"},
    ):
        assert not of(given).minted
    assert of({"kind": "void", "transaction_id": HOLD}).minted


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"kind": "transaction"},
        {"precise_amount": "5", "precision": "100"},
        {"amount": "19.99", "precise_amount": None},
        {"amount": "0.005", "precise_amount": None, "rounding": "half_up"},
        {"description": "Wäsche", "meta_data": {"order": 7}},
        {"allow_overdraft": True, "inflight": True},
    ],
)
def test_what_is_common_takes_the_short_way(more: dict[str, Any]) -> None:
    """What nearly every producer sends needs no model, and has the body of one."""
    given = item("a", **more)
    found = common_of(given)
    assert found is not None
    assert found == ("a", slot_of(A), request_of(given).body())


def test_the_clock_is_read_once_for_many() -> None:
    """Whatever they are, all requests of one call are judged at the same moment."""
    moments = iter([NOW])
    made = drafts([item("a"), {"kind": "ledger", "name": "L"}], lambda: next(moments))
    assert len(made) == 2


def test_dates_too_far_ahead_are_refused_in_every_place() -> None:
    """Of every request that has one, and of each transaction of a bulk, named by its place."""
    late = {"effective_date": "2027-01-01T00:00:00Z"}
    actions = [{"kind": kind, "transaction_id": HOLD} for kind in ("commit", "void", "refund")]
    for given in (item("a"), {"transactions": [item("a")]}, *actions):
        assert of({**given, "effective_date": "1970-01-01T00:00:00Z"}).entry.body
        with pytest.raises(MalformedRequest, match=r"^effective_date: lies more than a day"):
            of({**given, **late})
    with pytest.raises(MalformedRequest) as caught:
        drafts([item("x"), {"transactions": [item("a"), item("b", **late)]}], lambda: NOW)
    assert [error.field for error in caught.value.errors] == ["[1].transactions[1].effective_date"]


def test_a_message_of_many_faults_has_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    """It tells the first of them and counts the rest; ``errors`` has all, also from a pickle."""
    with pytest.raises(MalformedRequest) as raised:
        drafts([item("") for _ in range(10_000)], lambda: NOW)
    fault = raised.value
    assert len(fault.errors) == 10_000
    text = str(fault)
    assert text.startswith("[0].reference: ")
    assert "; [19].reference: " in text
    assert text.endswith("; and 9,980 more")
    again = pickle.loads(pickle.dumps(fault))
    assert (again.errors, str(again)) == (fault.errors, text)
    assert str(MalformedRequest(text)) == text
    show_error(fault)
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[-1]) == (21, "error: and 9,980 more")


def test_an_unknown_kind_is_refused_with_those_that_there_are() -> None:
    """A deadline is nothing that a producer may send, and no other word is a kind."""
    for kind in ("deadline", "transfer", 7):
        with pytest.raises(MalformedRequest, match="kind: must be one of transaction, bulk"):
            of({"kind": kind})


def test_one_append_is_bounded_in_entries_and_bytes() -> None:
    """Slices keep the order, lose nothing, and hold more bytes than the bound only never."""
    sizes = [100] * 600 + [APPEND_BYTES_MAX, 100, APPEND_BYTES_MAX - 100, 100, 100]
    sizes += [BODY_BYTES_MAX] * 300
    made = [
        Draft(NewEntry(0, str(number), b"", "", bytes(size)), None)
        for number, size in enumerate(sizes)
    ]
    slices = [list(part) for part in append_slices(made)]
    assert [one for part in slices for one in part] == made
    assert max(map(len, slices)) == APPEND_ENTRIES_MAX
    assert max(sum(len(one.entry.body) for one in part) for part in slices) <= APPEND_BYTES_MAX
    assert len(slices) == 3 + 1 + 1 + 2
    assert list(append_slices([])) == []


def test_slots_travel_as_one_argument() -> None:
    """Seven arguments an entry; the last is empty for nearly all."""
    plain = NewEntry(3, "t:a", bytes(32), "txn_a", b"x")
    _, arguments = append_arguments(Keys("d"), [plain, plain._replace(slots=(3, 40, 4095))])
    assert arguments[8::7] == ["", "3,40,4095"]
    assert len(arguments) == 2 + 2 * 7


def test_a_scheduled_outcome_is_an_answer_but_not_final() -> None:
    """A wait ends with it; it will change all the same."""
    expected = {
        Status.QUEUED: (False, False),
        Status.SCHEDULED: (True, False),
        Status.APPLIED: (True, True),
        Status.REJECTED: (True, True),
    }
    for status, (answered, final) in expected.items():
        outcome = Outcome("txn_1", "a", status)
        assert (outcome.answered, outcome.final) == (answered, final)


def test_a_conflict_finds_the_original_of_any_kind_and_names_what_differs() -> None:
    """A bulk's id carries its slot too; fields are named as the caller wrote them."""
    bulk = of({"transactions": [item("a")], "reference": "b"})
    value = outcome_value("0" * 64, bulk.entry.request_id, "APPLIED", position=1)
    other = of({"transactions": [item("a"), item("c")], "reference": "b", "atomic": True})
    assert original_slot(other, read_value(value)) == bulk.entry.slot
    fault = conflict(other, value, bulk.entry.body)
    assert (fault.original_id, fault.fields) == (
        bulk.entry.request_id,
        ("atomic", "transactions"),
    )


def test_a_name_is_a_reference_or_an_id() -> None:
    """One of the two, and text; neither is guessed from how it looks."""
    uuid = "0198a1b2-0000-7000-8000-000000000001"
    for looks_like in (f"bln_{uuid}", f"txn_{uuid}", "idt_ada"):
        assert name_of(looks_like, None).key == f"t:{looks_like}"
        assert name_of(None, looks_like).key == f"i:{looks_like}"
    wrong: list[Any] = [(None, None), ("a", "b"), (7, None), (None, b"txn_1")]
    for reference, request_id in wrong:
        with pytest.raises(TypeError, match="one of them"):
            name_of(reference, request_id)


def test_what_stands_under_a_key_says_what_it_is_of() -> None:
    """Amounts of any size and currencies of any text come back as they were."""
    for money in (
        Money(1999, 100, "USD"),
        Money(10**40, 10**18, 'a "quoted" one'),
        Money(5, 1, "€uro-€"),
        Money(None, None, "USD"),
        NO_MONEY,
    ):
        value = outcome_value("0" * 64, "txn_1", "APPLIED", position=7, money=money)
        assert read_value(value).money == money
        refused = outcome_value("0" * 64, "txn_1", "REJECTED", "malformed", "x", money=money)
        assert read_value(refused).money == money


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"amount": 1}, {"reference": "T"}),
        ({"kind": "refund", "reference": "own"}, {"reference": "own"}),
        ({"kind": "identity"}, {"identity_id": "idt_"}),
        ({"kind": "balance", "indicator": "@Fees"}, {}),
    ],
)
def test_a_task_names_what_has_no_name(given: dict[str, Any], named: Mapping[str, str]) -> None:
    """The same task always gives the same reference, or the same id of what is created."""
    first, again = dict(given), dict(given)
    with_task_id(first, "T")
    with_task_id(again, "T")
    assert first == again
    assert first.keys() == given.keys() | named.keys()
    assert all(first[name].startswith(start) for name, start in named.items())


def test_a_bulk_may_be_made_of_models() -> None:
    """A model as an item is the same as its mapping."""
    mapping = of({"transactions": [item("a")]})
    model = of(BulkRequest(transactions=(TransactionRequest(**item("a")),)))
    assert json.loads(model.entry.body) == json.loads(mapping.entry.body)


def test_keywords_of_enqueue_are_the_fields_of_a_transaction() -> None:
    """What a type checker offers is what a request takes, and requires what it requires."""
    model = TransactionRequest.model_fields
    assert set(TransactionFields.__annotations__) == set(model)
    required = {name for name, field in model.items() if field.is_required()}
    assert TransactionFields.__required_keys__ == required


@pytest.mark.parametrize("kind", [DryRunCalls, AsyncDryRunCalls, DryRun])
def test_a_dry_run_refuses_what_enqueue_refuses(kind: type) -> None:
    """A request and keywords beside it: one of them would be dropped silently."""
    calls = kind(cast(Any, None), lambda: 0.0)
    with pytest.raises(TypeError, match="not both"):
        calls.enqueue({"reference": "r"}, amount="1")
