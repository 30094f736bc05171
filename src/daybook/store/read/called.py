"""What people call the balances of records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from daybook.ledger.balance import internal_balance_id
from daybook.ledger.rejection import names_in


class Called(NamedTuple):
    """An internal balance has an ``@Name``, another one perhaps an external_id."""

    indicator: str | None
    external_id: str | None


NAMELESS = Called(None, None)


def told_in(
    texts: Iterable[tuple[Any, str]], known: Mapping[UUID, Called]
) -> Iterator[tuple[UUID, Called]]:
    """Names of internal balances that were never created, as texts about records tell them.

    An id follows from the name and the currency, so no text can claim a name for another balance.
    """
    for row, text in texts:
        unknown = {row.source, row.destination} - {None} - known.keys()
        for name in names_in(text) if unknown else ():
            balance_id = UUID(internal_balance_id(name, row.currency)[len("bln_") :])
            if balance_id in unknown:
                yield balance_id, Called(name, None)
