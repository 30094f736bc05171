"""A service that has no Daybook at all: it sends a Celery message and reads a Celery result."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from celery import Celery
from tests.harness import Installation, wait_until

from daybook.queue.doorbell import INTAKE_QUEUE
from daybook.settings import celery_url

SERVICE = """
import json, sys
from celery import Celery
broker, calls = json.load(sys.stdin)
app = Celery("foreign", broker=broker, backend=broker)
results = []
for request, task_id in calls:
    app.send_task(
        "daybook.enqueue", kwargs={"request": request}, task_id=task_id, queue="daybook.intake"
    )
for request, task_id in calls:
    result = app.AsyncResult(task_id)
    try:
        results.append(["outcome", result.get(timeout=60)])
    except Exception as fault:
        results.append([type(fault).__name__, str(fault), result.state])
assert not any(name.partition(".")[0] == "daybook" for name in sys.modules)
print(json.dumps(results))
"""


def send(installation: Installation, *calls: tuple[Any, str]) -> list[list[Any]]:
    """Send requests from a process that knows only Celery; the result of each."""
    done = subprocess.run(
        [sys.executable, "-c", SERVICE],
        input=json.dumps([celery_url(installation.redis_url), calls]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def request(amount: Any = "1.00", **changes: Any) -> dict[str, Any]:
    return {
        "source": "@World",
        "destination": "@Shop",
        "currency": "USD",
        "amount": amount,
        "precision": 100,
        "allow_overdraft": True,
        **changes,
    }


def test_a_service_without_daybook_sends_a_message_and_gets_the_outcome(
    installation: Installation,
) -> None:
    """The outcome comes under the task's id; JSON numbers are exact; faults can be read."""
    installation.workers(1, beat=False)
    results = send(
        installation,
        (request("19.99"), "text"),
        (request(19.99), "number"),
        (request(0.29), "small"),
        (request(4.35, reference="named"), "named"),
        (request(19.99), "number"),
        (request(source="@Empty", allow_overdraft=False), "poor"),
        (request(1234567890123.456), "long"),
        (request(reference="own"), "any id"),
        ({"amount": -1, "colour": "red"}, "broken"),
        ([1, 2], "no request"),
    )
    names = ["text", "number", "small", "named", "again", "poor", "long", "own", "broken", "list"]
    by_id = dict(zip(names, results, strict=True))
    for name in ("text", "number", "small", "named", "again", "own"):
        assert by_id[name][1]["status"] == "APPLIED", by_id[name]
    assert by_id["again"][1]["transaction_id"] == by_id["number"][1]["transaction_id"]
    assert by_id["own"][1]["reference"] == "own"
    assert by_id["poor"][1]["reason"] == "insufficient_funds"
    assert by_id["long"][0] == "MalformedRequest"
    assert "more than 15 significant digits; use precise_amount" in by_id["long"][1]
    assert "colour: is not a field" in by_id["broken"][1]
    assert "source: is required" in by_id["broken"][1]
    assert "must be an object" in by_id["list"][1]
    assert {r[2] for r in results if r[0] != "outcome"} == {"FAILURE"}
    assert dict(installation.rows("SELECT reference, precise_amount::text FROM transactions")) == {
        "text": "1999",
        "number": "1999",
        "small": "29",
        "named": "435",
        "own": "100",
        "poor": "100",
    }


def test_the_intake_answers_for_what_came_another_way(installation: Installation) -> None:
    """A request that the client enqueued and a message repeats: one effect, and a result."""
    accepted = installation.client.enqueue({**request(), "reference": "twice"})
    installation.workers(1, beat=False)
    results = send(installation, (request(), "twice"), (request("2.00"), "twice-2"))
    assert results[0][1]["transaction_id"] == accepted.id
    assert results[1][1]["status"] == "APPLIED"
    assert installation.rows("SELECT count(*) FROM transactions WHERE subject IS NULL") == [(2,)]


