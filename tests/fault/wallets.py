"""Balances in chosen partitions, and whether each spend of them took its turn."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from daybook import BalanceRequest
from daybook.requests import slot_of
from tests.fault.requests import deposit, seeded_id
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


def assert_turns(installation: Installation, expected: Mapping[str, str]) -> None:
    """Every spend became what it does when each takes its turn."""
    rows = installation.rows(
        "SELECT reference, status FROM transactions WHERE reference LIKE 'turn-%' AND NOT derived"
    )
    found = dict(rows)
    assert len(found) == len(rows)
    assert found == expected
