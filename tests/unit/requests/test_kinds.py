"""Bodies of every kind but the plain transaction: pinned, read back, and refused when foreign."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daybook.errors import MalformedRequest
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.ids import is_bulk, part_id
from daybook.ledger.instructions import (
    Bulk,
    Cancel,
    Change,
    Commit,
    Deadline,
    Leg,
    MultiLeg,
    NewBalance,
    NewIdentity,
    Refund,
    Transaction,
    Void,
)
from daybook.ledger.rejection import Rejected
from daybook.requests import (
    Decoded,
    Request,
    TransactionRequest,
    deadline_body,
    decode,
    fingerprint_of,
    mint_bulk_id,
    mint_id,
    reference_in,
    request_of,
    slot_of,
    slot_of_transaction,
    validate,
)
from daybook.requests.bounds import BODY_BYTES_MAX, BULK_BODY_BYTES_MAX

A, B, C, D = (f"bln_00000000-0000-4000-8000-00000000000{end}" for end in "abcd")
WORLD = internal_balance_id("@World", "USD")
OWNER = "idt_00000000-0000-4000-8000-000000000001"
HOLD, BULK = "txn_00000000-0000-7007-85f1-2dc06ad2464e", "bulk_00000000-0000-8007-85f1-2dc06ad2464e"
ACTING = "txn_018bcfe5-6800-7007-85f1-2dc06ad2464e"
ACCEPTED_MS = 1_700_000_000_000
DATE, MICROS = "2023-11-14T22:13:21+00:00", 1_700_000_001_000_000
Given = dict[str, Any]


def item(reference: str = "r", **given: Any) -> Given:
    """A payment of 100.00 with these fields changed; ``...`` leaves one out."""
    plain = {"reference": reference, "source": A, "destination": B, "currency": "USD"}
    fields = plain | {"precise_amount": 10_000, "precision": 100} | given
    return {name: value for name, value in fields.items() if value is not ...}


def to_many(*legs: tuple[str, str], **given: Any) -> Given:
    """A payment from A to several."""
    several = [{"identifier": name, "distribution": share} for name, share in legs]
    return item(destination=..., destinations=several, **given)


def from_many(*legs: tuple[str, str], **given: Any) -> Given:
    """A payment from several to D."""
    several = [{"identifier": name, "distribution": share} for name, share in legs]
    return item(**{"source": ..., "sources": several, "destination": D, **given})


def id_for(request: Request) -> str:
    """An id that suits the request."""
    if request.kind == "bulk":
        return mint_bulk_id(request.slot)
    return mint_id("txn", request.slot)


def read(given: Given) -> Any:
    """The instruction of a request after its journey; slot and slots are those of the request."""
    request = request_of(given)
    request_id = id_for(request)
    found = decode(request.body(), request_id, ACCEPTED_MS)
    assert isinstance(found, Decoded), found
    assert (found.slot, found.slots, found.request_id) == (request.slot, request.slots, request_id)
    return found.instruction


def rejection(raw: bytes, request_id: str) -> Rejected:
    """Why a body is none."""
    found = decode(raw, request_id, ACCEPTED_MS)
    assert isinstance(found, Rejected)
    return found


def test_bodies_are_pinned() -> None:
    """Canonical forms and fingerprints stay what they are: stored ones are compared."""
    legged = to_many((B, "50.0%"), (C, "1.005"), ("@World", "left"), scheduled_for=DATE)
    legged["rounding"] = "half_up"
    bulk = {"transactions": [legged | {"scheduled_for": None}, item("s")], "atomic": True}
    identity = {"kind": "identity", "identity_id": OWNER, "first_name": "Ann", "dob": ""}
    changed = {"name": "n"}
    change = {"kind": "change", "subject_id": "general_ledger_id", "fields": changed}
    assert request_of(legged).body().decode() == (
        '{"currency":"USD","destinations":[{"distribution":"50%","identifier":"' + B + '"},'
        '{"identifier":"' + C + '","precise_distribution":"101"},'
        '{"distribution":"left","identifier":"@World"}],"kind":"transaction",'
        '"precise_amount":"10000","precision":"100","reference":"r",'
        '"scheduled_for":"2023-11-14T22:13:21.000000+00:00","source":"' + A + '","v":1}'
    )
    assert request_of(identity).body().decode() == (
        '{"first_name":"Ann","identity_id":"' + OWNER + '","kind":"identity","v":1}'
    )
    assert request_of(change | {"made_by": "me", "meta_data": {"b": 1}}).body().decode() == (
        '{"fields":"{\\"name\\":\\"n\\"}","kind":"change","made_by":"me",'
        '"meta_data":"{\\"b\\":1}","subject_id":"general_ledger_id","v":1}'
    )
    assert deadline_body("txn_x") == b'{"kind":"deadline","transaction_id":"txn_x","v":1}'
    assert fingerprint_of(request_of(bulk).body()).hex() == PINNED_BULK


PINNED_BULK = "a9097b2ae81e2ea7518d8bdb8ccd13a450f3fe63e306847225e446d294d17f40"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (to_many((B, "100%")), item()),
        (to_many((B, "left")), item()),
        (to_many((B, "100.00")), item()),
        (from_many((A, "left"), destination=B), item()),
        (to_many((B, "5E+1%"), (C, "left")), to_many((B, "50.00%"), (C, "left"))),
        (
            to_many((B, "1.005"), (C, "left"), rounding="half_up"),
            item(
                destination=...,
                destinations=[
                    {"identifier": B, "precise_distribution": "101"},
                    {"identifier": C, "distribution": "left"},
                ],
            ),
        ),
        ({"transactions": [item()]}, {"transactions": [to_many((B, "left"))], "atomic": False}),
    ],
)
def test_equal_meaning_has_equal_bodies(one: Given, other: Given) -> None:
    """Other ways to write the same legs have the same body."""
    assert request_of(one).body() == request_of(other).body()


def test_one_leg_is_a_plain_transaction() -> None:
    """A list of one is that one, in the request and in a body that has the list all the same."""
    assert read(to_many((B, "left"))) == read(item())
    fields = json.loads(request_of(item()).body())
    del fields["destination"]
    fields["destinations"] = [{"identifier": B, "distribution": "left"}]
    found = decode(json.dumps(fields).encode(), mint_id("txn", slot_of(A)), 0)
    assert isinstance(found, Decoded)
    assert found.instruction == read(item())


def test_a_request_with_legs_is_read() -> None:
    """Legs come back with their amounts; those of nothing are dropped, wherever they stand."""
    split = read(to_many((C, "0%"), ("@World", "60%"), (B, "left"), description="d"))
    first = Leg(A, WORLD, None, "@World", 6_000)
    assert split == MultiLeg(
        Transaction("r", A, WORLD, None, "@World", "USD", 10_000, 100, "d"),
        (first, Leg(A, B, None, None, 4_000)),
    )
    split = read(from_many((A, "1"), (B, "left")))
    assert split.legs == (Leg(A, D, None, None, 100), Leg(B, D, None, None, 9_900))
    assert split.whole[:5] == ("r", A, D, None, None)
    lonely = read(from_many((A, "50%"), (B, "50%"), precise_amount=1))
    assert isinstance(lonely, MultiLeg)
    assert lonely.legs == (Leg(A, D, None, None, 1),)


@pytest.mark.parametrize(
    ("given", "keys", "all_keys"),
    [
        (to_many((B, "1%"), (C, "left")), A, []),
        (to_many(("@Out", "1%"), (C, "left"), source="@In"), C, []),
        (to_many(("@Out", "1%"), ("@Fee", "left"), source="@In"), "@In", []),
        (from_many((A, "1%"), (B, "left")), A, [A, B]),
        (from_many(("@In", "1%"), (B, "left")), B, []),
        (from_many(("@In", "1%"), (B, "1%"), (A, "left")), B, [A, B]),
        (from_many(("@In", "1%"), ("@Fee", "left")), D, []),
        (from_many((A, "1%"), (B, "left"), ordering_key="k"), "k", ["k", A, B]),
        (from_many((A, "1%"), ("@In", "left"), ordering_key="k"), "k", []),
        ({"transactions": [item()]}, A, [A]),
        ({"transactions": [item("1"), item("2", source=C)]}, A, [A, C]),
        ({"transactions": [item("1", source="@In"), item("2", source=C)]}, B, [B, C]),
        ({"transactions": [item(source="@In", destination="@Out")]}, "@In", ["@In"]),
        ({"transactions": [item()], "ordering_key": "k"}, "k", ["k", A]),
        ({"transactions": [from_many((A, "1%"), (B, "left"))]}, A, [A, B]),
        ({"transactions": [to_many((B, "1%"), (C, "left"), source="@In")]}, B, [B, C]),
        ({"transactions": [to_many((B, "1%"), (C, "left"))]}, A, [A]),
    ],
)
def test_slots(given: Given, keys: str, all_keys: list[str]) -> None:
    """A request has the slot of its key, and all those that it spends from, on both sides."""
    request = request_of(given)
    assert request.slot == slot_of(keys)
    assert request.slots == {slot_of(key) for key in all_keys}
    read(given)


def test_dates_are_read() -> None:
    """The dates of a hold and of a schedule come back to the microsecond, past ones too."""
    dates = {"inflight_expiry_date": DATE, "inflight_commit_date": "1999-12-31T23:59:59.5Z"}
    found = read(item(inflight=True, scheduled_for="2300-01-01T00:00:00Z", **dates))
    assert found.expires_micros == MICROS
    assert found.commits_micros == 946_684_799_500_000
    assert found.scheduled_micros == 10_413_792_000_000_000
    bulk = read({"transactions": [item(**dates)], "inflight": True})
    assert bulk.items[0].expires_micros == MICROS
    raw = request_of(item(inflight=True, **dates)).body().replace(b'"inflight":true,', b"")
    assert "inflight_expiry_date: " in rejection(raw, mint_id("txn", slot_of(A))).detail


def test_a_bulk_is_read() -> None:
    """Every item is what it would be on its own, in order, whether it is common or not."""
    items = [
        item("1"),
        item("2", source="@World", destination=C, description="d", allow_overdraft=True),
        item("3", meta_data={"a": 1.5}, overdraft_limit="1.5", effective_date=DATE),
        to_many((B, "1%"), (C, "left"), reference="4"),
        item("5", inflight=True, inflight_commit_date=DATE),
    ]
    more = {"reference": "b", "description": "bd", "meta_data": {"k": "v"}}
    found = read({"transactions": items, "atomic": True} | more)
    described = [{"description": "bd"} | one for one in items]
    assert found == Bulk("b", tuple(read(one) for one in described), True, "bd", '{"k":"v"}')
    assert found.items[1].description == "d"
    dated = read({"transactions": items, "effective_date": "2023-11-14T22:13:20Z"})
    assert [one.whole.effective_micros for one in dated.items] == [
        MICROS if "effective_date" in one else MICROS - 1_000_000 for one in items
    ]
    assert dated.effective_micros == MICROS - 1_000_000


def test_actions_are_read() -> None:
    """Refunds, voids, cancels, changes and deadlines come back from their bodies."""
    meta = {"reference": "r", "description": "d", "meta_data": {"a": 1}}
    expected = ("r", "d", '{"a":1}')
    for named in (HOLD, BULK, part_id(BULK, 3)):
        assert read({"kind": "refund", "transaction_id": named} | meta) == Refund(named, *expected)
        assert read({"kind": "void", "transaction_id": named} | meta) == Void(named, *expected)
        assert read({"kind": "commit", "transaction_id": named}).transaction_id == named
        found = decode(deadline_body(named), part_id(named, "deadline"), 0)
        assert isinstance(found, Decoded)
        assert (found.instruction, found.slot) == (Deadline(named), 7)
    assert read({"kind": "cancel", "transaction_id": HOLD} | meta) == Cancel(HOLD, *expected)
    dated = meta | {"transaction_id": HOLD, "effective_date": DATE}
    assert read({"kind": "refund"} | dated) == Refund(HOLD, *expected, MICROS)
    assert read({"kind": "void"} | dated) == Void(HOLD, *expected, MICROS)
    asked = Commit(HOLD, "r", None, "1.5", "d", '{"a":1}', MICROS, "half_up")
    assert read({"kind": "commit", "amount": "1.50", "rounding": "half_up"} | dated) == asked
    for subject in (HOLD, BULK, A, OWNER, "general_ledger_id"):
        change = {"kind": "change", "subject_id": subject, "meta_data": {"a": 1}}
        assert read(change) == Change(subject, None, "{}", '{"a":1}', "")
    change = {"kind": "change", "subject_id": A, "fields": {"identity_id": OWNER}, "made_by": "me"}
    fields = f'{{"identity_id":"{OWNER}"}}'
    assert read(change | {"reference": "r"}) == Change(A, "r", fields, None, "me")


@pytest.mark.parametrize("kind", ["commit", "void", "refund", "bulk"])
def test_a_date_too_far_ahead_is_refused_of_a_stranger(kind: str) -> None:
    """Anyone who wrote the body: more than a day after its acceptance is refused, a day is not."""
    named = {"transactions": [item()]} if kind == "bulk" else {"transaction_id": HOLD}
    for date, late in (("2023-11-15T22:13:20Z", False), ("2023-11-15T22:13:20.000001Z", True)):
        request = request_of({"kind": kind, "effective_date": date, **named})
        request_id = id_for(request)
        found = decode(request.body(), request_id, ACCEPTED_MS)
        assert isinstance(found, Rejected) is late
    assert rejection(request.body(), request_id).detail.startswith("effective_date: lies more than")


@pytest.mark.parametrize(
    ("kind", "more"),
    [("cancel", {"effective_date": DATE}), ("void", {"rounding": "half_up"}),
     ("commit", {"rounding": "down"}), ("commit", {"rounding": True})],
)  # fmt: skip
def test_an_action_has_only_its_own_fields(kind: str, more: Given) -> None:
    """What is no field of the action, or none of its values, is refused in a body too."""
    fields = json.loads(request_of({"kind": kind, "transaction_id": HOLD}).body()) | more
    found = rejection(json.dumps(fields).encode(), ACTING)
    assert (found.reason, found.detail.split(":")[0]) == ("malformed", next(iter(more)))


def test_creations_are_read() -> None:
    """An identity keeps what is known of it; a balance its owner."""
    given = {"kind": "identity", "identity_id": OWNER, "last_name": "Ö", "city": ""}
    request = request_of(given | {"meta_data": {"a": 1}})
    found = decode(request.body(), OWNER, 0)
    assert isinstance(found, Decoded)
    assert found.instruction == NewIdentity(OWNER, '{"last_name":"Ö"}', '{"a":1}')
    assert found.slot == request.slot == slot_of(OWNER)
    general = "general_ledger_id"
    owned = {"kind": "balance", "ledger_id": general, "currency": "USD", "identity_id": OWNER}
    found = decode(request_of(owned | {"balance_id": A}).body(), A, 0)
    assert isinstance(found, Decoded)
    assert found.instruction == NewBalance(A, general, "USD", None, OWNER, None)


OTHER = "txn_018bcfe5-6800-7008-85f1-2dc06ad2464e"


@pytest.mark.parametrize("kind", ["commit", "void", "refund", "cancel"])
@pytest.mark.parametrize("request_id", [OTHER, BULK, A, "", ACTING.upper(), "txn_" + BULK[5:]])
def test_an_action_keeps_the_slot(kind: str, request_id: str) -> None:
    """What is done to a transaction under an id of another slot is refused."""
    raw = request_of({"kind": kind, "transaction_id": HOLD}).body()
    assert isinstance(decode(raw, ACTING, 0), Decoded)
    assert rejection(raw, request_id).reason == "malformed"


def test_ids_that_do_not_fit() -> None:
    """Every kind is refused under an id of another kind, of another slot, or of another request."""
    bulk = request_of({"transactions": [item()]})
    for request_id in (mint_bulk_id(bulk.slot ^ 1), mint_id("txn", bulk.slot), "bulk_x"):
        assert rejection(bulk.body(), request_id).detail.startswith("bulk_id: ")
    plain = request_of(item())
    for request_id in (
        "txn_" + mint_bulk_id(plain.slot)[5:],
        part_id(mint_id("txn", plain.slot), 1),
    ):
        assert rejection(plain.body(), request_id).detail.startswith("transaction_id: ")
    change = request_of({"kind": "change", "subject_id": HOLD, "meta_data": {"a": 1}})
    assert rejection(change.body(), OTHER).detail.startswith("request_id: ")
    for request_id in (ACTING, part_id(OTHER, "deadline"), part_id(HOLD, "expiry")):
        assert rejection(deadline_body(HOLD), request_id).detail.startswith("request_id: ")
    identity = request_of({"kind": "identity", "identity_id": OWNER}).body()
    assert rejection(identity, OWNER[:-1] + "2").detail.startswith("identity_id: ")


LEG_B: Given = {"identifier": B, "distribution": "50%"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"destination": ..., "destinations": [LEG_B]}, "invalid_distribution"),
        ({"destination": ..., "destinations": [LEG_B, LEG_B]}, "invalid_distribution"),
        ({"destination": ..., "destinations": [LEG_B | {"identifier": A}]}, "same_balance"),
        ({"destination": ..., "destinations": [{"identifier": B}]}, "invalid_distribution"),
        ({"destination": ..., "destinations": []}, "malformed"),
        ({"destination": ..., "destinations": [LEG_B | {"distribution": "x"}]}, "malformed"),
        ({"destination": ..., "destinations": [LEG_B | {"distribution": "9.9"}]}, "malformed"),
        ({"destination": ..., "destinations": [LEG_B | {"more": "x"}]}, "malformed"),
        ({"destination": ..., "destinations": [{"distribution": "left"}]}, "malformed"),
        ({"destinations": [LEG_B]}, "malformed"),
        ({"destination": ...}, "malformed"),
        ({"source": ..., "destination": ..., "sources": [LEG_B]}, "malformed"),
        ({"overdraft_limit": "-1"}, "malformed"),
        ({"effective_date": "2023-11-15T22:13:20.000001Z"}, "malformed"),
        ({"meta_data": "[]"}, "malformed"),
        ({"precise_amount": "0"}, "invalid_amount"),
        ({"precise_amount": 1}, "malformed"),
        ({"precision": "0"}, "invalid_precision"),
        ({"destination": A}, "same_balance"),
        ({"reference": " "}, "malformed"),
        ({"reference": "2"}, "malformed"),
        ({"reference": "bulk"}, "malformed"),
        ({"more": 1}, "malformed"),
    ],
)  # fmt: skip
def test_an_item_that_is_none(change: Given, reason: str) -> None:
    """A bulk with one item that breaks a rule is refused whole, and the item is named."""
    given = {"transactions": [item("1"), item("2"), item("3")], "reference": "bulk"}
    request = request_of(given)
    fields = json.loads(request.body())
    broken = fields["transactions"][2] | change
    fields["transactions"][2] = {key: value for key, value in broken.items() if value is not ...}
    found = rejection(json.dumps(fields).encode(), id_for(request))
    assert found.reason == reason
    assert found.detail.startswith("transactions[2].")


@pytest.mark.parametrize("kind", ["schedule", "more", "deadline", "transaction", "change", None])
def test_kinds_that_are_none(kind: str | None) -> None:
    """A body of another kind than its fields say is refused."""
    raw = json.dumps({"v": 1, "kind": kind, "transactions": [item()], "reference": "r"}).encode()
    assert rejection(raw, BULK).reason == "malformed"
    newer = json.dumps({"v": 2, "kind": kind}).encode()
    assert rejection(newer, BULK).reason == "unsupported_version"


def test_how_long_a_body_may_be() -> None:
    """A bulk may be long, a request with legs as long as its legs need, no other kind more."""
    items = [item(str(n), description="d" * 1_000) for n in range(1_000)]
    bulk = request_of({"transactions": items})
    raw = bulk.body()
    assert len(raw) > BODY_BYTES_MAX
    assert isinstance(decode(raw, id_for(bulk), 0), Decoded)
    assert "longer" in rejection(raw + b" " * BULK_BODY_BYTES_MAX, id_for(bulk)).detail
    legs = [{"identifier": f"@{n:050}", "precise_distribution": 10} for n in range(1_000)]
    legged = request_of(item(destination=..., destinations=legs))
    raw = legged.body()
    assert len(raw) > BODY_BYTES_MAX
    found = decode(raw, id_for(legged), 0)
    assert isinstance(found, Decoded)
    assert isinstance(found.instruction, MultiLeg)
    assert len(found.instruction.legs) == 1_000
    assert "longer" in rejection(raw + b" " * 192 * 1_000, id_for(legged)).detail
    void = request_of({"kind": "void", "transaction_id": HOLD}).body()
    assert "longer" in rejection(void + b" " * BODY_BYTES_MAX, ACTING).detail


@pytest.mark.parametrize("reference", ["b", 'a "transactions":[ }],"v":1}', "\\"])
def test_the_reference_of_a_bulk(reference: str) -> None:
    """A bulk's own reference is found, and none of its transactions', also when it is broken."""
    raw = request_of({"transactions": [item("1"), item("2")], "reference": reference}).body()
    assert reference_in(raw) == reference
    fields = json.loads(raw) | {"reference": 7}
    assert reference_in(json.dumps(fields, separators=(",", ":")).encode()) is None
    assert reference_in(raw.replace(b'"USD"', b"840")) == reference
    assert reference_in(raw[:-1]) is None
    assert reference_in(json.dumps(json.loads(raw)).encode()) == reference


@pytest.mark.parametrize("blank", ["\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\u2028", "\u3000"])
def test_an_indicator_has_no_blanks_in_any_body(blank: str) -> None:
    """Also those among the control characters are refused, on their own, as a leg and in a bulk."""
    name = f"@a{blank}b"
    with pytest.raises(MalformedRequest):
        request_of(item(destination=name))
    plain = request_of(item(destination="@ab"))
    legged = request_of(to_many((B, "1%"), ("@ab", "left")))
    bulk = request_of({"transactions": [item(destination="@ab")]})
    for request in (plain, legged, bulk):
        raw = request.body().replace(b'"@ab"', json.dumps(name).encode())
        assert rejection(raw, id_for(request)).reason == "malformed"


@pytest.mark.parametrize("slot", [0, 1, 7, 0xABC, 4095])
def test_an_id_of_a_bulk(slot: int) -> None:
    """A bulk's id carries its slot and tells it apart from transactions and from parts."""
    minted = mint_bulk_id(slot, ACCEPTED_MS)
    assert slot_of_transaction(minted) == slot
    assert minted.startswith("bulk_018bcfe5-6800-8")
    assert is_bulk(minted[5:])
    assert not is_bulk(mint_id("txn", slot)[4:])
    part = part_id(minted, 3)
    assert not is_bulk(part[4:])
    assert slot_of_transaction(part) == slot
    assert mint_bulk_id(slot, ACCEPTED_MS) != minted


