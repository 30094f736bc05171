"""Outcomes by reference and by id: both ways, for every kind, also when the log has forgotten."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from tests.harness import Installation, wait_until
from tests.integration.test_client import fields

from daybook.apply.lookup import find
from daybook.cli.naming import request_named, subject_named
from daybook.client.receipts import Outcome, Receipt
from daybook.errors import NotFound, OutcomeUnknown
from daybook.installation.resize import begin
from daybook.requests import mint_id
from daybook.settings import current


def every_kind(installation: Installation) -> list[Receipt]:
    """One request of each kind, accepted and not applied."""
    client = installation.client
    ledger = client.create_ledger("Found")
    owner = client.create_identity(first_name="Ada")
    balance = client.create_balance(ledger.id, "USD", identity_id=owner.id)
    deposit = client.enqueue(fields("deposit", destination=balance.id))
    hold = client.enqueue(fields("hold", amount="9", inflight=True))
    bulk = client.bulk([fields("item")], reference="bulk", atomic=True)
    later = client.enqueue(fields("later", scheduled_for="2200-01-01T00:00:00Z"))
    never = client.enqueue(fields("never", scheduled_for="2200-01-01T00:00:00Z"))
    return [
        ledger,
        owner,
        balance,
        deposit,
        hold,
        bulk,
        later,
        client.commit(hold.id, amount="4", reference="part"),
        client.void(hold.id),
        client.refund(deposit.id, reference="back"),
        client.cancel(never.id),
        client.rename_ledger(ledger.id, "Kept"),
        client.enqueue(fields("poor", source="@Poor", allow_overdraft=False)),
        client.enqueue(fields("stranger", source=mint_id("bln", 0, 1))),
    ]


def by_name(installation: Installation, receipt: Receipt) -> list[Outcome]:
    """The outcome of a receipt by all of its names, and by itself."""
    client = installation.client
    found = [client.status(id=receipt.id), client.wait(id=receipt.id, timeout=5)]
    if receipt.reference is not None:
        found.append(client.status(reference=receipt.reference))
        found.append(client.wait(reference=receipt.reference, timeout=5))
    return [*found, receipt.wait(5)]


def answers(installation: Installation, request_id: str) -> bool:
    """Whether a worker is there to look an id up."""
    with suppress(OutcomeUnknown):
        return bool(installation.client.status(id=request_id))
    return False


def test_both_names_work_for_every_kind(installation: Installation) -> None:
    """Queued, recorded, and after the log has forgotten the outcome."""
    receipts = every_kind(installation)
    for receipt in receipts:
        assert installation.client.status(id=receipt.id).status == "QUEUED"
    installation.drain()
    outcomes = [receipt.wait(5) for receipt in receipts]
    statuses = [one.status for one in outcomes]
    assert statuses == [
        *["APPLIED"] * 4,
        "INFLIGHT",
        "APPLIED",
        "SCHEDULED",
        "APPLIED",
        "VOID",
        *["APPLIED"] * 3,
        *["REJECTED"] * 2,
    ]
    for receipt, outcome in zip(receipts, outcomes, strict=True):
        assert by_name(installation, receipt) == [outcome] * (3 if receipt.reference is None else 5)
    for key in installation.redis.scan_iter(f"{installation.log.keys.prefix}outcome:*"):
        installation.redis.delete(key)
    installation.workers(1, beat=False)
    wait_until(lambda: answers(installation, receipts[0].id), "a worker that answers", 120)
    for receipt, outcome in zip(receipts, outcomes, strict=True):
        kept = replace(outcome, precise_amount=None, precision=None, currency=None)
        found = installation.client.status(id=receipt.id)
        assert replace(found, precise_amount=None, precision=None, currency=None) == kept
        if outcome.precise_amount is not None and outcome.status not in ("SCHEDULED", "REJECTED"):
            assert found.amount == outcome.amount
    with pytest.raises(NotFound, match="daybook transaction --id txn_"):
        installation.client.status(id=mint_id("txn", 3, 1))
    with pytest.raises(NotFound):
        installation.client.status(id="nonsense")


def pointers(installation: Installation) -> list[bytes]:
    """The keys that appends have left under ids."""
    return [*installation.redis.scan_iter(installation.log.keys.queued("i:*"))]


def test_an_id_is_found_although_nobody_asked_for_it(installation: Installation) -> None:
    """Many are appended without a key for each id: a worker looks where the id says they lie."""
    receipts = installation.client.enqueue_many([fields(f"many-{n}") for n in range(1_200)])
    assert pointers(installation) == []
    alone = installation.client.enqueue(fields("alone"))
    assert pointers(installation) == [installation.log.keys.queued(f"i:{alone.id}").encode()]
    for receipt in (receipts[0], receipts[-1]):
        found = json.loads(find(installation.engine, installation.log, receipt.id))
        assert found == {"key": receipt.key}
    installation.drain()
    found = json.loads(find(installation.engine, installation.log, receipts[-1].id))
    assert found["key"] == receipts[-1].key
    assert '"status":"APPLIED"' in found["value"]
    unknown = mint_id("txn", 3, 1)
    assert json.loads(find(installation.engine, installation.log, unknown)) == {}


@pytest.mark.parametrize("number", [1, 5])
def test_an_id_is_found_while_the_number_of_partitions_changes(
    installation: Installation, number: int
) -> None:
    """What was accepted before and after the fence, in the partitions of both numbers."""
    client, log = installation.client, installation.log
    old = client.enqueue_many([fields(f"old-{n}", source=f"@W{n}") for n in range(20)])
    begin(installation.engine, log, number)
    new = client.enqueue_many([fields(f"new-{n}", source=f"@W{n}") for n in range(20)])
    begin(installation.engine, log, 3)
    newest = client.enqueue_many([fields(f"newest-{n}", source=f"@W{n}") for n in range(20)])
    for receipt in (*old, *new, *newest):
        assert json.loads(find(installation.engine, log, receipt.id)) == {"key": receipt.key}
    assert json.loads(find(installation.engine, log, mint_id("txn", 3, 1))) == {}
    installation.drain()
    found = json.loads(find(installation.engine, log, old[0].id))
    assert '"status":"APPLIED"' in found["value"]


def test_a_planted_mark_names_nothing_that_the_ledger_knows(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer may write the log's marks: whose reference it is, the ledger is asked first."""
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    current.cache_clear()
    client, keys = installation.client, installation.log.keys
    names = ("order-1", "my_ledger_id")
    recorded = {name: client.enqueue(fields(name)) for name in names}
    installation.drain()
    queued = client.enqueue(fields("other"))
    assert request_named("other") == queued.id
    mark: Any = installation.redis.get(keys.queued(queued.key))
    for name, receipt in recorded.items():
        installation.redis.delete(keys.outcome(receipt.key))
        installation.redis.set(keys.queued(receipt.key), mark)
        assert client.status(reference=name).transaction_id == queued.id
        assert (request_named(name), subject_named(name)) == (receipt.id, receipt.id)
    assert subject_named("general_ledger_id") == "general_ledger_id"
    current.cache_clear()
