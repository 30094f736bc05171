"""Redis comes back empty while Postgres is ahead."""

from __future__ import annotations

import pytest

from daybook.apply.sweep import sweep_partitions
from daybook.errors import LogNotInstalled
from tests.fault.requests import deposit, make_balances, move
from tests.harness import Installation, wait_until


def sweep(installation: Installation) -> list[int]:
    """What the sweeper does in a worker; returns the partitions that it rang for."""
    rung: list[int] = []
    sweep_partitions(installation.store, installation.log, installation.applier(), rung.append)
    return rung


def test_an_emptied_log_goes_on_behind_the_cursors(installation: Installation) -> None:
    """Producers are refused until the sweeper has reinstalled it; then nothing is skipped."""
    (a, b), _ = make_balances(installation, 2)
    installation.client.enqueue_many([deposit("in", a, 500), move("out", a, b, 100)])
    installation.drain()
    newest = max(c for (c,) in installation.rows("SELECT cursor FROM partitions"))
    installation.redis.flushdb()
    with pytest.raises(LogNotInstalled, match="holds no request log"):
        installation.client.enqueue(deposit("early", a, 1))
    sweep(installation)
    assert installation.log.clock() >= newest
    receipt = installation.client.enqueue(deposit("later", a, 1))
    assert receipt.position is not None
    assert receipt.position > newest
    assert sweep(installation) != []
    installation.drain()
    assert receipt.wait(5).status == "APPLIED"


def test_a_clock_that_went_back_is_forwarded(installation: Installation) -> None:
    """An older log (a lost tail of its file) never accepts behind the cursor."""
    (a,), _ = make_balances(installation, 1)
    installation.log.forward_clock(installation.log.clock() + (3_600_000 << 20))
    installation.client.enqueue_many([deposit(f"in-{i}", a, 5) for i in range(4)])
    installation.drain()
    installation.redis.set(installation.log.keys.clock, "1-0")
    for partition in range(2):
        installation.redis.delete(installation.log.keys.log(partition))
    sweep(installation)
    receipt = installation.client.enqueue(deposit("later", a, 1))
    installation.drain()
    assert receipt.wait(5).status == "APPLIED"


def test_without_the_guard_the_journal_answers(installation: Installation) -> None:
    """What is sent again is a duplicate; other content under its reference is a conflict."""
    (a, b), _ = make_balances(installation, 2)
    first = installation.client.enqueue_many(
        [deposit("in", a, 500), move("out", a, b, 100), move("poor", a, b, 10_000)]
    )
    hold = installation.client.enqueue(move("hold", a, b, 50, inflight=True))
    commit = installation.client.commit(hold.id, precise_amount=20, reference="part")
    installation.drain()
    before = installation.rows("SELECT * FROM balances ORDER BY 1")
    installation.redis.flushdb()
    sweep(installation)
    again = installation.client.enqueue_many(
        [deposit("in", a, 500), move("out", a, b, 100), move("poor", a, b, 10_000)]
    )
    recommit = installation.client.commit(hold.id, precise_amount=20, reference="part")
    assert {receipt.state for receipt in (*again, recommit)} == {"accepted"}
    installation.drain()
    outcomes = installation.client.wait_many([*again, recommit], 5)
    assert [o and (o.status, o.reason, o.duplicate) for o in outcomes] == [
        ("APPLIED", None, True),
        ("APPLIED", None, True),
        ("REJECTED", "insufficient_funds", True),
        ("APPLIED", None, True),
    ]
    assert [o and o.transaction_id for o in outcomes] == [r.id for r in (*first, commit)]
    installation.redis.flushdb()
    sweep(installation)
    other = installation.client.enqueue(deposit("in", a, 999))
    waiting = installation.client.enqueue(deposit("fresh", a, 1))
    installation.drain()
    conflict = other.wait(5)
    assert (conflict.status, conflict.reason) == ("REJECTED", "reference_conflict")
    assert first[0].id in (conflict.detail or "")
    assert waiting.wait(5).status == "APPLIED"
    assert installation.client.status(reference="in").transaction_id == first[0].id
    assert installation.client.status(reference="in").status == "APPLIED"
    after = installation.rows("SELECT * FROM balances ORDER BY 1")
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 2  # @World and one wallet, by the cent of "fresh"


def test_running_workers_repair_an_emptied_log(installation: Installation) -> None:
    """Beat's sweeper finds it and reinstalls it; nobody has to be called."""
    installation.workers(1)
    first = installation.client.enqueue(deposit("in", "@Till", 500))
    assert first.wait(60).status == "APPLIED"
    installation.redis.flushdb()
    state = installation.log.keys.state
    wait_until(lambda: installation.redis.hexists(state, "partitions"), "reinstalled")
    again = installation.client.enqueue(deposit("in", "@Till", 500))
    assert again.wait(60).transaction_id == first.id
    assert installation.client.enqueue(deposit("next", "@Till", 1)).wait(60).status == "APPLIED"
    assert installation.rows("SELECT count(*) FROM transactions WHERE subject IS NULL") == [(2,)]