def test_an_id_of_the_callers() -> None:
    """A bulk keeps the id that the caller gave, if it carries its slot."""
    request = request_of({"transactions": [item()], "bulk_id": mint_bulk_id(slot_of(A))})
    assert request.body() == request_of({"transactions": [item()]}).body()
    assert validate(TransactionRequest, item(transaction_id=mint_id("txn", slot_of(A)))).slot


def legs(*given: tuple[str, int]) -> list[dict[str, Any]]:
    """Legs of fixed shares."""
    return [{"identifier": name, "precise_distribution": amount} for name, amount in given]


def both(sources: list[dict[str, Any]], destinations: list[dict[str, Any]], **given: Any) -> Given:
    """A payment of 100.00 from several to several."""
    more: Given = {"source": ..., "destination": ..., "sources": sources}
    return item(**more, destinations=destinations, **given)


def test_several_pay_several() -> None:
    """Amounts go over in the order of both sides; what is recorded is between two balances."""
    found = read(both(legs((A, 7_000), ("@X", 3_000)), legs((B, 6_000), (C, 4_000))))
    assert [(leg.source_id, leg.destination_id, leg.precise_amount) for leg in found.legs] == [
        (A, B, 6_000),
        (A, C, 1_000),
        (internal_balance_id("@X", "USD"), C, 3_000),
    ]
    assert found.legs[2].source_indicator == "@X"


