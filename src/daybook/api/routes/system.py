"""What says that the server is there."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import Connection, text

from daybook.api.exact import Exact, ExactRoute
from daybook.api.metrics import check_token, exposed
from daybook.api.service import TheService
from daybook.errors import DaybookError

router = APIRouter(route_class=ExactRoute, tags=["system"])


@router.get("/")
async def greet() -> Exact:
    """Say that somebody is here."""
    return Exact("server running...")


@router.get("/health")
async def health(service: TheService) -> Exact:
    """Whether both servers behind this one answer."""
    try:
        await service.read(_asks)
        await service.client.queued(id="health")
    except DaybookError as fault:
        return Exact({"status": "DOWN", "reason": type(fault).__name__}, 503)
    return Exact({"status": "UP"})


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request, service: TheService) -> Response:
    """Metrics for Prometheus, for who has the token."""
    check_token(service.settings.api_metrics_token, request.headers.get("authorization"))
    return Response(await exposed(service), media_type=CONTENT_TYPE_LATEST)


def _asks(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))
