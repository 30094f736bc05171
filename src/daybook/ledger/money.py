"""Exact amounts: decimals in major units, integers in minor units, never a float."""

from __future__ import annotations

from decimal import Context, Decimal
from math import floor

FIGURE_DIGITS_MAX = 100
"""Most digits of an amount or a figure in minor units. The columns are wider, so that figures
which grew while a batch was decided still fit (see ``FIGURE_COLUMN_DIGITS``)."""

FIGURE_COLUMN_DIGITS = 110
"""Digits of the numeric columns: room for credits that other partitions add meanwhile."""

FIGURE_MAX: int = 10**FIGURE_DIGITS_MAX - 1
PRECISION_MAX = 10**30
"""Largest precision (minor units in a major unit)."""

AMOUNT_EXPONENT_MAX = 140
"""Bound on the digits of a decimal on either side of the point, before any arithmetic on it."""

AMOUNT_TEXT_LENGTH_MAX = 2 * AMOUNT_EXPONENT_MAX + 3
"""Longest ``plain_text`` of a reasonable amount."""

_FRACTION_DIGITS_MAX = 100
"""Digits behind the point of an amount at any precision, if they end: 2^100 is above 10^30."""

_TEN_TO_ALL_DIGITS: int = 10**_FRACTION_DIGITS_MAX
_EXACT = Context(prec=2 * (FIGURE_DIGITS_MAX + AMOUNT_EXPONENT_MAX))
_HALF = Decimal("0.5")


HALF_UP = "half_up"
"""What a request says to have its amounts rounded; without it they must be exact."""


def round_half_up(value: Decimal) -> int:
    """The nearest integer, halves upwards: 100.5 → 101 (ledger semantics, section 3)."""
    return floor(_EXACT.add(value, _HALF))


def to_minor(amount: Decimal, precision: int) -> int:
    """``amount`` (major units) in minor units: ``round_half_up(amount × precision)``.

    Ask ``misfit`` first: what is not exact is rounded only where the request says so.

    >>> to_minor(Decimal("1.005"), 100)
    101
    """
    return round_half_up(_EXACT.multiply(amount, Decimal(precision)))


def exact_minor(amount: Decimal, precision: int) -> int | None:
    """``amount`` (major units) in minor units; None when it is no whole number of them.

    >>> exact_minor(Decimal("19.99"), 100), exact_minor(Decimal("1.005"), 100)
    (1999, None)
    """
    minor = _EXACT.multiply(amount, precision)
    whole = int(minor)
    return whole if whole == minor else None


def limit_to_minor(limit: Decimal, precision: int) -> int:
    """A limit (major units) in minor units: rounded down, for it never allows more than it says.

    >>> limit_to_minor(Decimal("0.5"), 1)
    0
    """
    return floor(_EXACT.multiply(limit, Decimal(precision)))


def misfit(amount: Decimal, precision: int, rounding: str | None) -> str | None:
    """Why ``amount`` (major units) can't be kept at this precision, with what can be sent instead.

    None when it is a whole number of minor units, or when ``rounding`` says that it may be rounded.

    >>> misfit(Decimal("30.001"), 100, None)
    '30.001 is no whole number of minor units at precision 100: send 30 or 30.01, or set rounding to half_up'
    """  # noqa: E501 - a message is one line
    if rounding == HALF_UP:
        return None
    minor = _EXACT.multiply(amount, Decimal(precision))
    below = floor(minor)
    if minor == below:
        return None
    nearest = " or ".join(_sendable(each, precision) for each in (below, below + 1) if each > 0)
    return (
        f"{plain_text(amount)} is no whole number of minor units at precision {precision}: "
        f"send {nearest}, or set rounding to {HALF_UP}"
    )


def _sendable(minor: int, precision: int) -> str:
    """An amount in minor units as it can be sent: in major units, where these are a decimal."""
    if _has_finite_text(minor, precision):
        return amount_text(minor, precision)
    return f"{minor} in minor units"


def _has_finite_text(minor: int, precision: int) -> bool:
    """Whether ``minor / precision`` is a decimal of finitely many digits."""
    return (minor * _TEN_TO_ALL_DIGITS) % precision == 0


def is_reasonable(amount: Decimal) -> bool:
    """Whether exact arithmetic on ``amount`` is bounded: finite, and few digits on either side.

    It is true of an amount exactly when it is true of its ``plain_text``.
    """
    if not amount.is_finite():
        return False
    return (
        int(amount.as_tuple().exponent) >= -AMOUNT_EXPONENT_MAX
        and amount.adjusted() <= AMOUNT_EXPONENT_MAX
    )


def plain_text(value: Decimal) -> str:
    """``value`` written out, the same text for equal numbers: no exponent, no trailing zeros.

    Not ``Decimal.normalize``, which rounds to the digits of the context.

    >>> plain_text(Decimal("1E+2")), plain_text(Decimal("2.50"))
    ('100', '2.5')
    """
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").removesuffix(".") if "." in text else text


def amount_text(precise_amount: int, precision: int) -> str:
    """The exact decimal text of ``precise_amount / precision``.

    A precision that is not made of twos and fives has no finite decimal: it is cut after 40
    fractional digits.

    >>> amount_text(1999, 100)
    '19.99'
    """
    quotient = _EXACT.divide(Decimal(precise_amount), Decimal(precision))
    if not _has_finite_text(precise_amount, precision):
        quotient = quotient.quantize(Decimal("1E-40"), context=_EXACT)
    return format(quotient.normalize(_EXACT), "f")
