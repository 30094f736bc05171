"""A marketplace for a day: deposits in a bulk, a sale with legs, a refund, a schedule, a hold that
expires, and the statement of the seller.

    daybook up --detach
    python examples/marketplace.py

Prints what stands in marketplace.out. Only the statement needs PostgreSQL.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from daybook import Client, Outcome, Reader

USD = {"currency": "USD", "precision": 100}
SECONDS_MAX = 30.0


def show(what: str, outcome: Outcome) -> None:
    """One line for one outcome."""
    print(f"{what}: {outcome.status} {outcome.reason or ''}".rstrip())


def expired(client: Client, hold_id: str) -> Outcome:
    """The answer to a commit of a hold, sent when it is void."""
    time.sleep(1.5)  # its deadline is over then, whether anything has voided it or not
    return client.commit(hold_id).wait(timeout=SECONDS_MAX)


def print_statement(balance_id: str) -> None:
    """What moved a balance, and what it stood at after each row."""
    with Reader() as reader:
        statement = reader.statement(balance_id)
    for line in statement.lines:
        what = line.description or "sale"
        print(f"{what:<12}{line.credit - line.debit:>8}{line.balance:>8}")
    print(f"{'closing':<12}{'':>8}{statement.closing:>8}")


def main() -> None:
    with Client() as client:
        ledger = client.create_ledger("Marketplace")
        ada = client.create_identity(first_name="Ada", category="seller")
        seller = client.create_balance(ledger.id, "USD", identity_id=ada.id)
        buyers = [client.create_balance(ledger.id, "USD") for _ in range(3)]

        # All deposits or none; the ids make the references unique, so it can be run again.
        deposits = client.bulk(
            [
                {
                    "reference": f"{buyer.id}-deposit",
                    "source": "@World",
                    "destination": buyer.id,
                    "amount": "100.00",
                    "allow_overdraft": True,
                    **USD,
                }
                for buyer in buyers
            ],
            atomic=True,
        )
        show("three deposits in a bulk", deposits.wait(timeout=SECONDS_MAX))

        def sell(number: int, amount: str, **fields: object) -> dict[str, object]:
            return {
                "reference": f"{buyers[number].id}-sale",
                "source": buyers[number].id,
                "destinations": [
                    {"identifier": seller.id, "distribution": "left"},
                    {"identifier": "@Fees", "distribution": "2.5%"},
                ],
                "amount": amount,
                **USD,
                **fields,
            }

        preview = client.dry_run.enqueue(sell(0, "100.01"))
        print(f"a dry run of a sale for 100.01: {preview.status} {preview.reason}")

        sale = client.enqueue(sell(0, "40.00", description="lamp"))
        show("a sale with a fee", sale.wait(timeout=SECONDS_MAX))
        back = client.refund(sale.id, reference=f"{sale.id}-back", description="lamp is back")
        show("its refund", back.wait(timeout=SECONDS_MAX))
        show("its refund once more", client.refund(sale.id).wait(timeout=SECONDS_MAX))

        tomorrow = datetime.now(UTC) + timedelta(days=1)
        later = client.enqueue(sell(1, "20.00", scheduled_for=tomorrow))
        show("a sale for tomorrow", later.wait(timeout=SECONDS_MAX))
        show("its cancel", client.cancel(later.id).wait(timeout=SECONDS_MAX))

        soon = datetime.now(UTC) + timedelta(seconds=1)
        hold = client.enqueue(sell(2, "60.00", inflight=True, inflight_expiry_date=soon))
        show("a hold that expires", hold.wait(timeout=SECONDS_MAX))
        show("a commit after that", expired(client, hold.id))

    print_statement(seller.id)


if __name__ == "__main__":
    main()
