"""Workers look for their broker again soon, and outlive what it brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import redis
from celery import Celery
from celery.worker.consumer import Consumer
from kombu.utils.imports import symbol_by_name

from daybook.errors import ConfigError
from daybook.settings import read_settings
from daybook.worker.app import _configuration, app
from daybook.worker.broker import AGAIN_SECONDS_MAX
from daybook.worker.consumer import DistrustfulConsumer

ATTEMPTS = 4
NOBODY = "redis://127.0.0.1:1/0"


class EnoughError(Exception):
    """So many attempts are enough."""


def test_a_broker_that_is_away_is_tried_again_every_second() -> None:
    """Pauses between attempts do not grow beyond their bound."""
    pauses: list[float] = []

    def failed(fault: Exception, pause: float) -> None:
        del fault
        pauses.append(pause)
        if len(pauses) == ATTEMPTS:
            raise EnoughError

    likewise = Celery("test", broker=NOBODY, amqp=app.amqp_cls, set_as_current=False)
    with likewise.connection_for_write() as connection, pytest.raises(EnoughError):
        connection.ensure_connection(failed, None)
    assert len(pauses) == ATTEMPTS
    assert 0 < max(pauses) <= AGAIN_SECONDS_MAX


class Message:
    """As much of a message as the consumer looks at."""

    acknowledged = False
    body = b"begins so"
    delivery_info: ClassVar = {"routing_key": "daybook.intake"}

    def __init__(self) -> None:
        self.rejected = 0

    def reject(self) -> None:
        """Count it."""
        self.rejected += 1


@pytest.mark.parametrize(
    ("fault", "is_dropped"),
    [
        (KeyError("task"), True),
        (TypeError("unhashable"), True),
        (RecursionError(), True),
        (ConnectionResetError(), False),
        (redis.exceptions.ConnectionError(), False),
        (redis.exceptions.OutOfMemoryError(), False),
    ],
)
def test_a_message_that_can_not_be_taken_up_is_dropped(
    fault: Exception, is_dropped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever Celery makes of it; faults of the broker go on to be dealt with."""

    def handler(consumer: Consumer) -> Callable[[Any], None]:
        del consumer

        def take_up(message: Message) -> None:
            del message
            raise fault

        return take_up

    monkeypatch.setattr(Consumer, "create_task_handler", handler)
    take_up = object.__new__(DistrustfulConsumer).create_task_handler()
    message = Message()
    if is_dropped:
        take_up(message)
        assert message.rejected == 1
        return
    with pytest.raises(type(fault)):
        take_up(message)
    assert message.rejected == 0


def test_workers_consume_with_that_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting names it."""
    monkeypatch.setenv("DAYBOOK_REDIS_URL", NOBODY)
    named = _configuration()["worker_consumer"]
    assert symbol_by_name(named) is DistrustfulConsumer


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://:hidden@one:26379/0;sentinel://two:26379",
        "sentinels://one:26379/0",
        "amqp://me:hidden@rabbit//",
        "memory://",
        "hidden",
    ],
)
def test_a_broker_that_can_keep_no_results_is_no_setting(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message of the intake would fail there: the setting is named, the password is not."""
    monkeypatch.setenv("DAYBOOK_BROKER_URL", url)
    with pytest.raises(ConfigError, match="DAYBOOK_BROKER_URL must begin with redis://") as caught:
        read_settings()
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://h/0", "REDISS://h/0", "unix:///v.sock", "redis+socket:///v.sock", ""]
)
def test_a_broker_in_redis_is_a_setting(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is spelled."""
    monkeypatch.setenv("DAYBOOK_BROKER_URL", url)
    assert read_settings().broker_url == url
