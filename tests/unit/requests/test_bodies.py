"""Bodies: one for all requests that mean the same, and what becomes of a body that is none."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from daybook.errors import MalformedRequest
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.instructions import Commit, Transaction
from daybook.ledger.rejection import Rejected
from daybook.requests import (
    CommitRequest,
    Decoded,
    TransactionRequest,
    decode,
    fingerprint_of,
    load_json,
    mint_id,
    ordering_key,
    reference_in,
    slot_of,
    slot_of_transaction,
    validate,
)

A = "bln_00000000-0000-4000-8000-00000000000a"
B = "bln_00000000-0000-4000-8000-00000000000b"
HOLD = "txn_00000000-0000-7007-85f1-2dc06ad2464e"
OTHER = f"txn_018bcfe5-6800-7{slot_of(A) ^ 1:03x}-85f1-2dc06ad2464e"
PAYMENT: dict[str, Any] = {
    "reference": "r",
    "source": A,
    "destination": B,
    "currency": "USD",
    "amount": "19.99",
    "precision": 100,
}


def body(**given: Any) -> bytes:
    """The body of a payment with these fields changed; ``...`` leaves one out."""
    fields = {name: value for name, value in (PAYMENT | given).items() if value is not ...}
    return validate(TransactionRequest, fields).body()


def read(raw: bytes, request_id: str | None = None) -> Decoded | Rejected:
    """The body decoded, under an id that suits a payment from A."""
    return decode(raw, request_id or mint_id("txn", slot_of(A)), 1_700_000_000_000)


def test_body_is_pinned() -> None:
    """The canonical form and its fingerprint stay what they are: stored ones are compared."""
    raw = body(meta_data={"b": [1, 2.50], "a": "é"}, overdraft_limit="1E+1", description="d")
    assert raw.decode() == (
        '{"currency":"USD","description":"d",'
        '"destination":"bln_00000000-0000-4000-8000-00000000000b","kind":"transaction",'
        '"meta_data":"{\\"a\\":\\"é\\",\\"b\\":[1,2.5]}","overdraft_limit":"10",'
        '"precise_amount":"1999","precision":"100","reference":"r",'
        '"source":"bln_00000000-0000-4000-8000-00000000000a","v":1}'
    )
    assert fingerprint_of(raw).hex() == (
        "9dd445a242543a47f88d1fd064487ff799da673af402b8b9828cbae7bf3de992"
    )


@pytest.mark.parametrize(
    "same",
    [
        {"amount": "19.990"},
        {"amount": "1.999E+1"},
        {"amount": ..., "precise_amount": 1999},
        {"amount": ..., "precise_amount": "1999"},
        {"amount": ..., "precise_amount": "0001999"},
        {"precision": "100"},
        {"amount": "19.994", "rounding": "half_up"},
        {"rounding": "half_up"},
        {"description": "", "meta_data": {}, "allow_overdraft": False, "inflight": False},
        {"overdraft_limit": "0.00", "effective_date": None, "ordering_key": None},
        {"transaction_id": mint_id("txn", slot_of(A))},
    ],
)
def test_equal_meaning_has_equal_bodies(same: dict[str, Any]) -> None:
    """Other ways to write the same request have the same body."""
    assert body(**same) == body()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"meta_data": {"a": 1, "b": 2}}, {"meta_data": {"b": 2, "a": 1}}),
        ({"meta_data": {"a": 1.0}}, {"meta_data": {"a": 1}}),
        (
            {"meta_data": load_json('{"a":1E+2,"b":0.10,"c":-0.0}')},
            {"meta_data": {"a": 100, "b": 0.1, "c": 0}},
        ),
        ({"overdraft_limit": "1E+2"}, {"overdraft_limit": 100}),
        (
            {"effective_date": "2026-04-22T15:28:03Z"},
            {"effective_date": "2026-04-22T17:28:03+02:00"},
        ),
    ],
)
def test_equal_values_have_equal_bodies(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The order of keys, the form of a number and the zone of a date don't matter."""
    assert body(**one) == body(**other)


@pytest.mark.parametrize(
    "other",
    [
        {"reference": "R"},
        {"source": B, "destination": A},
        {"source": "@World"},
        {"currency": "usd"},
        {"amount": "20"},
        {"amount": "1.999", "precision": 1000},
        {"description": " "},
        {"allow_overdraft": True},
        {"overdraft_limit": "0.01"},
        {"inflight": True},
        {"effective_date": "2026-04-22T15:28:03Z"},
        {"meta_data": {"a": None}},
        {"ordering_key": A},
    ],
)
def test_different_meaning_has_different_bodies(other: dict[str, Any]) -> None:
    """Whatever changes the meaning changes the body."""
    assert body(**other) != body()


