"""``daybook up``: starts everything, starts again what dies, stops everything at the end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from daybook.embedded import work
from daybook.embedded.folder import DataFolder
from daybook.embedded.parts import PartFailed, await_ready, tail
from daybook.embedded.servers import Servers
from daybook.embedded.tending import Tending
from daybook.errors import ConfigError
from daybook.installation.install import install
from daybook.instance import how_it_ended
from daybook.interrupts import until_signal
from daybook.settings import Settings, variable_of

WORKER_READY_SECONDS_MAX = 60.0
FLOWER_READY_SECONDS_MAX = 30.0
API_READY_SECONDS_MAX = 60.0
API_STARTS_MAX = 5
"""So often another may take the port while the API starts."""

Instance = dict[str, str]
"""What ``instance.json`` says: addresses by the names of the settings, and more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start.

    partitions: of a new installation; None for what it has, or the default.
    workers: child processes; None for one each partition, at most one each processor.
    """

    home: Path
    partitions: int | None = None
    workers: int | None = None
    flower: bool = False
    api: bool = False


def supervise(
    plan: Plan,
    settings: Settings,
    *,
    claimed: Callable[[DataFolder], None] = lambda _: None,
    ready: Callable[[Instance], None],
    say: Callable[[str], None],
) -> None:
    """Run an instance until SIGINT, SIGTERM or SIGHUP; nothing of it is left afterwards.

    claimed: called as soon as the data folder is ours; ready: when everything answers;
    say: told what happens meanwhile.
    Raises ConfigError when the plan can't be, PartFailed when a part does not start at first.
    """
    with (
        until_signal(),
        running(plan, settings, claimed=claimed, say=say) as (servers, instance),
    ):
        ready(instance)
        Tending(servers, say).forever()


@contextmanager
def running(
    plan: Plan,
    settings: Settings,
    *,
    claimed: Callable[[DataFolder], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[Servers, Instance]]:
    """An instance for as long as the block lasts; nothing of it is left afterwards.

    Raises ConfigError when the plan can't be, PartFailed when a part does not start.
    """
    _check(settings)
    servers = Servers(
        plan.home,
        with_postgres=settings.database_url is None,
        with_valkey=settings.redis_url is None,
        claimed=claimed,
    )
    try:
        instance = _start(plan, settings, servers)
        servers.folder.publish(instance)
        yield servers, instance
    finally:
        say("stopping; workers finish the batch that they have begun")
        servers.stop()


def _start(plan: Plan, settings: Settings, servers: Servers) -> Instance:
    addresses = _addresses(settings, servers)
    owner, log = addresses.migration_database_url, addresses.redis_url
    partitions = install(owner, log, plan.partitions, settings)
    home = servers.folder.home
    node, env = work.node_name(home), work.environment(home, addresses)
    workers = plan.workers or min(partitions, os.cpu_count() or 1)
    instance = {
        "database_url": addresses.database_url,
        "migration_database_url": addresses.migration_database_url,
        "registry_database_url": addresses.registry_database_url,
        "redis_url": addresses.redis_url,
        "supervisor_pid": str(os.getpid()),
        "partitions": str(partitions),
        "workers": str(workers),
        "worker_node": node,
        "log": str(servers.folder.log),
    }
    worker = servers.launch(work.worker(node, workers, env, for_flower=plan.flower))
    beat = servers.launch(work.beat(servers.folder, env))
    if plan.api:  # the worker starts meanwhile
        instance["api_url"] = _start_api(servers, settings, env, addresses.registry_database_url)
    broker = addresses.broker()
    _await(servers, "worker", worker, lambda: work.worker_answers(broker, node))
    if plan.flower:  # it asks workers once, as it starts, which queues there are
        instance["flower_url"] = _start_flower(servers, env)
    if (code := beat.poll()) is not None:
        raise PartFailed(f"beat {how_it_ended(code)}{tail(servers.folder.log_file('beat'))}")
    return instance


def _start_api(servers: Servers, settings: Settings, env: dict[str, str], registry: str) -> str:
    """Start the API; its address. The port that it was to have may be another's by then."""
    for _ in range(API_STARTS_MAX):
        port = work.api_port(settings)
        child = servers.launch(work.api(port, env, registry))
        ready = partial(work.api_answers, port, child.pid)
        try:
            _await(servers, "api", child, ready, API_READY_SECONDS_MAX)
        except PartFailed:
            if work.why_taken(port) is None:
                raise
        else:
            return f"http://{work.LOOPBACK}:{port}"
    raise PartFailed(f"others took {API_STARTS_MAX} ports that the HTTP API was to have")


def _start_flower(servers: Servers, env: dict[str, str]) -> str:
    port = work.free_port(work.FLOWER_PORT, "Flower")
    child = servers.launch(work.flower(port, env))
    _await(servers, "flower", child, lambda: work.flower_answers(port), FLOWER_READY_SECONDS_MAX)
    return f"http://{work.LOOPBACK}:{port}"


def _await(
    servers: Servers,
    name: str,
    child: subprocess.Popen[bytes],
    ready: Callable[[], bool],
    seconds_max: float = WORKER_READY_SECONDS_MAX,
) -> None:
    await_ready(name, child, ready, seconds_max, servers.folder.log_file(name))


def _addresses(settings: Settings, servers: Servers) -> work.Addresses:
    """The servers that the environment names, and our own for those that it does not."""
    database_url = settings.database_url or servers.database_url
    owner = settings.migration_database_url or settings.database_url
    return work.Addresses(
        database_url,
        owner or servers.migration_database_url,
        settings.registry_database_url or settings.database_url or servers.registry_database_url,
        settings.redis_url or servers.redis_url,
        settings.broker_url,
    )


def _check(settings: Settings) -> None:
    """Raises ConfigError when the environment names another's database and no worker's."""
    if settings.database_url:
        return
    for name in ("migration_database_url", "registry_database_url"):
        if getattr(settings, name):
            raise ConfigError(
                f"{variable_of(name)} is set without DAYBOOK_DATABASE_URL: set both, or none"
            )
