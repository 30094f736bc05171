"""Connections to Redis or Valkey, and the one place where driver errors are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
from redis import exceptions

from daybook.errors import ConfigError, LogFull, LogNotInstalled, LogUnavailable
from daybook.settings import Settings

_BAD_ADDRESS = (
    "DAYBOOK_REDIS_URL is not an address like redis://:password@host:6379/0, rediss://… or unix://…"
)
"""Without the driver's words: they may quote a part of the password."""

_OPTIONS: dict[str, Any] = {"protocol": 2, "decode_responses": False, "health_check_interval": 30}


def connect(redis_url: str, settings: Settings) -> redis.Redis:
    """A client for ``redis_url``. Nothing is opened yet. Raises ConfigError for a bad address."""
    try:
        return redis.Redis.from_url(
            redis_url,
            socket_timeout=settings.redis_timeout_seconds,
            socket_connect_timeout=settings.redis_timeout_seconds,
            **_OPTIONS,
        )
    except ValueError:
        raise ConfigError(_BAD_ADDRESS) from None


def connect_async(redis_url: str, settings: Settings) -> redis.asyncio.Redis:
    """Like ``connect``, for asyncio."""
    try:
        return redis.asyncio.Redis.from_url(
            redis_url,
            socket_timeout=settings.redis_timeout_seconds,
            socket_connect_timeout=settings.redis_timeout_seconds,
            **_OPTIONS,
        )
    except ValueError:
        raise ConfigError(_BAD_ADDRESS) from None


@contextmanager
def translated_faults() -> Iterator[None]:
    """Turn driver errors into Daybook's.

    Raises LogFull when the server is out of memory, LogNotInstalled when it has no log,
    LogUnavailable for the rest.
    """
    try:
        yield
    except exceptions.OutOfMemoryError as fault:
        raise LogFull("the log's server is out of memory: try again later") from fault
    except exceptions.ResponseError as fault:
        if "OOM " in str(fault):
            raise LogFull("the log's server is out of memory: try again later") from fault
        raise LogUnavailable(f"Redis refused: {fault}") from fault
    except (exceptions.RedisError, OSError) as fault:
        raise LogUnavailable(f"Redis: {fault}") from fault


def not_installed() -> LogNotInstalled:
    """The fault of a server without a log."""
    return LogNotInstalled(
        "this Redis holds no request log: run `daybook migrate`, or start a worker to repair it"
    )
