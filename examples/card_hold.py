"""A card payment: hold the money, commit what was delivered, void the rest.

    daybook up --detach
    python examples/card_hold.py

Prints what stands in card_hold.out.
"""

from __future__ import annotations

from daybook import Client, Outcome


def show(what: str, outcome: Outcome) -> None:
    """One line for one outcome."""
    print(f"{what}: {outcome.status} {outcome.reason or ''}".rstrip())


def main() -> None:
    with Client() as client:
        ledger = client.create_ledger("Cards")
        card = client.create_balance(ledger.id, "USD")
        client.enqueue(
            reference=f"{card.id}-load",
            source="@World",
            destination=card.id,
            amount="100.00",
            allow_overdraft=True,
            currency="USD",
            precision=100,
        )

        hold = client.enqueue(
            reference=f"{card.id}-hold",
            source=card.id,
            destination="@Hotel",
            amount="80.00",
            inflight=True,
            currency="USD",
            precision=100,
        )
        show("hold 80.00", hold.wait(timeout=30))

        # 20.00 are still available; the 80.00 are reserved.
        other = client.enqueue(
            reference=f"{card.id}-taxi",
            source=card.id,
            destination="@Taxi",
            amount="20.01",
            currency="USD",
            precision=100,
        )
        show("spend 20.01 beside it", other.wait(timeout=30))

        # Commits and voids may have references of their own: sent again, they change nothing.
        night = client.commit(hold.id, amount="50.00", reference=f"{card.id}-night-1")
        show("commit 50.00", night.wait(timeout=30))
        too_much = client.commit(hold.id, amount="30.01", reference=f"{card.id}-night-2")
        show("commit 30.01 of the 30.00 left", too_much.wait(timeout=30))

        show("void the rest", client.void(hold.id).wait(timeout=30))
        show("void once more", client.void(hold.id).wait(timeout=30))


if __name__ == "__main__":
    main()
