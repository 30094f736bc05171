"""What a producer may write into Redis, tried at random under a live installation."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from random import Random
from typing import Any

import pytest
import redis

from daybook.client.drafts import draft
from daybook.client.receipts import Receipt
from daybook.errors import DaybookError
from daybook.requests import mint_id
from daybook.requests.routing import slot_of
from tests.fault.proof import assert_proved
from tests.fault.requests import deposit, move
from tests.fault.strange import BROKER, Strikes, rights, strike
from tests.guarded import Guarded
from tests.harness import Installation, wait_until

STRIKES_A_ROUND = 6
ANSWER_SECONDS_MAX = 60.0
"""How long valid work may take after a strike, on a busy machine. A sweep comes every second."""


def test_every_right_to_write_is_tried() -> None:
    """One that is new in the file of users needs strange values, too."""
    known = Strikes(Random(0), 2).kinds
    for right in rights():
        assert right.pattern in BROKER or tuple(right) in known, right
    assert {tuple(right) for right in rights() if right.pattern not in BROKER} == set(known)


@pytest.mark.parametrize(("seed", "rounds"), [(1, 4)])
def test_nothing_that_a_producer_writes_stops_others(
    guarded: Guarded, parted: Installation, seed: int, rounds: int
) -> None:
    """Valid work of every partition is posted after each strike, and the proof holds."""
    fuzz(guarded, parted, seed, rounds)


@pytest.mark.campaign
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("seed", "rounds"), [(seed, 60) for seed in range(2, 6)])
def test_nothing_that_a_producer_writes_for_long_stops_others(
    guarded: Guarded, parted: Installation, seed: int, rounds: int
) -> None:
    """The same, for long."""
    fuzz(guarded, parted, seed, rounds)


def fuzz(guarded: Guarded, parted: Installation, seed: int, rounds: int) -> None:
    print(f"seed {seed}")
    random = Random(seed)
    strikes = Strikes(random, parted.partitions)
    wanted = [right for right in rights() if right.pattern not in BROKER]
    parted.workers(beat=True)
    purses = opened(parted)
    sent: list[Receipt] = []
    with redis.Redis.from_url(guarded.url("daybook_producer")) as stranger:
        for number in range(rounds):
            chosen = [random.choice(wanted) for _ in range(STRIKES_A_ROUND)]
            for command in (strikes.draw(right) for right in chosen):
                print(number, repr(command)[:300])
                strike(stranger, command)
            sent += work(parted, strikes, purses, f"{seed}-{number}")
    parted.wait_applied(ANSWER_SECONDS_MAX)
    kept = [receipt.wait(ANSWER_SECONDS_MAX).status for receipt in sent]
    assert kept == ["APPLIED"] * len(sent)
    assert {user for user, _ in guarded.denied()} <= {"daybook_producer"}
    done = parted.run("health", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["strangers"]["state"] == "ok", checks
    assert checks["progress"]["state"] == "ok", checks
    assert_proved(parted)


def opened(parted: Installation) -> list[str]:
    """A balance with money in each partition."""
    found: dict[int, str] = {}
    while len(found) < parted.partitions:
        made = mint_id("bln")
        found.setdefault(slot_of(made) % parted.partitions, made)
    purses = [found[partition] for partition in sorted(found)]
    for own in purses:
        parted.client.create_balance("general_ledger_id", "USD", balance_id=own)
    receipts = [parted.client.enqueue(deposit(f"open-{own}", own, 1_000_000)) for own in purses]
    assert [receipt.wait(ANSWER_SECONDS_MAX).status for receipt in receipts] == ["APPLIED"] * len(
        purses
    )
    return purses


def work(parted: Installation, strikes: Strikes, purses: list[str], name: str) -> list[Receipt]:
    """A request in each partition is accepted and posted within the bound."""
    receipts = []
    for own in purses:
        request = move(f"{name}-{own}", own, "@Shop", 1)
        receipts.append(accepted(parted, request))
        body: dict[str, Any] = json.loads(draft(request, time.time).entry.body)
        strikes.known.append({**body, "transaction_id": receipts[-1].id})
    for receipt in receipts:
        outcome = receipt.wait(ANSWER_SECONDS_MAX)
        assert outcome.status == "APPLIED", outcome
    return receipts


def accepted(parted: Installation, request: dict[str, Any]) -> Receipt:
    """Enqueue, within the bound."""

    def tried() -> Receipt | None:
        with suppress(DaybookError):
            return parted.client.enqueue(request)
        return None

    receipt: Receipt = wait_until(tried, "it is accepted", ANSWER_SECONDS_MAX)
    return receipt
