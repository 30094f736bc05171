"""Requests whose every outcome is known: money that nobody else has, spent to the last minor unit.

Each episode has balances of its own. Whatever is paid into one is accepted before anything is
spent of it, so what becomes of a spend follows from the order of acceptance alone, whatever the
partitions and no matter who dies: the model says it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from tests.fault.requests import bulk, deposit, legs, move, seeded_id, slot_for
from tests.oracle.facts import Figures, Row
from tests.oracle.model import Model

Request = dict[str, Any]


class Wait(NamedTuple):
    """What follows is sent in another call: so much later, or at a time of the log's clock."""

    for_ms: int = 0
    until_ms: int = 0


Step = Request | Wait
Accepted = tuple[bytes, str, int]
"""A body, its id, and when it was accepted, in microseconds since the epoch."""

MARK = "purses"
"""The description of what an episode sends, and a key in the meta_data of its balances."""

UNSAID = ("v", "meta_data")
"""What stands in a body and says nothing of what becomes of it."""
CENTS_MAX = 400
LIMIT_CENTS = 50
APPLIED_MS = 1_500
"""So much later most of what was sent before is applied."""
SINK = "@Sold"

Spends = list[tuple[int, dict[str, Any]]]
LIMITED: dict[str, Any] = {"overdraft_limit": f"0.{LIMIT_CENTS:02}"}
HELD: dict[str, Any] = {"inflight": True}


def expected_of(accepted: Iterable[Accepted]) -> list[Row]:
    """The rows that requests of episodes lead to. accepted: in the order of acceptance."""
    model = Model()
    for body, request_id, micros in accepted:
        if MARK.encode() in body:
            model.take(_as_sent(json.loads(body)), request_id, micros)
    return model.rows


def _as_sent(body: dict[str, Any]) -> Request:
    """A body as a request that a producer would write."""
    request = {name: value for name, value in body.items() if name not in UNSAID}
    if "precision" in request:
        request["precision"] = int(request["precision"])
    if "transactions" in request:
        request["transactions"] = [_as_sent(item) for item in request["transactions"]]
    return request


