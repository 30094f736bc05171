"""Health says when the servers may lose what was accepted, or let the journal be changed."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from tests.guarded import Guarded
from tests.harness import WORKER_LOGIN, Installation, wait_until
from tests.integration.test_health import health

from daybook.embedded import postgres
from daybook.embedded.servers import Servers
from daybook.monitoring.health import SAFETY
from daybook.monitoring.health.checks import Asked
from daybook.monitoring.health.clocks import judge_clocks
from daybook.monitoring.health.postgres_safety import judge_durability
from daybook.queue.announcements import announce
from daybook.store.engine import make_engine

ALL_SAFETY = [word for check in SAFETY for word in ("--only", check.name)]


@pytest.fixture
def one(install_daybook: Callable[[int], Installation]) -> Installation:
    return install_daybook(1)


def check(installation: Installation, name: str) -> tuple[int, str, str]:
    """The exit code of one check, its state and its detail."""
    code, checks = health(installation, "--only", name)
    return code, checks[name]["state"], checks[name]["detail"]


def test_the_servers_of_an_instance_are_fit(one: Installation) -> None:
    """What `daybook up` starts is well by every check of safety."""
    code, checks = health(one, *ALL_SAFETY)
    assert code == 0, checks
    assert {found["state"] for found in checks.values()} == {"ok"}


# --- the log's server -----------------------------------------------------------------------------


@pytest.fixture
def configure(one: Installation) -> Iterator[Callable[[str, str], None]]:
    """Sets something of the server; it is as it was at the end."""
    before: dict[str, str] = {}

    def set_(name: str, value: str) -> None:
        before.setdefault(name, str(one.redis.config_get(name)[name]))
        one.redis.config_set(name, value)

    yield set_
    for name, value in before.items():
        one.redis.config_set(name, value)


@pytest.mark.parametrize(
    ("setting", "value", "name", "code", "state", "words"),
    [
        ("maxmemory-policy", "allkeys-lru", "memory", 5, "warning", "drops accepted requests"),
        ("maxmemory-policy", "volatile-ttl", "memory", 5, "warning", "it drops outcomes"),
        ("appendonly", "no", "persistence", 1, "failed", "lost when it restarts"),
        ("appendfsync", "everysec", "persistence", 5, "warning", "up to a second"),
        ("appendfsync", "no", "persistence", 5, "warning", "half a minute"),
        ("no-appendfsync-on-rewrite", "yes", "persistence", 5, "warning", "on-rewrite is yes"),
    ],
)
def test_a_log_that_may_lose_is_told(
    one: Installation,
    configure: Callable[[str, str], None],
    setting: str,
    value: str,
    name: str,
    code: int,
    state: str,
    words: str,
) -> None:
    """A server that evicts, or keeps what it accepts in memory only: what can be lost is named."""
    configure(setting, value)
    found = check(one, name)
    assert found[:2] == (code, state)
    assert words in found[2]


def test_a_full_server_that_evicts_accepted_requests_fails(
    one: Installation, configure: Callable[[str, str], None]
) -> None:
    """With a bound of memory the danger is there now; nearly full is told by itself."""
    used = int(one.redis.info("memory")["used_memory"])
    configure("maxmemory", str(int(used * 1.05)))
    code, state, detail = check(one, "memory")
    assert (code, state) == (5, "warning")
    assert "MiB are used" in detail
    configure("maxmemory", str(64 << 30))
    configure("maxmemory-policy", "allkeys-random")
    assert check(one, "memory")[:2] == (1, "failed")


def test_health_runs_with_the_rights_of_a_worker(guarded: Guarded, one: Installation) -> None:
    """The login of the compose file's workers may read all that health asks."""
    guarded.admin.flushall()
    guarded.guard(one)
    guarded.denied()
    code, checks = health(one)
    assert {name for name, found in checks.items() if found["state"] != "ok"} <= {
        "persistence",  # this server keeps nothing on a disk
        "sweep",  # nobody swept
    }
    assert code == 1
    assert guarded.denied() == []


