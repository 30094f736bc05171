"""Health says when what is due does not happen: beat stopped, a step that fails, nobody there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.fault.requests import deposit, make_balances
from tests.harness import Installation, wait_until
from tests.integration.test_health import health

from daybook.apply.sweep import sweep
from daybook.queue.announcements import announce, withdraw
from daybook.queue.doorbell import INTAKE_QUEUE, queue_of
from daybook.queue.sweeps import last_sweep
from daybook.steps import Point, watched


@pytest.fixture
def one(install_daybook: Callable[[int], Installation]) -> Installation:
    return install_daybook(1)


def check(installation: Installation, name: str) -> tuple[int, str]:
    """The exit code of one check, and its detail."""
    code, checks = health(installation, "--only", name)
    return code, checks[name]["detail"]


def schedule(installation: Installation, reference: str, seconds: float) -> None:
    """Ask for a transaction a while from now, by the log's clock."""
    now = datetime.fromtimestamp(installation.log.now_ms() / 1000, UTC)
    when = (now + timedelta(seconds=seconds)).isoformat()
    installation.client.enqueue(deposit(reference, "@Till", 5, scheduled_for=when))


def sweep_here(installation: Installation) -> None:
    sweep(
        installation.store, installation.log, installation.applier(), lambda _: None, lambda: None
    )


@pytest.mark.long
def test_a_beat_that_was_stopped_is_found(one: Installation) -> None:
    """Its process is there and rings no more: the sweep is told late, a schedule overdue."""
    with one.workers() as workers:
        wait_until(lambda: last_sweep(one.log).completed_ms, "the first sweep")
        assert health(one)[0] == 0
        os.kill(workers.beats[0].pid, signal.SIGSTOP)
        schedule(one, "later", 1)
        wait_until(lambda: one.rows("SELECT 1 FROM schedules"), "it is scheduled")

        def is_late() -> bool:
            sign = last_sweep(one.log)
            return sign.now_ms - (sign.ended_ms or 0) > 6_000

        wait_until(is_late, "sweeps are missed, and the schedule is overdue")
        code, checks = health(one)
        assert code == 1
        assert checks["sweep"]["state"] == checks["dates"]["state"] == "failed"
        assert "beat has stopped" in checks["sweep"]["detail"]
        assert checks["dates"]["detail"].startswith("1 schedule and 0 deadlines of holds")
        assert checks["workers"]["state"] == checks["progress"]["state"] == "ok"
        os.kill(workers.beats[0].pid, signal.SIGCONT)
        wait_until(lambda: health(one)[0] == 0, "all is well again")


def test_a_hold_that_nobody_ends_is_overdue(one: Installation) -> None:
    """A deadline is found as a schedule is; once it came to be all is well."""
    assert check(one, "dates") == (0, "nothing is overdue")
    when = datetime.fromtimestamp(one.log.now_ms() / 1000 + 1, UTC)
    hold = deposit("hold", "@Till", 5, inflight=True, inflight_expiry_date=when.isoformat())
    one.client.enqueue(hold)
    one.drain()
    wait_until(lambda: one.log.now_ms() / 1000 > when.timestamp() + 1, "it is overdue")
    code, detail = check(one, "dates")
    assert code == 1
    assert detail.startswith("0 schedules and 1 deadline of holds are overdue")
    sweep_here(one)
    one.drain()
    assert check(one, "dates")[0] == 0


def test_a_step_of_the_sweep_that_fails_is_named(one: Installation) -> None:
    """With how often and what it raised; the sweep itself is not late."""
    code, detail = check(one, "sweep")
    assert (code, detail.startswith("there was none yet: beat has stopped")) == (1, True)
    for _ in range(2):
        with (
            watched(lambda point: fail() if point == Point.TRIMMED else None),
            pytest.raises(ZeroDivisionError),
        ):
            sweep_here(one)
    code, detail = check(one, "sweep")
    assert code == 1
    assert detail.startswith("its step 'trim' failed 2 times in a row")
    assert "ZeroDivisionError" in detail
    sweep_here(one)
    assert check(one, "sweep")[0] == 0


def fail() -> None:
    raise ZeroDivisionError("a step is broken")


def test_a_queue_that_nobody_listens_to_is_named(installation: Installation) -> None:
    """Workers with queues of their own, and one that nobody has; or nobody at all."""
    assert check(installation, "workers") == (0, "none has announced itself; no request waits")
    announce(installation.log, "some@machine", [INTAKE_QUEUE, queue_of(0)])
    code, detail = check(installation, "workers")
    assert (code, detail) == (5, f"1 announced; nobody listens to {queue_of(1)}")
    announce(installation.log, "other@machine", [queue_of(1)])
    assert check(installation, "workers") == (0, "2 announced")
    for name in ("some@machine", "other@machine"):
        withdraw(installation.log, name)
    make_balances(installation, 1)
    assert check(installation, "workers")[0] == 1
