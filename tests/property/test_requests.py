"""Requests there and back: whatever is valid is read as it was meant, and no bytes raise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.oracle.amounts import half_up, micros
from tests.oracle.facts import ORDER
from tests.property.texts import plain

from daybook.errors import FieldError, MalformedRequest
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.instructions import (
    Bulk,
    Commit,
    MultiLeg,
    NewBalance,
    NewLedger,
    Transaction,
    Void,
    movements,
)
from daybook.ledger.rejection import Rejected
from daybook.requests import (
    Decoded,
    TransactionRequest,
    decode,
    fingerprint_of,
    load_json,
    mint_bulk_id,
    mint_id,
    reference_in,
    request_models,
    request_of,
    slot_of,
    slot_of_transaction,
    validate,
)
from daybook.requests.fields import canonical_meta_data

Given = dict[str, Any]
ACCEPTED_MS = 1_700_000_000_000
LATEST = datetime(2023, 11, 14, tzinfo=UTC).replace(tzinfo=None)

odd_text = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
        st.sampled_from('\\"u0{}[]@\x01\x1f\x7f\u2028\U0001f600'),
    ),
    max_size=12,
)
references = odd_text.map(plain).filter(bool)
ids = st.uuids().map(lambda found: f"bln_{found}")
indicators = (
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
    .map(lambda text: plain(f"@{text}"))
    .filter(lambda text: text != "@")
)
sides = st.one_of(ids, indicators)
majors = st.one_of(
    st.decimals("0.5", "1E+20", allow_nan=False, allow_infinity=False),
    st.sampled_from([Decimal("1.005"), Decimal("4.35"), Decimal("19.99"), Decimal("1E+60")]),
    st.integers(1, 10**69),
)
minors = st.one_of(st.integers(1, 10**6), st.integers(10**99, 10**100 - 1))
precisions = st.sampled_from([1, 2, 3, 10, 100, 10**8, 10**18, 10**30])
roundings = st.sampled_from(["half_up", "half_up", "half_up", None])
amounts = st.fixed_dictionaries({"amount": majors, "rounding": roundings}) | st.fixed_dictionaries(
    {"precise_amount": minors}
)
dates = st.datetimes(max_value=LATEST, timezones=st.just(UTC))
limits = st.one_of(
    st.just(0), st.decimals(0, "1E+140", allow_nan=False, places=3), st.just(Decimal("1E-140"))
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | odd_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_text, inner, max_size=3),
    max_leaves=6,
)
meta_data = st.none() | st.dictionaries(odd_text, values, max_size=4)
optional_meta = {"meta_data": meta_data, "description": odd_text}
hold_ids = st.integers(0, 4095).map(lambda slot: mint_id("txn", slot, ACCEPTED_MS))

transactions = st.builds(
    dict.__or__,
    amounts,
    st.fixed_dictionaries(
        {
            "reference": references,
            "source": sides,
            "destination": sides,
            "currency": references,
            "precision": precisions,
        },
        optional={
            "allow_overdraft": st.booleans(),
            "overdraft_limit": limits,
            "inflight": st.booleans(),
            "effective_date": dates,
            "ordering_key": references,
            **optional_meta,
        },
    ),
)
commits = st.builds(
    dict.__or__,
    amounts | st.just({}),
    st.fixed_dictionaries(
        {"transaction_id": hold_ids},
        optional={
            "reference": references,
            "effective_date": dates,
            **optional_meta,
        },
    ),
)


def accepted(kind: str, given_fields: Given) -> Any:
    """The request, or a look at another one when these fields contradict each other."""
    try:
        return validate(request_models()[kind], given_fields)
    except MalformedRequest:
        assume(False)


def decoded(request: Any, request_id: str) -> Any:
    """The instruction that the worker reads from the request's body; its slot is the request's."""
    found = decode(request.body(), request_id, ACCEPTED_MS)
    assert isinstance(found, Decoded), found
    assert found.slot == request.slot
    assert found.slots == request.slots
    assert found.request_id == request_id
    return found.instruction


def meta_text(given_fields: Given) -> str | None:
    """The meta_data of an instruction."""
    found = given_fields.get("meta_data")
    return canonical_meta_data(found) if found else None


@given(transactions)
def test_a_transaction_is_read_as_it_was_meant(fields: Given) -> None:
    """Every field of a valid transaction comes back from its body, amounts exact."""
    request = accepted("transaction", fields)
    found = decoded(request, mint_id("txn", request.slot, ACCEPTED_MS))
    assert isinstance(found, Transaction)
    for side, identity in (("source", found.source_id), ("destination", found.destination_id)):
        name = fields[side]
        derived = internal_balance_id(name, fields["currency"]) if name[0] == "@" else name
        assert identity == derived
    amount = fields.get("precise_amount")
    if amount is None:
        amount = half_up(Fraction(fields["amount"]) * fields["precision"])
    assert found.precise_amount == amount
    limit = Fraction(fields.get("overdraft_limit", 0))
    assert Fraction(found.overdraft_limit or 0) == limit
    assert found.overdraft_limit_minor == (limit * fields["precision"]).__floor__()
    assert found.meta_data == meta_text(fields)
    assert found.effective_micros == micros(fields.get("effective_date"))
    plain = ("reference", "currency", "precision", "description", "allow_overdraft", "inflight")
    assert all(getattr(found, name) == fields[name] for name in plain if name in fields)


@given(majors, precisions)
def test_an_amount_is_exact_or_refused_with_the_nearest(amount: Any, precision: int) -> None:
    """Unasked nothing is rounded; the amounts that the rejection names are taken, on both sides."""
    given_fields = {
        "reference": "r",
        "source": "@A",
        "destination": "@B",
        "currency": "X",
        "precision": precision,
    }
    minor = Fraction(amount) * precision
    if minor.denominator == 1:
        request = accepted("transaction", given_fields | {"amount": amount})
        assert request.minor_amount() == minor
        return
    with pytest.raises(MalformedRequest) as refused:
        validate(TransactionRequest, given_fields | {"amount": amount})
    (error,) = refused.value.errors
    assert (error.field, error.code) == ("amount", "invalid_amount")
    told = error.message.partition(": send ")[2].partition(", or set")[0].split(" or ")
    nearest = []
    for each in told:
        text, _, is_minor = each.partition(" in minor")
        field = "precise_amount" if is_minor else "amount"
        nearest.append(accepted("transaction", given_fields | {field: text}).minor_amount())
    floor = minor.__floor__()
    assert nearest == [each for each in (floor, floor + 1) if each]
    rounded = given_fields | {"amount": amount, "rounding": "half_up"}
    if half_up(minor):
        assert accepted("transaction", rounded).minor_amount() == half_up(minor)


@given(commits)
def test_a_commit_is_read_as_it_was_meant(fields: Given) -> None:
    """A valid commit keeps its amount to the last digit."""
    request = accepted("commit", fields)
    found = decoded(request, mint_id("txn", request.slot, ACCEPTED_MS))
    assert isinstance(found, Commit)
    assert found.precise_amount == fields.get("precise_amount")
    amount = fields.get("amount")
    assert (found.amount and Fraction(found.amount)) == (amount and Fraction(amount))
    assert found.reference == fields.get("reference")
    assert found.effective_micros == micros(fields.get("effective_date"))
    may_need_it = amount is not None and Fraction(amount).denominator > 1
    assert found.rounding == (fields.get("rounding") if may_need_it else None)
    assert found.meta_data == meta_text(fields)


@given(hold_ids, references, meta_data, sides)
def test_other_kinds_are_read_as_they_were_meant(
    hold_id: str, text: str, meta: Given | None, side: str
) -> None:
    """Voids, ledgers and balances come back from their bodies."""
    void = accepted("void", {"transaction_id": hold_id, "reference": text, "meta_data": meta})
    expected = meta_text({"meta_data": meta})
    assert decoded(void, hold_id) == Void(hold_id, text, "", expected)
    ledger_id = f"ldg_{hold_id[4:]}"
    ledger = accepted("ledger", {"ledger_id": ledger_id, "name": text, "meta_data": meta})
    assert decoded(ledger, ledger_id) == NewLedger(ledger_id, text, expected)
    fields: Given = {"ledger_id": "general_ledger_id", "currency": text, "meta_data": meta}
    indicator = side if side.startswith("@") else None
    balance_id = internal_balance_id(side, text) if indicator else side
    fields |= {"balance_id": balance_id, "indicator": indicator}
    found = decoded(accepted("balance", fields), balance_id)
    assert found == NewBalance(balance_id, "general_ledger_id", text, indicator, None, expected)


shares = st.one_of(
    st.just({"distribution": "left"}),
    st.decimals(0, 100, places=2).map(lambda percent: {"distribution": f"{percent}%"}),
    st.integers(0, 10**6).map(lambda minor: {"precise_distribution": minor}),
    st.decimals("0.5", 10**4, places=3).map(lambda major: {"distribution": str(major)}),
)
some_legs = st.lists(
    st.tuples(sides, shares).map(lambda leg: {"identifier": leg[0], **leg[1]}),
    min_size=1,
    max_size=4,
    unique_by=lambda leg: leg["identifier"],
)


def with_legs(fields: Given, many: str, legs: list[Given], fill: bool) -> Given:
    """A transaction with these legs on one side; the last takes what is left, if it is to fit."""
    one = many[:-1]
    if fill:
        fitting = [leg for leg in legs[:-1] if "left" not in leg.values()]
        legs = [*fitting, {"identifier": legs[-1]["identifier"], "distribution": "left"}]
    return {name: value for name, value in fields.items() if name != one} | {many: legs}


legged = st.builds(
    with_legs,
    transactions,
    st.sampled_from(["sources", "destinations"]),
    some_legs,
    st.sampled_from([True, True, False]),
)


@given(legged)
def test_a_request_with_legs_is_read_as_it_was_meant(fields: Given) -> None:
    """Legs come back in order, add up to the total, and stand on the side that they were on."""
    request = accepted("transaction", fields)
    found = decoded(request, mint_id("txn", request.slot, ACCEPTED_MS))
    several = "sources" if "sources" in fields else "destinations"
    if len(fields[several]) == 1:
        assert isinstance(found, Transaction)
        return
    assert isinstance(found, MultiLeg)
    total = request.minor_amount()
    assert sum(leg.precise_amount for leg in found.legs) == total == found.whole.precise_amount
    assert all(leg.precise_amount > 0 for leg in found.legs)
    named = [leg["identifier"] for leg in fields[several]]
    ids = [internal_balance_id(n, fields["currency"]) if n[0] == "@" else n for n in named]
    got = [leg.source_id if several == "sources" else leg.destination_id for leg in found.legs]
    assert [one for one in ids if one in got] == got
    assert found.whole[1:5] == found.legs[0][:4]


items = st.one_of(transactions, transactions, legged).map(
    lambda fields: {name: value for name, value in fields.items() if name != "ordering_key"}
)
bulks = st.fixed_dictionaries(
    {"transactions": st.lists(items, min_size=1, max_size=4, unique_by=lambda i: i["reference"])},
    optional={
        "atomic": st.booleans(),
        "inflight": st.booleans(),
        "reference": references,
        "ordering_key": references,
        "effective_date": dates,
        **optional_meta,
    },
)


@given(bulks)
def test_a_bulk_is_read_as_it_was_meant(fields: Given) -> None:
    """Each item is what it is on its own; the bulk has the slot of whatever it spends from."""
    request = accepted("bulk", fields)
    found = decoded(request, mint_bulk_id(request.slot, ACCEPTED_MS))
    assert isinstance(found, Bulk)
    assert (found.reference, found.atomic) == (request.reference, fields.get("atomic", False))
    assert found.meta_data == meta_text(fields)
    for given_item, item in zip(fields["transactions"], found.items, strict=True):
        held = {"inflight": True} if fields.get("inflight") else {}
        own = {name: value for name, value in given_item.items() if value != ""}
        said = {name: fields[name] for name in ("description", "effective_date") if name in fields}
        alone = accepted("transaction", said | own | held)
        assert item == decoded(alone, mint_id("txn", alone.slot, ACCEPTED_MS))
    for _, movement in movements(found):
        if movement.source_indicator is None:
            assert slot_of(movement.source_id) in request.slots
    assert reference_in(request.body()) == request.reference
    through = load_json(json.dumps(fields, default=str))
    assert request_of(through).body() == request.body()


@given(bulks, st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=3))
def test_no_mutated_bulk_raises(fields: Given, edits: list[tuple[int, int]]) -> None:
    """A bulk's body with some bytes changed is read or refused; both can be stored."""
    request = accepted("bulk", fields)
    raw = bytearray(request.body())
    for place, byte in edits:
        raw[place % len(raw)] = byte
    assert storable(decode(bytes(raw), mint_bulk_id(request.slot), ACCEPTED_MS))
    reference_in(bytes(raw))


