"""Amounts between major and minor units: exact, or not at all, or as the request says."""

from __future__ import annotations

import doctest
from decimal import Decimal, localcontext

import pytest

from daybook.ledger import money
from daybook.ledger.money import (
    AMOUNT_EXPONENT_MAX,
    AMOUNT_TEXT_LENGTH_MAX,
    HALF_UP,
    PRECISION_MAX,
    amount_text,
    is_reasonable,
    limit_to_minor,
    misfit,
    plain_text,
    to_minor,
)

LONG = "1" * 99


@pytest.mark.parametrize(
    ("limit", "precision", "minor"),
    [
        ("0.5", 1, 0),
        ("0.005", 100, 0),
        ("0.999999999999999999999999999999999999999999999", 1, 0),
        (f"{LONG}.999999999", 1, int(LONG)),
        (f"{LONG}.99", 100, int(f"{LONG}99")),
        ("1e-140", PRECISION_MAX, 0),
        ("1", 3, 3),
        ("0.333", 3, 0),
    ],
)
def test_a_limit_never_allows_more_than_it_says(limit: str, precision: int, minor: int) -> None:
    """It is rounded down, exactly, whatever the context of the caller rounds to."""
    with localcontext(prec=3):
        assert limit_to_minor(Decimal(limit), precision) == minor


@pytest.mark.parametrize(
    ("amount", "precision", "is_whole"),
    [
        ("19.99", 100, True),
        ("19.990", 100, True),
        ("30.001", 100, False),
        ("19.99", 1, False),
        (f"{LONG}.1", 10, True),
        (f"{LONG}.1", 9, False),
        (f"{LONG}.10000000000000000000000000000000000001", 10, False),
        ("1e-30", PRECISION_MAX, True),
        ("1e-31", PRECISION_MAX, False),
    ],
)
def test_an_amount_fits_when_it_is_whole(amount: str, precision: int, is_whole: bool) -> None:
    """To the last digit; what does not fit does when it may be rounded."""
    with localcontext(prec=3):
        assert (misfit(Decimal(amount), precision, None) is None) is is_whole
        assert misfit(Decimal(amount), precision, HALF_UP) is None
        if is_whole:
            assert amount_text(to_minor(Decimal(amount), precision), precision) == plain_text(
                Decimal(amount)
            )


@pytest.mark.parametrize(
    ("amount", "precision", "advice"),
    [
        ("30.001", 100, "send 30 or 30.01, or"),
        ("0.001", 100, "send 0.01, or"),
        ("1.001", 100, "send 1 or 1.01, or"),
        ("0.5", 3, "send 1 in minor units or 2 in minor units, or"),
    ],
)
def test_a_misfit_says_what_fits(amount: str, precision: int, advice: str) -> None:
    """The nearest amounts on both sides, never zero, and in minor units where no decimal is one."""
    assert advice in (misfit(Decimal(amount), precision, None) or "")


@pytest.mark.parametrize(
    ("minor", "precision", "text"),
    [
        (1999, 100, "19.99"),
        (2, 3, f"0.{'6' * 39}7"),
        (6, 3, "2"),
        (1, 2**99, "0." + str(5**99).rjust(99, "0")),
    ],
)
def test_an_amount_is_shown_in_full_or_cut(minor: int, precision: int, text: str) -> None:
    """What has no finite decimal is cut after forty digits, not after those of the arithmetic."""
    assert amount_text(minor, precision) == text


def test_the_longest_amount_is_as_long_as_its_bound() -> None:
    """The text of a reasonable amount with all its digits and its sign; the next one is longer."""
    digits = "9" * AMOUNT_EXPONENT_MAX
    longest = Decimal(f"-9{digits}.{digits}")
    assert is_reasonable(longest)
    assert len(plain_text(longest)) == AMOUNT_TEXT_LENGTH_MAX
    assert not is_reasonable(Decimal(f"99{digits}"))
    assert not any(is_reasonable(Decimal(word)) for word in ("Infinity", "-Infinity", "NaN"))
    assert not is_reasonable(Decimal(f"0.{digits}9"))


def test_the_examples_are_right() -> None:
    """What the docstrings show is so."""
    assert doctest.testmod(money).failed == 0
