"""The loads: many application balances, every third transaction from one hot ``@World``."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

from daybook import BalanceRequest, Client
from daybook.client.drafts import ENQUEUE_MANY_MAX
from daybook.requests import mint_id
from tests.harness import Installation

Request = dict[str, Any]


def silent(client: Client) -> Client:
    """The client without its doorbells, so that a backlog can be made before anybody wakes."""
    client._doorbell.ring = lambda partitions: None  # type: ignore[method-assign]  # as long as it lives
    return client


def make_balances(installation: Installation, number: int) -> list[str]:
    """So many application balances, funded well and applied."""
    client = silent(Client(settings=installation.settings))
    ledger = client.create_ledger("Load")
    ids = [mint_id("bln") for _ in range(number)]
    _in_slices(
        client, [BalanceRequest(ledger_id=ledger.id, currency="USD", balance_id=i) for i in ids]
    )
    _in_slices(client, [deposit(f"fund-{i}", i, 1_000_000_000) for i in ids])
    client.close()
    installation.drain()
    return ids


def deposit(reference: str, balance: str, amount: int) -> Request:
    """Money from outside."""
    return {
        "reference": reference,
        "source": "@World",
        "destination": balance,
        "currency": "USD",
        "precise_amount": amount,
        "precision": 100,
        "allow_overdraft": True,
    }


def mixed(
    balances: list[str], number: int, refused_every: int = 0, seed: int = 1
) -> Iterator[Request]:
    """Transfers between balances; every third comes from ``@World``.

    refused_every: every so manieth transfer asks for more than its source can ever have.
    """
    chosen = random.Random(seed)
    transfers = 0
    for index in range(number):
        if index % 3 == 0:
            yield deposit(f"load-{seed}-{index}", chosen.choice(balances), 100)
            continue
        transfers += 1
        source, destination = chosen.sample(balances, 2)
        refused = refused_every and transfers % refused_every == 0
        yield {
            "reference": f"load-{seed}-{index}",
            "source": source,
            "destination": destination,
            "currency": "USD",
            "precise_amount": 10**18 if refused else chosen.randint(1, 100),
            "precision": 100,
        }


def split_in_legs(balances: list[str], number: int, legs: int, seed: int = 1) -> Iterator[Request]:
    """Payments from outside to so many balances at once."""
    chosen = random.Random(seed)
    for index in range(number):
        payees = chosen.sample(balances, min(legs, len(balances)))
        yield {
            "reference": f"split-{seed}-{index}",
            "source": "@World",
            "destinations": [
                {"identifier": payee, "precise_distribution": "100"} for payee in payees
            ],
            "currency": "USD",
            "precise_amount": 100 * len(payees),
            "precision": 100,
            "allow_overdraft": True,
        }


def in_bulks(requests: Iterator[Request], size: int) -> Iterator[Request]:
    """The same requests, so many in one atomic bulk."""
    while part := list(islice(requests, size)):
        yield {"kind": "bulk", "atomic": True, "transactions": part}


def append_backlog(installation: Installation, requests: Iterator[Request]) -> None:
    """Put requests into the log without waking anybody."""
    client = silent(Client(settings=installation.settings))
    part: list[Any] = []
    for request in requests:
        part.append(request)
        if len(part) == ENQUEUE_MANY_MAX:
            client.enqueue_many(part)
            part = []
    client.enqueue_many(part)
    client.close()


def _in_slices(client: Client, requests: list[Any]) -> None:
    for start in range(0, len(requests), ENQUEUE_MANY_MAX):
        client.enqueue_many(requests[start : start + ENQUEUE_MANY_MAX])


__all__ = [
    "append_backlog",
    "deposit",
    "in_bulks",
    "make_balances",
    "mixed",
    "silent",
    "split_in_legs",
]
