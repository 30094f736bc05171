"""Many requests at once with asyncio: one call for a list, or many calls side by side.

    daybook up --detach
    python examples/pay_async.py

Prints what stands in pay_async.out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from daybook import AsyncClient


def deposit(balance_id: str, number: int) -> dict[str, Any]:
    """A deposit of ten cents."""
    return {
        "reference": f"{balance_id}-{number}",
        "source": "@World",
        "destination": balance_id,
        "currency": "EUR",
        "precise_amount": 10,
        "precision": 100,
        "allow_overdraft": True,
    }


async def main() -> None:
    async with AsyncClient() as client:
        ledger = await client.create_ledger("Savings")
        bob = await client.create_balance(ledger.id, "EUR")

        listed = await client.enqueue_many([deposit(bob.id, number) for number in range(500)])
        single = await asyncio.gather(
            *(client.enqueue(deposit(bob.id, number)) for number in range(500, 520))
        )
        outcomes = await client.wait_many([*listed, *single], timeout=60)
        statuses = Counter(outcome.status for outcome in outcomes if outcome is not None)
        print("deposits:", dict(statuses), "without an outcome yet:", outcomes.count(None))

        spend = await client.enqueue(
            reference=f"{bob.id}-all",
            source=bob.id,
            destination="@World",
            currency="EUR",
            amount="52.00",  # 520 times ten cents, to the last cent
            precision=100,
        )
        outcome = await client.wait(spend, timeout=30)
        print("spending all of it:", outcome.status)


if __name__ == "__main__":
    asyncio.run(main())
