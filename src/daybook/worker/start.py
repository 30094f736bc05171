"""The start of a worker: which queues it consumes, and how safe its servers are."""

from __future__ import annotations

import os
from typing import Any

import structlog
from celery.signals import celeryd_init
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


def _check_redis(settings: Settings) -> None:
    """Raises LogRefused, naming the setting, when the log's server or the broker refuses."""
    check_access(settings.require_redis_url(), settings)
    broker_url = settings.broker_url
    if broker_url is None or broker_url.startswith("redis+socket"):  # Celery's own spelling
        return
    try:
        check_access(broker_url, settings)
    except LogRefused as fault:
        raise ConfigError(f"DAYBOOK_BROKER_URL: {fault}") from fault


@celeryd_init.connect
def consume_partitions(conf: Any = None, options: dict[str, Any] | None = None, **_: Any) -> None:
    """Consume the intake and every partition, unless ``-Q`` says which; tell of requests by ``-E``.

    Ends the worker when it can't know them: Celery only logs what a signal's receiver raises, and
    would go on without any partition. A password that is refused ends it, too: Celery would ask
    again for ever.
    """
    for warning in misspelt(os.environ):
        log.warning("worker.misspelt_setting", detail=warning)
    try:
        _check_redis(read_settings())
        number = partitions_when_ready()
    except DaybookError as fault:
        raise SystemExit("\n".join(told(fault))) from fault
    conf.daybook_tells_every_request = bool((options or {}).get("task_events"))
    conf.daybook_queues_are_chosen = bool((options or {}).get("queues"))
    if not conf.daybook_queues_are_chosen:
        names = [queue_of(partition) for partition in range(number)]
        conf.task_queues = [Queue(name, routing_key=name) for name in (INTAKE_QUEUE, *names)]
    tell_safety(read_settings())  # last: whatever it raises, the queues are there
