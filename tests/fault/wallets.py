"""Balances in chosen partitions, and loads whose every outcome is known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from daybook import BalanceRequest
from daybook.requests import slot_of
from tests.fault.requests import bulk, deposit, legs, move, seeded_id
from tests.harness import Installation


def balance_in(random: Random, partition: int, partitions: int) -> str:
    """A new id of a balance whose slot lies in a partition."""
    for _ in range(100 * partitions):
        made = seeded_id(random, "bln")
        if slot_of(made) % partitions == partition:
            return made
    raise AssertionError("no slot found")


def wallets(installation: Installation, each: int, cents: int, seed: int = 1) -> list[list[str]]:
    """New balances with money, ``each`` of every partition: by partition."""
    random = Random(f"wallets-{seed}")
    partitions = installation.partitions
    made = [[balance_in(random, p, partitions) for _ in range(each)] for p in range(partitions)]
    where = {"ledger_id": "general_ledger_id", "currency": "USD"}
    names = [name for some in made for name in some]
    installation.client.enqueue_many(
        [BalanceRequest(balance_id=name, **where) for name in names]
        + [deposit(f"fund-{name}", name, cents) for name in names if cents]
    )
    return made


class Purses:
    """A model of funds: what becomes of spends when each takes its turn.

    Nothing is ever paid into a purse, so the outcome of each spend depends on the order alone.
    expected: status of each transaction and of each bulk, by reference.
    """

    def __init__(self, names: Sequence[str], cents: int) -> None:
        self._left = dict.fromkeys(names, cents)
        self.expected: dict[str, str] = {}

    def spend(self, reference: str, amounts: Mapping[str, int], status: str = "APPLIED") -> bool:
        """Take all of these amounts, or none."""
        enough = all(self._left[name] >= amount for name, amount in amounts.items())
        if enough:
            for name, amount in amounts.items():
                self._left[name] -= amount
        self.expected[reference] = status if enough else "REJECTED"
        return enough

    def spend_bulk(
        self, reference: str, items: Sequence[tuple[str, Mapping[str, int]]], *, atomic: bool
    ) -> None:
        """Each on its own, or all of them or none."""
        before = dict(self._left)
        done = [self.spend(name, amounts) for name, amounts in items]
        if atomic and not all(done):
            self._left = before
            self.expected |= {name: "REJECTED" for name, _ in items}
        self.expected[reference] = "APPLIED" if (all if atomic else any)(done) else "REJECTED"


def turns(
    random: Random, names: Sequence[str], cents: int, number: int
) -> tuple[list[Any], Purses]:
    """Spends of the same balances by single transactions, bulks and several sources."""
    purses, requests = Purses(names, cents), []
    for index in range(number):
        reference, chance = f"turn-{index}", random.random()
        some = random.sample(list(names), min(len(names), random.randint(2, 6)))
        amounts = {name: random.randint(1, cents // 3) for name in some}
        if chance < 0.45:
            name = some[0]
            inflight = random.random() < 0.3
            requests.append(move(reference, name, "@Shop", amounts[name], inflight=inflight))
            purses.spend(reference, {name: amounts[name]}, "INFLIGHT" if inflight else "APPLIED")
        elif chance < 0.7:
            each = random.randint(1, cents // 3)
            shares = dict.fromkeys(some, f"{each / 100:.2f}")
            requests.append(legs(reference, "source", shares, "@Shop", each * len(some)))
            purses.spend(reference, dict.fromkeys(some, each))
        else:
            atomic = random.random() < 0.5
            items = [(f"{reference}-{n}", {name: amounts[name]}) for n, name in enumerate(some)]
            moves = [
                move(own, name, "@Shop", amount)
                for own, one in items
                for name, amount in one.items()
            ]
            requests.append(bulk(reference, moves, atomic=atomic))
            purses.spend_bulk(reference, items, atomic=atomic)
    return requests, purses


def assert_turns(installation: Installation, purses: Purses) -> None:
    """Every spend became what it does when each takes its turn."""
    rows = installation.rows(
        "SELECT reference, status FROM transactions WHERE reference LIKE 'turn-%' AND NOT derived"
    )
    found = dict(rows)
    assert len(found) == len(rows)
    assert found == purses.expected
