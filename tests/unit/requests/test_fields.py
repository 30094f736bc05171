"""Every bound of every field of a request, on both of its sides."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from daybook.errors import MalformedRequest
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.ledger.ids import part_id
from daybook.ledger.rejection import Reason
from daybook.requests import (
    BulkRequest,
    TransactionRequest,
    check_json_amount,
    common_of,
    load_json,
    request_models,
    request_of,
    validate,
)
from daybook.requests.bounds import BODY_BYTES_MAX, BULK_ITEMS_MAX, LEGS_MAX
from daybook.requests.transactions import HOLD_DATES

A = "bln_00000000-0000-4000-8000-00000000000a"
B = "bln_00000000-0000-4000-8000-00000000000b"
L = "ldg_00000000-0000-4000-8000-000000000001"
C = "bln_00000000-0000-4000-8000-00000000000c"
OWNER = "idt_00000000-0000-4000-8000-000000000001"
HOLD = "txn_00000000-0000-7007-85f1-2dc06ad2464e"
BULK = "bulk_00000000-0000-8007-85f1-2dc06ad2464e"
PART = part_id(BULK, 1)
DATE = "2026-04-22T15:28:03Z"
GENERAL = "general_ledger_id"

ITEM: dict[str, Any] = {
    "reference": "r",
    "source": A,
    "destination": B,
    "currency": "USD",
    "precise_amount": 1,
    "precision": 100,
}
GOOD: dict[str, dict[str, Any]] = {
    "transaction": ITEM,
    "commit": {"transaction_id": HOLD},
    "void": {"transaction_id": HOLD},
    "ledger": {"name": "n"},
    "balance": {"ledger_id": GENERAL, "currency": "USD"},
    "bulk": {"transactions": [ITEM]},
    "refund": {"transaction_id": HOLD},
    "cancel": {"transaction_id": HOLD},
    "identity": {},
    "change": {"subject_id": A, "fields": {"identity_id": OWNER}},
}
LEGS = [{"identifier": B, "distribution": "50%"}, {"identifier": C, "distribution": "left"}]
LEGGED = {name: value for name, value in ITEM.items() if name != "destination"}
DEEPEST: Any = []
for _ in range(30):
    DEEPEST = [DEEPEST]
META_LONGEST = {"k": "x" * (16 * 1024 - len('{"k":""}'))}

ACCEPTED: list[tuple[str, str, Any]] = [
    ("transaction", "reference", "r" * 255),
    ("transaction", "reference", "é" * 255),
    ("transaction", "source", "@" + "x" * 254),
    ("transaction", "source", "@Ünïcode"),
    ("transaction", "currency", "c" * 64),
    ("transaction", "precise_amount", 10**100 - 1),
    ("transaction", "precise_amount", "9" * 100),
    ("transaction", "precise_amount", Decimal("12.0")),
    ("transaction", "precision", 10**30),
    ("transaction", "precision", "100"),
    ("transaction", "rounding", "half_up"),
    ("transaction", "rounding", None),
    ("commit", "rounding", "half_up"),
    *((kind, "effective_date", DATE) for kind in ("commit", "void", "refund", "bulk")),
    ("transaction", "description", "d" * 2000),
    ("transaction", "overdraft_limit", 0),
    ("transaction", "overdraft_limit", "1E+140"),
    ("transaction", "overdraft_limit", "1E-140"),
    ("transaction", "ordering_key", "k" * 255),
    ("transaction", "effective_date", "2026-04-22T15:28:03Z"),
    ("transaction", "effective_date", datetime(2026, 4, 22, tzinfo=UTC)),
    ("transaction", "effective_date", datetime.min.replace(tzinfo=UTC)),
    ("transaction", "meta_data", {}),
    ("transaction", "meta_data", {"deep": [DEEPEST]}),
    ("transaction", "meta_data", META_LONGEST),
    ("transaction", "meta_data", {"n": 10**999}),
    ("transaction", "meta_data", {"": {"é": [None, True, 0.1, Decimal("1e-9")]}}),
    ("commit", "amount", "0.1"),
    ("commit", "precise_amount", 10**100 - 1),
    ("ledger", "name", "n" * 255),
    ("ledger", "ledger_id", L),
    ("balance", "ledger_id", L),
    ("balance", "balance_id", A),
    ("balance", "indicator", "@Revenue"),
    ("balance", "identity_id", OWNER),
    ("transaction", "scheduled_for", "1999-01-01T00:00:00Z"),
    ("transaction", "scheduled_for", datetime(2999, 1, 1, tzinfo=UTC)),
    *((kind, "transaction_id", PART) for kind in ("commit", "void", "refund", "cancel")),
    *((kind, "transaction_id", BULK) for kind in ("commit", "void", "refund")),
    ("bulk", "transactions", tuple(ITEM | {"reference": str(n)} for n in range(BULK_ITEMS_MAX))),
    ("bulk", "transactions", [validate(TransactionRequest, ITEM), ITEM | {"reference": "q"}]),
    ("bulk", "transactions", [ITEM | {"kind": "transaction", "scheduled_for": None}]),
    ("bulk", "reference", "b" * 255),
    ("bulk", "ordering_key", "k" * 255),
    ("identity", "identity_id", OWNER),
    ("identity", "first_name", "é" * 255),
    ("identity", "dob", ""),
    *(("change", "subject_id", good) for good in (A, internal_balance_id("@World", "USD"))),
    ("change", "made_by", "é" * 255),
    ("change", "fields", None),
]

SPARE = {"meta_data": {"a": 1}}

BLANKS = (("transaction", "reference"), ("transaction", "currency"), ("ledger", "name"))
NO_ITEMS: list[Any] = []
NO_FIELDS: dict[str, Any] = {}
M, AMOUNT, PRECISION = Reason.MALFORMED, Reason.INVALID_AMOUNT, Reason.INVALID_PRECISION
REFUSED: list[tuple[str, str, Any, Reason]] = [
    *(("transaction", "reference", bad, M) for bad in ("", " \t", "r" * 256, 7, None, b"r", True)),
    *((kind, name, bad, M) for kind, name in BLANKS for bad in ("\x1c", "\x1f", "\x85", "\u3000")),
    *(("transaction", "reference", bad, M) for bad in ("a\x00b", "a\ud800b", "\udfff")),
    *(("transaction", "source", bad, M) for bad in ("", "A", "@", "@a b", "@a\n", "@a\u00a0b", 7)),
    *(("transaction", "source", bad, M) for bad in ("@" + "x" * 255, "@a\x00", "@\ud800", [A])),
    *(("transaction", "source", bad, M) for bad in ("@\x1c", "@a\x1d", "@\x1eb", "@\x1f", "@\x85")),
    *(("transaction", "source", bad, M) for bad in (A.upper(), A + "0", A[:-1], A + "\n", "x" + A)),
    *(("transaction", "currency", bad, M) for bad in ("", " ", "c" * 65, "a\x00", "\ud800", 840)),
    *(("transaction", "precise_amount", bad, AMOUNT) for bad in (0, -1, 10**100, "1" * 101)),
    *(("transaction", "precise_amount", bad, AMOUNT) for bad in (True, 1.0, "1.0", " 1", "1_0")),
    *(
        ("transaction", "precise_amount", bad, AMOUNT)
        for bad in ("", "x", "１", NO_ITEMS, Decimal("1.5"), NO_FIELDS)
    ),
    *(("transaction", "precise_amount", bad, AMOUNT) for bad in (Decimal("NaN"), 10**9999, "-1")),
    *(
        ("transaction", "precise_amount", bad, AMOUNT)
        for bad in (Decimal("1E+999"), Decimal("1.5"))
    ),
    *(("transaction", "precision", bad, PRECISION) for bad in (0, -1, 10**30 + 1, True, 1.0, "x")),
    *(("transaction", "precision", bad, PRECISION) for bad in (None, Decimal("0.5"), "", 10**9999)),
    *((kind, "rounding", bad, M) for kind in ("transaction", "commit") for bad in ("down", "", 1)),
    *((kind, "rounding", "half_up", M) for kind in ("void", "refund", "cancel", "bulk")),
    *((kind, "effective_date", "x", M) for kind in ("commit", "void", "refund", "bulk")),
    ("cancel", "effective_date", DATE, M),
    *(("transaction", "description", bad, M) for bad in ("d" * 2001, None, 7, "\x00", "\ud800")),
    *(("transaction", "allow_overdraft", bad, M) for bad in (1, 0, "true", "", None, NO_ITEMS)),
    *(("transaction", "inflight", bad, M) for bad in (1, 0, "false", None)),
    *(("transaction", "overdraft_limit", bad, M) for bad in (-1, "-0.01", 1.5, True, "x", None)),
    *(("transaction", "overdraft_limit", bad, M) for bad in ("1E+141", "1E-141", "inf", "NaN")),
    *(("transaction", "effective_date", bad, M) for bad in ("2026-04-32", "2026-04-22T10:00:00")),
    *(("transaction", "effective_date", bad, M) for bad in ("", "soon", 1_700_000_000, "\x00")),
    ("transaction", "effective_date", datetime(2026, 4, 22), M),  # noqa: DTZ001 - naive on purpose
    (
        "transaction",
        "effective_date",
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-9))),
        M,
    ),
    *(("transaction", "ordering_key", bad, M) for bad in ("", "k" * 256, "\x00", "\ud800", 7)),
    *(("transaction", "transaction_id", bad, M) for bad in ("", "txn_1", A, HOLD.upper(), 7)),
    *(("transaction", "meta_data", bad, M) for bad in (NO_ITEMS, "{}", 7, True)),
    *(("transaction", "meta_data", {"a": bad}, M) for bad in (..., b"x", {1}, 1j)),
    *(("transaction", "meta_data", {"a": bad}, M) for bad in ("\x00", "\ud800", float("nan"))),
    *(("transaction", "meta_data", {"a": bad}, M) for bad in (float("-inf"), 10**1001)),
    *(("transaction", "meta_data", {"a": bad}, M) for bad in (Decimal("1E-9999"), Decimal("sNaN"))),
    *(("transaction", "meta_data", bad, M) for bad in ({"\x00": 1}, {"\ud800": 1}, {1: 1})),
    ("transaction", "meta_data", {"deep": [[DEEPEST]]}, M),
    ("transaction", "meta_data", {"k": META_LONGEST["k"] + "x"}, M),
    *((kind, "unknown", 1, M) for kind in GOOD),
    *((kind, "transaction_id", bad, M) for kind in ("commit", "void") for bad in (None, "x", A, 7)),
    *(("commit", "amount", bad, AMOUNT) for bad in (0, "0", -1, 0.5, True, "x", "1E+141", "\x00")),
    *(("commit", "precise_amount", bad, AMOUNT) for bad in (0, -1, 10**100, True)),
    *((kind, "reference", bad, M) for kind in ("commit", "void") for bad in ("", " ", "r" * 256)),
    *(("ledger", "name", bad, M) for bad in ("", " ", "n" * 256, 7, None, "\x00", "\ud800")),
    *(("ledger", "ledger_id", bad, M) for bad in ("", "L", A, L.upper(), L + "\n")),
    *(("balance", "ledger_id", bad, M) for bad in (None, "", "L", A)),
    *(("balance", "currency", bad, M) for bad in (None, "", " ", "c" * 65, "\x00", "\ud800")),
    *(("balance", "balance_id", bad, M) for bad in ("", "A", L, A.upper())),
    *(("balance", "indicator", bad, M) for bad in ("", "Revenue", "@", "@a b", "@" + "x" * 255)),
    *(("balance", "indicator", bad, M) for bad in ("@\x00", "@\ud800", 7)),
    *(("balance", "identity_id", bad, M) for bad in ("", "x", A, OWNER.upper(), 7)),
    *(("transaction", "transaction_id", bad, M) for bad in (BULK, "txn_" + BULK[5:], PART)),
    *(("transaction", "scheduled_for", bad, M) for bad in ("", "2026-04-22T10:00", 7)),
    *(
        ("transaction", name, bad, M)
        for name in ("inflight_expiry_date", "inflight_commit_date")
        for bad in (DATE, "", 7)
    ),
    *(("transaction", "sources", bad, M) for bad in (LEGS, NO_ITEMS, 7, "x", NO_FIELDS, [7])),
    *(
        (kind, "transaction_id", bad, M)
        for kind in ("refund", "void", "commit")
        for bad in (None, "x", A, "txn_" + BULK[5:], "bulk_" + HOLD[4:], 7)
    ),
    *(("cancel", "transaction_id", bad, M) for bad in (None, BULK, A)),
    *(
        ("bulk", "transactions", bad, M)
        for bad in (NO_ITEMS, None, 7, "x", NO_FIELDS, [7], [NO_FIELDS], [ITEM, ITEM])
    ),
    ("bulk", "transactions", [ITEM] * (BULK_ITEMS_MAX + 1), M),
    *(
        ("bulk", "transactions", [ITEM | {name: value}], M)
        for name, value in {
            "scheduled_for": DATE,
            "ordering_key": "k",
            "transaction_id": HOLD,
            "kind": "void",
        }.items()
    ),
    ("bulk", "atomic", 1, M),
    ("bulk", "inflight", "true", M),
    *(("bulk", "bulk_id", bad, M) for bad in (BULK, HOLD, "bulk_" + HOLD[4:], "", 7)),
    *(("bulk", "reference", bad, M) for bad in ("", " ", "r" * 256, 7)),
    *(("identity", "first_name", bad, M) for bad in ("x" * 256, 7, "\x00", "\ud800", NO_FIELDS)),
    *(("identity", "identity_id", bad, M) for bad in ("", A, OWNER.upper(), 7)),
    *(("change", "subject_id", bad, M) for bad in ("", "x", None, "bulk_" + HOLD[4:], 7)),
    *(
        ("change", "fields", bad, M)
        for bad in (NO_FIELDS, NO_ITEMS, None, "x", {"name": "n"}, {"currency": "x"})
    ),
    *(("change", "fields", {"identity_id": bad}, M) for bad in ("", None, A, 7, "\x00")),
    *(("change", "made_by", bad, M) for bad in ("x" * 256, None, 7, "\x00")),
]


def shown(value: Any) -> str:
    """A short name of a test's value, which may be too long or too odd to print."""
    return "huge" if isinstance(value, int) and abs(value) > 10**40 else ascii(value)[:40]


