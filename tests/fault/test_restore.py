"""Postgres is restored to an earlier point: the log replays the gap."""

from __future__ import annotations

import psycopg
from sqlalchemy.engine import make_url

from daybook import BalanceRequest
from daybook.apply.applier import Applier
from daybook.apply.sweep import sweep_partitions
from daybook.requests import mint_id
from daybook.store.engine import make_worker_engine
from daybook.store.proof.verify import verify
from daybook.store.store import Store
from tests.harness import Installation

REQUESTS = 200


def test_a_restored_database_replays_the_gap(installation: Installation) -> None:
    """What was applied after the backup is applied again from the log: once, and in order."""
    client = installation.client
    ledger = client.create_ledger("Restored")
    wallets = [mint_id("bln") for _ in range(5)]
    client.enqueue_many(
        [BalanceRequest(ledger_id=ledger.id, currency="USD", balance_id=w) for w in wallets]
    )
    _deposit(installation, wallets, "before")
    backup = _copy_of(installation)
    _deposit(installation, wallets, "after")
    goal = _figures(installation.owner_url)
    assert _figures(backup) != goal

    engine = make_worker_engine(backup, installation.settings)
    applier = Applier(Store(engine), installation.log, installation.settings)
    rung: list[int] = []
    sweep_partitions(Store(engine), installation.log, applier, rung.append)
    assert rung, "the gap is unread again"
    for partition in range(installation.partitions):
        applier.drain(partition)
    assert _figures(backup) == goal
    assert verify(engine).ok
    receipt = client.enqueue(_request("after-0", wallets[0]))
    assert (receipt.state, receipt.wait(5).status) == ("duplicate", "APPLIED")
    engine.dispose()
    installation.cluster.drop_database(backup)


def _request(reference: str, wallet: str) -> dict[str, object]:
    return {
        "reference": reference,
        "source": "@World",
        "destination": wallet,
        "currency": "USD",
        "precise_amount": 7,
        "precision": 100,
        "allow_overdraft": True,
    }


def _deposit(installation: Installation, wallets: list[str], name: str) -> None:
    installation.client.enqueue_many(
        [_request(f"{name}-{i}", wallets[i % len(wallets)]) for i in range(REQUESTS)]
    )
    installation.drain()


def _copy_of(installation: Installation) -> str:
    """A copy of the database as it is now, as a restored backup would be."""
    installation.engine.dispose()
    installation.owner.dispose()
    url = make_url(installation.owner_url)
    name = f"{url.database}_backup"
    with psycopg.connect(installation.cluster.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {url.database}")
    return url.set(database=name).render_as_string(hide_password=False)


def _figures(database_url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "SELECT balance_id, credit_balance, debit_balance, version FROM balances ORDER BY 1"
        ).fetchall()
