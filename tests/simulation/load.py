"""What producers send: requests of every kind, drawn from the seed, dated in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.fault.requests import MOMENT_MS_MAX, _Mix, deposit, move, seeded_id

LEDGER = "general_ledger_id"
OPENING_CENTS = 3_000
RELAY_CENTS = 50_000
REPEATED = 0.08
"""How often a request is sent once more, perhaps by another process."""


class Mix(_Mix):
    """Draws requests in the time of a simulation. now_ms: milliseconds since the epoch."""

    def __init__(
        self, random: Random, balances: Sequence[str], name: str, now_ms: Callable[[], int]
    ) -> None:
        super().__init__(random, balances, name)
        self._now_ms = now_ms
        self._holder: str | None = None
        self._contested: str | None = None
        self._kinds[self._relay] = 90
        self._kinds[self._pool] = 4
        self._kinds[self._keyed] = 25
        self._kinds[self._contest] = 8

    def draw(self, reference: str) -> dict[str, Any]:
        contested, self._contested = self._contested, None
        return super().draw(reference) if contested is None else self._rival(contested)

    def _moment(self) -> datetime:
        ahead = self._random.randint(1, MOMENT_MS_MAX)
        return datetime.fromtimestamp(self._now_ms() / 1000, UTC) + timedelta(milliseconds=ahead)

    def _relay(self, reference: str) -> dict[str, Any]:
        """More money than anybody has, from one to the next: each needs the one before."""
        source = self._holder
        self._holder = self._random.choice([b for b in self._balances[:6] if b != source])
        if source is None:
            return deposit(reference, self._holder, RELAY_CENTS)
        return self._named(move(reference, source, self._holder, RELAY_CENTS), self.moved)

    def _pool(self, reference: str) -> dict[str, Any]:
        """Into or out of an internal balance whose funds are checked."""
        name = self._random.choice(self._balances[:4])
        sides = (name, "@Pool") if self._random.random() < 0.5 else ("@Pool", name)
        return self._named(move(reference, *sides, self._random.randint(1, 900)), self.moved)

    def _contest(self, reference: str) -> dict[str, Any]:
        """A bulk with an item whose reference the next request takes, too, in whatever slot."""
        self._contested = f"{reference}-item-0"
        return self._bulk(reference)

    def _rival(self, reference: str) -> dict[str, Any]:
        """What asks for the reference of an item: now, or for later."""
        if self._random.random() < 0.5:
            return self._transfer(reference)
        return self._schedule(reference)

    def _keyed(self, reference: str) -> dict[str, Any]:
        """A spend that keeps its order with others than those of its source."""
        source, destination = self._random.sample(self._balances[:2], 2)
        key = self._random.choice("abcdefgh")
        amount = self._random.randint(OPENING_CENTS // 2, OPENING_CENTS)
        return move(reference, source, destination, amount, ordering_key=key)


def openings(random: Random, number: int) -> tuple[list[str], list[dict[str, Any]]]:
    """So many balances with a little money each: their ids, and the requests that make them."""
    names = [seeded_id(random, "bln") for _ in range(number)]
    where = {"kind": "balance", "ledger_id": LEDGER, "currency": "USD"}
    made = [{**where, "balance_id": name} for name in names]
    return names, made + [
        deposit(f"open-{at}", name, OPENING_CENTS) for at, name in enumerate(names)
    ]


def drawn(mix: Mix, random: Random, number: int, name: str) -> list[dict[str, Any]]:
    """So many requests, some of them twice."""
    requests: list[dict[str, Any]] = []
    for index in range(number):
        if requests and random.random() < REPEATED:
            requests.append(random.choice(requests))
        else:
            requests.append(mix.draw(f"{name}-{index}"))
    return requests
