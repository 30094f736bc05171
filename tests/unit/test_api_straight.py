"""The short way of requests: only what is plainly right goes it, and all else goes the long way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from daybook.api import straight
from daybook.api.faults import Fault
from daybook.api.straight import Straight

BALANCE = "bln_00000000-0000-4000-8000-000000000001"
PAID = {
    "reference": "r1",
    "source": "@World",
    "destination": BALANCE,
    "currency": "USD",
    "precise_amount": 5,
    "precision": 100,
    "description": "d",
}


async def the_long_way(request: Request) -> Response:
    return JSONResponse({"long": (await request.body()).decode()})


APP = Starlette(routes=[Route("/{rest:path}", the_long_way, methods=["GET", "POST", "PUT"])])


@pytest.fixture(autouse=True)
def functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers on the short way says with what it was called."""

    async def create(body: Any, service: Any, wait: float | None) -> Response:
        if body.reference == "taken":
            raise Fault(409, "TXN_DUPLICATE_REFERENCE", "taken")
        if body.reference == "broken":
            raise RuntimeError("a secret")
        return JSONResponse({"short": body.reference, "wait": wait, "service": service})

    async def get(name: str, service: Any) -> Response:
        return JSONResponse({"short": name})

    model, _ = straight._POSTS["/transactions"]
    monkeypatch.setitem(straight._POSTS, "/transactions", (model, create))
    monkeypatch.setattr(straight, "get_balance", get)
    monkeypatch.setattr(straight, "get_transaction", get)


def call(method: str, path: str, content: Any = None) -> tuple[int, Any]:
    async def send() -> httpx.Response:
        app: Any = Straight(APP, lambda: "the service")  # type: ignore[arg-type,return-value]  # as its name
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://h"
        ) as client:
            return await client.request(method, path, content=content)

    answer = asyncio.run(send())
    return answer.status_code, answer.json()


def test_what_is_plainly_right_goes_the_short_way() -> None:
    """With the wait that the query says."""
    content = json.dumps(PAID)
    for query, wait in (("", None), ("?wait=2", 2.0), ("?wait=0.5", 0.5)):
        found = {"short": "r1", "wait": wait, "service": "the service"}
        assert call("POST", f"/transactions{query}", content) == (200, found)
    assert call("GET", f"/balances/{BALANCE}") == (200, {"short": BALANCE})
    name = BALANCE.replace("bln", "txn")
    assert call("GET", f"/transactions/{name}") == (200, {"short": name})


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", "/transactions", "{"),
        ("POST", "/transactions", ""),
        ("POST", "/transactions", '{"reference": "a", "reference": "b"}'),
        ("POST", "/transactions", json.dumps(PAID | {"inflight": "perhaps"})),
        ("POST", "/transactions?wait=-1", json.dumps(PAID)),
        ("POST", "/transactions?wait=1&wait=2", json.dumps(PAID)),
        ("POST", "/transactions/filter", "{}"),
        ("PUT", "/transactions", "{}"),
        ("GET", f"/balances/{BALANCE}?with_queued=true", ""),
        ("GET", f"/balances/{BALANCE}/at", ""),
        ("GET", "/balances/indicator/@World/currency/USD", ""),
        ("GET", "/balances/bln_1", ""),
    ],
)
def test_all_else_goes_the_long_way_with_its_body(method: str, path: str, content: str) -> None:
    """Nothing of it is lost, and nothing is judged here."""
    assert call(method, path, content) == (200, {"long": content})


def test_a_body_in_many_pieces_is_whole_on_both_ways() -> None:
    """However it arrives."""

    def pieces(text: str) -> Iterator[bytes]:
        yield from (character.encode() for character in text)

    for content, key in ((json.dumps(PAID), "short"), (json.dumps(PAID) + "x", "long")):

        async def send(content: str = content) -> httpx.Response:
            async def parts() -> Any:
                for piece in pieces(content):
                    yield piece

            app: Any = Straight(APP, lambda: "the service")  # type: ignore[arg-type,return-value]  # as its name
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app=app), base_url="http://h"
            ) as client:
                return await client.post("/transactions", content=parts())

        found = asyncio.run(send()).json()
        assert found[key] == ("r1" if key == "short" else content)


def test_what_the_framework_raises_is_answered_by_it_alone() -> None:
    """It has an answer already when it comes by here: a second one would break the connection."""
    sent: list[Any] = []

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await JSONResponse({}, 500)(scope, receive, send)
        raise RuntimeError("told to the server, too")

    async def call_it() -> None:
        async def send(message: Any) -> None:
            sent.append(message["type"])

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        scope = {"type": "http", "method": "GET", "path": "/x", "query_string": b"", "headers": []}
        await Straight(broken, Mock())(scope, receive, send)

    with pytest.raises(RuntimeError):
        asyncio.run(call_it())
    assert sent == ["http.response.start", "http.response.body"]


def test_a_fault_has_the_form_that_it_has_on_the_long_way() -> None:
    """And nothing of our own making is told."""
    status, body = call("POST", "/transactions", json.dumps(PAID | {"reference": "taken"}))
    assert (status, body["error_detail"]["code"]) == (409, "TXN_DUPLICATE_REFERENCE")
    status, body = call("POST", "/transactions", json.dumps(PAID | {"reference": "broken"}))
    assert (status, body["error_detail"]["code"]) == (500, "GEN_INTERNAL")
    assert "secret" not in str(body)
