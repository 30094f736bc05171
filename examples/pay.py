"""Open a balance, bring money in, pay, be refused, and send a request twice.

    daybook up --detach
    python examples/pay.py

Prints what stands in pay.out. Each run opens a balance of its own and builds its references from
the balance's id, so that it can be run again.
"""

from __future__ import annotations

from daybook import Client, ReferenceConflict


def main() -> None:
    with Client() as client:
        shop = client.create_ledger("Shop")
        alice = client.create_balance(shop.id, "USD", meta_data={"customer": "alice"})

        # The id can be used at once: requests of one balance keep their order.
        deposit = client.enqueue(
            reference=f"{alice.id}-deposit",
            source="@World",  # everything outside: it may go below zero
            destination=alice.id,
            currency="USD",
            amount="50.00",
            precision=100,  # cents
            allow_overdraft=True,
        )
        print("deposit:", deposit.wait(timeout=30).status)

        order = {
            "reference": f"{alice.id}-order-1",
            "source": alice.id,
            "destination": "@Sales",
            "currency": "USD",
            "amount": "19.99",
            "precision": 100,
        }
        first = client.enqueue(order)
        print("order 1:", first.wait(timeout=30).status)

        again = client.enqueue(order)
        print("order 1 sent again:", again.state, "with the same id:", again.id == first.id)

        try:
            client.enqueue({**order, "amount": "29.99"})
        except ReferenceConflict as conflict:
            print("its reference with another amount: belongs to", conflict.original_id == first.id)

        refused = client.enqueue(
            {**order, "reference": f"{alice.id}-order-2", "amount": "30.02"}
        ).wait(timeout=30)
        print("order 2:", refused.status, refused.reason)


if __name__ == "__main__":
    main()
