"""A step of the sweep that fails keeps nothing else from being done, and is told."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest

from daybook.apply.sweep import sweep
from daybook.errors import StoreUnavailable
from daybook.queue.sweeps import last_sweep
from daybook.steps import Point, watched
from tests.fault.requests import deposit, make_balances
from tests.harness import Installation, wait_until


class BrokenError(Exception):
    """What a step that is broken raises."""


def break_at(point: Point) -> AbstractContextManager[None]:
    """Break whatever comes to this point."""

    def watcher(reached: Point) -> None:
        if reached == point:
            raise BrokenError(f"broken at {point}")

    return watched(watcher)


def swept(installation: Installation) -> list[int]:
    """Sweep once; the partitions that were rung."""
    rung: list[int] = []
    sweep(installation.store, installation.log, installation.applier(), rung.append, lambda: None)
    return rung


def schedule_soon(installation: Installation, reference: str) -> str:
    """A transaction that is due a moment from now, recorded as scheduled."""
    when = datetime.fromtimestamp(installation.log.now_ms() / 1000, UTC) + timedelta(seconds=1)
    later = deposit(reference, "@Till", 5, scheduled_for=when.isoformat())
    receipt = installation.client.enqueue(later)
    installation.drain()
    wait_until(lambda: installation.log.now_ms() / 1000 > when.timestamp(), f"{reference} is due")
    return receipt.id


def status_of(installation: Installation, reference: str) -> str | None:
    """The status of the record with this reference."""
    found = installation.rows("SELECT status FROM transactions WHERE reference = %s", reference)
    return found[0][0] if found else None


def test_what_is_due_is_done_when_trimming_fails(installation: Installation) -> None:
    """The last step comes to be although one before it raises; the sweep fails all the same."""
    schedule_soon(installation, "later")
    with break_at(Point.TRIMMED), pytest.raises(BrokenError):
        swept(installation)
    installation.drain()
    assert status_of(installation, "later") == "APPLIED"


def test_every_partition_is_trimmed_though_one_fails(installation: Installation) -> None:
    """A partition that can't be trimmed leaves the others' applied entries no reason to stay."""
    make_balances(installation, 8, seed=1)
    installation.drain()
    applier = installation.applier(log_retention_seconds=0)
    trimmed: list[int] = []

    def fail_first(point: Point) -> None:
        if point == Point.TRIMMED:
            trimmed.append(1)
            if len(trimmed) == 1:
                raise RuntimeError("the first can't be trimmed")

    with watched(fail_first), pytest.raises(RuntimeError, match="can't be trimmed"):
        sweep(installation.store, installation.log, applier, lambda _: None, lambda: None)
    assert len(trimmed) == 2


def test_a_doorbell_that_cannot_be_sent_keeps_nothing_from_being_done(
    installation: Installation,
) -> None:
    """A broker that refuses one partition's queue: the other is rung, what is due is appended."""
    schedule_soon(installation, "later")
    make_balances(installation, 8, seed=1)
    rung: list[int] = []

    def ring(partition: int) -> None:
        if partition == 0:
            raise BrokenError("no such queue")
        rung.append(partition)

    with pytest.raises(BrokenError, match="no such queue"):
        sweep(installation.store, installation.log, installation.applier(), ring, lambda: None)
    assert set(rung) == {1}  # on a busy machine its bell is over when it is rung for the unread
    installation.drain()
    assert status_of(installation, "later") == "APPLIED"


def test_a_sweep_leaves_a_sign_of_life(installation: Installation) -> None:
    """When one ended, when one was whole, which steps fail since when and how often."""
    assert last_sweep(installation.log).ended_ms is None
    swept(installation)
    first = last_sweep(installation.log)
    assert first.completed_ms is not None
    assert first.ended_ms == first.completed_ms <= first.now_ms
    assert first.faults == ()
    for _ in range(2):
        with break_at(Point.TRIMMED), pytest.raises(BrokenError):
            swept(installation)
    failed = last_sweep(installation.log)
    assert failed.ended_ms is not None
    assert failed.completed_ms == first.completed_ms <= failed.ended_ms
    (fault,) = failed.faults
    assert (fault.step, fault.times) == ("trim", 2)
    assert "broken at trimmed" in fault.error
    assert first.now_ms <= fault.since_ms <= failed.ended_ms
    swept(installation)
    assert last_sweep(installation.log).faults == ()


def test_what_does_not_parse_of_the_sign_is_no_sign(installation: Installation) -> None:
    """Garbage under its key, of any type, reads as nothing, and the next sweep replaces it."""
    key = f"{installation.log.keys.prefix}sweep"
    installation.redis.hset(key, mapping={"ended": "x", "fault:due": "y", b"\xff": b"\xff"})
    read = last_sweep(installation.log)
    assert (read.ended_ms, read.completed_ms) == (None, None)
    installation.redis.delete(key)
    installation.redis.set(key, "garbage")
    assert last_sweep(installation.log).ended_ms is None
    swept(installation)
    assert last_sweep(installation.log).completed_ms is not None


def test_a_sweep_without_its_database_says_so(installation: Installation) -> None:
    """The fault is the store's, and the sign of life names the steps that it kept from being."""
    installation.rows("ALTER TABLE deferred_entries RENAME TO gone")
    with pytest.raises(StoreUnavailable):
        swept(installation)
    assert "marks" in {fault.step for fault in last_sweep(installation.log).faults}
