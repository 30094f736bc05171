"""The API as a process: where it listens, and whom it lets in."""

from __future__ import annotations

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from daybook.api.app import make_app
from daybook.api.guard import Guard
from daybook.api.rights import is_loopback
from daybook.api.service import Service
from daybook.api.straight import Straight
from daybook.errors import ConfigError
from daybook.settings import Settings, read_settings

GRACEFUL_SECONDS_MAX = 15
"""How long what is in flight may take once the server is told to stop: a wait, and more."""

BACKLOG_MAX = 1024
CONNECTIONS_MAX = 1_000
"""Connections that are served at once; more of them are answered with 503."""


def serve(settings: Settings, host: str | None = None, port: int | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises ConfigError for a server that would be open to all."""
    host, port = host or settings.api_host, port or settings.api_port
    check_host(host, settings.api_master_key)
    settings.require_database_url()
    settings.require_redis_url()
    uvicorn.run(
        "daybook.api.serving:application",
        factory=True,
        host=host,
        port=port,
        workers=settings.api_processes if settings.api_processes > 1 else None,
        backlog=BACKLOG_MAX,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_graceful_shutdown=GRACEFUL_SECONDS_MAX,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # nothing asks who is behind a proxy
    )


def application() -> ASGIApp:
    """What uvicorn serves, in each of its processes."""
    log_as_json()
    return guarded(make_app(read_settings()), read_settings().api_master_key)


def guarded(app: FastAPI, master_key: str | None) -> ASGIApp:
    """The application behind its guard, with the short way beside it."""

    def service() -> Service:
        found: Service = app.state.service
        return found

    return Guard(Straight(app, service), service, master_key)


def log_as_json() -> None:
    """A line for each request and event, for programs."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        cache_logger_on_first_use=True,
    )


def check_host(host: str, master_key: str | None) -> None:
    """Without a key only this machine is served. Raises ConfigError."""
    if master_key is None and not is_loopback(host):
        raise ConfigError(
            f"without DAYBOOK_API_MASTER_KEY everybody who reaches {host} could move money: set "
            "the key, or listen on 127.0.0.1"
        )
