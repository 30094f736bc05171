"""Connections of workers and beat to the broker: back as soon as it is, and trusting nobody."""

from __future__ import annotations

import json
import socket
from functools import lru_cache
from typing import Any

import structlog
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import redis as redis_transport
from kombu.utils.json import loads

from daybook.queue.doorbell import INTAKE_QUEUE, QUEUE_PREFIX
from daybook.worker.envelopes import Unreadable, envelope_of, is_scheduled

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

SHOWN_BYTES_MAX = 120
"""How much of a message that is dropped is logged."""

DELAYED_MAX = 10_000
"""Messages that one worker keeps in memory until their time; more of them are run at once."""

BETWEEN_WORKERS = (".pidbox",)
"""Ends of the queues on which workers answer `status` and Flower; producers can't write there."""

BINDING_PARTS = 3
"""Routing key, pattern, queue."""

log = structlog.get_logger()


def drop(queue: str, raw: Any, reason: object) -> None:
    """Tell that a message was taken and dropped."""
    content = raw if isinstance(raw, bytes) else str(raw).encode(errors="replace")
    begins = repr(content[:SHOWN_BYTES_MAX])[1:]
    log.error("message.dropped", queue=queue, reason=str(reason), bytes=len(content), begins=begins)


def _can_be_put_back(raw: bytes) -> bool:
    """Whether what is not acknowledged has the form that kombu gives it.

    Kombu raises the same faults for what has not, and when its connection is gone: then the message
    stays, and is put back by anyone who has a connection.
    """
    try:
        message, exchange, routing_key = loads(raw)
    except (ValueError, TypeError, RecursionError):
        return False
    return isinstance(message, dict) and isinstance(exchange, str) and isinstance(routing_key, str)


class DistrustfulQoS(redis_transport.QoS):
    """What is not acknowledged yet. What can't be put back is dropped instead of tried for ever."""

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back that nobody acknowledged."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (ValueError, TypeError, AttributeError) as fault:
            raw = self.channel.client.hget(self.unacked_key, tag)
            if raw is None or _can_be_put_back(raw):
                raise ConnectionError(f"a message could not be put back: {fault}") from fault
            drop(self.unacked_key, raw, fault)
            self._remove_from_indices(tag).execute()


class DistrustfulChannel(redis_transport.Channel):
    """A channel on which nothing but the messages of ``envelopes`` arrives."""

    QoS = DistrustfulQoS

    def _brpop_read(self, **options: Any) -> Any:
        """The one place where messages of queues come in: kombu parses them in the middle of it."""
        client = self.client
        parse = client.parse_response

        def parse_response(connection: Any, command: str, **more: Any) -> Any:
            found = parse(connection, command, **more)
            return found and self._checked(*found)

        client.parse_response = parse_response
        try:
            return super()._brpop_read(**options)
        finally:
            del client.parse_response

    def _checked(self, key: Any, raw: bytes) -> tuple[Any, bytes] | None:
        """What was popped, in a form that nothing stumbles over; None when it was dropped."""
        name = key.decode() if isinstance(key, bytes) else key
        queue = name.rsplit(self.sep, 1)[0]
        if queue.endswith(BETWEEN_WORKERS):
            return key, raw
        try:
            envelope = envelope_of(raw, queue)
        except Unreadable as reason:
            drop(queue, raw, reason)
            return None
        headers = envelope["headers"]
        if not is_scheduled(headers) and len(self.qos._delivered) >= DELAYED_MAX:
            headers["eta"] = None
        return key, json.dumps(envelope).encode()

    def get_table(self, exchange: str) -> list[tuple[str, ...]]:
        """Which queues an exchange leads to. Producers can write that table, too."""
        if exchange == INTAKE_QUEUE or exchange.startswith(QUEUE_PREFIX):
            return [(exchange, "", exchange)]
        rows = super().get_table(exchange)
        return [row for row in rows if len(row) == BINDING_PARTS]


@lru_cache(maxsize=8)
def distrustful(transport: type[Any]) -> type[Any]:
    """A transport of Redis (plain, TLS, socket) whose channels trust nobody."""
    if not issubclass(transport, redis_transport.Transport):
        return transport
    channel = type("Channel", (DistrustfulChannel, transport.Channel), {})
    return type("Transport", (transport,), {"Channel": channel})


class PromptConnection(Connection):
    """A connection that is tried again every second, and believes no envelope.

    Kombu waits 2, 4, 6 … 30 seconds, and Celery has no setting for that: after a minute without
    its broker a worker would sleep on for half a minute beside one that is back.
    """

    def get_transport_cls(self) -> type[Any]:
        """The transport of the address, distrustful."""
        return distrustful(super().get_transport_cls())

    def ensure_connection(self, *args: Any, **options: Any) -> Connection:
        """Try until there is a connection; for arguments see kombu."""
        pauses = {
            "interval_start": AGAIN_SECONDS_FIRST,
            "interval_step": AGAIN_SECONDS_FIRST,
            "interval_max": AGAIN_SECONDS_MAX,
        }
        super().ensure_connection(*args, **{**pauses, **options})
        return self


class PromptAMQP(AMQP):
    """What Celery makes its connections with."""

    Connection = BrokerConnection = PromptConnection