@pytest.mark.parametrize(("kind", "field", "value"), ACCEPTED, ids=shown)
def test_within_bounds(kind: str, field: str, value: Any) -> None:
    """A value on the good side of the bound is accepted and written as a body, the same one
    where it takes the short way of what is common."""
    given = GOOD[kind] | {field: value}
    if value is None:
        given |= SPARE
    request = validate(request_models()[kind], given)
    assert request.body()
    short = common_of(given)
    if short is not None:
        assert short == (given["reference"], request.slot, request.body())


@pytest.mark.parametrize(("kind", "field", "value", "code"), REFUSED, ids=shown)
def test_out_of_bounds(kind: str, field: str, value: Any, code: Reason) -> None:
    """A value beyond the bound is refused by the field's name, with the ledger's code."""
    given = GOOD[kind] | {field: value}
    with pytest.raises(MalformedRequest) as refused:
        validate(request_models()[kind], given)
    assert common_of(given) is None
    assert field in {re.split(r"[.\[]", error.field)[0] for error in refused.value.errors}
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("transaction", {"description": "x" * 2_001}, "is longer than 2,000 characters"),
        ("transaction", {"ordering_key": "x" * 256}, "is longer than 255 characters"),
        (
            "transaction",
            {"destinations": [{"identifier": "@B", "distribution": "left"}] * 1_001},
            "is longer than 1,000 items",
        ),
    ],
)
def test_what_is_too_long_says_how_long_it_may_be(
    kind: str, given: dict[str, Any], told: str
) -> None:
    """In characters, or in items of a list."""
    if "destinations" in given:
        given = {"destination": None, **given}
    with pytest.raises(MalformedRequest) as refused:
        validate(request_models()[kind], GOOD[kind] | given)
    (name,) = given.keys() - {"destination"}
    assert str(refused.value) == f"{name}: {told}"


