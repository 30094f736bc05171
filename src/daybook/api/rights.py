"""Who sends a request, and whether that one may: the master key, or a key with scopes."""

from __future__ import annotations

import hmac
import ipaddress
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from daybook.api.faults import Fault
from daybook.api.service import Service, now_of
from daybook.registry.keys import ApiKey, find_key, find_key_by_id, has_form
from daybook.registry.scopes import allows

PAGE_PATHS = frozenset(
    {
        "/docs",
        "/docs/start.js",
        "/docs/swagger-ui-bundle.js",
        "/docs/swagger-ui.css",
        "/openapi.json",
    }
)
OPEN_PATHS = frozenset({"/", "/health", "/metrics"}) | PAGE_PATHS
"""A monitor of the server has no key, nor has who reads how it is asked: that tells nothing of the
ledger."""

MASTER_ONLY = "hooks"

_RESOURCES = {
    "accounts": "accounts",
    "api-keys": "api-keys",
    "backup": "backup",
    "backup-s3": "backup",
    "balance-monitors": "balance-monitors",
    "balances": "balances",
    "balances-snapshots": "balances",
    "events": "transactions",
    "hooks": "hooks",
    "identities": "identities",
    "ledgers": "ledgers",
    "mocked-account": "accounts",
    "multi-search": "search",
    "reconciliation": "reconciliation",
    "refund-transaction": "transactions",
    "search": "search",
    "transactions": "transactions",
}
"""The resource of a path, by its first word."""

_ACTIONS = {"GET": "read", "HEAD": "read", "DELETE": "delete"}
"""By method; all others write."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request. key: None for the master key, which may do everything."""

    key: ApiKey | None = None


def check_no_page(headers: Headers) -> None:
    """Where no key is asked for: raises Fault for what a page in a browser may have sent.

    Any page reaches this machine's own address from here: as another origin, or by a name of its
    own that it lets lead here.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if host and not is_loopback(_name_in(host)):
        foreign = f"Host {host} is no name of this machine"
    elif origin is not None and origin.partition("://")[2] != host:
        foreign = f"Origin {origin} is a page of somebody else"
    else:
        return
    text = f"{foreign}: set DAYBOOK_API_MASTER_KEY to serve it, and send the key as X-Blnk-Key"
    raise Fault(403, "AUTH_FOREIGN_ORIGIN", text)


def _name_in(host: str) -> str:
    with suppress(ValueError):
        return urlsplit(f"//{host}").hostname or ""
    return ""


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def needed(method: str, path: str) -> tuple[str, tuple[str, ...]] | None:
    """What a request needs: a resource, and the actions of which one is enough.

    None for a path that belongs to no resource.
    """
    words = path.strip("/").split("/")
    resource = _RESOURCES.get(words[0])
    if resource is None:
        is_merge = method == "POST" and words[1:] == ["metadata"]
        return ("metadata", ("write",)) if is_merge else None
    if method == "POST" and words[1:] == ["filter"]:  # a question too long for an address
        return resource, ("read", "write")
    return resource, (_ACTIONS.get(method, "write"),)


def is_master(given: str, master_key: str) -> bool:
    """Compared in constant time. given: as a header is read, a letter for each byte."""
    return hmac.compare_digest(given.encode("latin-1"), master_key.encode())


async def known_key(service: Service, text: str) -> ApiKey:
    """The key with this text, be it valid or not. Raises Fault for none; StoreUnavailable."""
    # What has not the form of a key costs no stranger's request a look into the database.
    key = await service.register(find_key, text) if has_form(text) else None
    if key is None:
        raise Fault(401, "AUTH_INVALID_API_KEY", "Invalid API key")
    return key


def check_valid(key: ApiKey, now: datetime) -> None:
    """Raises Fault for a key that is revoked or over."""
    if not key.is_valid(now):
        raise Fault(401, "AUTH_EXPIRED_API_KEY", "API key is expired or revoked")


async def still_may(service: Service, scope: Scope) -> bool:
    """Whether who sent a request may go on: a key may be revoked while its answer lasts."""
    principal = principal_of(scope)
    if principal is None or principal.key is None:
        return True
    key = await service.register(find_key_by_id, principal.key.id)
    return key is not None and key.is_valid(now_of(service))


def check_rights(key: ApiKey, method: str, path: str) -> None:
    """Raises Fault when the key does not open this."""
    found = needed(method, path)
    if found is None:
        raise Fault(403, "AUTH_UNKNOWN_RESOURCE", "Unknown resource type")
    resource, actions = found
    if resource == MASTER_ONLY:
        raise Fault(403, "AUTH_MASTER_KEY_REQUIRED", "hook management requires master key")
    if not any(allows(key.scopes, resource, action) for action in actions):
        text = f"Insufficient permissions for {resource}:{actions[0]}"
        raise Fault(403, "AUTH_INSUFFICIENT_PERMISSIONS", text)


def principal_of(scope: Scope) -> Principal | None:
    """Who sends the request of a scope; None where no keys are used."""
    found: Principal | None = scope.get("state", {}).get("principal")
    return found
