"""The whole pipeline: producers, log, real worker processes, Postgres."""

from __future__ import annotations

from collections.abc import Callable

from tests.harness import Installation

from daybook import BalanceRequest
from daybook.requests import mint_id


def test_a_request_is_applied_by_a_worker(installation: Installation) -> None:
    """What a producer enqueues, a worker process applies, woken by the doorbell alone."""
    client = installation.client
    installation.workers(1, beat=False)
    ledger = client.create_ledger("Customers")
    balance = client.create_balance(ledger.id, "USD")
    receipt = client.enqueue(
        reference="deposit-1",
        source="@World",
        destination=balance.id,
        currency="USD",
        amount="19.99",
        precision=100,
        allow_overdraft=True,
    )
    outcome = receipt.wait(timeout=60)
    assert (outcome.status, outcome.transaction_id) == ("APPLIED", receipt.id)
    assert installation.rows(
        "SELECT credit_balance, version FROM balances WHERE balance_id = %s", balance.id[4:]
    ) == [(1999, 1)]


def test_wallet_to_wallet_transfers_are_never_refused_for_money_that_came_first(
    install_daybook: Callable[[int], Installation],
) -> None:
    """A chain of transfers that is valid in its order applies whole, with eight partitions."""
    installation = install_daybook(8)
    client = installation.client
    ledger = client.create_ledger("Wallets")
    wallets = [mint_id("bln") for _ in range(200)]
    client.enqueue_many(
        [BalanceRequest(ledger_id=ledger.id, currency="TOK", balance_id=w) for w in wallets]
    )
    first = {
        "reference": "opening",
        "source": "@World",
        "destination": wallets[0],
        "currency": "TOK",
        "precise_amount": 1000,
        "precision": 1,
        "allow_overdraft": True,
    }
    hops = [
        {
            "reference": f"hop-{i}",
            "source": wallets[i],
            "destination": wallets[i + 1],
            "currency": "TOK",
            "precise_amount": 1000,
            "precision": 1,
        }
        for i in range(len(wallets) - 1)
    ]
    receipts = client.enqueue_many([first, *hops])
    installation.drain(*reversed(range(8)))
    outcomes = client.wait_many(receipts, 5)
    assert {o and o.status for o in outcomes} == {"APPLIED"}
    assert installation.rows("SELECT count(*) FROM deferred_entries") == [(0,)]
