"""Connections of workers and beat to the broker that are back as soon as it is."""

from __future__ import annotations

from typing import Any

from celery.app.amqp import AMQP
from kombu.connection import Connection

AGAIN_SECONDS_FIRST = 0.5
AGAIN_SECONDS_MAX = 1.0
"""The longest pause between two attempts."""


class PromptConnection(Connection):
    """A connection that is tried again every second.

    Kombu waits 2, 4, 6 … 30 seconds, and Celery has no setting for that: after a minute without
    its broker a worker would sleep on for half a minute beside one that is back.
    """

    def ensure_connection(self, *args: Any, **options: Any) -> Connection:
        """Try until there is a connection; for arguments see kombu."""
        pauses = {
            "interval_start": AGAIN_SECONDS_FIRST,
            "interval_step": AGAIN_SECONDS_FIRST,
            "interval_max": AGAIN_SECONDS_MAX,
        }
        super().ensure_connection(*args, **{**pauses, **options})  # type: ignore[no-untyped-call]
        return self


class PromptAMQP(AMQP):  # type: ignore[misc]  # Celery ships no types
    """What Celery makes its connections with."""

    Connection = BrokerConnection = PromptConnection
