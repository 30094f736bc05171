"""Rows that are one entry of a journal: grouped into one request that is posted whole or not.

A bookkeeper's export has a row for each posting: it takes from a balance, or gives to one. The rows
of an entry are paired in their order until each amount is used up; what comes of it is an atomic
bulk. Rows that name both sides are transactions of it as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from typing import Any, NamedTuple

from daybook.backfill.mapping import GROUP_ROW
from daybook.backfill.rows import Row
from daybook.ledger.money import amount_text
from daybook.ledger.shares import pair_up
from daybook.requests import TransactionRequest
from daybook.requests.bounds import BULK_ITEMS_MAX

GROUP_ROWS_MAX = BULK_ITEMS_MAX
"""Most rows of one group."""

OTHER_SIDE = {"source": "@Taken", "destination": "@Given"}
"""What stands for the side that a posting leaves open, until it is paired."""


class Posting(NamedTuple):
    """What a row says. open_side: the side that it does not name, None when it names both."""

    row: Row
    request: TransactionRequest
    open_side: str | None


class UnbalancedError(ValueError):
    """The rows of a group take another sum than they give."""


def grouped(
    rows: Iterable[Row], key_of: Callable[[Row], str | None]
) -> Iterator[tuple[list[Row], Iterator[Row]]]:
    """The rows of each group, counted, at most GROUP_ROWS_MAX of them; and those beyond.

    key_of: None for a row that can't say its group: it belongs to the rows before it.
    """
    latest: str | None = None

    def key(row: Row) -> str | None:
        nonlocal latest
        found = key_of(row)
        latest = latest if found is None else found
        return latest

    for _, members in groupby(rows, key):
        counted = (
            Row(row.number, {**row.columns, GROUP_ROW: str(n)}, row.fault, row.content)
            for n, row in enumerate(members, 1)
        )
        yield list(islice(counted, GROUP_ROWS_MAX)), counted


def items_of(postings: Sequence[Posting]) -> list[dict[str, Any]]:
    """The transactions of the postings of one group. Raises UnbalancedError."""
    items = [_fields(posting.request) for posting in postings if posting.open_side is None]
    sides: dict[tuple[str, int], dict[str, list[Posting]]] = defaultdict(
        lambda: {"source": [], "destination": []}
    )
    for posting in postings:
        if posting.open_side is not None:
            unit = (posting.request.currency, posting.request.precision)
            sides[unit][posting.open_side].append(posting)
    paired = (
        _paired(given_by["destination"], given_by["source"], *unit)
        for unit, given_by in sides.items()
    )
    return [*items, *chain.from_iterable(paired)]


def _paired(
    takes: list[Posting], gives: list[Posting], currency: str, precision: int
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