def test_no_digit_is_lost() -> None:
    """Amounts and limits keep every digit, however many."""
    long = "1" + "234567890" * 10 + ".123456789"
    raw = validate(CommitRequest, {"transaction_id": HOLD, "amount": long}).body()
    found = read(raw, HOLD)
    assert isinstance(found, Decoded)
    assert isinstance(found.instruction, Commit)
    assert found.instruction.amount == long
    found = read(body(overdraft_limit=long))
    assert isinstance(found, Decoded)
    assert isinstance(found.instruction, Transaction)
    assert found.instruction.overdraft_limit == long
    assert found.instruction.overdraft_limit_minor == int(long.replace(".", "")[:-7])


def test_a_backslash_is_text() -> None:
    """The six characters ``\\u0000`` are text, and not the NUL that JSON would mean by them."""
    raw = body(description="\\u0000", meta_data={"a": "\\\\u0000"})
    found = read(raw)
    assert isinstance(found, Decoded)
    assert isinstance(found.instruction, Transaction)
    assert found.instruction.description == "\\u0000"


def changed(**given: Any) -> bytes:
    """The body of a payment with raw fields changed, past all validation."""
    fields = json.loads(body()) | given
    return json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()


BROKEN: list[tuple[bytes, str]] = [
    (b"", "malformed"),
    (b"{}", "malformed"),
    (b"[]", "malformed"),
    (b"null", "malformed"),
    (b"\xff\xfe", "malformed"),
    (b"[" * 60_000, "malformed"),
    (b'{"v":' + b"9" * 60_000 + b"}", "malformed"),
    (b'{"v":2}', "unsupported_version"),
    (b'{"v":0,"kind":"transaction","new":[]}', "unsupported_version"),
    (b'{"v":true}', "malformed"),
    (b'{"v":1.0,"kind":"void"}', "malformed"),
    (changed(v="1"), "malformed"),
    (changed(kind="refund"), "malformed"),
    (changed(kind="ledger"), "malformed"),
    (changed(unknown=1), "malformed"),
    (changed(name="n"), "malformed"),
    (changed(ledger_id="general_ledger_id"), "malformed"),
    (changed(reference="a\x00"), "malformed"),
    (changed(reference=" "), "malformed"),
    (changed(reference="r" * 256), "malformed"),
    (changed(reference=...), "malformed"),
    (changed(currency="\t"), "malformed"),
    (changed(source="A"), "malformed"),
    (changed(source="@a b"), "malformed"),
    (changed(description="\ud800"), "malformed"),
    (changed(allow_overdraft=1), "malformed"),
    (changed(overdraft_limit="-1"), "malformed"),
    (changed(overdraft_limit="１"), "malformed"),
    (changed(effective_date="2023-11-14T00:00"), "malformed"),
    (changed(effective_date="2023-11-15T22:13:20.000001Z"), "malformed"),
    (changed(meta_data={"a": 1}), "malformed"),
    (changed(meta_data="{"), "malformed"),
    (changed(meta_data="[]"), "malformed"),
    (changed(meta_data='{"b":1,"a":1}'), "malformed"),
    (changed(meta_data='{"a":"\\u0000"}'), "malformed"),
    (changed(meta_data='{"a":"\\ud800"}'), "malformed"),
    (changed(meta_data='{"\\ud800":1e9999}'), "malformed"),
    (changed(meta_data="[" * 50_000), "malformed"),
    (changed(ordering_key="elsewhere"), "malformed"),
    (changed(precise_amount=1999), "malformed"),
    (changed(precise_amount="0"), "invalid_amount"),
    (changed(precise_amount="-1"), "invalid_amount"),
    (changed(precise_amount="1" * 101), "invalid_amount"),
    (changed(precise_amount="x", precision="0"), "invalid_amount"),
    (changed(precision="0"), "invalid_precision"),
    (changed(precision="0", destination=A), "invalid_precision"),
    (changed(destination=A), "same_balance"),
    (changed(source=internal_balance_id("@X", "USD"), destination="@X"), "same_balance"),
    (body(description="d" * 2000, meta_data={"k": "é" * 8000}) + b" " * 65536, "malformed"),
]


