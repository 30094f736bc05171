"""Exact amounts: decimals in major units, integers in minor units, never a float."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Context, Decimal, InvalidOperation

FIGURE_DIGITS_MAX = 100
"""Most digits of an amount or a figure in minor units. The columns are wider, so that figures
which grew while a batch was decided still fit (see ``FIGURE_COLUMN_DIGITS``)."""

FIGURE_COLUMN_DIGITS = 110
"""Digits of the numeric columns: room for credits that other partitions add meanwhile."""

FIGURE_MAX: int = 10**FIGURE_DIGITS_MAX - 1
PRECISION_MAX = 10**30
"""Largest precision (minor units in a major unit)."""

AMOUNT_EXPONENT_MAX = 140
"""Bound on the magnitude of a decimal's exponent, before any arithmetic is tried on it."""

_EXACT = Context(prec=2 * (FIGURE_DIGITS_MAX + AMOUNT_EXPONENT_MAX))
_HALF = Decimal("0.5")


def round_half_up(value: Decimal) -> int:
    """The nearest integer, halves upwards: 100.5 → 101 (ledger semantics, section 3)."""
    return int(_EXACT.add(value, _HALF).to_integral_value(rounding=ROUND_FLOOR, context=_EXACT))


def to_minor(amount: Decimal, precision: int) -> int:
    """``amount`` (major units) in minor units: ``round_half_up(amount × precision)``.

    >>> to_minor(Decimal("1.005"), 100)
    101
    """
    return round_half_up(_EXACT.multiply(amount, Decimal(precision)))


def is_reasonable(amount: Decimal) -> bool:
    """Whether exact arithmetic on ``amount`` is bounded: finite, and of a sane exponent."""
    if not amount.is_finite():
        return False
    digits = amount.as_tuple()
    return (
        abs(int(digits.exponent)) <= AMOUNT_EXPONENT_MAX
        and len(digits.digits) <= 2 * FIGURE_DIGITS_MAX
    )


def amount_text(precise_amount: int, precision: int) -> str:
    """The exact decimal text of ``precise_amount / precision``.

    A precision that is not made of twos and fives has no finite decimal: it is cut after 40
    fractional digits.

    >>> amount_text(1999, 100)
    '19.99'
    """
    try:
        quotient = _EXACT.divide(Decimal(precise_amount), Decimal(precision))
    except InvalidOperation:
        return str(precise_amount)
    if _EXACT.multiply(quotient, Decimal(precision)) != precise_amount:
        quotient = quotient.quantize(Decimal(1).scaleb(-40), context=_EXACT)
    return format(quotient.normalize(_EXACT), "f")
