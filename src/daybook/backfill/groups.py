"""Rows that are one of a bookkeeper's entries: grouped into one request, posted whole or not.

The bookkeeper's journal has a row for each side of an entry: it takes from a balance, or gives to
one. The rows of an entry are paired in their order until each amount is used up; what comes of it
is an atomic bulk. Rows that name both sides are transactions of it as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import Any, NamedTuple

from daybook.backfill.mapping import GROUP_ROW
from daybook.backfill.rows import Row
from daybook.ledger.money import amount_text
from daybook.ledger.rejection import Reason
from daybook.ledger.shares import pair_up
from daybook.requests import TransactionRequest
from daybook.requests.bounds import BULK_BODY_BYTES_MAX, BULK_ITEMS_MAX

GROUP_ROWS_MAX = BULK_ITEMS_MAX
"""Most rows of one group."""

GROUP_CHARACTERS_MAX = BULK_BODY_BYTES_MAX
"""Most characters of these rows together."""

STAND_INS = ("@Open", "@Left-open")
"""One of them stands for the side that a row leaves open until it is paired: not its other side."""


class GroupRow(NamedTuple):
    """What a row says. open_side: the side that it does not name, None when it names both."""

    row: Row
    request: TransactionRequest
    open_side: str | None


class UnbalancedError(ValueError):
    """The rows of a group take another sum than they give."""


class Group(NamedTuple):
    """The rows of a group, counted. beyond: those beyond the bounds, one by one.

    stray: the line before it that can't say its group, and may be of this one.
    """

    rows: list[Row]
    beyond: Iterator[Row]
    stray: int | None


def grouped(rows: Iterable[Row], key_of: Callable[[Row], str | None]) -> Iterator[Group]:
    """The groups of a file, one by one.

    key_of: None for a row that can't say its group: it is put to the rows before it.
    """
    latest: tuple[str | None, int | None] = (None, None)
    stray: int | None = None

    def key(row: Row) -> tuple[str | None, int | None]:
        nonlocal latest, stray
        found = key_of(row)
        if found is not None and found != latest[0]:
            latest = (found, stray)
        stray = row.number if found is None else None
        return latest

    for (_, before), members in groupby(rows, key):
        counted = (
            replace(row, columns={**row.columns, GROUP_ROW: str(n)})
            for n, row in enumerate(members, 1)
        )
        yield Group(*_bounded(counted), before)


def _bounded(rows: Iterator[Row]) -> tuple[list[Row], Iterator[Row]]:
    kept: list[Row] = []
    characters = 0
    for row in rows:
        characters += row.characters
        if len(kept) == GROUP_ROWS_MAX or characters > GROUP_CHARACTERS_MAX:
            return kept, chain([row], rows)
        kept.append(row)
    return kept, rows


class Spoilt(NamedTuple):
    """Why no row of a group is posted. code: of those rows that are right by themselves."""

    code: Reason
    reason: str


def spoilt_by(rows: Iterable[Row], stray: int | None, fix: str) -> Spoilt | None:
    """Why none of these rows can be posted, whatever they say.

    stray: a refused line that may be one of them. fix: of rows that don't follow one another.
    """
    parted = next((row.parted for row in rows if row.parted), None)
    if parted is not None:
        begun, again = parted
        said = (
            f"the rows of its group begin in line {begun} and again in line {again}, with others "
            f"between them: {fix}"
        )
        return Spoilt(Reason.MALFORMED, said)
    if stray is not None:
        return Spoilt(Reason.BULK_ABORTED, f"line {stray}, which may be of its group, is refused")
    return None


def together(column: str, order_by: str | None) -> str:
    """What brings rows with the same text in ``column`` together."""
    if order_by is None:
        return f'order_by = "{column}" in the mapping brings them together'
    return (
        f"by {order_by}, the column of order_by, they are not together: give them one text in it, "
        f'or write order_by = "{column}"'
    )


def stand_in(named: str | None) -> str:
    """What stands for the open side of a row that names this one."""
    return next(name for name in STAND_INS if name != named)


def items_of(rows: Sequence[GroupRow]) -> list[dict[str, Any]]:
    """The transactions of the rows of one group. Raises UnbalancedError."""
    items = [_fields(row.request) for row in rows if row.open_side is None]
    sides: dict[tuple[str, int], dict[str, list[GroupRow]]] = defaultdict(
        lambda: {"source": [], "destination": []}
    )
    for row in rows:
        if row.open_side is not None:
            unit = (row.request.currency, row.request.precision)
            sides[unit][row.open_side].append(row)
    paired = (
        _paired(given_by["destination"], given_by["source"], *unit)
        for unit, given_by in sides.items()
    )
    return [*items, *chain.from_iterable(paired)]


def _paired(
    takes: list[GroupRow], gives: list[GroupRow], currency: str, precision: int
) -> Iterator[dict[str, Any]]:
    """Each amount that is taken goes to those that are given something, in order.

    A transaction says what the row says that it completes; what it takes may overdraw as that row
    says.
    """
    taken, given = (sum(p.request.minor_amount() for p in side) for side in (takes, gives))
    if taken != given:
        texts = (amount_text(total, precision) for total in (taken, given))
        raise UnbalancedError(
            "the rows of its group take {} and give {} {}".format(*texts, currency)
        )
    left = [take.request.minor_amount() for take in takes]
    amounts = [give.request.minor_amount() for give in gives]
    for source, destination, amount in pair_up(left, amounts):
        left[source] -= amount
        take, give = takes[source].request, gives[destination].request
        yield _item(take, give, amount, is_complete=not left[source])


def _item(
    take: TransactionRequest, give: TransactionRequest, amount: int, *, is_complete: bool
) -> dict[str, Any]:
    """The transaction between two rows. is_complete: the first of them, else the second."""
    return _fields(take if is_complete else give) | {
        "source": take.source,
        "destination": give.destination,
        "precise_amount": amount,
        "amount": None,
        "allow_overdraft": take.allow_overdraft,
        "overdraft_limit": take.overdraft_limit,
    }


def _fields(request: TransactionRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.model_fields_set}
