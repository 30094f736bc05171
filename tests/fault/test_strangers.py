"""What somebody writes into Redis past the script: it harms nobody else."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daybook.ledger.transaction import part_id
from daybook.producing import Receipt
from daybook.requests import decode
from daybook.worker.clockwork import append_due
from tests.fault.proof import assert_proved
from tests.fault.requests import deposit, make_balances, move
from tests.harness import Installation, wait_until


def write(installation: Installation, partition: int, entry_id: str = "*", **fields: Any) -> None:
    """An entry by hand: ``i`` id, ``k`` outcome key, ``c`` flags, ``b`` body."""
    given = {"i": "x", "k": "", "c": "", "b": "{}", **fields}
    installation.redis.xadd(installation.log.keys.log(partition), given, id=entry_id)


def purses(installation: Installation) -> list[str]:
    """Two balances with money, applied."""
    names, _ = make_balances(installation, 2)
    for name in names:
        installation.client.enqueue(deposit(f"fund-{name}", name, 100))
    installation.drain()
    return names


def applied(installation: Installation, names: list[str], name: str) -> list[Receipt]:
    """Requests of both balances are applied; answers their receipts."""
    receipts = [
        installation.client.enqueue(move(f"{name}-{purse}", purse, "@Shop", 1)) for purse in names
    ]
    installation.drain()
    assert [receipt.wait(5).status for receipt in receipts] == ["APPLIED"] * len(receipts)
    assert installation.open_entries() == 0
    return receipts


@pytest.mark.parametrize(
    "entry_id",
    [
        lambda ms: f"{ms}-10000000000000",
        lambda ms: f"{ms}-1048576",
        lambda ms: f"{ms + 3_600_000}-0",
        lambda ms: f"{ms * 1_000}-0",
        lambda ms: "18446744073709551614-0",
    ],
)
def test_an_id_that_the_log_can_not_have_given_is_taken_out(
    installation: Installation, entry_id: Any
) -> None:
    """Nobody was told that it is accepted, and nothing that was accepted is lost behind it."""
    names = purses(installation)
    for partition in (0, 1):
        write(installation, partition, entry_id(int(time.time() * 1_000)))
    installation.drain()
    applied(installation, names, "after")
    assert installation.log.clock() >> 20 < (time.time() + 120) * 1_000
    assert_proved(installation)


def test_an_empty_reference_uses_nothing_up(installation: Installation) -> None:
    """However often it comes."""
    names = purses(installation)
    for partition in (0, 1, 0, 1):
        write(installation, partition, b='{"reference":"","v":1}')
    installation.drain()
    applied(installation, names, "after")
    assert installation.rows("SELECT count(*) FROM refusals") == [(4,)]


def test_forged_barriers_that_wait_for_each_other_open(installation: Installation) -> None:
    """Each names the other partition, at the same place."""
    names = purses(installation)
    place = f"{int(time.time() * 1_000)}-7"
    write(installation, 0, place, c="b", b="1")
    write(installation, 1, place, c="b", b="0")
    applied(installation, names, "after")


def test_the_outcome_of_another_stays(installation: Installation) -> None:
    """What is no request can name any outcome key; the owner's outcome is not replaced."""
    names = purses(installation)
    receipt, *_ = applied(installation, names, "mine")
    for partition in (0, 1):
        write(installation, partition, k=receipt.key, b='{"v":1,"kind":"future"}')
    installation.drain()
    assert receipt.reference is not None
    assert installation.client.status(reference=receipt.reference).status == "APPLIED"


def test_what_is_due_is_not_stopped_by_a_strangers_key(installation: Installation) -> None:
    """A schedule and a hold come due although something else stands under their outcome keys."""
    first, second = purses(installation)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    scheduled = installation.client.enqueue(move("later", first, second, 1, scheduled_for=soon))
    hold = installation.client.enqueue(
        move("hold", first, second, 1, inflight=True, inflight_expiry_date=soon)
    )
    installation.drain()
    slot = int(hold.id[19:22], 16)
    deadline = {"v": 1, "kind": "deadline", "transaction_id": hold.id}
    body = json.dumps(deadline, indent=1)
    request_id = part_id(hold.id, "deadline")
    write(installation, slot % 2, i=request_id, k=f"i:{request_id}", b=body)
    stranger = "0" * 64 + 'R{"id":"x","status":"REJECTED","reason":"malformed"}'
    installation.redis.set(installation.log.keys.outcome(scheduled.key), stranger)
    installation.drain()
    wait_until(lambda: datetime.now(UTC) > soon + timedelta(milliseconds=50), "it is due")
    append_due(installation.store, installation.log, lambda partition: None)
    installation.drain()
    rows = installation.rows(
        "SELECT kind, status FROM transactions WHERE reference = 'later' OR kind = 'void' "
        "ORDER BY 1"
    )
    assert rows == [("transaction", "APPLIED"), ("void", "VOID")]
    assert installation.client.status(reference="later").status == "APPLIED"


def test_a_body_with_a_million_faults_is_told_in_short() -> None:
    """Its errors are counted, not written out."""
    junk = {f"k{number}": 1 for number in range(20_000)}
    body = json.dumps({"v": 1, "kind": "bulk", "reference": "b", "transactions": [junk]})
    refused = decode(body.encode(), "bulk_x", 0)
    assert "too many to tell" in getattr(refused, "detail", "")
