"""What the supervisor does about parts that do not stay up: it goes on, and says so."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.harness import daybook_program, wait_until

from daybook.embedded.servers import Servers
from daybook.embedded.supervisor import Plan, running
from daybook.embedded.tending import DEATHS_TOLD, Tending
from daybook.instance import FAILING_FILE, failing_parts
from daybook.settings import Settings

DEATHS = 8
"""More than the supervisor once gave up at."""

PAUSE_SECONDS_MAX = 1.0
STEADY_SECONDS = 3.0
DYING = ("worker", "beat")


def asked(home: Path, *words: str) -> tuple[int, Any]:
    """The exit code and the JSON of a command."""
    done = subprocess.run(
        [daybook_program(), *words, "--json"],
        env={**os.environ, "DAYBOOK_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def parts_check(home: Path) -> dict[str, Any]:
    """What `daybook health` says about the parts."""
    _, found = asked(home, "health")
    return next(check for check in found["checks"] if check["name"] == "parts")


def kill_running(servers: Servers, names: tuple[str, ...]) -> None:
    """End these parts, as often as they come."""
    for name in names:
        if servers.children[name][1].poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(servers.pid(name), signal.SIGKILL)


@pytest.mark.long
def test_parts_that_do_not_stay_up_take_nothing_along(tmp_path: Path) -> None:
    """Servers run on; `status` and `health` say which parts die, until they stay up again."""
    home = tmp_path / "home"
    said: list[str] = []
    with running(Plan(home, partitions=1, workers=1), Settings(home=home)) as (servers, _):
        kept = {name: servers.pid(name) for name in ("postgres", "valkey")}
        tending = Tending(
            servers,
            said.append,
            pause_seconds_max=PAUSE_SECONDS_MAX,
            steady_seconds=STEADY_SECONDS,
        )

        def all_died() -> bool:
            kill_running(servers, DYING)
            tending.look()
            deaths = {part.part: part.deaths for part in failing_parts(home)}
            return all(deaths.get(name, 0) >= DEATHS for name in DYING)

        wait_until(all_died, "they died often enough")
        told = {part.part: part for part in failing_parts(home)}
        assert told["worker"].exit_code == -signal.SIGKILL
        assert told["worker"].pause_seconds == PAUSE_SECONDS_MAX
        assert {name: servers.pid(name) for name in kept} == kept
        assert all(servers.children[name][1].poll() is None for name in kept)

        code, found = asked(home, "health")
        assert code == 1
        assert found["healthy"] is False
        check = parts_check(home)
        assert check["state"] == "failed"
        assert "worker ended" in check["detail"]
        assert "beat ended" in check["detail"]
        _, status = asked(home, "status", "--no-workers")
        assert {part["part"] for part in status["failing"]} == set(DYING)

        def quiet() -> bool:
            tending.look()
            return not failing_parts(home)

        wait_until(quiet, "they stay up")
        assert parts_check(home)["state"] == "ok"
        assert "worker stays up again" in said


def test_one_death_is_nothing_to_wake_up_for(tmp_path: Path) -> None:
    """The part is started again at once, and nobody is told."""
    home = tmp_path / "home"
    said: list[str] = []
    assert DEATHS_TOLD > 1
    with Servers(home, with_postgres=False) as servers:
        tending = Tending(servers, said.append)
        first = servers.pid("valkey")
        kill_running(servers, ("valkey",))

        def started_again() -> bool:
            tending.look()
            return servers.pid("valkey") != first

        wait_until(started_again, "it runs again")
        assert not (home / FAILING_FILE).exists()
    assert "valkey runs again" in said
