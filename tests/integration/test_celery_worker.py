"""The worker as Celery sees it: queues, doorbells, the sweeper, shutdown, events and Flower."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from tests.harness import Installation, wait_until

from daybook.client.receipts import Receipt
from daybook.settings import Settings, celery_url
from daybook.worker import start

SECONDS_MAX = 60


@contextlib.contextmanager
def celery(installation: Installation, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """``celery -A daybook.worker …`` on an installation, ended when the block ends."""
    with (installation.folder / "worker.log").open("ab") as output:
        started = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "daybook.worker", *words],
            env=installation.environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def deposits(installation: Installation, name: str, number: int) -> list[Receipt]:
    """Deposits to internal balances, spread over all partitions."""
    return installation.client.enqueue_many(
        [
            {
                "reference": f"{name}-{i}",
                "source": f"@From-{i % 50}",
                "destination": "@Till",
                "currency": "USD",
                "precise_amount": 1,
                "precision": 100,
                "allow_overdraft": True,
            }
            for i in range(number)
        ]
    )


def applied(installation: Installation) -> dict[int, int]:
    """How many records each partition has."""
    return dict(installation.rows("SELECT partition, sequence::int FROM partitions"))


def test_a_worker_consumes_only_the_queues_that_it_is_given(installation: Installation) -> None:
    """With -Q daybook.partition.1 a machine has that partition to itself, and no other."""
    options = ["worker", "-Q", "daybook.partition.1", "-c", "1", "-n", "one@localhost"]
    with celery(installation, *options):
        receipts = deposits(installation, "d", 100)
        wait_until(lambda: applied(installation)[1] > 0, "partition 1 is applied")
        wait_until(lambda: installation.redis.llen("daybook.partition.0"), "a doorbell waits")
    assert applied(installation)[0] == 0
    with celery(installation, "worker", "-c", "1", "-n", "all@localhost"):
        outcomes = installation.client.wait_many(receipts, SECONDS_MAX)
    assert {o and o.status for o in outcomes} == {"APPLIED"}


@pytest.mark.parametrize("queues", [[], ["-Q", "daybook.partition.0"]])
def test_a_worker_does_not_start_on_an_older_schema(
    installation: Installation, queues: list[str]
) -> None:
    """It ends and says what to do, instead of writing what the schema has no place for."""
    installation.rows("DELETE FROM alembic_version")
    with celery(installation, "worker", "-c", "1", "-n", "new@localhost", *queues) as worker:
        assert worker.wait(SECONDS_MAX) == 1
    said = (installation.folder / "worker.log").read_text()
    assert "error: the database's schema is behind this version: run `daybook migrate`" in said


def test_a_worker_that_can_not_tell_how_safe_it_is_has_its_queues(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery only logs what a signal's receiver raises: the worker would serve no partition."""
    for name in ("DAYBOOK_DATABASE_URL", "DAYBOOK_REDIS_URL"):
        monkeypatch.setenv(name, installation.environment[name])

    def fails(settings: Settings) -> None:
        raise RuntimeError(settings.namespace)

    monkeypatch.setattr(start, "tell_safety", fails)
    conf = SimpleNamespace(task_queues=None)
    with pytest.raises(RuntimeError, match="daybook"):
        start.consume_partitions(conf, {"queues": None})
    names = [queue.name for queue in conf.task_queues]
    assert names == ["daybook.intake", "daybook.partition.0", "daybook.partition.1"]
    assert not conf.daybook_queues_are_chosen


