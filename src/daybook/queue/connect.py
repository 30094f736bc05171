"""Connections to Redis or Valkey, and the one place where driver errors are read."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.retry
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from daybook.errors import ConfigError, LogFull, LogNotInstalled, LogRefused, LogUnavailable
from daybook.settings import Settings, redis_address_fault

_BAD_ADDRESS = (
    "DAYBOOK_REDIS_URL is not an address like redis://:password@host:6379/0, rediss://… or unix://…"
)
"""Without the driver's words: they may quote a part of the password."""

_FOR_NOW = (exceptions.ReadOnlyError, exceptions.ClusterDownError, exceptions.TryAgainError)
"""What a server or a cluster answers while it changes its primary."""

_CAUSES_MAX = 10

_OPTIONS: dict[str, Any] = {"protocol": 2, "decode_responses": False, "health_check_interval": 30}


def connect(redis_url: str, settings: Settings, *, patient: bool = True) -> redis.Redis:
    """A client for ``redis_url``. Nothing is opened yet. Raises ConfigError for a bad address.

    patient: the driver tries again by itself. Producers do that themselves, see ``patience``.
    """
    options = _OPTIONS if patient else {**_OPTIONS, "retry": Retry(NoBackoff(), 0)}
    _check_database(redis_url)
    try:
        return redis.Redis.from_url(
            redis_url,
            socket_timeout=settings.redis_timeout_seconds,
            socket_connect_timeout=settings.redis_timeout_seconds,
            **options,
        )
    except ValueError:
        raise ConfigError(_BAD_ADDRESS) from None


def connect_async(redis_url: str, settings: Settings) -> redis.asyncio.Redis:
    """Like ``connect``, for producers that use asyncio."""
    options = {**_OPTIONS, "retry": redis.asyncio.retry.Retry(NoBackoff(), 0)}
    _check_database(redis_url)
    try:
        return redis.asyncio.Redis.from_url(
            redis_url,
            socket_timeout=settings.redis_timeout_seconds,
            socket_connect_timeout=settings.redis_timeout_seconds,
            **options,
        )
    except ValueError:
        raise ConfigError(_BAD_ADDRESS) from None


def _check_database(redis_url: str) -> None:
    if fault := redis_address_fault(redis_url):
        raise ConfigError(f"DAYBOOK_REDIS_URL: {fault}")


def check_access(redis_url: str, settings: Settings) -> None:
    """Raises LogRefused when the server refuses who comes with this address.

    One that is away may start later: it is no fault.
    """
    client = connect(redis_url, settings, patient=False)
    try:
        with translated_faults():
            client.ping()
    except LogRefused:
        raise
    except (LogUnavailable, LogFull):
        pass
    finally:
        client.close()


@contextmanager
def translated_faults() -> Iterator[None]:
    """Turn driver errors into Daybook's.

    Raises LogFull when the server is out of memory, LogRefused for what trying again does not
    change, LogUnavailable for the rest.
    """
    try:
        yield
    except exceptions.OutOfMemoryError as fault:
        raise LogFull("the log's server is out of memory: try again later") from fault
    except exceptions.NoPermissionError as fault:
        if isinstance(fault.__context__, exceptions.NoScriptError):
            raise LogUnavailable(
                "the log's script is not on the server (any more): a worker's sweep puts it there "
                "within a second or two"
            ) from fault
        raise LogRefused(f"Redis refused: {fault}") from fault
    except exceptions.ResponseError as fault:
        if "OOM " in str(fault):
            raise LogFull("the log's server is out of memory: try again later") from fault
        kind = LogUnavailable if isinstance(fault, _FOR_NOW) else LogRefused
        raise kind(f"Redis refused: {fault}") from fault
    except (exceptions.AuthenticationError, exceptions.AuthorizationError) as fault:
        raise LogRefused(f"Redis refused the user or the password: {fault}") from fault
    except (exceptions.RedisError, OSError) as fault:
        if (reason := _distrust(fault)) is not None:
            raise LogRefused(
                f"the certificate of Redis is not trusted ({reason}): name the authority that "
                "signed it with ssl_ca_certs in DAYBOOK_REDIS_URL"
            ) from fault
        raise LogUnavailable(f"Redis: {fault}") from fault


def _distrust(fault: BaseException | None) -> str | None:
    """Why a certificate was not trusted, when that is what a fault comes from."""
    for _ in range(_CAUSES_MAX):
        if isinstance(fault, ssl.SSLCertVerificationError):
            return fault.verify_message
        if fault is None:
            break
        fault = fault.__cause__ or fault.__context__
    return None


def not_installed() -> LogNotInstalled:
    """The fault of a server without a log."""
    return LogNotInstalled(
        "this Redis holds no request log: run `daybook migrate`, or start a worker to repair it"
    )


def strange(what: str) -> LogUnavailable:
    """The fault of a log in which somebody wrote what it can't have written itself."""
    return LogUnavailable(
        f"the log can't have written {what}: a worker's sweep repairs it within a second or two "
        "(see `daybook health`)"
    )
