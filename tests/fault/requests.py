"""Requests that fault tests send."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from daybook import BalanceRequest
from daybook.producing import Receipt
from daybook.requests import CommitRequest, VoidRequest, mint_id
from daybook.requests.bounds import ordering_key, slot_of
from tests.harness import Installation


def make_balances(
    installation: Installation, number: int, currency: str = "USD"
) -> tuple[list[str], list[Receipt]]:
    """New application balances in a new ledger, and the receipts for all of that."""
    ledger = installation.client.create_ledger("Faults")
    balances = [mint_id("bln") for _ in range(number)]
    made = [BalanceRequest(ledger_id=ledger.id, currency=currency, balance_id=b) for b in balances]
    return balances, [ledger, *installation.client.enqueue_many(made)]


def move(reference: str, source: str, destination: str, amount: int, **more: Any) -> dict[str, Any]:
    """A transaction in cents."""
    return {
        "reference": reference,
        "source": source,
        "destination": destination,
        "currency": "USD",
        "precise_amount": amount,
        "precision": 100,
        **more,
    }


def deposit(reference: str, destination: str, amount: int, **more: Any) -> dict[str, Any]:
    """Money from outside."""
    return move(reference, "@World", destination, amount, allow_overdraft=True, **more)


def mixed(random: Random, balances: Sequence[str], number: int, name: str) -> list[Any]:
    """Deposits, transfers, holds, commits, voids, repetitions and requests to be refused."""
    requests: list[Any] = [deposit(f"{name}-open-{b}", b, 5_000) for b in balances]
    holds: list[str] = []
    for index in range(number):
        source, destination = random.sample(list(balances), 2)
        amount, kind = random.randint(1, 2_000), random.random()
        reference = f"{name}-{index}"
        if kind < 0.15:
            requests.append(deposit(reference, destination, amount))
        elif kind < 0.3:
            hold = mint_id("txn", slot_of(ordering_key(source, destination)))
            holds.append(hold)
            requests.append(
                move(reference, source, destination, amount, inflight=True, transaction_id=hold)
            )
        elif kind < 0.4 and holds:
            hold = random.choice(holds)
            part = random.choice([None, random.randint(1, amount)])
            commit = {"transaction_id": hold, "precise_amount": part, "reference": reference}
            requests.append(CommitRequest(**commit))
        elif kind < 0.45 and holds:
            requests.append(VoidRequest(transaction_id=random.choice(holds)))
        elif kind < 0.5 and requests:
            requests.append(random.choice(requests))
        elif kind < 0.53:
            requests.append(move(reference, mint_id("bln"), destination, amount))
        elif kind < 0.55:
            requests.append(move(reference, source, destination, amount, precision=10))
        else:
            requests.append(move(reference, source, destination, amount))
    return requests
