"""Whether all is well, judged from the facts: idle, stuck, stopped, nobody there, poison."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from tests.fault.requests import deposit, make_balances
from tests.fault.restoring import copy_of, restore
from tests.harness import Installation, wait_until

from daybook.apply.sweep import sweep
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.monitoring.health import NAMES
from daybook.monitoring.progress import find_stalled
from daybook.requests import mint_id, slot_of

BOUND = "0.5"
"""Seconds that partitions may stand still here."""


def at_once(_: float) -> None:
    """The pause between two looks: none."""


@pytest.fixture
def one(install_daybook: Callable[[int], Installation]) -> Installation:
    return install_daybook(1)


def health(installation: Installation, *more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the checks by name."""
    done = installation.run("health", "--json", "--within", BOUND, *more)
    checks = json.loads(done.stdout)["checks"]
    return done.returncode, {check["name"]: check for check in checks}


def probe(installation: Installation) -> int:
    """The exit code of the check of progress alone."""
    return health(installation, "--only", "progress")[0]


def read_so_far(installation: Installation) -> dict[int, int]:
    """The cursor of each partition."""
    return dict(installation.rows("SELECT partition, cursor FROM partitions"))


def wait_for_old(installation: Installation) -> None:
    """Wait until the first unread entry, and the last unit of work, are older than the bound."""
    start_ms = installation.log.now_ms()
    wait_until(
        lambda: installation.log.now_ms() - start_ms > 1000 * float(BOUND), "the bound is over"
    )


def test_an_idle_installation_is_well(installation: Installation) -> None:
    """Nothing unread, however long ago the last unit of work was; beat has swept a moment ago."""
    assert probe(installation) == 0
    make_balances(installation, 2)
    installation.drain()
    installation.rows("UPDATE partitions SET applied_at = now() - interval '30 days'")
    sweep(
        installation.store, installation.log, installation.applier(), lambda _: None, lambda: None
    )
    code, checks = health(installation)
    assert code == 0, checks
    assert {check["state"] for check in checks.values()} == {"ok"}
    assert tuple(checks) == NAMES


def test_nobody_consumes(one: Installation) -> None:
    """No worker at all: well while the entry is young, stuck when it is old, well once applied."""
    alone = ("health", "--only", "progress")
    assert one.run(*alone).returncode == 0
    make_balances(one, 1)
    assert one.run(*alone).returncode == 0  # thirty seconds have not gone by
    wait_for_old(one)
    code, checks = health(one, "--only", "progress", "--only", "workers")
    assert code == 1
    assert checks["workers"]["state"] == "failed"
    assert "none has announced itself" in checks["workers"]["detail"]
    assert checks["progress"]["detail"].startswith("partition 0 has unread entries")
    one.drain()
    assert probe(one) == 0


def test_a_stopped_worker_is_found_and_recovers(one: Installation) -> None:
    """Its processes are alive and do nothing; when they go on, all is well."""
    with one.workers() as workers:
        (a,), made = make_balances(one, 1)
        one.client.wait_many(made, 60)
        assert probe(one) == 0
        os.killpg(workers.processes[0].pid, signal.SIGSTOP)
        receipt = one.client.enqueue(deposit("waits", a, 1))
        wait_for_old(one)
        assert probe(one) == 1
        assert workers.processes[0].poll() is None
        os.killpg(workers.processes[0].pid, signal.SIGCONT)
        assert receipt.wait(60).status == "APPLIED"
        assert probe(one) == 0


def standing(installation: Installation, sleep: Callable[[float], None] = at_once) -> list[int]:
    """The partitions that stand still, looked at without a pause."""
    found = find_stalled(installation.owner, installation.log, float(BOUND), 10, sleep)
    return [each.partition for each in found]


@contextmanager
def zombie(installation: Installation, partition: int) -> Iterator[None]:
    """A session that keeps the row of a partition and does nothing."""
    with psycopg.connect(installation.owner_url) as connection:
        connection.execute(
            "SELECT FROM partitions WHERE partition = %s FOR NO KEY UPDATE", (partition,)
        )
        yield


def test_a_lock_that_nobody_gives_back_is_found(installation: Installation) -> None:
    """A worker that comes to the partition finds it busy and goes; the other one moves."""
    owned, _ = make_balances(installation, 8, seed=1)
    installation.drain()
    with zombie(installation, 1):
        for number, name in enumerate(owned):
            installation.client.enqueue(deposit(f"d{number}", name, 1))
        wait_for_old(installation)
        applier = installation.applier()
        assert applier.drain(1).busy
        applier.drain(0)
        assert standing(installation) == [1]
    installation.drain()
    assert standing(installation) == []


@pytest.mark.campaign
def test_a_zombie_that_holds_the_lock_is_found(installation: Installation) -> None:
    """Workers answer and apply the other partition; this one stands still."""
    owned, made = make_balances(installation, 8, seed=1)
    with installation.workers():
        installation.client.wait_many(made, 60)
        with zombie(installation, 1):
            for number, name in enumerate(owned):
                installation.client.enqueue(deposit(f"d{number}", name, 1))
            wait_until(
                lambda: list(installation.log.first_unread(read_so_far(installation))) == [1],
                "the other partition is applied",
            )
            wait_for_old(installation)
            code, checks = health(installation, "--only", "progress")
            assert code == 1
            assert checks["progress"]["detail"].startswith("partition 1 ")
            assert "partition 0" not in checks["progress"]["detail"]
        installation.wait_applied()
        assert probe(installation) == 0


