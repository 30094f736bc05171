"""Who sends a request, and whether that one may: the master key, or a key with scopes."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from starlette.types import Scope

from daybook.api.faults import Fault
from daybook.api.service import Service, now_of
from daybook.registry.keys import ApiKey, find_key, is_use_noted, note_use
from daybook.registry.scopes import allows

OPEN_PATHS = frozenset({"/", "/health", "/metrics"})
"""A monitor of the server has no key."""

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

    @property
    def owner(self) -> str | None:
        """Whose keys it may manage; None for everybody's."""
        return None if self.key is None else self.key.owner


def needed(method: str, path: str) -> tuple[str, tuple[str, ...]] | None:
    """What a request needs: a resource, and the actions of which one is enough.

    None for a path that belongs to no resource.
    """
    words = path.strip("/").split("/")
    resource = "metadata" if words[1:] == ["metadata"] else _RESOURCES.get(words[0])
    if resource is None:
        return None
    action = _ACTIONS.get(method, "write")
    if method == "POST" and words[-1] == "filter":  # a question that is too long for an address
        return resource, ("read", "write")
    return resource, (action,)


def is_master(given: str, master_key: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given.encode(), master_key.encode())


async def valid_key(service: Service, text: str) -> ApiKey:
    """The key with this text. It is looked up each time: revoked, it opens nothing more.

    Raises Fault for none, and for one that is revoked or over; StoreUnavailable.
    """
    now = now_of(service)
    key = await service.register(find_key, text)
    if key is None:
        raise Fault(401, "AUTH_INVALID_API_KEY", "Invalid API key")
    if not key.is_valid(now):
        raise Fault(401, "AUTH_EXPIRED_API_KEY", "API key is expired or revoked")
    if not is_use_noted(key, now):
        await service.register(note_use, key, now)
    return key


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
