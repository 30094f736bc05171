"""Numbers for accounts that come without one, from a service of the bank."""

from __future__ import annotations

import asyncio
import http.client
import urllib.request
from typing import Any

import structlog

from daybook.api.faults import Fault, invalid
from daybook.api.service import Service
from daybook.errors import MalformedRequest
from daybook.requests import load_json
from daybook.settings import Settings

SECONDS_MAX = 5.0
BYTES_MAX = 64 << 10

log = structlog.get_logger()


async def generated_number(service: Service) -> tuple[str, str]:
    """The number and the bank's name of a new account. Raises Fault."""
    settings = service.settings
    if settings.api_account_number_service is None:
        text = (
            "is required: give one, or have DAYBOOK_API_ACCOUNT_NUMBER_SERVICE name what makes them"
        )
        raise invalid("GEN_VALIDATION_ERROR", [("number", text)])
    try:
        found = await asyncio.to_thread(_fetched, settings, settings.api_account_number_service)
    except (OSError, http.client.HTTPException, MalformedRequest, ValueError) as fault:
        log.warning("api.account_number", fault=str(fault))
        text = "the service that makes account numbers gave none: give a number, or try again"
        raise Fault(500, "ACC_GENERATION_FAILED", text) from None
    return found


def _fetched(settings: Settings, url: str) -> tuple[str, str]:
    """What the service answers. Raises OSError, HTTPException, MalformedRequest, ValueError."""
    word = settings.api_account_number_authorization
    headers = {"Accept": "application/json", **({"Authorization": word} if word else {})}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the setting is http(s)
    with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:  # noqa: S310 - the same
        found: Any = load_json(answer.read(BYTES_MAX).decode())
    number = found.get("account_number") if isinstance(found, dict) else None
    if not isinstance(number, str) or not number.strip():
        raise ValueError("it answers no account_number")
    return number.strip(), str(found.get("bank_name") or "")
