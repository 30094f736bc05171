"""The users of deploy/valkey/users.acl: what each needs it may, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
import socket
import urllib.request
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis
from celery import Celery
from tests.guarded import PASSWORDS, START, Guarded
from tests.harness import Installation, wait_until
from tests.integration.test_celery_worker import celery

from daybook import Client
from daybook.errors import LogFull, LogUnavailable
from daybook.errors import ReferenceConflict as Conflict
from daybook.queue.log import Log
from daybook.queue.scripts import APPEND_SCRIPT
from daybook.settings import Settings, celery_url

STREAM = "{daybook}:log:0"


def fields(reference: str, **changes: Any) -> dict[str, Any]:
    return {
        "reference": reference,
        "source": "@World",
        "destination": "@Till",
        "currency": "USD",
        "precise_amount": 5,
        "precision": 100,
        "allow_overdraft": True,
        **changes,
    }


@pytest.fixture
def filled(guarded: Guarded) -> None:
    """A log of one partition with one entry, by a producer."""
    guarded.admin.flushall()
    Log(guarded.admin, "daybook").install(1, 1_000, 0)
    with Client(guarded.url("daybook_producer"), settings=Settings()) as client:
        client.enqueue(fields("there"))


def asked_whole(client: Client) -> None:
    """Every call of a producer, while workers run."""
    balances = [client.create_balance("general_ledger_id", "USD").id for _ in range(4)]
    receipts = client.enqueue_many([fields(f"in-{own}", destination=own) for own in balances])
    assert client.enqueue(fields(f"in-{balances[0]}", destination=balances[0])).state == "duplicate"
    wide = client.bulk([fields(own, source=own, allow_overdraft=False) for own in balances])
    outcomes = client.wait_many([*receipts, wide], 30)
    assert [o and o.status for o in outcomes] == ["APPLIED"] * 5
    assert client.status(id=balances[1]).status == "APPLIED"
    assert client.dry_run.refund(wide.id).would_apply
    with pytest.raises(Conflict) as caught:
        client.enqueue(fields(f"in-{balances[0]}", description="another"))
    assert caught.value.fields == ()


def test_a_daybook_runs_with_the_rights_of_its_users(
    guarded: Guarded, parted: Installation
) -> None:
    """Producers, workers, beat, the command line and Flower: whole, and nothing that they lack.

    Only the names of the fields that differ in a conflict are not told: they stand in the log.
    """
    parted.workers(beat=True, task_events=True)
    asked_whole(parted.client)
    assert guarded.denied() == [("daybook_producer", "xrange")]
    shown = parted.run("status", "--json")
    assert (shown.returncode, '"workers": []' in shown.stdout) == (0, False), shown.stderr
    seen_by_flower(guarded, parted)
    assert guarded.denied() == []


def seen_by_flower(guarded: Guarded, parted: Installation) -> None:
    """Flower, as its own user, sees the worker and its requests, and asks it something."""
    numbers = itertools.count()

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"

    def ask(path: str) -> str:
        word = base64.b64encode(b"reader:secret").decode()
        headers = {"Authorization": f"Basic {word}"}
        request = urllib.request.Request(url + path, headers=headers)
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read())
        return ""

    def hears() -> str:
        parted.client.enqueue(fields(f"seen-{next(numbers)}"))
        return ask("/tasks")

    def answered(answer: Callable[[], str], word: str) -> bool:
        return bool(guarded.admin.acl_log()) or word in answer()

    parted.redis_url = guarded.url("daybook_flower")
    options = ["--address=127.0.0.1", f"--port={port}", "--basic-auth=reader:secret"]
    with celery(parted, "flower", *options):
        for answer, word in (
            (hears, "daybook.transaction"),
            (partial(ask, "/workers?refresh=1"), "daybook.apply"),
        ):
            wait_until(partial(answered, answer, word), word)
            assert guarded.denied() == []
    with redis.Redis.from_url(parted.redis_url) as flower:  # its page of queues, over TCP only
        flower.llen("daybook.intake")  # raises what it may not


@pytest.mark.parametrize(
    "words",
    [
        f"XRANGE {STREAM} - +",
        f"XREVRANGE {STREAM} + -",
        f"XREAD STREAMS {STREAM} 0",
        f"XREADGROUP GROUP g c STREAMS {STREAM} >",
        f"XINFO STREAM {STREAM}",
        f"DUMP {STREAM}",
        f"COPY {STREAM} {{daybook}}:outcome:mine",
        f"XTRIM {STREAM} MAXLEN 0",
        f"XDEL {STREAM} 1-1",
        f"DEL {STREAM}",
        f"UNLINK {STREAM}",
        f"RENAME {STREAM} {{daybook}}:log:9",
        f"EXPIRE {STREAM} 1",
        f"XSETID {STREAM} 9-9",
        f"SET {STREAM} x",
        "DEL {daybook}:outcome:t:x",
        "SET {daybook}:outcome:t:x x",
        "DEL {daybook}:queued:t:x",
        "DEL {daybook}:clock",
        "HSET {daybook}:state partitions 9",
        "HSET {daybook}:cursors 0 9-9",
        "HGETALL {daybook}:replied",
        "GET {daybook}:bell:0",
        "GET else",
        "SET else x",
        "RPOP daybook.intake",
        "LRANGE daybook.intake 0 -1",
        "GET celery-task-meta-x",
        "SUBSCRIBE /0.celeryev/task.sent",
        "PUBLISH /0.celery.pidbox x",
        "EVAL return\\t1 0",
        "SCRIPT LOAD return\\t1",
        "SCRIPT FLUSH",
        "FUNCTION LOAD x",
        "KEYS *",
        "SCAN 0",
        "FLUSHALL",
        "CONFIG GET *",
        "CLIENT KILL TYPE normal",
        "CLIENT LIST",
        "ACL LIST",
        "MONITOR",
        "SHUTDOWN",
    ],
)
@pytest.mark.usefixtures("filled")
def test_a_producer_may_not(guarded: Guarded, words: str) -> None:
    """Read, trim or delete the log, touch other keys, or steer the server.

    Nor may the API, but that it reads what it knows the place of.
    """
    denied(guarded, "daybook_producer", words)
    if not words.startswith("XRANGE "):
        denied(guarded, "daybook_api", words)
    assert guarded.admin.xlen(STREAM) == 1


@pytest.mark.parametrize(
    "script",
    [
        f"return redis.call('XRANGE', '{STREAM}', '-', '+')",
        f"return redis.call('XTRIM', '{STREAM}', 'MAXLEN', 0)",
        f"return redis.call('DEL', '{STREAM}')",
    ],
)
@pytest.mark.usefixtures("filled")
def test_a_producer_gets_no_further_by_a_script(guarded: Guarded, script: str) -> None:
    """It may load none, and one that is there runs with its own rights."""
    sha = guarded.admin.script_load(script)
    for user in ["daybook_producer"] + ["daybook_api"] * ("XRANGE" not in script):
        with (
            redis.Redis.from_url(guarded.url(user)) as client,
            pytest.raises(redis.ResponseError, match=r"(?i)no permissions"),
        ):
            client.evalsha(sha, 0)


@pytest.mark.parametrize(
    "words",
    ["FLUSHALL", "FLUSHDB", "CONFIG SET appendonly no", "ACL LIST", "SHUTDOWN", "MONITOR",
     "KEYS *", "GET else", "SET else x", "CLIENT KILL TYPE normal"],
)  # fmt: skip
def test_a_worker_may_not(guarded: Guarded, words: str) -> None:
    """Steer the server, or touch what is not Daybook's or Celery's."""
    denied(guarded, "daybook_worker", words)


@pytest.mark.parametrize(
    "words",
    ["XRANGE {daybook}:log:0 - +", "XADD {daybook}:log:0 * a b", "GET {daybook}:outcome:t:x",
     "SET {daybook}:clock 9-9", "LPUSH daybook.intake x", "RPOP daybook.intake",
     "EVAL return\\t1 0", "SCAN 0", "RANDOMKEY", "SCRIPT FLUSH", "GET else",
     "FLUSHALL", "CONFIG GET *"],
)  # fmt: skip
def test_flower_may_not(guarded: Guarded, words: str) -> None:
    """See or change anything of the log, or send tasks."""
    denied(guarded, "daybook_flower", words)


def test_a_script_that_the_server_has_lost_comes_back(
    guarded: Guarded, parted: Installation
) -> None:
    """A restart forgets it, and a producer may not load it: a sweep does."""
    guarded.admin.script_flush()
    settings = parted.settings.model_copy(update={"retry_seconds_max": 0.0})
    with (
        Client(guarded.url("daybook_producer"), settings=settings) as hasty,
        pytest.raises(LogUnavailable, match="script is not on the server"),
    ):
        hasty.enqueue(fields("hasty"))
    parted.workers(beat=True)
    sha = guarded.admin.register_script(APPEND_SCRIPT).sha
    wait_until(lambda: guarded.admin.script_exists(sha)[0], "a sweep has loaded it")
    assert parted.client.enqueue(fields("patient")).wait(60).status == "APPLIED"


def denied(guarded: Guarded, user: str, words: str) -> None:
    """A command of a user is refused for lack of rights; the administrator may do it."""
    command = [word.replace("\\t", " ") for word in words.split()]
    with (
        redis.Redis.from_url(guarded.url(user)) as client,
        pytest.raises((redis.exceptions.NoPermissionError, redis.ResponseError)) as caught,
    ):
        client.execute_command(*command)
    assert "no permissions" in str(caught.value).lower(), caught.value


def test_workers_make_room_for_producers_who_may_not(
    guarded: Guarded, parted: Installation
) -> None:
    """A log at its length opens again once workers have applied it."""
    parted.redis.hset(parted.log.keys.state, "entries_max", 10)
    for round_ in range(3):
        with pytest.raises(LogFull):
            parted.client.enqueue_many([fields(f"r{round_}-{n}") for n in range(20)])
        parted.drain()
    applied = parted.rows("SELECT count(*) FROM transactions")
    assert applied[0][0] >= 30


def test_a_service_without_daybook_needs_two_more_rights(
    guarded: Guarded, parted: Installation, request: pytest.FixtureRequest
) -> None:
    """Those that docs/how-to/security.md names: it sends tasks and reads their results."""
    page = (START.parents[2] / "docs" / "how-to" / "security.md").read_text(encoding="utf-8")
    rights = re.findall(r"`(\([+]\w+ [^`]*celery-task-meta-\*\))`", page)
    assert len(rights) == 2
    url = celery_url(guarded.url("daybook_producer"))
    guarded.admin.execute_command("ACL", "SETUSER", "daybook_producer", *rights)
    request.addfinalizer(guarded.admin.acl_load)
    parted.workers(beat=False)
    with Celery(broker=url, backend=url, set_as_current=False) as app:
        app.conf.task_create_missing_queues = True
        sent = app.send_task(
            "daybook.enqueue", (fields("foreign"),), task_id="foreign", queue="daybook.intake"
        )
        wait_until(lambda: guarded.admin.acl_log() or sent.ready(), "the result")
        assert guarded.denied() == []
        assert sent.get(timeout=30)["status"] == "APPLIED"
    assert guarded.denied() == []


def test_each_line_is_a_user_without_a_password_of_its_own() -> None:
    """The shipped file holds names of variables, which only the start fills in."""
    lines = START.with_name("users.acl").read_text(encoding="utf-8").splitlines()
    users = [line.split()[1] for line in lines]
    assert users == list(PASSWORDS)
    for line in lines:
        assert ">" not in line
        assert "nopass" not in line


def test_the_api_is_a_producer_that_reads_the_log() -> None:
    """One right more, and no other."""
    lines = START.with_name("users.acl").read_text(encoding="utf-8").splitlines()
    (producer,) = [line for line in lines if line.startswith("user daybook_producer ")]
    own = producer.replace("_producer ", "_api ").replace("_PRODUCER_", "_API_")
    assert own.replace("(+xlen ", "(+xlen +xrange ") in lines
