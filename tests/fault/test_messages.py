"""What somebody pushes onto the broker's queues: it ends no worker and comes back to none."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import psutil
import pytest

from daybook.queue.doorbell import INTAKE_QUEUE, queue_of
from daybook.settings import celery_url
from daybook.worker.broker import PromptConnection
from tests.envelopes import envelope, strange_messages
from tests.fault.proof import assert_proved
from tests.harness import Installation, Workers, wait_until

ROUNDS = 3
MESSAGES_A_ROUND = 150
LIST_CONTENT_TYPE = (
    '{"body":"W1swXSx7fSx7fV0=","content-encoding":"utf-8","content-type":["application/json"],'
    '"headers":{"lang":"py","task":"daybook.apply","id":"x1","root_id":"x1","parent_id":null,'
    '"group":null},"properties":{"correlation_id":"x1","reply_to":"r","delivery_mode":2,'
    '"delivery_info":{"exchange":"","routing_key":"daybook.partition.0"},"priority":0,'
    '"body_encoding":"base64","delivery_tag":"t1"}}'
)


def deposit(reference: str) -> dict[str, Any]:
    """A request that is applied whatever else is there."""
    return {
        "reference": reference,
        "source": "@World",
        "destination": "@Shop",
        "currency": "USD",
        "amount": "1.00",
        "precision": 100,
        "allow_overdraft": True,
    }


def children(workers: Workers) -> set[int]:
    """The processes of the first worker."""
    parent = psutil.Process(workers.processes[0].pid)
    return {parent.pid, *(child.pid for child in parent.children())}


def assert_work_goes_on(installation: Installation, name: str) -> None:
    """A request through the log and one through the intake are applied."""
    by_message = f"message-{name}"
    message = envelope(
        "daybook.enqueue", [], {"request": deposit(by_message)}, by_message, INTAKE_QUEUE
    )
    installation.redis.lpush(INTAKE_QUEUE, json.dumps(message))
    receipt = installation.client.enqueue(deposit(f"log-{name}"))
    assert receipt.wait(60).status == "APPLIED"

    def is_applied() -> bool:
        found = installation.rows(
            "SELECT status FROM transactions WHERE reference = %s", by_message
        )
        return found == [("APPLIED",)]

    wait_until(is_applied, f"{by_message} is applied")


@pytest.mark.long
def test_whatever_is_pushed_ends_no_worker(installation: Installation) -> None:
    """Strange messages on every queue, with work in between: no process dies, nothing stays."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    workers = installation.workers(1)
    assert_work_goes_on(installation, "before")
    before = children(workers)
    empty: dict[str, Any] = {"request": {}}
    sources = {
        INTAKE_QUEUE: envelope("daybook.enqueue", [], empty, "strange", INTAKE_QUEUE),
        queue_of(0): envelope("daybook.apply", [0], {}, "bell", queue_of(0)),
        queue_of(1): envelope("daybook.apply", [1], {}, "bell", queue_of(1)),
    }
    messages = {queue: strange_messages(seed, queue, valid) for queue, valid in sources.items()}
    for number in range(ROUNDS):
        for queue, strange in messages.items():
            for raw in itertools.islice(strange, MESSAGES_A_ROUND):
                installation.redis.lpush(queue, raw)
        assert_work_goes_on(installation, str(number))
    wait_until(lambda: not any(map(installation.redis.llen, messages)), "all queues are empty")
    assert_work_goes_on(installation, "after")
    assert children(workers) == before
    assert "message.dropped" in workers.log()
    wait_until(lambda: not installation.redis.hlen("unacked"), "no worker holds anything for long")
    assert_proved(installation)


def test_a_message_that_ends_workers_is_not_put_back(installation: Installation) -> None:
    """Its first bytes are logged; also what an earlier worker left unacknowledged is given up."""
    for key, value in (
        ("bad", "garbage"),
        ("worse", "[1]"),
        ("list", f'[[1], "", "{INTAKE_QUEUE}"]'),
    ):
        installation.redis.hset("unacked", key, value)
        installation.redis.zadd("unacked_index", {key: 1})
    installation.redis.lpush(queue_of(0), LIST_CONTENT_TYPE)
    installation.redis.sadd(f"_kombu.binding.{queue_of(0)}", "garbage", "\x06\x16" * 7)
    workers = installation.workers(1)
    assert_work_goes_on(installation, "after")
    wait_until(lambda: "content-type: not one of" in workers.log(), "the message is logged")
    assert "W1swXSx7fSx7fV0=" in workers.log()
    wait_until(lambda: not installation.redis.hlen("unacked"), "nothing is kept to be put back")
    assert workers.processes[0].poll() is None


def test_a_message_is_not_dropped_because_the_connection_is_gone(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what can't be put back by anybody is; the rest stays for who has a connection."""
    redis = installation.redis
    good = envelope("daybook.enqueue", [], {"request": deposit("good")}, "good", INTAKE_QUEUE)
    stored = {
        "good": json.dumps([good, "", INTAKE_QUEUE]),
        "garbage": "garbage",
        "number": "1",
        "pair": "[{}, 1]",
        "list": f'[[1], "", "{INTAKE_QUEUE}"]',
        "strange": '[{"__type__": [], "__value__": 1}, "", ""]',
    }
    for tag, text in stored.items():
        redis.hset("unacked", tag, text)
        redis.zadd("unacked_index", {tag: 1})
    url = celery_url(installation.redis_url)
    with PromptConnection(url) as connection:  # type: ignore[no-untyped-call]  # kombu ships no types
        channel = connection.channel()

        def gone(*arguments: Any) -> None:
            raise AttributeError("'NoneType' object has no attribute 'sendall'")

        monkeypatch.setattr(channel, "_do_restore_message", gone)
        with pytest.raises(connection.connection_errors, match="sendall"):
            channel.qos.restore_by_tag("good")
        for tag in set(stored) - {"good"}:
            channel.qos.restore_by_tag(tag)
        assert redis.hkeys("unacked") == redis.zrange("unacked_index", 0, -1) == [b"good"]
        monkeypatch.undo()
        channel.qos.restore_by_tag("good")
    assert not redis.hlen("unacked")
    assert redis.llen(INTAKE_QUEUE) == 1