@pytest.mark.parametrize("kind", sorted(GOOD.keys() - {"identity"}))
def test_what_is_required(kind: str) -> None:
    """A request without anything names every field that it needs."""
    with pytest.raises(MalformedRequest) as refused:
        validate(request_models()[kind], {})
    named = {error.field for error in refused.value.errors}
    assert named == {name.replace("precise_amount", "amount") for name in GOOD[kind]}


def test_a_precision_is_never_guessed() -> None:
    """An amount without one is refused in either unit, also in a bulk, and the fix is named."""
    bare = {name: value for name, value in ITEM.items() if name != "precision"}
    for given in (bare, {**bare, "precise_amount": None, "amount": "19.99"}):
        assert errors_of(given) == {"precision": PRECISION}
        assert errors_of(given | {"precision": None}) == {"precision": PRECISION}
        assert errors_of({"transactions": [given]}) == {"transactions[0].precision": PRECISION}
        with pytest.raises(MalformedRequest, match=r"precision: is required: .* 100 for cents"):
            request_of(given)


@pytest.mark.parametrize(
    ("amount", "precision", "told"),
    [
        ("30.001", 100, "send 30 or 30.01, or set rounding to half_up"),
        ("19.99", 1, "send 19 or 20, or set rounding to half_up"),
        ("0.005", 100, "send 0.01, or set rounding to half_up"),
        ("0.4", 3, "send 1 in minor units or 2 in minor units, or set"),
        ("1e-140", 10**30, f"send 0.{'0' * 29}1, or set rounding to half_up"),
        ("9" * 99 + ".5", 1, f"send {'9' * 99} or 1{'0' * 99}, or set rounding to half_up"),
    ],
)
def test_an_amount_that_does_not_fit_says_what_does(amount: str, precision: int, told: str) -> None:
    """Nothing is rounded unasked: the nearest amounts are named, however the request was made."""
    given = ITEM | {"precise_amount": None, "amount": amount, "precision": precision}
    assert common_of(given) is None
    with pytest.raises(MalformedRequest, match=re.escape(told)) as refused:
        request_of(given)
    assert (refused.value.code, refused.value.errors[0].field) == (AMOUNT, "amount")
    with pytest.raises(MalformedRequest, match=re.escape(told)):
        TransactionRequest(**given).body()


