"""The short way of a common transaction: it never says anything else than the long one."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st
from tests.property.test_requests import shapes, transactions, values
from tests.property.texts import plain

from daybook.client.drafts import Draft, draft, drafts
from daybook.errors import FieldError, MalformedRequest
from daybook.ledger.balance import internal_balance_id
from daybook.requests import Request, common_of, fingerprint_of, request_of

Given = dict[str, Any]
A, B = "bln_00000000-0000-4000-8000-00000000000a", "bln_00000000-0000-4000-8000-00000000000b"
WORLD = internal_balance_id("@World", "USD")
NOW = 1_790_000_000.0


class Currency(StrEnum):
    """An enumeration, as services have one."""

    USD = "USD"
    MARKED = '"'


class Cents(IntEnum):
    """Numbers that are not plain ones."""

    ONE = 1
    MANY = 100


amounts = st.sampled_from(
    [
        *({"precise_amount": n} for n in (1, "1999", Cents.ONE, Decimal(7), 10**100 - 1)),
        *({"amount": n} for n in ("19.99", Decimal("1.50"), 3, "1E+3", "+5")),
        *({"amount": n, "rounding": "half_up"} for n in ("1.005", Decimal("0.5"), "9e-1")),
        {"amount": None, "precise_amount": 1},
        {"amount": "1", "precise_amount": None},
    ]
)
common = st.builds(
    dict.__or__,
    amounts,
    st.fixed_dictionaries(
        {
            "reference": st.text(min_size=1, max_size=20).map(lambda text: plain("r" + text)),
            "source": st.sampled_from([A, A, "@World", "@Ünïcode", '@"', "@\\"]),
            "destination": st.sampled_from([B, B, "@Till", WORLD]),
            "currency": st.sampled_from(["USD", "€", '"\\', Currency.USD, Currency.MARKED]),
            "precision": st.sampled_from([100, "100", 1000, Cents.MANY, Decimal("1E+2"), 10**20]),
        },
        optional={
            "kind": st.just("transaction"),
            "description": st.text(max_size=20),
            "allow_overdraft": st.booleans(),
            "inflight": st.booleans(),
            "meta_data": st.dictionaries(st.text(max_size=3), values, max_size=3),
        },
    ),
)
odd_texts = [
    "\x00",
    "a ",
    "a\xa0b",
    "a\u200b",
    "e\u0301",
    "@e\u0301",
    "@a\u200b",
    "\ud800",
    "\\u0000",
    " ",
    "\x1f",
    "\x85",
    "@a\x1fb",
    "@a\u3000",
    "r" * 256,
]
odd_amounts = ["1_0", " 5", ".5", "٣", "0", "0.005", "1e-140", 1.5, Decimal("NaN"), 10**100, -1]
odd = st.one_of(shapes, st.sampled_from([*odd_texts, *odd_amounts, "@" + "x" * 255, True, b"x"]))
FIELDS = (
    "kind reference source destination currency amount precise_amount precision rounding "
    "description allow_overdraft inflight meta_data effective_date overdraft_limit ordering_key "
    "sources transaction_id more"
)
edits = st.dictionaries(st.sampled_from(FIELDS.split()), odd, max_size=2)
wanted = st.builds(dict.__or__, common, edits) | transactions


def the_long_way(fields: Given) -> Request | None:
    """The request, judged by its model; None when it is refused."""
    try:
        return request_of(fields)
    except MalformedRequest:
        return None


@given(common)
def test_what_is_common_goes_the_short_way(fields: Given) -> None:
    """The tests below would say nothing if hardly any request did."""
    assume(the_long_way(fields) is not None)  # the amount has too many digits, or it is one balance
    assume("\\u0000" not in str(fields))
    assert common_of(fields) is not None


@given(wanted)
def test_both_ways_are_one(fields: Given) -> None:
    """What goes the short way goes the long one, too, and has the same bytes there."""
    long, short = the_long_way(fields), common_of(fields)
    event("common" if short else "refused" if long is None else "not common")
    if short is not None:
        assert long is not None
        assert not long.slots
        assert short == (getattr(long, "reference", None), long.slot, long.body())


@given(st.lists(wanted, max_size=4))
def test_many_are_drafted_as_their_models_are(requests: list[Given]) -> None:
    """Entry by entry, but for the chance in an id; what is refused is refused in the same words."""
    errors = [
        (f"[{index}].{error.field}", error.code, error.message)
        for index, fields in enumerate(requests)
        for error in errors_of(fields)
    ]
    if errors:
        with pytest.raises(MalformedRequest) as refused:
            drafts(requests, lambda: NOW)
        assert [(e.field, e.code, e.message) for e in refused.value.errors] == errors
        return
    made = drafts(requests, lambda: NOW)
    models = [draft(request_of(fields), lambda: NOW) for fields in requests]
    assert list(map(said, made)) == list(map(said, models))


def errors_of(fields: Given) -> Sequence[FieldError]:
    """What the model says against these fields."""
    try:
        request_of(fields)
    except MalformedRequest as fault:
        return fault.errors
    return ()


def said(made: Draft) -> Any:
    """All of a draft that does not come by chance."""
    entry = made.entry
    assert entry.fingerprint == fingerprint_of(entry.body)
    minted = entry.request_id[:23] if made.minted else entry.request_id
    key = entry.key if made.reference is not None else None
    return entry._replace(request_id=minted, key=key or ""), made.reference, made.minted