@pytest.mark.parametrize(
    ("rights", "name", "words"),
    [
        (["-config|get"], "memory", "noeviction"),
        (["-config|get", "-info"], "memory", "does not tell its maxmemory-policy"),
        (["-config|get", "-info"], "persistence", "does not tell whether it has a file"),
    ],
)
def test_what_a_server_does_not_tell_is_unknown(
    guarded: Guarded,
    one: Installation,
    request: pytest.FixtureRequest,
    rights: list[str],
    name: str,
    words: str,
) -> None:
    """A managed server that refuses CONFIG, or INFO: as much as can be known, and no traceback."""
    guarded.admin.flushall()
    guarded.guard(one)
    guarded.admin.execute_command("ACL", "SETUSER", "daybook_worker", *rights)
    request.addfinalizer(guarded.admin.acl_load)
    code, state, detail = check(one, name)
    assert words in detail
    assert (code, state) == ((0, "ok") if words == "noeviction" else (5, "unknown"))


def test_a_file_without_a_known_fsync_is_unknown(
    guarded: Guarded, one: Installation, request: pytest.FixtureRequest
) -> None:
    """INFO tells that there is a file, CONFIG would tell how safe it is."""
    guarded.admin.flushall()
    guarded.guard(one)
    guarded.admin.config_set("appendonly", "yes")
    request.addfinalizer(lambda: guarded.admin.config_set("appendonly", "no"))
    assert check(one, "persistence")[1] in ("ok", "warning")
    guarded.admin.execute_command("ACL", "SETUSER", "daybook_worker", "-config|get")
    request.addfinalizer(guarded.admin.acl_load)
    code, state, detail = check(one, "persistence")
    assert (code, state) == (5, "unknown")
    assert "appendfsync is not told" in detail


# --- the database ---------------------------------------------------------------------------------


