"""The arithmetic and the door of the model: exact fractions, shares, what a request means.

Written from the semantics alone; shares no code with the engine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

from tests.oracle.facts import FIGURE_LIMIT, ORDER, BalanceKey, Request

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SIDES = {"sources": "source", "destinations": "destination"}


def first(broken: set[str]) -> str:
    """The code that is reported of several broken rules."""
    return min(broken, key=ORDER.index)


def half_up(value: Fraction) -> int:
    """The nearest integer, halves upwards."""
    return (value + Fraction(1, 2)).__floor__()


def whole(value: Fraction, request: Request) -> int | None:
    """Minor units as a request may give them: a whole number, or rounded where it says so."""
    if request.get("rounding") == "half_up":
        return half_up(value)
    return int(value) if value.denominator == 1 else None


def micros(date: str | datetime | None) -> int | None:
    """A date as microseconds since the epoch."""
    if date is None:
        return None
    moment = datetime.fromisoformat(date) if isinstance(date, str) else date
    return (moment - EPOCH) // timedelta(microseconds=1)


def minor_amount(request: Request) -> int | None:
    """The amount of a transaction in minor units; None: not given once, or it doesn't fit."""
    amount, precise = request.get("amount"), request.get("precise_amount")
    if (amount is None) == (precise is None):
        return None
    if precise is not None:
        return int(precise)
    return whole(Fraction(str(amount)) * request["precision"], request)


def broken_at_the_door(request: Request) -> set[str]:
    """Rules that a well-typed transaction breaks by itself."""
    broken = set()
    given = [
        request[name] for name in ("amount", "precise_amount") if request.get(name) is not None
    ]
    if len(given) != 1 or Fraction(str(given[0])) <= 0:
        broken.add("invalid_amount")
    elif not 1 <= request["precision"] <= 10**30:
        broken.add("invalid_precision")
    elif not 0 < (minor_amount(request) or 0) < FIGURE_LIMIT:
        broken.add("invalid_amount")
    givers, takers = names_on(request, "source"), names_on(request, "destination")
    if set(givers) & set(takers):
        broken.add("same_balance")
    if len(set(givers)) < len(givers) or len(set(takers)) < len(takers):
        broken.add("invalid_distribution")
    if not broken & {"invalid_amount", "invalid_precision"} and legs_of(request) is None:
        broken.add("invalid_distribution")
    return broken


def names_on(request: Request, side: str) -> list[str]:
    """The identifiers on one side of a transaction."""
    if request.get(side) is not None:
        return [request[side]]
    return [leg["identifier"] for leg in request[f"{side}s"]]


def key_of(name: str, currency: str) -> BalanceKey:
    """What the model calls the balance that ``name`` means in this currency."""
    return (name, currency) if name.startswith("@") else name


Movement = tuple[BalanceKey, BalanceKey, int]
"""Source, destination, minor units."""


def legs_of(request: Request) -> list[Movement] | None:
    """The movements of a transaction; those of nothing are dropped. None: shares that don't fit."""
    total, currency = minor_amount(request), request["currency"]
    assert total is not None
    sources, destinations = names_on(request, "source"), names_on(request, "destination")
    several = [name for name in SIDES if request.get(name) is not None]
    if not several:
        return [(key_of(sources[0], currency), key_of(destinations[0], currency), total)]
    ends = []  # where along the total the part of each name ends, on either side
    for side, names in (("sources", sources), ("destinations", destinations)):
        shares = [total] if side not in several else shared_out(total, request, request[side])
        if shares is None:
            return None
        ends.append(list(zip(names, accumulate(shares), strict=True)))
    cuts = sorted({0, *(end for side in ends for _, end in side)})
    return [
        (key_of(_at(start, ends[0]), currency), key_of(_at(start, ends[1]), currency), end - start)
        for start, end in pairwise(cuts)
    ]


def _at(place: int, ends: Sequence[tuple[str, int]]) -> str:
    """To whom the unit behind ``place`` belongs."""
    return next(name for name, end in ends if place < end)


def is_split(request: Request) -> bool:
    """Whether several legs carry it out: a list of one is no more than its one entry."""
    return any(len(request.get(name) or []) > 1 for name in SIDES)


PERCENT = re.compile(r"(\d+(?:\.\d+)?)%\Z")
DECIMAL = re.compile(r"\d+(?:\.\d+)?\Z")


