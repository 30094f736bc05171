"""What looks the same is the same: texts that name something differ only where one can see it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daybook.errors import MalformedRequest
from daybook.ledger.rejection import Rejected
from daybook.requests import decode, mint_id, request_of
from daybook.requests.naming import is_plain, naming_fault, normalised
from daybook.requests.routing import mint_bulk_id

A, HOLD = "bln_00000000-0000-4000-8000-00000000000a", mint_id("txn", 5)
UNSEEN = {
    "USD ": "ends with U+0020 (SPACE); remove it",
    " USD": "begins with U+0020 (SPACE); remove it",
    "US\u00a0D": "has U+00A0 (NO-BREAK SPACE) as character 3; write a plain space or nothing there",
    "U\u200bSD": "has U+200B (ZERO WIDTH SPACE) as character 2; remove it",
    "\ufeffUSD": "has U+FEFF (ZERO WIDTH NO-BREAK SPACE) as character 1; remove it",
    "US\nD": "has U+000A as character 3; write a plain space or nothing there",
    "USD\x1b": "has U+001B as character 4; remove it",
    "US\u202eD": "has U+202E (RIGHT-TO-LEFT OVERRIDE) as character 3; remove it",
    "US\u3164D": "has U+3164 (HANGUL FILLER) as character 3; remove it",
    "USD\ufe0f": "has U+FE0F (VARIATION SELECTOR-16) as character 4; remove it",
    "Cafe\u0301": "is not in Unicode's form NFC from U+0065 (LATIN SMALL LETTER E) on, "
    "character 4; normalise it",
}


def transaction(**changed: Any) -> dict[str, Any]:
    return {
        "reference": "r1", "source": "@World", "destination": A, "currency": "USD",
        "precise_amount": 5, "precision": 100,
    } | changed  # fmt: skip


def legged(name: str) -> dict[str, Any]:
    legs = [
        {"identifier": f"@{name}", "distribution": "left"},
        {"identifier": "@Fees", "distribution": "10%"},
    ]
    return {name: value for name, value in transaction().items() if name != "destination"} | {
        "destinations": legs
    }


DOORS: dict[str, Callable[[str], dict[str, Any]]] = {
    "reference": lambda name: transaction(reference=name),
    "currency": lambda name: transaction(currency=name),
    "source": lambda name: transaction(source=f"@{name}"),
    "destination": lambda name: transaction(source=A, destination=f"@{name}"),
    "destinations[0].identifier": legged,
    "ordering_key": lambda name: transaction(ordering_key=name),
    "transactions[0].reference": lambda name: {"transactions": [transaction(reference=name)]},
    "transactions[0].currency": lambda name: {"transactions": [transaction(currency=name)]},
    "transactions[0].source": lambda name: {"transactions": [transaction(source=f"@{name}")]},
    "bulk reference": lambda name: {"transactions": [transaction()], "reference": name},
    "bulk ordering_key": lambda name: {"transactions": [transaction()], "ordering_key": name},
    "commit reference": lambda name: {
        "kind": "commit", "transaction_id": HOLD, "reference": name
    },
    "void reference": lambda name: {"kind": "void", "transaction_id": HOLD, "reference": name},
    "refund reference": lambda name: {"kind": "refund", "transaction_id": HOLD, "reference": name},
    "cancel reference": lambda name: {"kind": "cancel", "transaction_id": HOLD, "reference": name},
    "change reference": lambda name: {
        "kind": "change", "subject_id": A, "reference": name, "meta_data": {"a": 1}
    },
    "change fields.name": lambda name: {
        "kind": "change", "subject_id": "general_ledger_id", "fields": {"name": name}
    },
    "change meta_data": lambda name: {
        "kind": "change", "subject_id": A, "meta_data": {"external_id": name}
    },
    "ledger name": lambda name: {"kind": "ledger", "name": name, "ledger_id": "ldg" + A[3:]},
    "balance currency": lambda name: {
        "kind": "balance", "ledger_id": "ldg" + A[3:], "currency": name, "balance_id": A
    },
    "balance indicator": lambda name: {
        "kind": "balance", "ledger_id": "general_ledger_id", "currency": "USD",
        "indicator": f"@{name}", "balance_id": None,
    },
    "balance meta_data": lambda name: {
        "kind": "balance", "ledger_id": "ldg" + A[3:], "currency": "USD", "balance_id": A,
        "meta_data": {"external_id": name},
    },
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_what_nobody_sees_is_refused_where_it_is_handed_in(door: str) -> None:
    """Every field of every kind that names something: the field, the character and the fix."""
    for text, said in UNSEEN.items():
        with pytest.raises(MalformedRequest) as refused:
            request_of(DOORS[door](text))
        (error,) = refused.value.errors
        assert error.field == door.rpartition(" ")[2]
        if door.endswith(("source", "destination", "identifier", "indicator")):
            assert said[:4] in error.message or "blanks" in error.message  # after the @
        else:
            assert error.message.endswith(said)


@pytest.mark.parametrize("door", [door for door in DOORS if door != "balance indicator"])
def test_a_worker_refuses_it_too(door: str) -> None:
    """Whatever producer wrote the body: a rejection, never another balance or currency."""
    request = request_of(DOORS[door]("NAMED"))
    minted = mint_bulk_id(request.slot) if "trans" in door or "bulk" in door else None
    named = getattr(request, "balance_id", None) or getattr(request, "ledger_id", None)
    request_id = minted or named or mint_id("txn", request.slot)
    for text in UNSEEN:
        inner = json.dumps(text, ensure_ascii=False)[1:-1]
        if "meta_data" in door or "fields" in door:
            inner = json.dumps(inner, ensure_ascii=False)[1:-1]
        body = request.body().replace(b"NAMED", inner.encode())
        found = decode(body, request_id, 1_700_000_000_000)
        assert isinstance(found, Rejected), text
        assert found.reason == "malformed"


odd = st.text(st.one_of(st.characters(), st.sampled_from("a ́𝼀‍‎️🏴\u0085\u00adه")), max_size=8)


@given(odd)
def test_a_fault_has_a_fix(text: str) -> None:
    """What is not plain has a fault, also when it is normalised and still isn't."""
    assert (naming_fault(text) is None) == is_plain(text)
    mended = normalised(text)
    assert normalised(mended) == mended
    assert (naming_fault(mended) is None) == is_plain(mended)
    if is_plain(text):
        assert mended == text


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("\u00a0 a\u202f\u3000b\t", "a  b"),
        ("a\r\nb", "a  b"),
        ("\ufeffa\u200bb\u2060\u00ad", "ab"),
        ("\u202aa–b №\u200e 5 €\u202c", "a–b № 5 €"),
        ("a\u200db", "ab"),
        ("帳\u200b簿", "帳簿"),
        ("Cafe\u200b\u0301", "Café"),
    ],
)
def test_what_nobody_sees_is_dropped(text: str, mended: str) -> None:
    """Blanks become plain ones or go; what has neither width nor effect goes."""
    assert normalised(text) == mended
    assert is_plain(mended)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A\ue000", "A\ue001"),  # private use: a symbol of some font
        ("A\U0001df00\u0378", "A\U0001df00"),  # assigned tomorrow
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\U0001f3f4"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\U0001f469"),  # a couple, and two people
        ("\u2764\ufe0f", "\u2764"),
        ("\u845b\U000e0100", "\u845b"),  # the ways in which a family writes its name
        ("می\u200cخ", "میخ"),
        ("ه\u200d", "ه"),
        ("a\u202eb1", "ab1"),
        ("\u202ea\u202cb1", "\u202eab1"),  # where a direction ends says what it turns round
        ("a!\u200e\u200f", "a!\u200f"),
        ("a\u3164b", "ab"),  # wide blanks that Unicode calls letters or signs
        ("a\u2800b", "ab"),
        ("\x8elut\xfd", "lut\xfd"),  # Ž of cp1250, read as latin-1
        ("a\x85b", "a b"),
        ("a\u1680b", "a b"),
        ("a\x00b", "ab"),
    ],
)
def test_what_looks_different_never_becomes_one(one: str, other: str) -> None:
    """What may be seen is not dropped, but stays to be refused."""
    assert normalised(one) != normalised(other)
    assert not is_plain(normalised(one))


