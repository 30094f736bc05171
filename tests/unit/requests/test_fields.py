"""Every bound of every field of a request, on both of its sides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from daybook.errors import MalformedRequest
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.rejection import Reason
from daybook.requests import REQUEST_MODELS, check_json_amount, load_json, mint_id, validate

A = "bln_00000000-0000-4000-8000-00000000000a"
B = "bln_00000000-0000-4000-8000-00000000000b"
L = "ldg_00000000-0000-4000-8000-000000000001"
HOLD = mint_id("txn", 7, 0)
GENERAL = "general_ledger_id"

GOOD: dict[str, dict[str, Any]] = {
    "transaction": {
        "reference": "r",
        "source": A,
        "destination": B,
        "currency": "USD",
        "precise_amount": 1,
    },
    "commit": {"transaction_id": HOLD},
    "void": {"transaction_id": HOLD},
    "ledger": {"name": "n"},
    "balance": {"ledger_id": GENERAL, "currency": "USD"},
}
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
    ("transaction", "description", "d" * 2000),
    ("transaction", "overdraft_limit", 0),
    ("transaction", "overdraft_limit", "1E+140"),
    ("transaction", "overdraft_limit", "1E-140"),
    ("transaction", "ordering_key", "k" * 255),
    ("transaction", "effective_date", "2026-04-22T15:28:03Z"),
    ("transaction", "effective_date", datetime(2026, 4, 22, tzinfo=UTC)),
    ("transaction", "effective_date", datetime.min.replace(tzinfo=UTC)),
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
]

M, AMOUNT, PRECISION = Reason.MALFORMED, Reason.INVALID_AMOUNT, Reason.INVALID_PRECISION
REFUSED: list[tuple[str, str, Any, Reason]] = [
    *(("transaction", "reference", bad, M) for bad in ("", " \t", "r" * 256, 7, None, b"r", True)),
    *(("transaction", "reference", bad, M) for bad in ("a\x00b", "a\ud800b", "\udfff")),
    *(("transaction", "source", bad, M) for bad in ("", "A", "@", "@a b", "@a\n", "@a\u00a0b", 7)),
    *(("transaction", "source", bad, M) for bad in ("@" + "x" * 255, "@a\x00", "@\ud800", [A])),
    *(("transaction", "source", bad, M) for bad in (A.upper(), A + "0", A[:-1], A + "\n", "x" + A)),
    *(("transaction", "currency", bad, M) for bad in ("", " ", "c" * 65, "a\x00", "\ud800", 840)),
    *(("transaction", "precise_amount", bad, AMOUNT) for bad in (0, -1, 10**100, "1" * 101)),
    *(("transaction", "precise_amount", bad, AMOUNT) for bad in (True, 1.0, "1.0", " 1", "1_0")),
    *(
        ("transaction", "precise_amount", bad, AMOUNT)
        for bad in ("", "x", "１", [], Decimal("1.5"), {})
    ),
    *(("transaction", "precise_amount", bad, AMOUNT) for bad in (Decimal("NaN"), 10**9999, "-1")),
    *(
        ("transaction", "precise_amount", bad, AMOUNT)
        for bad in (Decimal("1E+999"), Decimal("1.5"))
    ),
    *(("transaction", "precision", bad, PRECISION) for bad in (0, -1, 10**30 + 1, True, 1.0, "x")),
    *(("transaction", "precision", bad, PRECISION) for bad in (None, Decimal("0.5"), "", 10**9999)),
    *(("transaction", "description", bad, M) for bad in ("d" * 2001, None, 7, "\x00", "\ud800")),
    *(("transaction", "allow_overdraft", bad, M) for bad in (1, 0, "true", "", None, [])),
    *(("transaction", "inflight", bad, M) for bad in (1, 0, "false", None)),
    *(("transaction", "overdraft_limit", bad, M) for bad in (-1, "-0.01", 1.5, True, "x", None)),
    *(("transaction", "overdraft_limit", bad, M) for bad in ("1E+141", "1E-141", "inf", "NaN")),
    *(("transaction", "effective_date", bad, M) for bad in ("2026-04-22", "2026-04-22T10:00:00")),
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
    *(("transaction", "meta_data", bad, M) for bad in ([], "{}", 7, True)),
    *(("transaction", "meta_data", {"a": bad}, M) for bad in (object(), b"x", {1}, 1j)),
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
]


def shown(value: Any) -> str:
    """A short name of a test's value, which may be too long or too odd to print."""
    return "huge" if isinstance(value, int) and abs(value) > 10**40 else ascii(value)[:40]


@pytest.mark.parametrize(("kind", "field", "value"), ACCEPTED, ids=shown)
def test_within_bounds(kind: str, field: str, value: Any) -> None:
    """A value on the good side of the bound is accepted and written as a body."""
    assert validate(REQUEST_MODELS[kind], GOOD[kind] | {field: value}).body()


@pytest.mark.parametrize(("kind", "field", "value", "code"), REFUSED, ids=shown)
def test_out_of_bounds(kind: str, field: str, value: Any, code: Reason) -> None:
    """A value beyond the bound is refused by the field's name, with the ledger's code."""
    with pytest.raises(MalformedRequest) as refused:
        validate(REQUEST_MODELS[kind], GOOD[kind] | {field: value})
    assert field in {error.field.split(".")[0] for error in refused.value.errors}
    assert refused.value.code == code


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_required(kind: str) -> None:
    """A request without anything names every field that it needs."""
    with pytest.raises(MalformedRequest) as refused:
        validate(REQUEST_MODELS[kind], {})
    named = {error.field for error in refused.value.errors}
    assert named == {name.replace("precise_amount", "amount") for name in GOOD[kind]}


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
        "effective_date": "2026-04-22",
        "meta_data": {"a": float("nan")},
        "ordering_key": "",
        "transaction_id": "txn",
        "unknown": 1,
    }
    with pytest.raises(MalformedRequest) as refused:
        validate(REQUEST_MODELS["transaction"], wrong)
    assert {error.field for error in refused.value.errors} == wrong.keys()
    assert refused.value.code == "malformed"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"amount": 1}, "invalid_amount"),
        ({"precise_amount": None}, "invalid_amount"),
        ({"precise_amount": None, "amount": "0.4"}, "invalid_amount"),
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
        validate(REQUEST_MODELS["transaction"], GOOD["transaction"] | given)
    assert refused.value.code == code


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
        validate(REQUEST_MODELS["balance"], GOOD["balance"] | given)


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
    if fits:
        check_json_amount(given)
    else:
        with pytest.raises(MalformedRequest, match="precise_amount"):
            check_json_amount(given)
