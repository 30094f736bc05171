"""The parts of an instance that do the work: workers, beat and Flower of Celery, and the API."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from daybook.embedded.folder import DataFolder
from daybook.embedded.parts import Ladder, Part
from daybook.errors import ConfigError
from daybook.settings import FILE_ENDING, Settings, celery_url, variable_of

CELERY = (sys.executable, "-m", "celery", "-A", "daybook.worker")
LADDER: Ladder = ((int(signal.SIGTERM), 20.0),)
"""Warm shutdown: a worker finishes the batch that it has begun, the API what is in flight."""
PING_SECONDS = 1.0
FLOWER_PORT = 5555
PORTS_TRIED_MAX = 50
FLOWER_COLUMNS = "--tasks_columns=name,uuid,state,result,exception,received,runtime,worker"
"""By itself Flower's list has no column for why something failed."""

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers are. broker_url: as Celery spells it."""

    database_url: str
    migration_database_url: str
    registry_database_url: str
    redis_url: str
    broker_url: str | None = None

    def broker(self) -> str:
        """The address of the broker in Celery's spelling."""
        return celery_url(self.broker_url or self.redis_url)


def environment(home: Path, addresses: Addresses) -> dict[str, str]:
    """Our environment with the addresses of the instance, without those of more rights."""
    ours = {
        "DAYBOOK_HOME": str(home),
        "DAYBOOK_DATABASE_URL": addresses.database_url,
        "DAYBOOK_REDIS_URL": addresses.redis_url,
        "PYTHONUNBUFFERED": "1",
    }
    other = {"DAYBOOK_MIGRATION_DATABASE_URL", "DAYBOOK_REGISTRY_DATABASE_URL", *ours}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.removesuffix(FILE_ENDING) not in other
    }
    return kept | ours


def node_name(home: Path) -> str:
    """The worker's name in Celery: the same after each start, another in each data folder."""
    return f"daybook-{hashlib.sha256(str(home).encode()).hexdigest()[:8]}@{socket.gethostname()}"


def worker(node: str, concurrency: int, env: Mapping[str, str], *, for_flower: bool) -> Part:
    """One Celery worker with ``concurrency`` child processes. for_flower: it tells of requests."""
    options = ["--pool", "prefork", "--concurrency", str(concurrency), "--hostname", node]
    options += ["--task-events"] if for_flower else []
    quiet = ["--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    return Part("worker", [*CELERY, "worker", *options, *quiet], 0, LADDER, env)


def beat(folder: DataFolder, env: Mapping[str, str]) -> Part:
    """Celery beat. It keeps only when it last rang, so it may begin anew with each start."""
    for former in folder.home.glob("beat-schedule*"):
        former.unlink()
    options = ["--schedule", str(folder.home / "beat-schedule"), "--pidfile="]
    options += ["--loglevel", "WARNING"]  # at INFO it would tell of each sweep
    return Part("beat", [*CELERY, "beat", *options], 0, LADDER, env)


def flower(port: int, env: Mapping[str, str]) -> Part:
    """Flower, for this machine alone."""
    argv = [*CELERY, "flower", f"--address={LOOPBACK}", f"--port={port}", FLOWER_COLUMNS]
    return Part("flower", argv, 0, LADDER, env)


def api(port: int, env: Mapping[str, str], registry_database_url: str) -> Part:
    """The HTTP API, for this machine alone. It writes keys with a right of its own."""
    argv = [sys.executable, "-m", "daybook.cli", "api", "--host", LOOPBACK, "--port", str(port)]
    own = {"DAYBOOK_REGISTRY_DATABASE_URL": registry_database_url}
    return Part("api", argv, 0, LADDER, {**env, **own})


def api_port(settings: Settings) -> int:
    """The port that somebody set; else the API's own, or the next one that nobody uses.

    Raises ConfigError when it can't be had.
    """
    port = settings.api_port
    if "api_port" not in settings.model_fields_set:
        return free_port(port, "the HTTP API")
    if why := why_taken(port):
        raise ConfigError(
            f"{variable_of('api_port')}: the HTTP API can't listen on port {port}: {why}; set "
            "another, unset it to have a free one chosen, or leave the API out (--no-api)"
        )
    return port


def free_port(first: int, what: str) -> int:
    """The first port from there on that nobody uses. Raises ConfigError without one."""
    for port in range(first, first + PORTS_TRIED_MAX):
        if not why_taken(port):
            return port
    raise ConfigError(f"no free port for {what} from {first} on")


def why_taken(port: int) -> str | None:
    """Why nobody can listen on the port; None when it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as fault:
            return fault.strerror
    return None


def api_answers(port: int, pid: int) -> bool:
    """Whether the API of that process answers, and the servers behind it."""
    if not _listens(port, pid):  # another instance may, whose ledger is another
        return False
    with closing(HTTPConnection(LOOPBACK, port, timeout=PING_SECONDS)) as connection:
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == HTTPStatus.OK
        except (HTTPException, OSError):
            return False


def flower_answers(port: int) -> bool:
    """Whether somebody listens on the port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=PING_SECONDS).close()
    except OSError:
        return False
    return True


def _listens(port: int, pid: int) -> bool:
    try:
        connections = psutil.Process(pid).net_connections("tcp4")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr[1] == port for one in connections)


def worker_answers(broker: str, node: str) -> bool:
    """Whether the worker of that name answers a ping through the broker."""
    with Celery(broker=broker, set_as_current=False) as app:
        try:
            return bool(app.control.ping(destination=[node], timeout=PING_SECONDS))
        except (OperationalError, RedisError, OSError):
            return False