@given(transactions, st.randoms(use_true_random=False))
def test_the_order_of_fields_does_not_matter(fields: Given, random: Any) -> None:
    """The same fields in another order, and through JSON, have the same fingerprint."""
    request = accepted("transaction", fields)
    names = list(fields)
    random.shuffle(names)
    again = accepted("transaction", {name: fields[name] for name in names})
    assert fingerprint_of(again.body()) == fingerprint_of(request.body())
    sent = {**fields, "amount": str(fields["amount"])} if "amount" in fields else fields
    through = load_json(json.dumps(sent, default=str))
    assert accepted("transaction", through).body() == request.body()


@given(values.filter(lambda value: isinstance(value, dict)))
def test_canonical_meta_data_is_stable(value: Given) -> None:
    """Reading canonical meta_data and writing it again changes nothing."""
    text = canonical_meta_data(value)
    assert canonical_meta_data(load_json(text)) == text


def storable(found: Decoded | Rejected) -> bool:
    """Whether what a body became can be stored in Postgres."""
    if isinstance(found, Decoded):
        texts = [part for part in found.instruction if isinstance(part, str)]
    else:
        texts = [found.detail]
        assert 0 < len(found.detail) <= 2000
    return all("\x00" not in text and text.encode() is not None for text in texts)


@given(st.binary(max_size=200), st.text(max_size=30))
def test_no_bytes_raise(raw: bytes, request_id: str) -> None:
    """Random bytes become a rejection that can be stored."""
    found = decode(raw, request_id, ACCEPTED_MS)
    assert isinstance(found, Rejected)
    assert storable(found)
    reference_in(raw)


