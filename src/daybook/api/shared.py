"""Reads that many requests of one moment share, and facts about balances that never change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Generic, NamedTuple, TypeVar

from daybook.client.gathering import FAULTS, Shared
from daybook.store.read.views import BalanceView

IDS_MAX = 5_000
"""Ids of one statement."""

KNOWN_MAX = 100_000
"""Balances of which a process remembers the units."""

V = TypeVar("V")


class SharedReads(Shared[Sequence[str]], Generic[V]):
    """What is read by id, one statement after the other: what is asked for while one is under way
    goes with the next. read: from ids to what there is of them, by id."""

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[Mapping[str, V]]]) -> None:
        super().__init__()
        self._read = read

    async def of(self, ids: Iterable[str]) -> dict[str, V]:
        """What there is of these, and perhaps more; read after this call began.

        Raises StoreUnavailable.
        """
        found: dict[str, V] = await self._join(list(ids))
        return found

    async def _serve(self) -> None:
        while asked := self._still_here():
            self._callers = []
            try:
                found = await self._found(
                    list(dict.fromkeys(chain(*(one.wanted for one in asked))))
                )
            except FAULTS as fault:
                for caller in asked:
                    caller.fail(fault)
            else:
                for caller in asked:
                    caller.resolve(found)

    async def _found(self, ids: Sequence[str]) -> dict[str, V]:
        found: dict[str, V] = {}
        for start in range(0, len(ids), IDS_MAX):
            found |= await self._read(ids[start : start + IDS_MAX])
        return found


class Units(NamedTuple):
    """What is counted on a balance, once it is fixed for ever. name: as people call it."""

    name: str
    currency: str
    precision: int | None


class KnownUnits:
    """The units of balances. A balance stays, and its currency; so does its precision once money
    has moved. A ledger that was restored may lack one all the same: a request for it is accepted,
    and its rejection recorded."""

    def __init__(self, reads: SharedReads[BalanceView]) -> None:
        self._reads = reads
        self._known: dict[str, Units] = {}

    async def of(self, ids: Iterable[str]) -> dict[str, Units]:
        """The units of those of these balances that the ledger has. Raises StoreUnavailable."""
        wanted = list(ids)
        found = {one: self._known[one] for one in wanted if one in self._known}
        missing = [one for one in wanted if one not in found]
        if missing:
            views = await self._reads.of(missing)
            for one in missing:
                if (view := views.get(one)) is not None:
                    found[one] = self._remember(view)
        return found

    def _remember(self, view: BalanceView) -> Units:
        units = units_of(view)
        if units.precision is not None:
            self._known[view.balance_id] = units
            while len(self._known) > KNOWN_MAX:
                del self._known[next(iter(self._known))]
        return units


def units_of(view: BalanceView) -> Units:
    """What is counted on a balance."""
    return Units(view.indicator or view.balance_id, view.currency, view.precision)