def test_a_leg_that_does_not_fit_says_what_does() -> None:
    """Amounts of legs are no more rounded unasked than the total: each leg is named."""
    legs = [LEGS[0] | {"distribution": "0.005"}, {"identifier": C, "distribution": "2.505"}]
    given = LEGGED | {
        "precise_amount": 300,
        "destinations": [*legs, {**LEGS[1], "identifier": "@X"}],
    }
    places = [f"destinations[{place}].distribution" for place in (0, 1)]
    assert errors_of(given) == dict.fromkeys(places, SHARES)
    with pytest.raises(MalformedRequest, match=r"send 2\.5 or 2\.51, or set rounding to half_up"):
        request_of(given)
    with pytest.raises(MalformedRequest, match=r"send 0\.01, or set rounding to half_up"):
        TransactionRequest(**given).body()
    assert request_of(given | {"rounding": "half_up"}).body()


def test_the_longest_fields_make_no_body_too_long() -> None:
    """Where a kind has no bound of its own, its fields at their longest stay below that of all."""
    escaped, wide = "\x01", "\U0001f600"  # six bytes; four, where something is named
    texts = {
        "reference": wide * 254 + "r",
        "description": escaped * 2_000,
        "meta_data": {"k": '"' * ((len(META_LONGEST["k"])) // 2)},
    }
    transaction = texts | {
        "source": "@" + wide * 254,
        "destination": "@" + "\U0001f601" * 254,
        "currency": wide * 63 + "c",
        "precise_amount": 10**100 - 1,
        "precision": 10**30,
        "overdraft_limit": "9" * 140 + "." + "9" * 140,
        "allow_overdraft": True,
        "inflight": True,
        "ordering_key": wide * 255,
        **dict.fromkeys(("effective_date", "scheduled_for", *HOLD_DATES), DATE),
    }
    creation = {"meta_data": texts["meta_data"], "name": wide * 254 + "n", "ledger_id": L}
    person = dict.fromkeys(IDENTITY_FIELDS, escaped * 255)
    longest: dict[str, dict[str, Any]] = {
        "transaction": transaction,
        "commit": texts | {"transaction_id": HOLD, "amount": "9" * 140},
        "void": texts | {"transaction_id": BULK, "effective_date": DATE},
        "refund": texts | {"transaction_id": BULK, "effective_date": DATE},
        "cancel": texts | {"transaction_id": HOLD},
        "ledger": creation,
        "balance": {
            "ledger_id": GENERAL,
            "currency": transaction["currency"],
            "indicator": transaction["source"],
            "identity_id": OWNER,
            "meta_data": texts["meta_data"],
        },
        "identity": person | {"identity_id": OWNER, "meta_data": texts["meta_data"]},
        "change": {
            "subject_id": OWNER,
            "reference": texts["reference"],
            "fields": dict.fromkeys(IDENTITY_FIELDS, escaped * 120 + '"' * 135),
            "meta_data": texts["meta_data"],
            "made_by": escaped * 255,
        },
    }
    for kind, given in longest.items():
        request = validate(request_models()[kind], given)
        assert request.body_bytes_max is None
        assert len(request.body()) < BODY_BYTES_MAX
    assert GOOD.keys() - longest.keys() == {"bulk"}
    assert request_of(GOOD["bulk"]).body_bytes_max is not None
    assert request_of(LEGGED | {"destinations": LEGS}).body_bytes_max is not None


def test_a_copy_is_another_request() -> None:
    """What was made of the fields of the first is made anew, but for an id that no body says."""
    first = request_of(ITEM | {"precise_amount": None, "amount": "1.50"})
    assert isinstance(first, TransactionRequest)
    assert b'"precise_amount":"150"' in first.body()
    other = first.model_copy(update={"amount": Decimal(2), "reference": "q"})
    assert other.body() == request_of(ITEM | {"precise_amount": 200, "reference": "q"}).body()
    assert first.model_copy(update={"transaction_id": HOLD}).body() is first.body()
    bulk = request_of(GOOD["bulk"] | {"reference": "b"})
    assert bulk.body()
    again = bulk.model_copy(update={"transactions": (other,)})
    assert again.body() == BulkRequest(transactions=(other,), reference="b").body()


def errors_of(given: Any) -> dict[str, str]:
    """The codes of what is wrong with a request, by field."""
    assert common_of(given) is None
    with pytest.raises(MalformedRequest) as refused:
        request_of(given)
    return {error.field: error.code for error in refused.value.errors}


SHARES, SAME = Reason.INVALID_DISTRIBUTION, Reason.SAME_BALANCE


@pytest.mark.parametrize(
    ("legs", "errors"),
    [
        ([{"identifier": B}], {"destinations[0].distribution": SHARES}),
        ([{"identifier": B, "distribution": "50%"}], {"destinations[0].distribution": SHARES}),
        (
            [LEGS[0] | {"precise_distribution": 1}, LEGS[1]],
            {"destinations[0].distribution": SHARES},
        ),
        ([LEGS[0], LEGS[1] | {"identifier": B}], {"destinations[1].identifier": SHARES}),
        ([LEGS[0], LEGS[1] | {"identifier": A}], {"destinations[1].identifier": SAME}),
        ([LEGS[1], LEGS[1] | {"identifier": B}], {"destinations[1].distribution": SHARES}),
        ([LEGS[0], LEGS[1] | {"x": 1}], {"destinations[1].x": M}),
        ([LEGS[0], {"distribution": "left"}], {"destinations[1].identifier": M}),
        ([LEGS[0] | {"identifier": "B"}], {"destinations[0].identifier": M}),
        *(
            ([LEGS[0] | {"distribution": bad}, LEGS[1]], {"destinations[0].distribution": SHARES})
            for bad in ("", "%", "-1%", "100.1%", " 5%", "5 %", "5%%", "x", "LEFT", "-1", "1_0")
        ),
        *(
            ([LEGS[0] | {"distribution": bad}, LEGS[1]], {"destinations[0].distribution": SHARES})
            for bad in (50, True, Decimal(1), "NaN%", "1E+141", "0.004", "2", ["left"], "\x00")
        ),
        *(
            (
                [{"identifier": B, "precise_distribution": bad}, LEGS[1]],
                {"destinations[0].precise_distribution": SHARES},
            )
            for bad in (-1, "x", 1.0, True, 10**100, Decimal("0.5"))
        ),
    ],
)
def test_legs_out_of_bounds(legs: list[dict[str, Any]], errors: dict[str, str]) -> None:
    """What is wrong with a leg is said of that leg's field."""
    assert errors_of(LEGGED | {"destinations": legs, "precision": 100}) == errors


def test_legs_within_bounds() -> None:
    """As many legs as are allowed fit into a body; one more does not."""
    legs = [
        {"identifier": "@" + f"{n:04}".rjust(90, "x"), "precise_distribution": 1}
        for n in range(LEGS_MAX)
    ]
    given = LEGGED | {"precise_amount": LEGS_MAX, "destinations": legs}
    assert request_of(given).body()
    assert set(errors_of(given | {"destinations": [*legs, LEGS[1]]})) == {"destinations"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"destination": B}, "destinations"),
        ({"source": None}, "source"),
        ({"destinations": None}, "destination"),
    ],
)
def test_a_side_is_one_or_several(change: dict[str, Any], field: str) -> None:
    """Each side is named once."""
    assert errors_of(LEGGED | {"destinations": LEGS} | change)[field] == M


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (ITEM, "transaction"),
        (ITEM | {"kind": "transaction"}, "transaction"),
        (ITEM | {"kind": None}, "transaction"),
        ({"transactions": [ITEM]}, "bulk"),
        *((GOOD[kind] | {"kind": kind}, kind) for kind in GOOD),
    ],
)
def test_the_kind_of_a_mapping(given: dict[str, Any], kind: str) -> None:
    """A mapping says its kind, or shows it by its fields."""
    request = request_of(given)
    assert request.kind == kind
    assert request_of(request) is request