@given(transactions, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
def test_no_mutated_body_raises(fields: Given, edits: list[tuple[int, int]]) -> None:
    """A valid body with some bytes changed is read or refused; both can be stored."""
    request = accepted("transaction", fields)
    raw = bytearray(request.body())
    for place, byte in edits:
        raw[place % len(raw)] = byte
    assert storable(decode(bytes(raw), mint_id("txn", request.slot), ACCEPTED_MS))
    reference_in(bytes(raw))


FIELD_NAMES = (
    "v kind reference source destination currency precise_amount precision amount description "
    "allow_overdraft overdraft_limit inflight effective_date meta_data ordering_key "
    "transaction_id ledger_id balance_id indicator name other transactions sources destinations "
    "atomic bulk_id inflight_expiry_date inflight_commit_date scheduled_for identity_id "
    "first_name subject_id fields made_by"
)
shapes = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["1", "0", "-1", "1E+999999999", "NaN", "{}", '{"a":1}', "@A", "@B", "２"])
    | st.sampled_from(["\x00", "\ud800", "2023-01-01T00:00Z", '{"\\u0000":1}', '{"a":"\\ud800"}'])
    | st.sampled_from(["general_ledger_id", "txn_018bcfe5-6800-7007-8000-000000000000"])
    | st.sampled_from(["left", "50%", "bulk_018bcfe5-6800-8007-8000-000000000000"])
    | st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "identifier": st.sampled_from(["@A", "@B", "x", 7]),
                "distribution": st.sampled_from(["left", "50%", "1", 7]),
                "reference": st.sampled_from(["a", "b", None]),
            },
        ),
        max_size=3,
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
bodies = st.fixed_dictionaries(
    {"v": st.sampled_from([1, 1, 1, 1, 2, "1", None])},
    optional={
        "kind": st.sampled_from([*request_models(), "deadline", "schedule"]),
        **dict.fromkeys(FIELD_NAMES.split()[2:], shapes),
    },
)


