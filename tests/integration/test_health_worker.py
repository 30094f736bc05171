"""The health of one worker: what a restart of it would mend, and nothing that it would not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
from sqlalchemy.engine import make_url
from tests.guarded import Guarded
from tests.harness import Installation, Workers, wait_until

from daybook.queue.announcements import Pool, announce, announced


@pytest.fixture
def one(install_daybook: Callable[[int], Installation]) -> Installation:
    return install_daybook(1)


def name_of(installation: Installation) -> str:
    """The name of the one worker that runs."""

    def announced_names() -> list[str]:
        return list(announced(installation.log))

    (name,) = wait_until(announced_names, "a worker announces itself")
    return str(name)


def probe(installation: Installation, node: str) -> tuple[int, str, str]:
    """The exit code of the worker's probe, the state, and the detail."""
    done = installation.run("health", "--worker", "--node", node, "--json")
    (check,) = json.loads(done.stdout)["checks"]
    assert check["name"] == "worker"
    return done.returncode, check["state"], check["detail"]


@contextmanager
def stopped(workers: Workers) -> Iterator[None]:
    """Every process of the worker is stopped, and goes on after the block."""
    os.killpg(workers.processes[0].pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(workers.processes[0].pid, signal.SIGCONT)


@pytest.mark.long
def test_a_worker_that_hangs_is_to_be_restarted(one: Installation) -> None:
    """It answers, is stopped as a whole, and answers again: the others' probes are none of it."""
    with one.workers(beat=False) as workers:
        node = name_of(one)
        assert probe(one, node) == (0, "ok", f"{node} answers")
        with stopped(workers):
            code, state, detail = probe(one, node)
            assert (code, state) == (1, "failed")
            assert "does not answer" in detail or "was not heard of" in detail
        wait_until(lambda: probe(one, node)[0] == 0, "it answers again")
        code, state, detail = probe(one, "nobody@nowhere")
        assert (code, state) == (1, "failed")
        assert "nobody@nowhere was not heard of" in detail


def test_a_worker_tells_of_its_processes(one: Installation) -> None:
    """How many live, how long the oldest task has run: none left, or stuck, is found."""
    with one.workers(beat=False):
        node = name_of(one)
        pool = announced(one.log)[node].pool
        assert pool is not None
        assert pool == Pool(1, 0.0)
    for pool, words in ((Pool(0, 0.0), "no process left"), (Pool(2, 400.0), "stuck in a task")):
        announce(one.log, "ours@machine", [], pool=pool)
        code, state, detail = probe(one, "ours@machine")
        assert (code, state) == (1, "failed")
        assert words in detail


@pytest.mark.long
def test_no_worker_is_restarted_because_the_database_is_away(one: Installation) -> None:
    """One that runs answers; one that waits for it at its start can't be judged."""
    right, there = one.worker_url, make_url(one.worker_url)
    away = there.set(host="/nowhere").render_as_string(hide_password=False)
    with one.workers(beat=False):
        node = name_of(one)
        one.worker_url = away
        assert probe(one, node) == (0, "ok", f"{node} answers")
        code, state, detail = probe(one, "starting@machine")
        assert (code, state) == (0, "unavailable")
        assert "a restart would not mend it" in detail
        one.worker_url = right
        assert probe(one, "starting@machine")[0] == 1


@pytest.mark.long
def test_no_worker_is_restarted_because_its_redis_is_away(one: Installation) -> None:
    """The log's server, or the broker's, is gone: nothing is said of the worker."""
    right, one.redis_url = one.redis_url, "unix:///nowhere/valkey.sock?db=1"
    code, state, _ = probe(one, "any@machine")
    assert (code, state) == (0, "unavailable")
    one.redis_url = right
    announce(one.log, "any@machine", [])
    one.more_environment["DAYBOOK_BROKER_URL"] = "unix:///nowhere/valkey.sock?db=1"
    code, state, detail = probe(one, "any@machine")
    assert (code, state) == (0, "unavailable")
    assert "the broker is away" in detail
    assert probe(one, "starting@machine")[:2] == (0, "unavailable")


def test_no_worker_is_restarted_because_its_redis_is_full(one: Installation) -> None:
    """One says that it is there all the same; nobody can be asked by a full broker."""
    with one.workers(beat=False):
        node = name_of(one)
        one.redis.config_set("maxmemory", 1)
        try:
            announce(one.log, "other@machine", [])
            for name in (node, "starting@machine"):
                code, state, _ = probe(one, name)
                assert (code, state) == (0, "unavailable")
        finally:
            one.redis.config_set("maxmemory", 0)
        wait_until(lambda: probe(one, node) == (0, "ok", f"{node} answers"), "it answers again")


def test_a_worker_of_an_empty_log_is_well(one: Installation) -> None:
    """Redis came back empty: that is for the sweeper to mend, and no worker's fault."""
    with one.workers(beat=False):
        node = name_of(one)
        one.redis.flushdb()
        wait_until(lambda: node in announced(one.log), "it announces itself again")
        assert probe(one, node)[:2] == (0, "ok")


def test_the_probe_has_the_rights_of_a_worker(guarded: Guarded, one: Installation) -> None:
    """With the shipped users of Redis."""
    guarded.guard(one)
    guarded.denied()
    with one.workers(beat=False):
        assert probe(one, name_of(one))[0] == 0
    assert guarded.denied() == []


def test_a_child_that_was_killed_is_no_reason(one: Installation) -> None:
    """The worker replaces it by itself, and answers."""
    with one.workers(beat=False) as workers:
        node = name_of(one)
        assert (
            probe(one, node)[0] == 0
        )  # as a worker begins, Celery gives up without its only child
        (child,) = psutil.Process(workers.processes[0].pid).children()
        child.kill()
        assert probe(one, node)[0] == 0