@pytest.mark.parametrize("bad", [7, None, [], "x", {"kind": "deadline"}, {"kind": []}])
def test_what_has_no_kind(bad: Any) -> None:
    """What is no request by any name is malformed, the sweeper's own kinds included."""
    assert set(errors_of(bad).values()) == {M}


def test_all_errors_of_a_bulk_at_once() -> None:
    """Everything that is wrong with a bulk is said, item by item."""
    bad = ITEM | {"amount": 1, "source": "x", "ordering_key": "k", "more": 1}
    legged = LEGGED | {"reference": "s", "destinations": [LEGS[0]]}
    errors = errors_of({"transactions": [ITEM, bad, 7, legged], "atomic": 1, "made_by": "x"})
    assert set(errors) == {
        "transactions[1].amount",
        "transactions[1].source",
        "transactions[1].ordering_key",
        "transactions[1].more",
        "transactions[1].reference",
        "transactions[2]",
        "transactions[3].destinations[0].distribution",
        "atomic",
        "made_by",
    }


def test_items_take_the_flag_of_the_bulk() -> None:
    """A bulk of holds makes a hold of every item, so that its items may have dates."""
    dated = ITEM | {"reference": "q", "inflight_expiry_date": DATE}
    request = request_of({"transactions": [ITEM | {"inflight": False}, dated], "inflight": True})
    assert isinstance(request, BulkRequest)
    assert all(item.inflight for item in request.transactions)
    same = [ITEM | {"inflight": True}, dated | {"inflight": True}]
    assert request_of({"transactions": same}).body() == request.body()
    assert "transactions[1].inflight_expiry_date" in errors_of({"transactions": [ITEM, dated]})


