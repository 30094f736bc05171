"""JSON in and out without a float: numbers keep every digit, in both directions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import simplejson
from fastapi import Request, Response
from fastapi.routing import APIRoute

from daybook.api.faults import Fault
from daybook.errors import MalformedRequest
from daybook.ledger.money import plain_text
from daybook.requests import load_json

JSON_MEDIA_TYPE = "application/json"
MALFORMED_TEXT = "Invalid input"


class Exact(Response):
    """An answer in JSON. Decimals are written with the digits that they have."""

    media_type = JSON_MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        return to_json(content)


def to_json(content: Any) -> bytes:
    """A value as JSON. Never a float, so never one that is rounded."""
    text: str = simplejson.dumps(
        content, use_decimal=False, default=_digits, ensure_ascii=False, separators=(",", ":")
    )
    return text.encode()


def _digits(value: Any) -> Any:
    if isinstance(value, Decimal):
        return simplejson.RawJSON(plain_text(value))
    raise TypeError(f"{type(value).__name__} has no form in JSON")


class ExactRequest(Request):
    """A request whose numbers are read as they were written."""

    async def json(self) -> Any:
        """The body; None when it is empty. Raises Fault for what is no JSON."""
        if not hasattr(self, "_exact"):
            body = await self.body()
            try:
                self._exact = load_json(body) if body.strip() else None
            except MalformedRequest as broken:
                details = [str(error) for error in broken.errors]
                raise Fault(400, "GEN_MALFORMED_REQUEST", MALFORMED_TEXT, details) from None
        return self._exact


class ExactRoute(APIRoute):
    """A route whose bodies are read exactly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def exact(request: Request) -> Response:
            return await handle(ExactRequest(request.scope, request.receive))

        return exact
