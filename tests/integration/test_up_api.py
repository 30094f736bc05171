"""``daybook up`` serves the HTTP API, and starts it again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.harness import Installation, a_port, daybook_program, wait_until

from daybook.embedded import work
from daybook.embedded.detached import stop_instance
from daybook.embedded.parts import Roster
from daybook.embedded.supervisor import Plan, running
from daybook.embedded.work import LOOPBACK, api_port, free_port, why_taken
from daybook.errors import ConfigError
from daybook.instance import running_instance
from daybook.settings import Settings

MASTER = {"X-Blnk-Key": "the-master-key"}
INSTANCE_SECONDS_MAX = 150.0


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        yield other.getsockname()[1]


def pid_of(home: Path, name: str) -> int:
    """The process of a part."""
    records = Roster(home / "parts.json").records()
    return next((record.pid for record in records if record.name == name), 0)


@pytest.mark.long
def test_up_serves_the_api_and_starts_it_again(tmp_path: Path) -> None:
    """With the keys of the settings and of the registry; killed, it answers again, there."""
    home = tmp_path / "home"
    port = a_port()
    clean = {name: text for name, text in os.environ.items() if not name.startswith("DAYBOOK_")}
    own = {"DAYBOOK_API_PORT": str(port), "DAYBOOK_API_MASTER_KEY": MASTER["X-Blnk-Key"]}

    def daybook(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [daybook_program(), *words],
            env={**clean, **own, "DAYBOOK_HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )

    try:
        up = daybook("up", "--detach", "--workers", "1", "--partitions", "1")
        assert up.returncode == 0, up.stderr
        url = running_instance(home)["api_url"]
        assert url == f"http://{LOOPBACK}:{port}"
        assert url in up.stdout
        with httpx.Client(base_url=url, timeout=30) as http:
            assert http.get("/health").json() == {"status": "UP"}
            assert http.post("/ledgers", json={"name": "no key"}).status_code == 401
            assert http.post("/ledgers", json={"name": "mine"}, headers=MASTER).status_code == 201
            wanted = {"name": "reads", "owner": "me", "scopes": ["ledgers:read"],
                      "expires_at": "2999-01-01T00:00:00Z"}  # fmt: skip
            made = http.post("/api-keys", json=wanted, headers=MASTER)
            assert made.status_code == 201, made.text
            reads = {"X-Blnk-Key": made.json()["key"]}
            assert http.get("/ledgers", headers=reads).status_code == 200
        first = pid_of(home, "api")
        os.kill(first, signal.SIGKILL)
        wait_until(
            lambda: pid_of(home, "api") != first and work.api_answers(port, pid_of(home, "api")),
            "another one answers",
            INSTANCE_SECONDS_MAX,
        )
        without = daybook("up", "--detach", "--no-api")
        assert without.returncode != 0
        assert "with the HTTP API: `daybook down` first" in without.stderr
    finally:
        stop_instance(home)
    assert why_taken(port) is None


def test_a_port_that_another_takes_meanwhile_is_the_other_s(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API gets the next one, however well the other answers."""
    with taken_port() as theirs:
        ports = iter([theirs, a_port()])
        monkeypatch.setattr(work, "api_port", lambda _: next(ports))
        monkeypatch.setattr(work, "LADDER", ((signal.SIGKILL, 1.0),))
        own = {"migration_database_url": installation.owner_url,
               "registry_database_url": installation.registrar_url}  # fmt: skip
        settings = installation.settings.model_copy(update=own)
        plan = Plan(installation.folder, workers=1, api=True)
        with running(plan, settings) as (servers, instance):
            assert instance["api_url"] != f"http://{LOOPBACK}:{theirs}"
            assert httpx.get(f"{instance['api_url']}/health").status_code == 200
            assert {"worker", "beat", "api"} == servers.children.keys()


def test_a_port_of_ones_own_is_chosen_and_one_that_was_set_is_kept() -> None:
    """The next free one in place of the default; a setting that can't be had is an error."""
    with taken_port() as port:
        default = Settings.model_construct(set(), api_port=port)
        assert api_port(default) == free_port(port, "it") > port
        with pytest.raises(ConfigError, match=rf"DAYBOOK_API_PORT: .* port {port}: .* in use; set"):
            api_port(Settings(api_port=port))
    assert api_port(Settings(api_port=port)) == port
