"""Dividing a total among legs: every minor unit goes somewhere, and where the rules say."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daybook.ledger.rejection import Reason, Rejected
from daybook.ledger.shares import LEFT, Share, share_out


def shares(text: str) -> list[Share]:
    """Shares as text: ``20%``, minor units, or ``left``, with blanks between them."""
    found = []
    for word in text.split():
        if word == "left":
            found.append(LEFT)
        elif word.endswith("%"):
            found.append(Share(percent=Decimal(word[:-1])))
        else:
            found.append(Share(fixed=int(word)))
    return found


@pytest.mark.parametrize(
    ("total", "given_shares", "amounts"),
    [
        (100_000, "20000 50% left", [20_000, 50_000, 30_000]),
        (10_001, "33.33% 33.33% 33.34%", [3_333, 3_333, 3_335]),
        (1, "50% 50%", [1, 0]),
        (3_000_000, "left 4.3%", [2_871_000, 129_000]),
        (30_000, "20% 10000 left", [6_000, 10_000, 14_000]),
        (5, "left", [5]),
        (5, "100%", [5]),
        (5, "5", [5]),
        (5, "100% left", [5, 0]),
        (5, "0% 0 5", [0, 0, 5]),
        (10, "33.4% 33.3% 33.3%", [4, 3, 3]),
        (11, "25% 25% 25% 25%", [5, 2, 2, 2]),
        (11, "5 50%", [5, 6]),
        (11, "6 50%", [6, 5]),
        (10**100 - 1, "50% 50%", [5 * 10**99, 5 * 10**99 - 1]),
        (3, f"0.{'3' * 140}% left", [0, 3]),
    ],
)
def test_pinned_splits(total: int, given_shares: str, amounts: list[int]) -> None:
    """These totals are divided like this, for ever."""
    assert share_out(total, shares(given_shares)) == amounts


@pytest.mark.parametrize(
    ("total", "given_shares", "named", "why"),
    [
        (100, "left 10 left", "[2]", "only one leg can be left; sources[0] is"),
        (100, "50% 51% left", "[1]", "makes it 101% in all; stay within 100%"),
        (100, "60 41", "[1]", "exceeds the total of 100 minor units by 1; lower it"),
        (100, "60 50% left", "[1]", "exceeds the total of 100 minor units by 10; lower it"),
        (
            100,
            "60 39",
            "[1]",
            "leaves 1 of 100 minor units to nobody; add them, or a leg that is left",
        ),
        (
            100,
            "50% 49.99%",
            "[1]",
            "makes it 99.99% in all; make it 100% or add a leg that is left",
        ),
        (1, "50% 49%", "[1]", "makes it 99% in all; make it 100% or add a leg that is left"),
        (
            11,
            "4 50%",
            "[1]",
            "leaves 2 of 11 minor units to nobody; add them, or a leg that is left",
        ),
        (
            100,
            "50% 49",
            "[1]",
            "leaves 1 of 100 minor units to nobody; add them, or a leg that is left",
        ),
        (100, "0%", "[0]", "makes it 0% in all; make it 100% or add a leg that is left"),
        (
            100,
            "0",
            "[0]",
            "leaves 100 of 100 minor units to nobody; add them, or a leg that is left",
        ),
    ],
)
def test_shares_that_do_not_fit(total: int, given_shares: str, named: str, why: str) -> None:
    """What is more or less than the total is refused by the name of a leg, with the fix."""
    found = share_out(total, shares(given_shares), "sources")
    assert isinstance(found, Rejected)
    assert found.reason == Reason.INVALID_DISTRIBUTION
    assert found.detail == f"sources{named}.distribution: {why}"


totals = st.one_of(st.integers(1, 300), st.integers(1, 10**12), st.integers(10**99, 10**100 - 1))
percents = st.one_of(
    st.integers(0, 100).map(Decimal), st.decimals(0, 100, places=3), st.decimals(0, 40, places=9)
).map(lambda percent: Share(percent=percent))
fixed = st.one_of(st.integers(0, 100), st.integers(0, 10**12)).map(Share)
any_shares = st.lists(st.one_of(percents, fixed, st.just(LEFT)), min_size=1, max_size=8)


@given(totals, any_shares)
def test_every_unit_goes_somewhere(total: int, legs: list[Share]) -> None:
    """Legs add up to the total, none is negative, and only what rounding left over is moved."""
    amounts = share_out(total, legs)
    if isinstance(amounts, Rejected):
        return
    assert sum(amounts) == total
    assert min(amounts) >= 0
    largest = max((leg.percent for leg in legs if leg.percent is not None), default=None)
    took = []
    fractions = 0
    for leg, amount in zip(legs, amounts, strict=True):
        if leg.fixed is not None:
            assert amount == leg.fixed
        elif leg.percent is not None:
            exact = Fraction(leg.percent) * total / 100
            fractions += exact.denominator > 1
            if amount != exact.__floor__():
                took.append((leg, amount - exact.__floor__()))
    assert len(took) <= (LEFT not in legs)
    for leg, residue in took:
        assert leg.percent == largest
        assert 0 < residue <= fractions
        first = next(place for place, one in enumerate(legs) if one.percent == largest)
        assert (
            legs[first] is leg
            or amounts[first] != (Fraction(largest or 0) * total / 100).__floor__()
        )


@given(totals, st.lists(st.integers(0, 10_000), min_size=1, max_size=8))
def test_percentages_that_make_100_always_fit(total: int, parts: list[int]) -> None:
    """Percentages of exactly 100 are never refused, others alone always are."""
    rest = 10_000 - sum(parts)
    legs = [Share(percent=Decimal(part).scaleb(-2)) for part in parts]
    whole = [*legs, Share(percent=Decimal(rest).scaleb(-2))] if rest >= 0 else []
    if whole:
        amounts = share_out(total, whole)
        assert not isinstance(amounts, Rejected)
        assert sum(amounts) == total
    assert isinstance(share_out(total, legs), Rejected) == (rest != 0)


@given(totals, st.lists(st.decimals(0, 100, places=2), max_size=6), st.integers(0, 200))
def test_left_takes_exactly_the_rest(total: int, given_percents: list[Decimal], some: int) -> None:
    """With a leg that is left, all that fits is taken as it is, and refused if and only if not."""
    legs = [*(Share(percent=percent) for percent in given_percents), Share(some), LEFT]
    floors = [(Fraction(percent) * total / 100).__floor__() for percent in given_percents]
    rest = total - sum(floors) - some
    fits = rest >= 0 and sum(given_percents) <= 100
    found = share_out(total, legs)
    assert found == [*floors, some, rest] if fits else isinstance(found, Rejected)
