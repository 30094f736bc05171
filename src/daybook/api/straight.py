"""The short way of requests that come by the thousand: past the framework, to the same functions.

Only what is plainly right goes it: a known path, a body of its shape. All else goes the long way,
with its body, and is answered there; so both ways say the same of what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daybook.api.app import answer
from daybook.api.blnk.bodies import BulkBody, TransactionBody
from daybook.api.faults import Fault, told
from daybook.api.routes.things import get_balance
from daybook.api.routes.transactions import create_bulk, create_transaction, get_transaction
from daybook.api.service import Service
from daybook.errors import MalformedRequest
from daybook.requests import load_json

_WAIT = re.compile(rb"(?:wait=([0-9]{1,9}(?:\.[0-9]{1,9})?))?")
_ID = re.compile(r"/(balances/bln|transactions/txn)(_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")

Done = Callable[[], Awaitable[Response]]


class Straight:
    """Around the framework. service: of its application, once that has started."""

    def __init__(self, app: ASGIApp, service: Callable[[], Service]) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request here, or let it go the long way."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            done, receive = await self._way(scope, receive)
            response = await done() if done is not None else None
        except Fault as fault:
            response = answer(fault)
        except Exception as fault:  # whatever it is has an answer, as on the long way
            response = answer(told(fault, scope["path"]))
        await (response or self._app)(scope, receive, send)

    async def _way(self, scope: Scope, receive: Receive) -> tuple[Done | None, Receive]:
        """What answers a request, None for the framework; and its body, to be read again."""
        if scope["method"] == "GET":
            return self._look_up(scope), receive
        if scope["method"] != "POST" or scope["path"] not in _POSTS:
            return None, receive
        messages = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        is_whole = messages[-1]["type"] == "http.request"
        body = b"".join(message.get("body", b"") for message in messages)
        return self._post(scope, body) if is_whole else None, _again(messages, receive)

    def _look_up(self, scope: Scope) -> Done | None:
        found = _ID.fullmatch(scope["path"])
        if found is None or scope["query_string"]:
            return None
        service = self._service()
        if found[1] == "balances/bln":
            return lambda: get_balance(f"bln{found[2]}", service)
        return lambda: get_transaction(f"txn{found[2]}", service)

    def _post(self, scope: Scope, content: bytes) -> Done | None:
        wait = _WAIT.fullmatch(scope["query_string"])
        if wait is None:
            return None
        model, create = _POSTS[scope["path"]]
        try:
            body = model.model_validate(load_json(content))
        except (MalformedRequest, ValidationError, ValueError):
            return None
        seconds = float(wait[1]) if wait[1] else None
        return lambda: create(body, self._service(), seconds)


_POSTS: dict[str, tuple[type[BaseModel], Callable[[Any, Service, float | None], Any]]] = {
    "/transactions": (TransactionBody, create_transaction),
    "/transactions/bulk": (BulkBody, create_bulk),
}


def _again(messages: list[Message], receive: Receive) -> Receive:
    """The same messages once more, and then what comes."""
    left = iter(messages)

    async def again() -> Message:
        for message in left:
            return message
        return await receive()

    return again
