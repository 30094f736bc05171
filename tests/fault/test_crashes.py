"""A worker or its connection dies between two steps of a batch."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from daybook.errors import StoreUnavailable
from daybook.store.batch import writing
from daybook.store.batch.partitions import save_partition
from tests.fault.proof import assert_proved
from tests.fault.requests import deposit, make_balances, move
from tests.harness import Installation, wait_until

DIE_BEFORE_REPLYING = """
import os
from daybook.worker.runtime import runtime

found = runtime()
found.log.reply = lambda *_: os._exit(9)
for partition in range(found.log.partitions()):
    found.applier.drain(partition)
"""


def test_a_worker_that_dies_after_its_commit_is_replied_for(
    install_daybook: Callable[[int], Installation],
) -> None:
    """Between commit and replies lies a death: the next worker replies, and nothing moves twice."""
    installation = install_daybook(1)
    client = installation.client
    (a, b), made = make_balances(installation, 2)
    requests = [deposit("in", a, 500), move("out", a, b, 200), move("poor", a, b, 9_000)]
    receipts = made + client.enqueue_many(requests)
    hold = client.enqueue(move("hold", a, b, 100, inflight=True))
    receipts += [hold, client.commit(hold.id, precise_amount=30), client.void(hold.id)]
    died = subprocess.run(
        [sys.executable, "-c", DIE_BEFORE_REPLYING], env=installation.environment, check=False
    )
    assert died.returncode == 9
    assert installation.rows("SELECT count(*) FROM transactions WHERE subject IS NULL") == [(6,)]
    assert client.wait_many(receipts, 0) == [None] * len(receipts)
    again = client.enqueue_many(requests)
    assert {receipt.state for receipt in again} == {"duplicate"}
    installation.drain()
    outcomes = client.wait_many(receipts, 5)
    assert [o and o.status for o in outcomes] == (
        ["APPLIED"] * 3 + ["APPLIED", "APPLIED", "REJECTED", "INFLIGHT", "APPLIED", "VOID"]
    )
    assert client.wait_many(again, 5)[0] is not None
    assert client.enqueue(requests[1]).wait(5).status == "APPLIED"
    assert_proved(installation)


def test_a_zombie_writes_nothing(
    install_daybook: Callable[[int], Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit of work whose connection dies before its commit leaves nothing; another goes on."""
    installation = install_daybook(1)
    (a,), made = make_balances(installation, 1)
    receipts = made + installation.client.enqueue_many([deposit("in", a, 500)])
    reached, go_on = threading.Event(), threading.Event()
    faults: list[Exception] = []

    def stop_before_the_end(*arguments: Any) -> None:
        if threading.current_thread().name == "zombie":
            reached.set()
            go_on.wait(60)
        save_partition(*arguments)

    def live() -> None:
        try:
            installation.applier().drain(0)
        except StoreUnavailable as fault:
            faults.append(fault)

    monkeypatch.setattr(writing, "save_partition", stop_before_the_end)
    zombie = threading.Thread(target=live, name="zombie")
    zombie.start()
    assert reached.wait(60)
    assert installation.applier().drain(0).busy
    ended = installation.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND usename <> current_user AND state = 'idle in transaction'"
    )
    assert ended == [(True,)]
    wait_until(lambda: not installation.applier().drain(0).busy, "the lock is free")
    go_on.set()
    zombie.join(60)
    assert len(faults) == 1
    assert [o and o.status for o in installation.client.wait_many(receipts, 5)] == ["APPLIED"] * 3
    assert installation.rows("SELECT credit_balance FROM balances WHERE indicator IS NULL") == [
        (500,)
    ]
    assert_proved(installation)
