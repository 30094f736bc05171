"""The stage of the scenes: how they ask, and how what they see is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from daybook.client.client import Client
from daybook.client.receipts import Receipt
from daybook.demo.observer import Observer, Seen
from daybook.demo.tally import EUR, Tally, id_of
from daybook.requests import mint_id
from daybook.store.read.snapshots import RequestLog

PATIENCE_SECONDS_MAX = 30.0
"""How long a scene waits for its outcome."""
TAX = id_of("@Tax", EUR)

Move = tuple[str, str, str]
"""Ids of the source and of the destination, and euros."""
Legs = list[tuple[str, str]]
"""Who, and how much."""


class Stage:
    """Asks, in a ledger that exists, and keeps what was seen; ``tally`` gets what moves."""

    def __init__(
        self,
        client: Client,
        observer: Observer,
        request_log: RequestLog,
        tally: Tally,
        ledger_id: str,
    ) -> None:
        self._client = client
        self._observer = observer
        self._log = request_log
        self._tally = tally
        self._ledger_id = ledger_id
        self._ada, self._ben, self._shop = (mint_id("bln") for _ in range(3))
        self._names = {self._ada: "Ada", self._ben: "Ben", self._shop: "shop", TAX: "@Tax"}
        self._owner = mint_id("idt")
        self._seen: list[Seen] = []

    def _balance(self, balance_id: str, **fields: Any) -> Receipt:
        name = {"external_id": self._names[balance_id]}
        return self._client.create_balance(
            self._ledger_id, EUR.currency, balance_id=balance_id, meta_data=name, **fields
        )

    def _pay(
        self,
        reference: str,
        source: str | Legs,
        destination: str | Legs,
        euros: str,
        **fields: Any,
    ) -> dict[str, Any]:
        """A transaction; a side may have several legs."""
        sides: dict[str, Any] = {}
        for name, side in (("source", source), ("destination", destination)):
            if isinstance(side, str):
                sides[name] = side
            else:
                sides[f"{name}s"] = [
                    {"identifier": who, "distribution": share} for who, share in side
                ]
        return {
            "reference": f"shop-{reference}",
            "amount": Decimal(euros),
            "currency": EUR.currency,
            "precision": EUR.precision,
            **sides,
            **fields,
        }

    def _send(self, request: Mapping[str, Any]) -> Receipt:
        return self._client.enqueue(request)

    def _await(self, asked: Iterable[Receipt]) -> None:
        """Wait for outcomes; one that does not come is seen by what the ledger shows."""
        self._client.wait_many(list(asked), PATIENCE_SECONDS_MAX)

    def _ask(
        self,
        what: str,
        receipt: Receipt,
        promised: str,
        moves: Iterable[Move] = (),
        records: int = 1,
    ) -> str:
        """Note what came of a request; returns its id."""
        self._await([receipt])
        for move in moves:
            self._tally.move(*minor(move))
        self._note(what, self._observer.told(receipt.id), promised, records=records)
        return receipt.id

    def _release(self, source: str, destination: str, euros: str) -> None:
        from_id, to_id, amount = minor((source, destination, euros))
        self._tally.hold(from_id, to_id, -amount)

    def _note(
        self,
        what: str,
        shown: str,
        promised: str,
        figures: Mapping[str, int] | None = None,
        promised_figures: Mapping[str, int] | None = None,
        *,
        records: int = 0,
    ) -> None:
        """Keep what was seen. figures: by default, what the ledger says may be spent now."""
        if figures is None:
            figures = self._observer.available(self._names)
        if promised_figures is None:
            promised_figures = {one: self._tally.available(one) for one in self._names}
        self._seen.append(
            Seen(
                what,
                shown,
                promised,
                {name: figures.get(one, 0) for one, name in self._names.items()},
                {name: promised_figures[one] for one, name in self._names.items()},
                records,
            )
        )


def minor(move: Move) -> tuple[str, str, int]:
    """A move in minor units, as the tally takes it."""
    source, destination, euros = move
    return source, destination, int(Decimal(euros) * EUR.precision)


def moved(figures: Mapping[str, int], move: Move) -> dict[str, int]:
    """``figures`` as they are after a move."""
    source, destination, amount = minor(move)
    change = {source: -amount, destination: amount}
    return {one: figure + change.get(one, 0) for one, figure in figures.items()}