def test_old_entries_that_are_being_applied_are_well(one: Installation) -> None:
    """After a restore everything is old at first: the second look sees that it moves."""
    (a,), _ = make_balances(one, 1)
    one.drain()
    backup = copy_of(one)
    one.client.enqueue_many([deposit(f"d{number}", a, 1) for number in range(50)])
    one.drain()
    wait_for_old(one)
    restore(one, backup)
    applier = one.applier()

    def moves(_: float) -> None:
        applier.apply_batch(0, 1)

    assert standing(one) == [0]
    assert standing(one, moves) == []
    assert one.open_entries() > 0


def test_what_waits_for_the_past_of_another_partition_is_not_to_blame(
    installation: Installation,
) -> None:
    """Deferred entries are well while older ones elsewhere move, and stuck when nothing does."""
    unknown = "bln_00000000-0000-4000-8000-00000000000"
    first, second = ([d for d in range(8) if slot_of(f"k{d}") % 2 == p] for p in range(2))
    poor = [deposit(f"p{d}", f"{unknown}{d}", 1, ordering_key=f"k{d}") for d in (*first, *second)]
    installation.client.enqueue_many(poor)
    applier = installation.applier()
    applier.apply_batch(1, 100)
    ((deferred,),) = installation.rows("SELECT count(*) FROM deferred_entries WHERE partition = 1")
    assert deferred > 0
    wait_for_old(installation)
    assert standing(installation) == [0, 1]
    installation.rows("UPDATE partitions SET applied_at = now() WHERE partition = 0")
    assert standing(installation) == []


def test_a_barrier_before_a_long_backlog_is_not_to_blame(installation: Installation) -> None:
    """What waits for a wide request of a partition that moves is well, a plain entry is not."""
    owned = [mint_id("bln") for _ in range(20)]
    here, there = (next(n for n in owned if slot_of(n) % 2 == p) for p in range(2))
    shares = [{"identifier": n, "distribution": "50%"} for n in (here, there)]
    wide = {"sources": shares, "destination": "@Shop", "currency": "USD", "precise_amount": 2}
    wide["precision"] = 100
    installation.client.enqueue_many(
        [
            deposit("first", here, 1),
            {**wide, "reference": "wide", "ordering_key": here},
            deposit("plain", there, 1),
        ]
    )
    wait_for_old(installation)
    assert standing(installation) == [0, 1]
    moves = "UPDATE partitions SET applied_at = now() WHERE partition = 0"
    installation.rows(moves)
    assert standing(installation) == []
    ((barrier, _), *_) = installation.stream(installation.log.keys.log(1))
    installation.redis.xdel(installation.log.keys.log(1), barrier)
    installation.rows(moves)
    assert standing(installation) == [1]


@pytest.mark.parametrize("hours", [-5, 5])
def test_servers_whose_clocks_differ_are_judged_each_by_its_own(
    one: Installation, hours: int
) -> None:
    """Entries of a log hours ahead or behind are found stuck, and well once applied."""
    if hours > 0:
        ahead = (one.log.now_ms() + hours * 3_600_000) << POSITION_COUNTER_BITS
        one.log.forward_clock(ahead)
    else:
        one.rows("UPDATE partitions SET applied_at = now() + interval '5 hours'")
    make_balances(one, 1)
    wait_for_old(one)
    assert standing(one) == [0]
    one.drain()
    assert standing(one) == []


def test_a_full_quarantine_is_a_warning(one: Installation) -> None:
    """It has an exit code of its own, and is none of the worker's probe."""
    (a,), made = make_balances(one, 1)
    one.rows(
        "CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'too odd' USING ERRCODE = 'data_exception'; END $$"
    )
    one.rows(
        "CREATE TRIGGER refuse_one BEFORE INSERT ON transactions FOR EACH ROW "
        "WHEN (NEW.reference = 'odd') EXECUTE FUNCTION refuse_one()"
    )
    with one.workers():
        one.client.wait_many(made, 60)
        assert one.client.enqueue(deposit("odd", a, 7)).wait(60).reason == "quarantined"
        code, checks = health(one)
        assert code == 5, checks
        assert checks["quarantine"]["state"] == "warning"
        assert probe(one) == 0
        assert health(one, "--skip", "quarantine")[0] == 0
        assert (
            one.run("quarantine", "discard", "odd", "--by", "anna", "--wait", "60").returncode == 0
        )
        assert health(one)[0] == 0


def test_replies_that_were_never_sent_are_told(one: Installation) -> None:
    """A batch that was committed, and whose worker died before it told anybody."""
    make_balances(one, 1)
    one.drain()
    one.rows("UPDATE partitions SET batch = batch + 1")
    code, checks = health(one)
    assert (code, checks["replies"]["state"]) == (1, "failed")
    assert "not told" in checks["replies"]["detail"]
    one.rows("UPDATE partitions SET batch = batch - 2")
    checks = health(one, "--only", "replies")[1]
    assert "later batches than the database has" in checks["replies"]["detail"]


def test_servers_that_cannot_be_asked_are_told(one: Installation) -> None:
    """Each check says what it can't ask, and the exit code is that of an unavailable server."""
    one.redis.delete(one.log.keys.state)
    code, checks = health(one)
    assert code == 3
    assert checks["log"]["state"] == checks["progress"]["state"] == "unavailable"
    assert checks["database"]["state"] == "ok"
    assert "no request log" in checks["log"]["detail"]
    one.log.install(1, 1000, 0)
    one.rows("DELETE FROM alembic_version")
    code, checks = health(one)
    assert (code, checks["schema"]["state"]) == (3, "unavailable")
    done = one.run("health")
    assert "schema      unavailable" in done.stdout


def test_a_check_that_there_is_not_is_told(one: Installation) -> None:
    """A name that was typed wrong must not look like health."""
    code, checks = health(one, "--only", "progres")
    assert code == 3
    assert "no check named progres" in checks["settings"]["detail"]
