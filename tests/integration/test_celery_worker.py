"""The worker as Celery sees it: queues, doorbells, the sweeper, shutdown, events and Flower."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
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
from celery.signals import beat_init
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs
from tests.browser import BROWSER, in_a_browser
from tests.harness import Installation, free_port, wait_until

from daybook.client.receipts import Receipt
from daybook.embedded.work import FLOWER_COLUMNS
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


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("DAYBOOK_REDIS_URL", "next: mend the user, the password or the database in {}"),
        ("DAYBOOK_BROKER_URL", "error: {}: Redis refused"),
        ("DAYBOOK_DATABASE_URL", "next: mend the user, the password or the database in {}"),
    ],
)
def test_a_worker_that_is_refused_ends(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, variable: str, said: str
) -> None:
    """At its start, with the name of the setting: a second attempt would change nothing."""
    for name, value in installation.environment.items():
        if name.startswith("DAYBOOK_"):
            monkeypatch.setenv(name, value)
    wrong = make_url(installation.worker_url).set(username="nobody").render_as_string()
    if variable != "DAYBOOK_DATABASE_URL":
        wrong = installation.redis_url.replace("://", "://nobody:wrong@", 1)
    monkeypatch.setenv(variable, wrong)
    monkeypatch.setenv("DAYBOOK_REDIS_URI", "redis://h")
    with capture_logs() as logs, pytest.raises(SystemExit) as ended:
        start.consume_partitions(SimpleNamespace(), {"queues": None})
    assert said.format(variable) in str(ended.value)
    if variable != "DAYBOOK_DATABASE_URL":  # which beat does not ask
        with pytest.raises(SystemExit, match=variable):
            beat_init.send(None)
    assert "did you mean DAYBOOK_REDIS_URL?" in logs[0]["detail"]


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


@pytest.mark.long
def test_a_soft_shutdown_finishes_the_batch(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM in the middle of a drain: exit code 0, replies sent, the rest stays in the log."""
    monkeypatch.setenv("DAYBOOK_BATCH_ENTRIES_MAX", "64")
    receipts = deposits(installation, "d", 4_000)
    with celery(installation, "worker", "-c", "1", "-n", "soft@localhost") as worker:
        wait_until(lambda: sum(applied(installation).values()) > 500, "a drain runs", pause=0.002)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=SECONDS_MAX) == 0
    done = sum(applied(installation).values())
    assert done < 4_000
    outcomes = installation.client.wait_many(receipts, 0)
    assert sum(o is not None for o in outcomes) == done
    assert installation.open_entries() == 4_000 - done
    installation.drain()
    assert None not in installation.client.wait_many(receipts, SECONDS_MAX)


def test_a_lost_doorbell_is_rung_again(installation: Installation) -> None:
    """Nobody heard it: beat's sweeper finds the unread entries."""
    receipts = deposits(installation, "d", 20)
    for partition in range(2):
        installation.redis.delete(f"daybook.partition.{partition}")
    installation.workers(1, beat=True)
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


REFUSED = {
    "source": "@Poor",
    "destination": "@Till",
    "currency": "USD",
    "precise_amount": 1,
    "precision": 100,
}


@contextlib.contextmanager
def hearing(app: Celery) -> Iterator[list[dict[str, Any]]]:
    """Every event of tasks that is sent meanwhile."""
    heard: list[dict[str, Any]] = []
    receivers: list[Any] = []

    def listen() -> None:
        with app.connection() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": heard.append})
            receivers.append(receiver)
            with contextlib.suppress(TimeoutError, OSError):
                receiver.capture(limit=None, timeout=SECONDS_MAX, wakeup=False)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    wait_until(lambda: receivers, "the receiver listens")
    try:
        yield heard
    finally:
        receivers[0].should_stop = True
        listener.join(SECONDS_MAX)


def test_what_was_refused_is_told_as_such(installation: Installation) -> None:
    """A partition's task says how many and why; a message of the intake fails, each time."""
    url = celery_url(installation.redis_url)
    with Celery(broker=url, backend=url) as app, hearing(app) as heard:
        installation.workers(1, beat=False)
        wait_until(lambda: "ready." in log_of(installation), "the worker is ready")
        assert None not in installation.client.wait_many(deposits(installation, "d", 4), 60)
        for _ in range(2):  # the second time it is recorded already
            message = {"queue": "daybook.intake", "task_id": "shop-1"}
            result = app.send_task("daybook.enqueue", kwargs={"request": REFUSED}, **message)
            assert result.get(timeout=SECONDS_MAX)["status"] == "REJECTED"
            result.forget()

        def of_tasks(kind: str, said: str) -> list[str]:
            return [event[said] for event in heard if event["type"] == kind]

        wait_until(lambda: len(of_tasks("task-failed", "exception")) == 2, "both are told")
        for exception in of_tasks("task-failed", "exception"):
            assert exception.startswith("REJECTED insufficient_funds: ")
        results = of_tasks("task-succeeded", "result")
        assert any(re.match(r"'partition \d: \d applied", text) for text in results), results
        (why,) = (text for text in results if "rejected" in text)
        assert re.match(r"'partition \d: 1 rejected \(1 insufficient_funds\)'", why)
        assert not any(event.get("name") == "daybook.transaction" for event in heard)

        app.send_task("daybook.sweep", queue="daybook.intake")
        app.send_task("daybook.sweep", kwargs={"wrong": 1}, queue="daybook.intake")

        def of_sweeps() -> list[str]:
            return [event["type"] for event in heard if event.get("name") == "daybook.sweep"]

        wait_until(of_sweeps, "the one that fails")
        assert of_sweeps() == ["task-failed"]