def test_a_soft_shutdown_finishes_the_batch(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM in the middle of a drain: exit code 0, replies sent, the rest stays in the log."""
    monkeypatch.setenv("DAYBOOK_BATCH_ENTRIES_MAX", "64")
    receipts = deposits(installation, "d", 8_000)
    with celery(installation, "worker", "-c", "1", "-n", "soft@localhost") as worker:
        wait_until(lambda: sum(applied(installation).values()) > 500, "a drain runs", pause=0.002)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=SECONDS_MAX) == 0
    done = sum(applied(installation).values())
    assert done < 8_000
    outcomes = installation.client.wait_many(receipts, 0)
    assert sum(o is not None for o in outcomes) == done
    assert installation.open_entries() == 8_000 - done
    installation.drain()
    assert None not in installation.client.wait_many(receipts, SECONDS_MAX)


def test_a_lost_doorbell_is_rung_again(installation: Installation) -> None:
    """Nobody heard it: beat's sweeper finds the unread entries."""
    receipts = deposits(installation, "d", 20)
    for partition in range(2):
        installation.redis.delete(f"daybook.partition.{partition}")
    installation.workers(1, beat=True, preloaded=False)
    outcomes = installation.client.wait_many(receipts, SECONDS_MAX)
    assert {o and o.status for o in outcomes} == {"APPLIED"}


@pytest.mark.campaign
def test_two_workers_share_one_partition(installation: Installation) -> None:
    """Doubled doorbells and two workers on each queue: every entry once."""
    app = Celery(broker=celery_url(installation.redis_url))
    for _ in range(20):
        for partition in range(2):
            app.send_task(
                "daybook.apply", args=(partition,), queue=f"daybook.partition.{partition}"
            )
    app.close()
    receipts = deposits(installation, "d", 3_000)
    installation.workers(2, beat=True, preloaded=False)
    assert None not in installation.client.wait_many(receipts, SECONDS_MAX)
    assert sum(applied(installation).values()) == 3_000


def test_results_are_events_that_a_person_understands(installation: Installation) -> None:
    """task-succeeded says how many entries of which partition were applied."""
    app = Celery(broker=celery_url(installation.redis_url))
    heard: list[dict[str, Any]] = []
    receivers: list[Any] = []

    def listen() -> None:
        with app.connection() as connection:
            receiver = app.events.Receiver(connection, handlers={"task-succeeded": heard.append})
            receivers.append(receiver)
            with contextlib.suppress(TimeoutError, OSError):
                receiver.capture(limit=None, timeout=SECONDS_MAX, wakeup=False)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    wait_until(lambda: receivers, "the receiver listens")
    installation.workers(1, beat=False)
    wait_until(lambda: "ready." in log_of(installation), "the worker is ready")
    assert None not in installation.client.wait_many(deposits(installation, "d", 40), SECONDS_MAX)
    wait_until(lambda: any("'applied'" in event["result"] for event in heard), "an event")
    receivers[0].should_stop = True
    listener.join(SECONDS_MAX)
    app.close()
    results = [event["result"] for event in heard]
    assert any(r.startswith("{'partition': ") and "'applied': " in r for r in results), results


def log_of(installation: Installation) -> str:
    path = installation.folder / "worker.log"
    return path.read_text(errors="replace") if path.exists() else ""


def test_flower_shows_the_tasks_and_asks_for_a_password(installation: Installation) -> None:
    """Flower starts on the same application; its API lists daybook.apply with its result."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api/tasks?taskname=daybook.apply"
    options = ["--address=127.0.0.1", f"--port={port}", "--basic-auth=reader:secret"]

    def tasks(password: str) -> dict[str, Any]:
        word = base64.b64encode(f"reader:{password}".encode()).decode()
        request = urllib.request.Request(url, headers={"Authorization": f"Basic {word}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))

    def listens() -> bool:
        with contextlib.suppress(OSError):
            return tasks("secret") == {}
        return False

    def results() -> list[str]:
        return [str(task["result"]) for task in tasks("secret").values()]

    with celery(installation, "flower", *options):
        wait_until(listens, "Flower answers")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            tasks("wrong")
        installation.workers(1, beat=False)
        receipts = deposits(installation, "d", 40)
        assert None not in installation.client.wait_many(receipts, SECONDS_MAX)
        wait_until(lambda: any("'applied': " in result for result in results()), "Flower shows it")