class Episodes:
    """Draws episodes. ids: makes the ids of balances and holds."""

    def __init__(self, random: Random, ids: Random) -> None:
        self._random = random
        self._ids = ids
        self._said: dict[str, Any] = {"description": MARK}
        self._number = 0
        self._reference = ""

    def draw(self, reference: str) -> list[Step]:
        """The requests of one episode, in order: balances, what is paid in, what is spent."""
        random, self._reference, self._number = self._random, reference, 0
        names = [seeded_id(self._ids, "bln") for _ in range(random.randint(4, 6))]
        other, giver, *purses = names
        amounts = {name: random.randint(2, CENTS_MAX) for name in purses}
        requests: list[Step] = [*self._create(names), *self._give(other, giver, amounts)]
        if random.random() < 0.4:
            return requests + self._spend_together(amounts)
        spends = [self._spend(name, amount) for name, amount in amounts.items()]
        while some := [each for each in spends if each]:
            requests.append(random.choice(some).pop(0))
        return requests

    def _next(self) -> str:
        self._number += 1
        return f"{self._reference}-{self._number}"

    def _move(self, source: str, destination: str, amount: int, **more: Any) -> Request:
        return move(self._next(), source, destination, amount, **more, **self._said)

    def _create(self, names: Sequence[str]) -> list[Request]:
        """The balances, in a ledger that there is, or that comes to be just before."""
        if self._random.random() < 0.5:
            return [_creation(name, "general_ledger_id") for name in names]
        ledger = seeded_id(self._ids, "ldg")
        made = {"kind": "ledger", "ledger_id": ledger, "name": MARK}
        return [made, *(_creation(name, ledger) for name in names)]

    # what is paid in

    def _give(self, other: str, giver: str, amounts: Mapping[str, int]) -> list[Step]:
        """Everything comes to one balance, and from there to the purses, in one way or another."""
        total = sum(amounts.values())
        if self._random.random() < 0.2:
            paid: list[Step] = [deposit(self._next(), giver, total, **self._said)]
        else:
            paid = [*self._relayed(other, giver, total)]
        way = self._random.choice([self._by_legs, self._by_legs, self._by_bulk, self._by_refund])
        chance = self._random.random()
        if chance < 0.3:
            return [*paid, *self._by_till(giver, amounts)]
        if chance < 0.55:
            return [*paid, *self._by_hold(other, giver, amounts)]
        return [*paid, *way(giver, amounts)]

    def _relayed(self, other: str, giver: str, total: int) -> list[Request]:
        """Money from outside that comes by another balance, so perhaps by another partition."""
        paid = deposit(self._next(), other, total, **self._said)
        return [paid, self._move(other, giver, total)]

    def _by_legs(self, giver: str, amounts: Mapping[str, int], **more: Any) -> list[Request]:
        shares = {name: _major(amount) for name, amount in amounts.items()}
        total = sum(amounts.values())
        more |= self._said
        return [legs(self._next(), "destination", shares, giver, total, **more)]

    def _by_bulk(self, giver: str, amounts: Mapping[str, int]) -> list[Request]:
        items = [self._move(giver, name, amount) for name, amount in amounts.items()]
        atomic = self._random.random() < 0.5
        return [self._bulk(items, atomic=atomic)]

    def _by_hold(self, other: str, giver: str, amounts: Mapping[str, int]) -> list[Step]:
        """Held, with a part for each, and committed; in between the giver may wait for money."""
        (request,) = self._by_legs(giver, amounts, inflight=True)
        hold = seeded_id(self._ids, "txn", slot_for(request))
        commit = {"kind": "commit", "transaction_id": hold, "reference": self._next()}
        between: list[Step] = []
        if self._random.random() < 0.8:
            between = [
                Wait(for_ms=APPLIED_MS),
                *self._relayed(other, giver, 1),
                self._move(giver, SINK, 1),
            ]
        return [{**request, "transaction_id": hold}, *between, commit | self._said]

    def _by_till(self, giver: str, amounts: Mapping[str, int]) -> list[Request]:
        """By an internal balance, which pays it out to all partitions; first or last too much."""
        till, total = f"@Till-{self._reference}", sum(amounts.values())
        paid = [self._move(till, name, amount) for name, amount in amounts.items()]
        some = self._random.choice(list(amounts))
        if self._random.random() < 0.3:
            paid.insert(0, self._move(till, some, total + 1))
        else:
            paid += [self._move(till, name, self._random.randint(1, 9)) for name in amounts]
        filled = [self._move(giver, till, total)]
        if self._random.random() < 0.5:
            filled += self._refunded(self._move(till, some, total))
        return [*filled, *paid]

    def _by_refund(self, giver: str, amounts: Mapping[str, int]) -> list[Request]:
        """Paid to each and spent in full, and the spends refunded."""
        requests = self._by_legs(giver, amounts)
        for name, amount in amounts.items():
            requests += self._refunded(self._move(name, SINK, amount))
        return requests

    def _refunded(self, spend: Request) -> list[Request]:
        made = seeded_id(self._ids, "txn", slot_for(spend))
        refund = {"kind": "refund", "transaction_id": made, "reference": self._next()}
        return [{**spend, "transaction_id": made}, refund | self._said]

    # what is spent

    def _spend(self, name: str, amount: int) -> list[Request]:
        """All that is there, one minor unit more, one less; held or not, with a limit or not."""
        below = amount + LIMIT_CENTS
        plans: list[Spends] = [
            [(amount, {}), (1, {})],
            [(amount + 1, {}), (amount, {})],
            [(amount - 1, {}), (2, {}), (1, {})],
            [(amount, HELD), (1, {})],
            [(below, LIMITED), (1, LIMITED)],
            [(below + 1, LIMITED), (below, LIMITED), (1, {})],
        ]
        plan = self._random.choice([*plans, None])
        if plan is None:
            return self._void_and_spend(name, amount)
        return [self._move(name, SINK, each, **more) for each, more in plan]

    def _void_and_spend(self, name: str, amount: int) -> list[Request]:
        held = self._move(name, SINK, amount, inflight=True)
        hold = seeded_id(self._ids, "txn", slot_for(held))
        void = {"kind": "void", "transaction_id": hold, "reference": self._next()} | self._said
        spends = [self._move(name, SINK, each) for each in (1, amount + 1, amount)]
        return [{**held, "transaction_id": hold}, spends[0], void, *spends[1:]]

    def _spend_together(self, amounts: Mapping[str, int]) -> list[Request]:
        """One minor unit too much from one of several, then all that is there; then no more."""
        some = self._random.choice(list(amounts))
        more = {name: amount + (name == some) for name, amount in amounts.items()}
        chance = self._random.random()
        if chance < 0.3:
            spends = [self._from_all(more), self._from_all(amounts)]
        elif chance < 0.5:
            spends = [*self._held_and_committed(more), *self._held_and_committed(amounts)]
        elif chance < 0.75:
            spends = [self._bulk_of(more, atomic=True), self._bulk_of(amounts, atomic=True)]
        else:
            spends = [self._bulk_of(more, atomic=True), self._bulk_of(more, atomic=False)]
            spends.append(self._move(some, SINK, amounts[some]))
        return [*spends, *(self._move(name, SINK, 1) for name in amounts)]

    def _from_all(self, amounts: Mapping[str, int]) -> Request:
        shares = {name: _major(amount) for name, amount in amounts.items()}
        return legs(self._next(), "source", shares, SINK, sum(amounts.values()), **self._said)

    def _held_and_committed(self, amounts: Mapping[str, int]) -> list[Request]:
        """All or none, by the id of the bulk."""
        held = self._bulk_of(amounts, atomic=True) | {"inflight": True}
        commit = {"kind": "commit", "transaction_id": held["bulk_id"], "reference": self._next()}
        return [held, commit | self._said]

    def _bulk_of(self, amounts: Mapping[str, int], *, atomic: bool) -> Request:
        """The one that may ask too much comes anywhere, and others create what nobody has yet."""
        sinks = [SINK, f"{SINK}-{self._reference}-{self._number}"]
        items = [
            self._move(name, self._random.choice(sinks), amount) for name, amount in amounts.items()
        ]
        return self._bulk(items, atomic=atomic)

    def _bulk(self, items: Sequence[Request], *, atomic: bool) -> Request:
        made = seeded_id(self._ids, "bulk", slot_for(items[0]))
        return bulk(self._next(), items, atomic=atomic, bulk_id=made, **self._said)