IGNORABLE = (
    "00AD 034F 061C 115F-1160 17B4-17B5 180B-180F 200B-200F 202A-202E 2060-206F 3164 FE00-FE0F "
    "FEFF FFA0 FFF0-FFF8 1BCA0-1BCA3 1D173-1D17A E0000-E0FFF"
)
"""Default_Ignorable_Code_Point, as Unicode's DerivedCoreProperties.txt has it."""
EMPTY = "2800 2D7F 1107F 13441-13442 16FE4 1D159"
"""What fonts draw as nothing although it has not that property."""


@pytest.mark.parametrize("listed", [IGNORABLE, EMPTY], ids=["ignorable", "empty"])
def test_no_character_that_nobody_sees_names_anything(listed: str) -> None:
    """Wherever it stands, and whatever category Unicode gives it."""
    ends = [[int(end, 16) for end in each.split("-")] for each in listed.split()]
    unseen = [chr(code) for each in ends for code in range(each[0], each[-1] + 1)]
    taken = [text for char in unseen for text in (char, f"a{char}b", f"a{char}") if is_plain(text)]
    assert not taken
    mended = {normalised(f"a{char}b") for char in unseen}
    assert {text for text in mended if is_plain(text)} <= {"ab", "a b"}


def test_what_is_seen_stays() -> None:
    """Letters, marks, signs and plain spaces of any script name things."""
    for text in ("a b", "Žluťoučký kůň", "帳簿", "€", "Ω", "😀", "R$ 5", "it's", "a/b:c#d"):
        assert unicodedata.is_normalized("NFC", text)
        assert naming_fault(text) is None
