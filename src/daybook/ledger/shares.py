"""How a total is divided among legs: in whole minor units, to the last one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Context, Decimal
from typing import NamedTuple

from daybook.ledger.money import AMOUNT_EXPONENT_MAX, FIGURE_DIGITS_MAX, plain_text
from daybook.ledger.rejection import Reason, Rejected

_EXACT = Context(prec=2 * (FIGURE_DIGITS_MAX + AMOUNT_EXPONENT_MAX))
_ZERO, _HUNDRED = Decimal(0), Decimal(100)


class Share(NamedTuple):
    """What one leg gets of the total.

    fixed: minor units. percent: of the total, 0 to 100. Neither: what the other legs leave.
    """

    fixed: int | None = None
    percent: Decimal | None = None


LEFT = Share()


def share_out(
    total: int, shares: Sequence[Share], side: str = "destinations"
) -> list[int] | Rejected:
    """The amounts of the legs in minor units: they add up to ``total``, and none is negative.

    Percentages are of the total, rounded down. Without a leg that takes what is left, the legs
    must add up to the total: percentages alone to exactly 100, beside fixed legs as nearly as
    rounding each of them allows. What rounding down has left over goes to the largest percentage,
    the first of equals (ledger semantics, section 8).

    side: what the legs are called in a rejection.
    """
    places = [place for place, share in enumerate(shares) if share == LEFT]
    if len(places) > 1:
        return _refused(side, places[1], f"only one leg can be left; {side}[{places[0]}] is")
    percent = _ZERO
    for place, share in enumerate(shares):
        if share.percent is not None:
            percent = _EXACT.add(percent, share.percent)
            if percent > _HUNDRED:
                message = f"makes it {plain_text(percent)}% in all; stay within 100%"
                return _refused(side, place, message)
    amounts, rounded = _rounded_down(total, shares)
    gap = total
    for place, amount in enumerate(amounts):
        gap -= amount
        if gap < 0:
            message = f"exceeds the total of {total} minor units by {-gap}; lower it"
            return _refused(side, place, message)
    if places:
        amounts[places[0]] = gap
        return amounts
    return _with_residue(total, shares, amounts, gap, percent, rounded, side)


def pair_up(taken: Sequence[int], given: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """What goes from whom to whom: each amount taken to those given, in order, till it is used up.

    The place of who gives, the place of who gets, and the amount, in minor units. Both sides have
    the same sum; amounts of zero are in no pair.

    >>> list(pair_up([70, 30], [60, 40]))
    [(0, 0, 60), (0, 1, 10), (1, 1, 30)]
    """
    assert sum(taken) == sum(given)
    left = list(given)
    place = 0
    for source, amount in enumerate(taken):
        while amount:
            moved = min(amount, left[place])
            if moved:
                yield source, place, moved
            amount -= moved
            left[place] -= moved
            place += not left[place]


def _rounded_down(total: int, shares: Sequence[Share]) -> tuple[list[int], int]:
    """The fixed and percentage legs rounded down, and how many of them had a fraction."""
    hundredth = _EXACT.scaleb(Decimal(total), -2)
    multiply = _EXACT.multiply
    amounts = []
    rounded = 0
    for fixed, percent in shares:
        if percent is None:
            amounts.append(fixed or 0)
            continue
        exact = multiply(hundredth, percent)
        amount = int(exact)  # drops the fraction, as nothing is negative here
        amounts.append(amount)
        rounded += amount != exact
    return amounts, rounded


def _with_residue(
    total: int,
    shares: Sequence[Share],
    amounts: list[int],
    gap: int,
    percent: Decimal,
    rounded: int,
    side: str,
) -> list[int] | Rejected:
    """The legs with what rounding has left over, when the gap is no more than that."""
    only_percentages = all(share.percent is not None for share in shares)
    last = len(shares) - 1
    if only_percentages and percent != _HUNDRED:
        message = f"makes it {plain_text(percent)}% in all; make it 100% or add a leg that is left"
        return _refused(side, last, message)
    if gap > rounded:
        message = f"leaves {gap} of {total} minor units to nobody; add them, or a leg that is left"
        return _refused(side, last, message)
    if gap:
        largest = max(share.percent for share in shares if share.percent is not None)
        place = next(place for place, share in enumerate(shares) if share.percent == largest)
        amounts[place] += gap
    return amounts


def _refused(side: str, place: int, message: str) -> Rejected:
    return Rejected(Reason.INVALID_DISTRIBUTION, f"{side}[{place}].distribution: {message}")