def test_fixed_shares_of_one_balance_are_added_up() -> None:
    """On either side, however they are written; the request is that with one leg for each."""
    x = internal_balance_id("@X", "USD")
    once = request_of(both(legs((A, 7_000), ("@X", 3_000)), legs((B, 6_000), (C, 4_000))))
    amount = {"identifier": B, "distribution": "50.00"}
    parts = [*legs((C, 4_000)), amount, *legs((B, 1_000))]
    assert read(both(legs((A, 4_000), ("@X", 3_000), (A, 3_000)), parts)).whole.precision == 100
    twice = request_of(
        both(legs((A, 4_000), ("@X", 1), (A, 3_000), (x, 2_999)), parts[1:] + parts[:1])
    )
    assert twice.body() == once.body()
    single = item(destination=..., destinations=legs((B, 4_000), (B, 6_000)))
    assert request_of(single).body() == request_of(item()).body()


@pytest.mark.parametrize("side", ["sources", "destinations"])
@pytest.mark.parametrize("is_id_first", [True, False])
def test_a_balance_may_be_named_by_its_id_and_its_indicator(side: str, is_id_first: bool) -> None:
    """The worker finds the slot that the producer took, whichever name of it comes first."""
    names = ["@World", internal_balance_id("@World", "USD")]
    named = legs(*((name, 2_000) for name in (reversed(names) if is_id_first else names)))
    several = [*named, *legs((A, 6_000))]
    other = legs((B, 6_000), (C, 4_000))
    request = request_of(both(several, other) if side == "sources" else both(other, several))
    assert isinstance(request, TransactionRequest)
    found = decode(request.body(), mint_id("txn", request.slot), 0)
    assert isinstance(found, Decoded), found
    assert (found.slot, found.slots) == (request.slot, request.slots)
    assert isinstance(found.instruction, MultiLeg)
    assert sum(leg.precise_amount for leg in found.instruction.legs) == 10_000


