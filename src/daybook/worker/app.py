"""The Celery application of the workers. Nothing is opened at import.

The broker carries doorbells, the sweeper's tasks and the intake; money is in the log.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.serialization import register
from kombu.utils.json import dumps

from daybook.queue.doorbell import INTAKE_QUEUE, SNAPSHOT_TASK, TASK_SECONDS_MAX
from daybook.settings import Settings, read_settings
from daybook.worker.broker import VANISHED
from daybook.worker.envelopes import SWEEP_TASK
from daybook.worker.messages import load_message

SOFT_SHUTDOWN_SECONDS = 15

# JSON numbers of a foreign service reach the intake as they were written.
register(
    "json",
    dumps,
    load_message,
    content_type="application/json",
    content_encoding="utf-8",
)


def _configuration() -> dict[str, Any]:
    """Every setting with the failure that it prevents."""
    settings = read_settings()
    broker_url = settings.require_broker_url()
    return {
        "broker_url": broker_url,
        # A broker that vanished without a word (power, network) is noticed: a worker listens to it
        # without a time-out, and the kernel by itself would listen on for two hours.
        "broker_transport_options": VANISHED,
        # The result of an intake task is kept for as long as other outcomes.
        "result_backend": broker_url,
        "result_expires": settings.outcome_retention_seconds,
        # A worker that starts before its broker waits for it instead of dying.
        "broker_connection_retry_on_startup": True,
        # It is tried once a second (``broker``): a hundred attempts, the default, would end each
        # worker whose broker is away for two minutes.
        "broker_connection_max_retries": None,
        # A broker that refuses (its memory is full, or it became a replica) is tried again as well:
        # by default such an answer ends the worker permanently.
        "broker_channel_error_retry": True,
        # A child takes one doorbell at a time: another worker may be free for the next partition.
        "worker_prefetch_multiplier": 1,
        # A doorbell is acknowledged before it runs: one that is lost with its worker is rung again
        # by the sweeper, while a redelivered one would only find an empty partition.
        "task_acks_late": False,
        # A drain that hangs for longer than every time-out of the servers is killed; its unit of
        # work is rolled back, and another worker goes on at the cursor.
        "task_time_limit": TASK_SECONDS_MAX,
        # SIGTERM lets a running drain finish its batch.
        "worker_soft_shutdown_timeout": SOFT_SHUTDOWN_SECONDS,
        "worker_enable_soft_shutdown_on_idle": False,
        # Flower sees what workers do. What they are sent is not told before one takes it: beat
        # sends a sweep each second.
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        "task_track_started": True,
        # Unknown queues are made, so that `-Q daybook.partition.3` needs no declaration elsewhere.
        "task_create_missing_queues": True,
        "task_default_queue": INTAKE_QUEUE,
        # What no check of the envelope foresaw is dropped as well, instead of ending the worker.
        "worker_consumer": "daybook.worker.consumer:DistrustfulConsumer",
        # Only JSON is read: a message can't run code.
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "timezone": "UTC",
        "beat_schedule": _beat_schedule(settings),
    }


def _beat_schedule(settings: Settings) -> dict[str, Any]:
    """What beat sends. What piles up while no worker runs would only repeat itself: it expires."""
    every = {SWEEP_TASK: settings.sweep_interval_seconds}
    if settings.snapshot_interval_seconds:
        every[SNAPSHOT_TASK] = settings.snapshot_interval_seconds
    expiries = {SWEEP_TASK: 10 * settings.sweep_interval_seconds}
    return {
        task.removeprefix("daybook."): {
            "task": task,
            "schedule": seconds,
            "options": {"queue": INTAKE_QUEUE, "expires": expiries.get(task, seconds)},
        }
        for task, seconds in every.items()
    }


app = Celery("daybook", set_as_current=False, amqp="daybook.worker.broker:PromptAMQP")
app.add_defaults(_configuration)
# A result answers the message that asked: Celery keeps the first one of an id permanently.
app.loader.override_backends = dict.fromkeys(
    ("redis", "rediss"), "daybook.worker.answering:AnsweringBackend"
)