def test_a_bulk_shares_no_reference() -> None:
    """Neither two items nor an item and the bulk may have one reference."""
    given = {"transactions": [ITEM, ITEM | {"reference": "q"}], "reference": "q"}
    assert set(errors_of(given)) == {"transactions[1].reference"}


def test_a_bulk_is_named_by_what_it_posts() -> None:
    """Without a reference the same bulk has the same one, and another bulk another: its words and
    its date are those of its items."""
    given = {"transactions": [ITEM]}
    one = validate(BulkRequest, given)
    assert one.reference is not None
    assert one.reference.startswith("bulk-")
    assert validate(BulkRequest, given | {"inflight": False}).reference == one.reference
    assert validate(BulkRequest, given | {"meta_data": {"d": 1}}).reference == one.reference
    for said in ({"description": "d"}, {"effective_date": DATE}):
        assert validate(BulkRequest, given | said).reference != one.reference
    assert validate(BulkRequest, given | {"atomic": True}).reference != one.reference
    other = {"transactions": [ITEM | {"precise_amount": 2}]}
    assert validate(BulkRequest, other).reference != one.reference


@pytest.mark.parametrize("name", ["amount", "precise_amount"])
def test_a_bulk_is_committed_whole(name: str) -> None:
    """One amount for all the holds of a bulk means nothing."""
    given = {"kind": "commit", "transaction_id": BULK, name: 1}
    assert errors_of(given) == {name: AMOUNT}


