"""How the story is told: what all of its requests share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from daybook.demo.tally import Customer, Money, Step, Tally, id_of
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason
from daybook.requests import TransactionRequest


class Narration:
    """Tells ``steps`` of ``customers``, and keeps the tally of them. seed: of what is chance."""

    def __init__(self, customers: Sequence[Customer], seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - the same story each time
        self.customers = customers
        self.tally = Tally()
        self.steps: list[Step] = []

    # What is applied

    def _deposit(self, customer: Customer) -> None:
        amount = customer.money.deposit + self._random.randrange(customer.money.deposit)
        self._move("deposit", "@World", customer.balance_id, customer.money, amount, {})

    def _friend_of(self, customer: Customer) -> Customer:
        """Somebody else with the same money."""
        return self._random.choice(
            [c for c in self.customers if c.money is customer.money and c is not customer]
        )

    def _move(
        self,
        kind: str,
        source: str,
        destination: str,
        money: Money,
        amount: int,
        options: dict[str, Any],
    ) -> None:
        if source.startswith("@"):
            options = {**options, "allow_overdraft": True}
        self._ask(kind, source, destination, money, amount, Status.APPLIED, **options)
        self.tally.move(id_of(source, money), id_of(destination, money), amount)

    def _ask(
        self,
        kind: str,
        source: str,
        destination: str,
        money: Money,
        amount: int,
        status: Status,
        reason: Reason | None = None,
        **options: Any,
    ) -> None:
        sides = {"source": source, "destination": destination}
        request = self._transaction(kind, money, amount, **sides, **options)
        self.steps.append(Step(kind, request, status, reason))

    def _transaction(
        self, kind: str, money: Money, amount: int, **fields: Any
    ) -> TransactionRequest:
        return TransactionRequest(
            reference=self._reference(kind),
            currency=money.currency,
            precise_amount=amount,
            precision=money.precision,
            **fields,
        )

    def _reference(self, kind: str) -> str:
        return f"{kind.replace(' ', '-')}-{len(self.steps) + 1}"


def too_much(money: Money) -> int:
    """More than all deposits of the story together."""
    return money.deposit * 10**9
