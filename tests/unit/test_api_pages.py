"""Where no key is asked for, no page in a browser of this machine gets in."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from daybook.api.guard import Guard


async def moved(request: Request) -> PlainTextResponse:
    """Stands for every route."""
    return PlainTextResponse("moved")


APP = Starlette(routes=[Route(path, moved, methods=["POST"]) for path in ("/x", "/health")])


def no_service() -> Any:
    """No key is looked up here."""
    raise AssertionError


def asked(headers: dict[str, str], path: str = "/x", master_key: str | None = None) -> str:
    """The answer, or the code of the error."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=Guard(APP, no_service, master_key))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post(path, headers=headers)

    answer = asyncio.run(ask())
    return answer.text if answer.is_success else answer.json()["error_detail"]["code"]


@pytest.mark.parametrize("host", ["localhost:5001", "127.0.0.1:5001", "127.0.0.2", "[::1]:5001"])
def test_a_program_of_this_machine_gets_in(host: str) -> None:
    """By any of its own names; so does a page that this server itself has sent."""
    assert asked({"host": host}) == "moved"
    assert asked({"host": host, "origin": f"http://{host}"}) == "moved"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:8080"},
        {"origin": "http://localhost.evil.example"},
        {"host": "evil.example:5001"},
        {"host": "evil.example:5001", "origin": "http://evil.example:5001"},
        {"host": "localhost.evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "evil.example@[::1"},
    ],
)
def test_a_page_of_somebody_else_does_not(headers: dict[str, str]) -> None:
    """From another origin, or by a name that leads here; asked for a key it has none either."""
    assert asked(headers) == "AUTH_FOREIGN_ORIGIN"
    assert asked(headers, "/health") == "moved"
    assert asked(headers, master_key="k") == "AUTH_MISSING_API_KEY"
    assert asked({**headers, "x-blnk-key": "k"}, master_key="k") == "moved"
