"""The application: its routes, and what becomes of what goes wrong in one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from daybook.api.exact import MALFORMED_TEXT, Exact
from daybook.api.faults import Fault, told
from daybook.api.routes import (
    accounts,
    api_keys,
    backup,
    events,
    lists,
    metadata,
    pages,
    system,
    things,
    transactions,
    unbuilt,
)
from daybook.api.service import Service
from daybook.errors import DaybookError
from daybook.requests.base import path_of
from daybook.settings import Settings

PARTS = (
    transactions,
    things,
    lists,
    accounts,
    events,
    api_keys,
    backup,
    system,
    pages,
    unbuilt,
    metadata,
)
"""The routes, by module, what is asked for most first. The last one takes any first word."""


def make_app(settings: Settings) -> FastAPI:
    """The application over one log and one ledger."""

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = Service(settings)
        try:
            await app.state.service.check_installation()
            yield
        finally:
            await app.state.service.close()

    app = FastAPI(
        title="Daybook",
        summary="A double-entry ledger: what is accepted is posted once, in order.",
        version=version("daybook"),
        lifespan=living,
        docs_url=None,  # the framework's own page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
    )
    for part in PARTS:
        app.include_router(part.router)
    app.add_exception_handler(Fault, _fault)
    app.add_exception_handler(HTTPException, _http_fault)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DaybookError, _raised)
    app.add_exception_handler(Exception, _raised)
    return app


def answer(fault: Fault) -> Response:
    """A fault as an answer."""
    return Exact(fault.content(), fault.status_code, dict(fault.headers or {}))


async def _fault(request: Request, fault: Exception) -> Response:
    del request
    assert isinstance(fault, Fault)
    return answer(fault)


async def _http_fault(request: Request, fault: Exception) -> Response:
    """What the framework itself refuses: an unknown route, a method."""
    assert isinstance(fault, HTTPException)
    code = {404: "GEN_NOT_FOUND", 405: "GEN_BAD_REQUEST"}.get(fault.status_code, "GEN_BAD_REQUEST")
    text = f"{request.method} {request.url.path}: {fault.detail}"
    return answer(Fault(fault.status_code, code, text, headers=dict(fault.headers or {})))


async def _invalid(request: Request, fault: Exception) -> Response:
    """A body or a query that is not of its shape."""
    del request
    assert isinstance(fault, RequestValidationError)
    details = [
        {"field": path_of(tuple(error["loc"][1:])) or error["loc"][0], "message": error["msg"]}
        for error in fault.errors()
    ]
    return answer(Fault(400, "GEN_MALFORMED_REQUEST", MALFORMED_TEXT, details))


async def _raised(request: Request, fault: Exception) -> Response:
    return answer(told(fault, request.url.path))
