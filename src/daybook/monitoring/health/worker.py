"""Whether one worker is able to work: what a restart of it would mend, and nothing else.

So it asks nothing of the partitions, which others may apply, and when a server that the worker
needs is away there is nothing to say: a restart would bring that back no sooner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from celery import Celery
from celery.utils.nodenames import default_nodename, host_format
from redis.exceptions import RedisError

from daybook.errors import DaybookError, LogUnavailable
from daybook.monitoring.health.checks import Asked, Check, Finding, inspecting
from daybook.monitoring.recheck import LOOK_PAUSE_SECONDS
from daybook.queue.announcements import ANNOUNCEMENT_LIFE_SECONDS, Announcement, announced
from daybook.queue.doorbell import BROKER_TIMEOUT_SECONDS, TASK_SECONDS_MAX
from daybook.settings import Settings

NAME = "worker"

LOOKS_MAX = 12
"""A worker that isn't announced is looked for so often: six seconds are three announcements, and
what one needs that comes back to its broker."""

OVERTIME_SECONDS = 60
"""How much longer than TASK_SECONDS_MAX a task may seem to run before its worker is to blame."""

PING_SECONDS_MAX = 2.0
PINGS_MAX = 3

_AWAY = "can't be judged, and a restart would not mend it"


def node_name(node: str | None) -> str:
    """The worker's name in Celery: that of this machine if none is given; %h is its host."""
    return str(host_format(default_nodename(node)))


def examine_worker(settings: Settings, node: str) -> Iterator[Check]:
    """Whether the worker of this name lives, answers and is not stuck.

    Its state is ``ok``; ``failed``: a restart may mend it; or ``unavailable``: what it needs is
    away, and nothing can be said. Raises ConfigError.
    """
    with inspecting(settings, settings.stall_seconds_max) as asked, _broker(settings) as broker:
        try:
            found = judge_worker(asked, broker, node, time.sleep)
        except DaybookError as error:
            found = Finding("unavailable", f"{error}: {_AWAY}")
        yield Check(NAME, *found)


def judge_worker(
    asked: Asked, broker: Celery, node: str, sleep: Callable[[float], None]
) -> Finding:
    """What its own sign of life says of its processes, and whether it answers a ping.

    Raises LogUnavailable for the log's server or the broker, StoreUnavailable: what it needs.
    """
    sign = _look_for(asked, node, sleep)
    if sign is None:
        asked.row("SELECT 1")  # it does not begin before it has read the partitions there
    if sign is not None and sign.pool is not None:
        if not sign.pool.processes:
            return Finding("failed", f"{node} has no process left that works")
        if sign.pool.busy_seconds > TASK_SECONDS_MAX + OVERTIME_SECONDS:
            text = f"{node} is stuck in a task for {sign.pool.busy_seconds:.0f} s"
            return Finding("failed", text)
    if any(_pings(broker, node) for _ in range(PINGS_MAX)):
        return Finding("ok", f"{node} answers")
    if sign is None:
        return Finding("failed", f"{node} was not heard of for {ANNOUNCEMENT_LIFE_SECONDS} s")
    return Finding("failed", f"{node} is there, and does not answer")


def _look_for(asked: Asked, node: str, sleep: Callable[[float], None]) -> Announcement | None:
    for _ in range(LOOKS_MAX):
        sign = announced(asked.log).get(node)
        if sign is not None:
            return sign
        sleep(LOOK_PAUSE_SECONDS)
    return None


def _pings(broker: Celery, node: str) -> bool:
    with _translated():
        return bool(broker.control.ping(destination=[node], timeout=PING_SECONDS_MAX))


@contextmanager
def _translated() -> Iterator[None]:
    from kombu.exceptions import OperationalError

    try:
        yield
    except (OperationalError, RedisError, OSError) as fault:
        raise LogUnavailable(f"the broker is away: {fault}") from fault


@contextmanager
def _broker(settings: Settings) -> Iterator[Any]:
    with ExitStack() as closing:
        app = Celery("daybook-health", broker=settings.require_broker_url(), set_as_current=False)
        app.conf.broker_transport_options = {
            "socket_timeout": BROKER_TIMEOUT_SECONDS,
            "socket_connect_timeout": BROKER_TIMEOUT_SECONDS,
        }
        closing.callback(app.close)
        yield app