@pytest.mark.parametrize(
    ("sources", "destinations", "code", "said"),
    [
        (legs((A, 6_000), (D, 4_000)), legs((B, 6_000), (C, 3_999)), "invalid_distribution",
         "leaves 1 of 10000 minor units to nobody"),
        (legs((A, 6_000), (D, 4_001)), legs((B, 6_000), (C, 4_000)), "invalid_distribution",
         "exceeds the total of 10000 minor units by 1"),
        (legs((A, 6_000), (D, 4_000)), [{"identifier": B, "distribution": "50%"},
                                        {"identifier": C, "distribution": "left"}],
         "invalid_distribution", "must be an amount, as both sides have several"),
        (legs((A, 6_000), (D, 4_000)), legs((B, 6_000), (A, 4_000)), "same_balance",
         "source and destination cannot be the same"),
    ],
)  # fmt: skip
def test_both_sides_add_up(sources: Any, destinations: Any, code: str, said: str) -> None:
    """Each is the amount of the request, in amounts, of other balances; the worker says so too."""
    with pytest.raises(MalformedRequest, match=said) as refused:
        request_of(both(sources, destinations))
    assert refused.value.code == code
    good = request_of(both(legs((A, 6_000), (D, 4_000)), legs((B, 6_000), (C, 4_000))))
    fields = json.loads(good.body())
    for side, given in (("sources", sources), ("destinations", destinations)):
        fields[side] = [{name: str(value) for name, value in leg.items()} for leg in given]
    found = rejection(json.dumps(fields, sort_keys=True).encode(), id_for(good))
    assert (found.reason, said in found.detail) == (code, True)