@pytest.mark.parametrize(
    ("subject", "fields", "wrong"),
    [
        (L, {"name": "n"}, None),
        (GENERAL, {"name": "n" * 255}, None),
        (L, {"name": " "}, "fields.name"),
        (L, {"name": "n" * 256}, "fields.name"),
        (L, {"identity_id": OWNER}, "fields.identity_id"),
        (OWNER, {"first_name": "", "dob": "1999"}, None),
        (OWNER, {"identity_id": OWNER}, "fields.identity_id"),
        (OWNER, {"city": None}, "fields.city"),
        (HOLD, {"name": "n"}, "fields.name"),
        (BULK, {"description": "n"}, "fields.description"),
    ],
)
def test_what_can_be_changed(subject: str, fields: dict[str, Any], wrong: str | None) -> None:
    """Each kind of thing has its own fields that can be changed."""
    given = {"kind": "change", "subject_id": subject, "fields": fields}
    if wrong is None:
        assert request_of(given).body()
    else:
        assert errors_of(given) == {wrong: M}


def test_a_request_made_without_validation_still_has_sides() -> None:
    """Also a request that was made directly has a source and a destination, once each."""
    with pytest.raises(ValidationError):
        TransactionRequest(reference="r", source=A, currency="USD", precise_amount=1, precision=1)
    scheduled = TransactionRequest(**ITEM, scheduled_for=DATE)
    with pytest.raises(ValidationError):
        BulkRequest(transactions=(scheduled,))