def _creation(name: str, ledger: str) -> Request:
    where = {"ledger_id": ledger, "currency": "USD", "meta_data": {MARK: "1"}}
    return {"kind": "balance", "balance_id": name, **where}


def _major(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def turns(
    random: Random, names: Sequence[str], cents: int, number: int
) -> tuple[list[Any], dict[str, str]]:
    """Spends of balances that have ``cents`` each, by single transactions, bulks and several
    sources; and the status of each transaction and each bulk, by its reference.
    """
    model, requests = Model(), []
    for name in names:
        model.balances[name] = Figures("USD", credit=cents)
    for index in range(number):
        request = _turn(random, f"turn-{index}", names, cents)
        requests.append(request)
        model.take({"kind": "transaction", **request}, f"txn_{index:036}")
    return requests, {name: known.status for name, known in model.references.items()}


def _turn(random: Random, reference: str, names: Sequence[str], cents: int) -> Request:
    chance = random.random()
    some = random.sample(list(names), min(len(names), random.randint(2, 6)))
    amounts = {name: random.randint(1, cents // 3) for name in some}
    if chance < 0.45:
        inflight = random.random() < 0.3
        return move(reference, some[0], "@Shop", amounts[some[0]], inflight=inflight)
    if chance < 0.7:
        each = random.randint(1, cents // 3)
        return legs(
            reference, "source", dict.fromkeys(some, _major(each)), "@Shop", each * len(some)
        )
    items = [
        move(f"{reference}-{n}", name, "@Shop", amount)
        for n, (name, amount) in enumerate(amounts.items())
    ]
    return bulk(reference, items, atomic=random.random() < 0.5)