@given(st.one_of(bodies, shapes), st.sampled_from(["", "general_ledger_id", "hold"]))
def test_no_json_of_a_wrong_shape_raises(shape: Any, request_id: str) -> None:
    """JSON of any shape is read or refused; both can be stored."""
    if request_id == "hold":
        request_id = mint_id("txn", 7, ACCEPTED_MS)
    raw = json.dumps(shape).encode()
    assert storable(decode(raw, request_id, ACCEPTED_MS))
    reference_in(raw)


kinds = st.sampled_from(list(request_models()))


@given(kinds, st.dictionaries(st.sampled_from(FIELD_NAMES.split()), shapes))
def test_no_request_raises_anything_else(kind: str, fields: Given) -> None:
    """Whatever is handed in is accepted, or refused with a name and a message for each error."""
    errors: Sequence[FieldError] = ()
    try:
        validate(request_models()[kind], fields)
    except MalformedRequest as refused:
        errors = refused.errors
        str(refused)
    assert all(error.field and error.message and error.code in ORDER for error in errors)


@given(st.integers(0, 4095), st.integers(0, 2**48 - 1))
def test_a_minted_id_carries_its_slot(slot: int, now_ms: int) -> None:
    """Any slot comes back from the id, at any time."""
    assert slot_of_transaction(mint_id("txn", slot, now_ms)) == slot