def shared_out(total: int, request: Request, legs: Sequence[Any]) -> list[int] | None:
    """How the total falls on the legs (semantics, section 8), or None when it can't.

    Every percentage is rounded down; what rounding left over, at most one unit for each that was
    rounded, goes to the first of the largest percentages. Percentages alone make 100.
    """
    percents: dict[int, Fraction] = {}
    amounts: dict[int, int] = {}
    left = []
    for number, leg in enumerate(legs):
        text = leg.get("distribution")
        if leg.get("precise_distribution") is not None:
            if text is not None or not str(leg["precise_distribution"]).isdecimal():
                return None
            amounts[number] = int(leg["precise_distribution"])
        elif text == "left":
            left.append(number)
        elif isinstance(text, str) and (found := PERCENT.match(text)):
            percents[number] = Fraction(found[1])
            amounts[number] = (total * percents[number] / 100).__floor__()
        elif isinstance(text, str) and DECIMAL.match(text):
            amount = whole(Fraction(text) * request["precision"], request)
            if amount is None or (not amount and Fraction(text)):
                return None  # it doesn't fit, or is too small to exist
            amounts[number] = amount
        else:
            return None
    rest = total - sum(amounts.values())
    if rest < 0 or sum(percents.values()) > 100 or len(left) > 1:
        return None
    if left:
        amounts[left[0]] = rest
    elif len(percents) == len(legs) and sum(percents.values()) != 100:
        return None
    elif rest:
        if rest > sum((total * percent / 100).denominator > 1 for percent in percents.values()):
            return None
        largest = min(percents, key=lambda number: (-percents[number], number))
        amounts[largest] += rest
    return [amounts[number] for number in range(len(legs))]


_NOTHING = {
    "description": "",
    "allow_overdraft": False,
    "overdraft_limit": 0,
    "inflight": False,
    "meta_data": {},
    "fields": {},
    "atomic": False,
    "made_by": "",
}
"""Values that say the same as leaving the field out."""

_DATES = ("effective_date", "inflight_expiry_date", "inflight_commit_date", "scheduled_for")


def meaning_of(request: Request) -> dict[str, Any]:
    """What a request says, whatever way it is written; requests that mean the same are equal."""
    kind = request["kind"]
    own = f"{kind}_id"
    meaning = {
        name: value
        for name, value in request.items()
        if value is not None and name != own and _NOTHING.get(name, ...) != value
    }
    meaning |= {name: micros(request[name]) for name in _DATES if request.get(name) is not None}
    if kind != "commit" or Fraction(str(meaning.get("amount", 0))).denominator == 1:
        meaning.pop("rounding", None)
    if kind == "transaction":
        meaning |= _meaning_of_transaction(request)
        meaning.pop("amount", None)
    elif kind == "bulk":
        held = {"inflight": True} if meaning.pop("inflight", None) else {}
        items = [{"kind": "transaction", **item, **held} for item in request["transactions"]]
        meaning["transactions"] = [meaning_of(item) for item in items]
    elif "amount" in meaning:
        meaning["amount"] = Fraction(str(meaning["amount"]))
    return meaning


def _meaning_of_transaction(request: Request) -> dict[str, Any]:
    meaning: dict[str, Any] = {
        "precise_amount": minor_amount(request),
        "precision": request["precision"],
    }
    if request.get("overdraft_limit"):
        meaning["overdraft_limit"] = Fraction(str(request["overdraft_limit"]))
    for name in SIDES:
        if request.get(name) is not None:
            meaning[name] = [_meaning_of_leg(leg, request) for leg in request[name]]
    return meaning


def _meaning_of_leg(leg: Any, request: Request) -> tuple[str, Any]:
    text = leg.get("distribution")
    if text is None:
        return leg["identifier"], int(leg["precise_distribution"])
    if found := PERCENT.match(text):
        return leg["identifier"], ("%", Fraction(found[1]))
    if DECIMAL.match(text):
        return leg["identifier"], whole(Fraction(text) * request["precision"], request)
    return leg["identifier"], text


def item_of(bulk: Request, number: int) -> Request:
    """The ``number``-th transaction of a bulk (from 0), as a request of its own.

    What it doesn't say of its words and its date, the bulk says for it.
    """
    item = {"kind": "transaction", **bulk["transactions"][number]}
    for name in ("description", "effective_date"):
        if not item.get(name) and bulk.get(name):
            item[name] = bulk[name]
    return {**item, "inflight": True} if bulk.get("inflight") else item
