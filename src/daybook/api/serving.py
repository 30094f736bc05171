"""The API as a process: where it listens, and whom it lets in."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack

import structlog
import uvicorn
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from daybook.api.app import make_app
from daybook.api.guard import KEY_HEADER, REQUEST_ID_HEADER, Guard
from daybook.api.limits import Limits
from daybook.api.metrics import SHARED_FOLDER
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
    check_origins(settings)
    settings.require_database_url()
    settings.require_redis_url()
    with ExitStack() as closing:
        if settings.api_processes > 1:
            folder = tempfile.TemporaryDirectory(prefix="daybook-metrics-")
            os.environ[SHARED_FOLDER] = closing.enter_context(folder)
        _run(settings, host, port)


def _run(settings: Settings, host: str, port: int) -> None:
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
    return guarded(read_settings())


def guarded(settings: Settings) -> ASGIApp:
    """The application behind its guard, with the short way beside it."""
    app = make_app(settings)

    def service() -> Service:
        found: Service = app.state.service
        return found

    limits = Limits(settings.api_requests_per_second_max)
    behind = Guard(Straight(app, service), service, settings.api_master_key, limits)
    return open_to(behind, settings.api_cors_origins) if settings.api_cors_origins else behind


def open_to(app: ASGIApp, origins: str) -> ASGIApp:
    """The application, for pages of these origins, too: a browser asks first whether they may."""
    return CORSMiddleware(
        app,
        allow_origins=[origin.strip() for origin in origins.split(",")],
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=["Content-Type", "Idempotency-Key", KEY_HEADER, REQUEST_ID_HEADER],
        expose_headers=["Retry-After", REQUEST_ID_HEADER],
    )


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


def check_origins(settings: Settings) -> None:
    """Pages may ask with a key only. Raises ConfigError."""
    if settings.api_cors_origins and settings.api_master_key is None:
        raise ConfigError(
            "DAYBOOK_API_CORS_ORIGINS is set without DAYBOOK_API_MASTER_KEY: every page of these "
            "origins could move money; set the key too"
        )


def check_host(host: str, master_key: str | None) -> None:
    """Without a key only this machine is served. Raises ConfigError."""
    if master_key is None and not is_loopback(host):
        raise ConfigError(
            f"without DAYBOOK_API_MASTER_KEY everybody who reaches {host} could move money: set "
            "the key, or listen on 127.0.0.1"
        )
