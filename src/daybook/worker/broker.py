"""Connections of workers and beat to the broker that are back as soon as it is."""

from __future__ import annotations

import socket
from typing import Any

from celery.app.amqp import AMQP
from kombu.connection import Connection

AGAIN_SECONDS_FIRST = 0.5
AGAIN_SECONDS_MAX = 1.0
"""The longest pause between two attempts."""

VANISHED = {
    "socket_keepalive": True,
    "socket_keepalive_options": {
        getattr(socket, name): seconds_or_count
        for name, seconds_or_count in (
            ("TCP_KEEPIDLE", 10),
            ("TCP_KEEPINTVL", 5),
            ("TCP_KEEPCNT", 3),
        )
        if hasattr(socket, name)  # not on every system
    },
}
"""Options of the broker's sockets: after 25 s without a sign of life a connection is given up."""


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