def log_of(installation: Installation) -> str:
    path = installation.folder / "worker.log"
    return path.read_text(errors="replace") if path.exists() else ""


@pytest.mark.long
def test_flower_shows_what_became_of_every_request(installation: Installation) -> None:
    """Each is a task of its reference; it asks for a password, and lists the queues.

    Sweeps, one a second, are not shown.
    """
    site = f"http://127.0.0.1:{(port := free_port())}"
    client, redis_url = installation.client, celery_url(installation.redis_url)

    def page(path: str, password: str = "secret") -> bytes:
        word = base64.b64encode(f"reader:{password}".encode()).decode()
        request = urllib.request.Request(site + path, headers={"Authorization": f"Basic {word}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    def tasks() -> dict[str, Any]:
        with contextlib.suppress(OSError):
            return dict(json.loads(page("/api/tasks")))
        return {}

    def hears() -> bool:
        """Its pages answer before it hears events, and one sent before that is never shown."""
        with contextlib.suppress(OSError):
            return bool(json.loads(page("/workers?json=1"))["data"])
        return False

    def lists_queues() -> bool:
        with contextlib.suppress(OSError):
            page("/api/workers?refresh=1")  # a busy worker may have answered too late before
        queues = page("/broker").decode()
        return all(f"daybook.{name}" in queues for name in ("intake", "partition.0", "partition.1"))

    def ended(*names: str) -> bool:
        shown = tasks()
        return all(shown.get(name, {}).get("state") in ("SUCCESS", "FAILURE") for name in names)

    options = ["--address=127.0.0.1", f"--port={port}", "--basic-auth=reader:secret"]
    options.append(FLOWER_COLUMNS)
    with celery(installation, "worker", "-E", "-c", "1", "--loglevel", "INFO"):
        wait_until(lambda: "ready." in log_of(installation), "the worker is ready")
        with celery(installation, "flower", *options), Celery(broker=redis_url) as app:
            wait_until(hears, "Flower hears the worker")
            assert tasks() == {}
            with pytest.raises(urllib.error.HTTPError, match="401"):
                page("/api/tasks", "wrong")
            deposits(installation, "d", 4)
            client.enqueue({**REFUSED, "reference": "poor"})
            hold = client.enqueue(
                {**REFUSED, "reference": "hold", "inflight": True, "allow_overdraft": True}
            )
            client.void(hold.id, reference="void")
            message = {"queue": "daybook.intake", "task_id": "shop-1"}
            app.send_task("daybook.enqueue", kwargs={"request": REFUSED}, **message)
            app.send_task("daybook.sweep", queue="daybook.intake")
            wait_until(lambda: ended("d-0", "poor", "hold", "void", "shop-1"), "all are shown")
            wait_until(lambda: "daybook.sweep" in log_of(installation), "a sweep")
            shown = tasks()
            wait_until(lists_queues, "all queues are listed")
            if BROWSER:  # what its table shows is put there by a script
                address = f"http://reader:secret@127.0.0.1:{port}/tasks"
                seen = in_a_browser(address, installation.folder / "browser")
                assert "REJECTED insufficient_funds: " in seen
                assert "INFLIGHT 0.01 USD" in seen

    told = {name: (task["name"], task["state"]) for name, task in shown.items()}
    for name in ("d-0", "d-1", "d-2", "d-3", "hold", "void"):
        assert told[name] == ("daybook.transaction", "SUCCESS")
    assert (shown["d-0"]["result"], shown["hold"]["result"]) == (
        "APPLIED 0.01 USD",
        "INFLIGHT 0.01 USD",
    )
    for name in ("poor", "shop-1"):
        assert told[name] == ("daybook.transaction", "FAILURE")
        assert shown[name]["exception"].startswith("REJECTED insufficient_funds: ")
    assert "daybook.sweep" not in {name for name, _ in told.values()}
