"""The start of a worker: which queues it consumes, and how safe its servers are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from celery.signals import beat_init, celeryd_init
from kombu.entity import Queue

from daybook.errors import ConfigError, DaybookError, LogRefused
from daybook.monitoring.health import SAFETY, examine
from daybook.next_steps import told
from daybook.queue.connect import check_access
from daybook.queue.doorbell import INTAKE_QUEUE, queue_of
from daybook.settings import Settings, misspelt, read_settings
from daybook.worker.announcing import Announcing
from daybook.worker.app import app
from daybook.worker.runtime import partitions_when_ready

log = structlog.get_logger()

app.steps["consumer"].add(Announcing)


def tell_safety(settings: Settings) -> None:
    """Write into the worker's log what makes these servers unfit to keep money on."""
    names = [check.name for check in SAFETY]
    for check in examine(settings, stall_seconds_max=settings.stall_seconds_max, only=names):
        tell = log.info if check.state == "ok" else log.warning
        tell("worker.safety", check=check.name, state=check.state, detail=check.detail)


@contextmanager
def _ending() -> Iterator[None]:
    """End the process with what is wrong and the setting: Celery only logs what receivers raise."""
    try:
        yield
    except DaybookError as fault:
        raise SystemExit("\n".join(told(fault))) from fault


def _check_broker(settings: Settings) -> None:
    """Raises LogRefused or ConfigError, which names its setting, when the broker refuses."""
    url = settings.broker_url
    if url is None:
        check_access(settings.require_redis_url(), settings)
    elif not url.startswith("redis+socket"):  # Celery's own spelling of a socket
        try:
            check_access(url, settings)
        except LogRefused as fault:
            raise ConfigError(f"DAYBOOK_BROKER_URL: {fault}") from fault


@beat_init.connect
def end_refused_beat(**_: Any) -> None:
    """End a beat whose broker refuses it: it would ask again for ever."""
    with _ending():
        _check_broker(read_settings())


@celeryd_init.connect
def consume_partitions(conf: Any = None, options: dict[str, Any] | None = None, **_: Any) -> None:
    """Consume the intake and every partition, unless ``-Q`` says which; tell of requests by ``-E``.

    Ends the worker when it can't know them: it would go on without any partition. A password that
    is refused ends it, too: it would ask again for ever.
    """
    for warning in misspelt(os.environ):
        log.warning("worker.misspelt_setting", detail=warning)
    settings = read_settings()
    with _ending():
        check_access(settings.require_redis_url(), settings)
        if settings.broker_url:
            _check_broker(settings)
        number = partitions_when_ready()
    conf.daybook_tells_every_request = bool((options or {}).get("task_events"))
    conf.daybook_queues_are_chosen = bool((options or {}).get("queues"))
    if not conf.daybook_queues_are_chosen:
        names = [queue_of(partition) for partition in range(number)]
        conf.task_queues = [Queue(name, routing_key=name) for name in (INTAKE_QUEUE, *names)]
    tell_safety(settings)  # last: whatever it raises, the queues are there
