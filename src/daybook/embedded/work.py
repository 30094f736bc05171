"""The parts of an instance that do the work: workers, beat and Flower, all of them Celery's."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from daybook.embedded.folder import DataFolder
from daybook.embedded.parts import Ladder, Part
from daybook.errors import ConfigError
from daybook.settings import FILE_ENDING, celery_url

CELERY = (sys.executable, "-m", "celery", "-A", "daybook.worker")
LADDER: Ladder = ((int(signal.SIGTERM), 20.0),)
"""Warm shutdown: a worker finishes the batch that it has begun."""
PING_SECONDS = 1.0
FLOWER_PORT = 5555
FLOWER_PORTS_TRIED_MAX = 50
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


def free_flower_port() -> int:
    """Flower's own port, or the next one that nobody uses. Raises ConfigError without one."""
    for port in range(FLOWER_PORT, FLOWER_PORT + FLOWER_PORTS_TRIED_MAX):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        return port
    raise ConfigError(f"no free port for Flower from {FLOWER_PORT} on")


def flower_answers(port: int) -> bool:
    """Whether somebody listens on the port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=PING_SECONDS).close()
    except OSError:
        return False
    return True


def worker_answers(broker: str, node: str) -> bool:
    """Whether the worker of that name answers a ping through the broker."""
    with Celery(broker=broker, set_as_current=False) as app:
        try:
            return bool(app.control.ping(destination=[node], timeout=PING_SECONDS))
        except (OperationalError, RedisError, OSError):
            return False
