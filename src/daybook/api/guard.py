"""What stands before every route: who may come in, how much may be sent, and what is noted of it.

Plain ASGI, so that no body is held back on its way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daybook.api.exact import JSON_MEDIA_TYPE, to_json
from daybook.api.faults import Fault, told
from daybook.api.limits import Limits
from daybook.api.metrics import note
from daybook.api.rights import (
    OPEN_PATHS,
    Principal,
    check_no_page,
    check_rights,
    check_valid,
    is_master,
    known_key,
)
from daybook.api.service import Service, now_of
from daybook.errors import DaybookError
from daybook.registry.keys import is_use_noted, note_use

BODY_BYTES_MAX = 5 << 20
"""Longest body that is read: as much as the clients of the wire know."""

KEY_HEADER = "x-blnk-key"
REQUEST_ID_HEADER = "x-request-id"
REQUEST_ID_LENGTH_MAX = 128

SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

log = structlog.get_logger()


class Guard:
    """Around the application.

    service: of it, once it has started. master_key: without one everybody may do everything.
    limits: how often each key may ask.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Callable[[], Service],
        master_key: str | None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._limits = limits or Limits(None)
        self._service = service
        self._master_key = master_key
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        began, seen = self._clock(), _Seen()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                given = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    given.setdefault(name, value)
                given[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            try:
                await self._let_in(scope, headers, seen)
            except Fault as fault:
                await _answer(fault, noted)
            else:
                await self._app(scope, _bounded(receive), noted)
        finally:
            seconds = self._clock() - began
            note(scope["method"], scope["path"], seen.status, seconds)
            log.info(
                "api.request",
                method=scope["method"],
                path=scope["path"],
                status=seen.status,
                milliseconds=round(seconds * 1000, 1),
                request_id=request_id,
                **seen.key,
            )

    async def _let_in(self, scope: Scope, headers: Headers, seen: _Seen) -> None:
        """Note who sends a request. Raises Fault for who may not."""
        if scope["path"] not in OPEN_PATHS:
            if self._master_key is None:
                check_no_page(headers)
            else:
                given = headers.get(KEY_HEADER)
                principal = await self._principal(scope, given, self._master_key, seen)
                scope.setdefault("state", {})["principal"] = principal
            self._check_rate(seen.key.get("api_key", ""))
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > BODY_BYTES_MAX:
            raise _too_large()

    def _check_rate(self, key: str) -> None:
        wait = self._limits.wait(key, self._clock())
        if wait:
            text = f"this key asks too often: try again in {wait:.1f} s"
            headers = {"Retry-After": str(math.ceil(wait))}
            raise Fault(429, "GEN_RATE_LIMITED", text, headers=headers)

    async def _principal(
        self, scope: Scope, given: str | None, master_key: str, seen: _Seen
    ) -> Principal:
        if not given:
            text = "Authentication required. Use X-Blnk-Key header"
            raise Fault(401, "AUTH_MISSING_API_KEY", text)
        if is_master(given, master_key):
            return Principal()
        service = self._service()
        try:
            key = await known_key(service, given)
            seen.key = {"api_key": key.id}
            now = now_of(service)
            check_valid(key, now)
            check_rights(key, scope["method"], scope["path"])
            if not is_use_noted(key, now):
                await service.register(note_use, key, now)
        except DaybookError as fault:
            raise told(fault, scope["path"]) from None
        return Principal(key)


class _Seen:
    """What is noted of a request.

    status: 500 until anything was answered. key: which one was used, if it is known and not the
    master key, also where it opened nothing.
    """

    def __init__(self) -> None:
        self.status = 500
        self.key: dict[str, str] = {}


def _request_id(headers: Headers) -> str:
    """The client's own, if it can stand in a log; else a new one."""
    given = headers.get(REQUEST_ID_HEADER, "")
    is_usable = given.isascii() and given.isprintable() and len(given) <= REQUEST_ID_LENGTH_MAX
    return given if given and is_usable else uuid4().hex


def _bounded(receive: Receive) -> Receive:
    """The same messages, up to as many bytes as a body may have."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > BODY_BYTES_MAX:
            raise _too_large()
        return message

    return bounded


def _too_large() -> Fault:
    text = f"the body is longer than {BODY_BYTES_MAX:,} bytes: send it in several requests"
    return Fault(413, "GEN_PAYLOAD_TOO_LARGE", text)


async def _answer(fault: Fault, send: Send) -> None:
    body = to_json(fault.content())
    headers: Iterable[tuple[bytes, bytes]] = [
        (b"content-type", JSON_MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), text.encode()) for name, text in (fault.headers or {}).items()),
    ]
    start: dict[str, Any] = {"type": "http.response.start", "status": fault.status_code}
    await send({**start, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