def test_a_database_that_may_be_destroyed_is_told(
    one: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that writes nothing to its disk in time: both settings, and what follows."""
    for setting in ("fsync", "full_page_writes"):
        monkeypatch.setitem(postgres.SETTINGS, setting, "off")
    with tempfile.TemporaryDirectory(prefix="daybook-unsafe-") as folder:
        servers = Servers(Path(folder) / "home", with_valkey=False)
        try:
            engine = make_engine(servers.database_url)
            found = judge_durability(Asked(one.settings, engine, one.log, 1.0))
            engine.dispose()
        finally:
            servers.stop()
    assert found.state == "failed"
    assert "fsync is off: a crash of the machine can destroy" in found.detail
    assert "full_page_writes is off: a crash of the machine can leave torn" in found.detail


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("ROLE {login} IN DATABASE {database}", "synchronous_commit is off:"),
        ("DATABASE {database}", "synchronous_commit is off:"),
        ("ROLE daybook_other_worker IN DATABASE {database}", "off for daybook_other_worker here"),
    ],
)
def test_a_commit_that_does_not_wait_is_told(one: Installation, target: str, words: str) -> None:
    """As the session sees it, and as it is set for the role of another worker."""
    database = make_url(one.owner_url).database
    named = target.format(login=WORKER_LOGIN, database=database)
    one.rows("CREATE ROLE daybook_other_worker LOGIN IN ROLE daybook_worker")
    try:
        one.rows(f"ALTER {named} SET synchronous_commit = off")
        found = check(one, "durability")
    finally:
        one.rows(f"ALTER {named} RESET synchronous_commit")
        one.rows("DROP ROLE daybook_other_worker")
    assert found[:2] == (5, "warning")
    assert words in found[2]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP TRIGGER transactions_append_only ON transactions", "is missing"),
        ("ALTER TABLE transactions DISABLE TRIGGER ALL", "is disabled"),
        ("ALTER TABLE transactions ENABLE REPLICA TRIGGER transactions_append_only", "is disabled"),
        (
            "CREATE OR REPLACE FUNCTION daybook_refuse_change() RETURNS trigger LANGUAGE plpgsql "
            "AS 'BEGIN RETURN NULL; END'",
            "does not refuse",
        ),
        (
            "CREATE OR REPLACE TRIGGER transactions_append_only BEFORE DELETE ON transactions "
            "FOR EACH STATEMENT EXECUTE FUNCTION daybook_refuse_change()",
            "not for every change",
        ),
        ("GRANT UPDATE (status) ON transactions TO daybook_worker", "may UPDATE on transactions"),
        ("GRANT DELETE, TRUNCATE ON transactions TO PUBLIC", "may DELETE, TRUNCATE on"),
    ],
)
def test_a_journal_that_can_be_changed_is_told(
    one: Installation, statement: str, words: str
) -> None:
    """A trigger that is gone or does nothing, a right that no worker must have."""
    assert check(one, "journal")[:2] == (0, "ok")
    one.rows(statement.format(database=make_url(one.owner_url).database))
    code, state, detail = check(one, "journal")
    assert (code, state) == (1, "failed")
    assert words in detail


def test_sessions_that_pass_the_trigger_are_refused(one: Installation) -> None:
    """A database whose sessions would pass the journal's trigger is not used at all."""
    database = make_url(one.owner_url).database
    one.rows(f"ALTER DATABASE {database} SET session_replication_role = replica")
    code, state, detail = check(one, "journal")
    assert (code, state) == (3, "unavailable")
    assert "session_replication_role" in detail


def test_a_worker_that_owns_the_journal_is_a_warning(one: Installation) -> None:
    """Who may drop the trigger is bound by nothing."""
    one.worker_url = one.owner_url
    code, state, detail = check(one, "journal")
    assert (code, state) == (5, "warning")
    assert "owns the journal" in detail


# --- clocks ---------------------------------------------------------------------------------------


def test_a_worker_whose_clock_is_wrong_is_named(one: Installation) -> None:
    """By what it says of itself, compared with the log's server when it said so."""
    ahead = one.log.now_ms() + 900_000
    announce(one.log, "fast@machine", [], clock_ms=ahead)
    announce(one.log, "right@machine", [], clock_ms=one.log.now_ms())
    code, state, detail = check(one, "clocks")
    assert (code, state) == (5, "warning")
    said = re.match(r"fast@machine is (\d+)\.\d s ahead", detail)
    assert said, detail
    assert 600 < int(said[1]) <= 900  # the log's server has gone on meanwhile
    assert "right@machine" not in detail


@pytest.mark.parametrize("seconds", [-30, 30])
def test_a_machine_whose_clock_is_wrong_is_told(one: Installation, seconds: int) -> None:
    """The one that asks, against the servers."""
    asked = Asked(one.settings, one.engine, one.log, 1.0)
    assert judge_clocks(asked).state == "ok"
    found = judge_clocks(asked, lambda: time.time() + seconds)
    assert found.state == "warning"
    side = "ahead of" if seconds > 0 else "behind"
    assert "this process" in found.detail
    assert side in found.detail
    assert "PostgreSQL" not in found.detail


# --- when a worker starts -------------------------------------------------------------------------


def test_a_worker_says_when_it_starts_what_is_not_safe(
    one: Installation, configure: Callable[[str, str], None]
) -> None:
    """In its log, with the name of the check; and it works all the same."""
    configure("maxmemory-policy", "allkeys-lru")
    with one.workers(beat=False) as workers:
        told = wait_until(
            lambda: [line for line in workers.log().splitlines() if "worker.safety" in line],
            "it told",
        )
        wait_until(lambda: len(said(workers)) >= len(SAFETY), "it told all")
    assert len(told) <= len(SAFETY)
    (memory,) = [line for line in said(workers) if "memory" in line]
    assert "warning" in memory
    assert "allkeys-lru" in memory


def said(workers: Any) -> list[str]:
    return [line for line in workers.log().splitlines() if "worker.safety" in line]
