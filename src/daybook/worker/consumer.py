"""The consumer of a worker: whatever a message makes it raise, the worker goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from daybook.worker.broker import drop

_OF_THE_BROKER = (OSError, RedisError, OperationalError)
"""Faults of the connection: Celery makes another, and the message comes back. Kombu's own list has
KeyError as well, which any message could bring about."""


class DistrustfulConsumer(Consumer):
    """Drops a message that can't be taken up, where Celery would end the worker."""

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], None]:
        """What is called with each message."""
        take_up = super().create_task_handler(*args, **options)

        def on_message(message: Any) -> None:
            try:
                take_up(message)
            except _OF_THE_BROKER:
                raise
            except Exception as fault:
                queue = (message.delivery_info or {}).get("routing_key", "")
                drop(queue, message.body, f"{type(fault).__name__}: {fault}")
                if not message.acknowledged:
                    message.reject()

        return on_message