def test_all_errors_at_once() -> None:
    """A request that is wrong in every field is told all of it, and coded by precedence."""
    wrong = {
        "reference": "",
        "source": "x",
        "destination": 7,
        "currency": " ",
        "amount": 1.5,
        "precision": True,
        "description": "\x00",
        "allow_overdraft": 1,
        "overdraft_limit": -1,
        "inflight": "yes",
        "effective_date": "2026-04-32",
        "meta_data": {"a": float("nan")},
        "ordering_key": "",
        "transaction_id": "txn",
        "unknown": 1,
    }
    with pytest.raises(MalformedRequest) as refused:
        validate(request_models()["transaction"], wrong)
    assert {error.field for error in refused.value.errors} == wrong.keys()
    assert refused.value.code == "malformed"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"amount": 1}, "invalid_amount"),
        ({"precise_amount": None}, "invalid_amount"),
        ({"precise_amount": None, "amount": "0.004"}, "invalid_amount"),
        ({"precise_amount": None, "amount": "9" * 100, "precision": 10}, "invalid_amount"),
        ({"destination": A}, "same_balance"),
        ({"source": internal_balance_id("@X", "USD"), "destination": "@X"}, "same_balance"),
        ({"transaction_id": HOLD}, "malformed"),
        ({"destination": A, "precision": 0, "amount": 1}, "invalid_amount"),
        ({"destination": A, "precision": 0}, "invalid_precision"),
    ],
)
def test_rules_between_fields(given: dict[str, Any], code: str) -> None:
    """Fields that contradict each other are refused with the code that takes precedence."""
    with pytest.raises(MalformedRequest) as refused:
        validate(request_models()["transaction"], GOOD["transaction"] | given)
    assert refused.value.code == code
    assert common_of(GOOD["transaction"] | given) is None


@pytest.mark.parametrize(
    "given",
    [
        {"ledger_id": L, "indicator": "@Revenue"},
        {"indicator": "@Revenue", "balance_id": A},
        {"indicator": "@Revenue", "currency": "\ud800"},
    ],
)
def test_internal_balances_are_named_by_the_ledger(given: dict[str, Any]) -> None:
    """An internal balance lives in the General Ledger, under the id that follows from its name."""
    with pytest.raises(MalformedRequest):
        validate(request_models()["balance"], GOOD["balance"] | given)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        '{"a":Infinity}',
        "[" * 100_000,
        "1" * 5_000,
        "1e99999999999999999999",
        b"\xff",
    ],
)
def test_json_that_is_none(text: str | bytes) -> None:
    """Broken, endless or absurd JSON is a malformed request, whatever the parser thinks of it."""
    with pytest.raises(MalformedRequest):
        load_json(text)


def test_json_numbers_never_pass_through_a_float() -> None:
    """A fraction in JSON keeps every digit."""
    digits = "0.1234567890123456789012345678901234567890"
    assert load_json(f'{{"a":{digits}}}') == {"a": Decimal(digits)}


@pytest.mark.parametrize(
    ("amount", "fits"),
    [
        ("123456789012345", True),
        ("1234567890123456", False),
        ("0.000000000000123456789012345", True),
        ("12345678.90123456", False),
        ("1E+20", True),
        ('"1234567890.1234567890"', True),
    ],
)
def test_json_amounts_have_15_digits(amount: str, fits: bool) -> None:
    """An amount of more significant digits than a double keeps is refused, as text it is not."""
    given = load_json(f'{{"amount":{amount}}}')
    bulk = {"transactions": [{}, given, 7]}
    if fits:
        check_json_amount(given)
        check_json_amount(bulk)
        return
    with pytest.raises(MalformedRequest, match="precise_amount"):
        check_json_amount(given)
    with pytest.raises(MalformedRequest, match=r"transactions\[1\]\.amount"):
        check_json_amount(bulk)