@pytest.mark.parametrize(("raw", "code"), BROKEN, ids=lambda value: repr(value)[:60])
def test_what_is_no_body_is_a_rejection(raw: bytes, code: str) -> None:
    """A body that breaks a rule becomes a rejection that Postgres can store, and raises nothing."""
    found = read(raw)
    assert isinstance(found, Rejected)
    assert found.reason == code
    assert 0 < len(found.detail) <= 2000
    assert "\x00" not in found.detail
    found.detail.encode()


def test_an_effective_date_may_lie_a_day_ahead() -> None:
    """A day after the acceptance is the last moment; it is kept to the microsecond."""
    found = read(changed(effective_date="2023-11-15T22:13:20Z"))
    assert isinstance(found, Decoded)
    assert isinstance(found.instruction, Transaction)
    assert found.instruction.effective_micros == 1_700_086_400_000_000


@pytest.mark.parametrize("request_id", ["", "txn_1", A, OTHER, OTHER.upper()])
def test_an_id_carries_the_slot(request_id: str) -> None:
    """A transaction under an id of another slot would part from its commits: it is refused."""
    assert isinstance(decode(body(), request_id, 0), Rejected)


@pytest.mark.parametrize(
    ("raw", "reference"),
    [
        (changed(unknown=1), "r"),
        (changed(reference="é" * 300), "é" * 255),
        (changed(reference=7), None),
        (changed(reference="\x00"), None),
        (changed(reference="\ud800"), None),
        (b"\xff", None),
        (b"[]", None),
        (b"[" * 100_000, None),
    ],
)
def test_reference_of_a_broken_body(raw: bytes, reference: str | None) -> None:
    """The reference is found wherever there is one that can be stored."""
    assert reference_in(raw) == reference


@pytest.mark.parametrize(
    ("key", "slot"),
    [("", 0), ("@World", 661), ("é", 3390), (A, 1054), (B, 1444), ("customer 17", 2956)],
)
def test_slots_are_stable(key: str, slot: int) -> None:
    """The slot of a key never changes: it decides where requests wait for each other."""
    assert slot_of(key) == slot


@pytest.mark.parametrize("slot", [0, 1, 7, 0xABC, 4095])
def test_an_id_keeps_its_slot(slot: int) -> None:
    """A minted id is a UUID of version 7 that carries its slot and the time."""
    minted = mint_id("txn", slot, 1_700_000_000_000)
    assert slot_of_transaction(minted) == slot
    assert minted.startswith("txn_018bcfe5-6800-7")
    assert minted[23] in "89ab"
    assert mint_id("txn", slot, 1_700_000_000_000) != minted


def test_ids_of_internal_balances_are_pinned() -> None:
    """The id of an internal balance follows from its name and currency, for ever."""
    assert internal_balance_id("@World", "USD") == "bln_8a9670b2-2609-8219-8297-df86b5fb7472"
    assert internal_balance_id("@World", "EUR") != internal_balance_id("@World", "USD")


@pytest.mark.parametrize(
    ("source", "destination", "key"),
    [(A, B, A), (A, "@Out", A), ("@World", B, B), ("@World", "@Out", "@World")],
)
def test_ordering_keys(source: str, destination: str, key: str) -> None:
    """The key is the source, unless it alone is internal."""
    assert ordering_key(source, destination) == key


@pytest.mark.parametrize("number", ["1e1000", "12e999", "1e999", "1e-1000", "9" * 1_000])
def test_a_number_is_judged_by_the_client_as_by_the_worker(number: str) -> None:
    """What is taken where it is handed in is written out, read again and the same number."""
    meta_data = {"n": Decimal(number)}
    if Decimal(number).adjusted() >= 1_000:
        with pytest.raises(MalformedRequest, match=r"a number out of range at \.n"):
            body(meta_data=meta_data)
    else:
        assert isinstance(read(body(meta_data=meta_data)), Decoded)


@pytest.mark.parametrize("day", ["2026-03-01", date(2026, 3, 1)])
def test_a_bare_day_is_its_first_moment(day: Any) -> None:
    """As text and as a date, in UTC; other forms of a day without a time say what they lack."""
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    assert body(effective_date=day) == body(effective_date=moment)
    for unclear in ("20260301", "2026-W09-7", "2026-02-30"):
        with pytest.raises(MalformedRequest, match=r"time zone|not a date"):
            body(effective_date=unclear)