def test_the_intake_takes_every_kind(installation: Installation) -> None:
    """The task's id names what has no name: a repeated creation creates nothing twice."""
    installation.workers(1, beat=False)
    ledger = {"kind": "ledger", "name": "Foreign"}
    bulk = {"transactions": [request(reference=f"item-{n}") for n in range(3)]}
    later = request(scheduled_for="2200-01-01T00:00:00Z")
    first, again, group = send(installation, (ledger, "L"), (ledger, "L-2"), (bulk, "bulk"))
    (repeated,) = send(installation, (ledger, "L"))
    assert first[1]["status"] == again[1]["status"] == "APPLIED"
    assert repeated[1]["transaction_id"] == first[1]["transaction_id"].replace("txn_", "ldg_")
    assert first[1]["transaction_id"] != again[1]["transaction_id"]
    refund = {"kind": "refund", "transaction_id": group[1]["transaction_id"]}
    assert send(installation, (refund, "back"))[0][1]["status"] == "APPLIED"
    with Celery("foreign", broker=celery_url(installation.redis_url), set_as_current=False) as app:
        for _ in range(2):
            app.send_task(
                "daybook.enqueue", kwargs={"request": later}, task_id="later", queue=INTAKE_QUEUE
            )
    wait_until(lambda: installation.rows("SELECT 1 FROM schedules"), "the schedule")
    cancel = {
        "kind": "cancel",
        "transaction_id": installation.client.status(reference="later").transaction_id,
    }
    (cancelled,) = send(installation, (cancel, "cancel"))
    assert cancelled[1]["status"] == "APPLIED"
    (answer,) = send(installation, (later, "later"))
    assert answer[1]["reason"] == "cancelled"


def test_the_intake_keeps_a_request_while_the_log_is_full(installation: Installation) -> None:
    """A full log is not the service's fault: its message is tried again until there is room."""
    installation.redis.hset(installation.log.keys.state, "entries_max", 0)
    workers = installation.workers(1, beat=False)
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdin is not None
    service.stdin.write(json.dumps([celery_url(installation.redis_url), [(request(), "waits")]]))
    service.stdin.close()
    wait_until(lambda: "the log is full" in workers.log(), "a retry")
    assert installation.rows("SELECT count(*) FROM transactions WHERE subject IS NULL") == [(0,)]
    installation.redis.hset(installation.log.keys.state, "entries_max", 100)
    assert service.stdout is not None
    assert json.loads(service.stdout.read())[0][1]["status"] == "APPLIED"
    service.wait(timeout=60)


def test_a_message_nested_too_deeply_is_dropped_and_the_worker_lives(
    installation: Installation,
) -> None:
    """It would kill the worker's parent, and each one that takes it up again."""
    workers = installation.workers(1)
    nested: dict[str, Any] = {}
    for _ in range(900):
        nested = {"a": nested}
    with Celery("foreign", broker=celery_url(installation.redis_url), set_as_current=False) as app:
        message = {"request": request(meta_data=nested)}
        app.send_task("daybook.enqueue", kwargs=message, task_id="deep", queue="daybook.intake")
    ((kind, outcome),) = send(installation, (request(), "after-the-deep-one"))
    assert (kind, outcome["status"]) == ("outcome", "APPLIED")
    assert workers.processes[0].poll() is None
    assert "nested deeper" in workers.log()


def test_arguments_of_another_form_are_told_the_right_one(installation: Installation) -> None:
    """Not as Python's error about a function: the task fails as any wrong request does."""
    workers = installation.workers(1, beat=False)
    broker = celery_url(installation.redis_url)
    with Celery("foreign", broker=broker, backend=broker, set_as_current=False) as app:
        for number, arguments in enumerate(({"req": request()}, request(), {})):
            sent = app.send_task(
                "daybook.enqueue", kwargs=arguments, task_id=f"odd{number}", queue="daybook.intake"
            )
            with pytest.raises(Exception, match=r'kwargs=\{"request": \{…\}\}') as caught:
                sent.get(timeout=60)
            assert type(caught.value).__name__ == "MalformedRequest"
        wait_until(lambda: workers.log().count("raised expected") == 3, "a line for each")
    assert "Traceback" not in workers.log()  # of what a sender did wrong
