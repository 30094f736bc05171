"""What people call the balances of records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from daybook.ledger.balance import internal_balance_id

_INDICATORS = re.compile(r"@\S+")


class Called(NamedTuple):
    """An internal balance has an ``@Name``, another one perhaps an external_id."""

    indicator: str | None
    external_id: str | None


NAMELESS = Called(None, None)


def told_in_details(
    rows: Sequence[Any], known: Mapping[UUID, Called]
) -> Iterator[tuple[UUID, Called]]:
    """Names of internal balances that were never created, as the details of rejections tell them.

    An id follows from the name and the currency, so no text can claim a name for another balance.
    A comma behind a name may be its own, or that of the sentence.
    """
    for row in rows:
        unknown = {row.source, row.destination} - {None} - known.keys()
        words = _INDICATORS.findall(row.detail or "") if unknown else ()
        for name in {form for word in words for form in (word, word.removesuffix(","))}:
            balance_id = UUID(internal_balance_id(name, row.currency)[len("bln_") :])
            if balance_id in unknown:
                yield balance_id, Called(name, None)
