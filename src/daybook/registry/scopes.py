"""Scopes, which say what a key may do: ``ledgers:read``, ``transactions:*``, ``*:read``."""

from __future__ import annotations

from collections.abc import Iterable

ANY = "*"
ACTIONS = ("read", "write", "delete")
RESOURCES = (
    "accounts",
    "api-keys",
    "backup",
    "balance-monitors",
    "balances",
    "hooks",
    "identities",
    "ledgers",
    "metadata",
    "reconciliation",
    "search",
    "transactions",
)


def scope_fault(scope: str) -> str | None:
    """Why a text is no scope; None when it is one."""
    resource, colon, action = scope.partition(":")
    if not colon:
        return "must be resource:action, such as ledgers:read"
    if resource not in (*RESOURCES, ANY):
        return f"has no such resource; there are {', '.join(RESOURCES)}, and {ANY} for all"
    if action not in (*ACTIONS, ANY):
        return f"has no such action; there are {', '.join(ACTIONS)}, and {ANY} for all"
    return None


def allows(scopes: Iterable[str], resource: str, action: str) -> bool:
    """Whether one of the scopes includes this. ``*`` as what is asked for means all of them."""
    return any(_includes(scope, resource, action) for scope in scopes)


def beyond(wanted: Iterable[str], own: Iterable[str]) -> list[str]:
    """Those of the wanted scopes that no single one of one's own includes."""
    held = list(own)
    return [scope for scope in wanted if not allows(held, *scope.split(":", 1))]


def _includes(scope: str, resource: str, action: str) -> bool:
    of, _, may = scope.partition(":")
    return of in (ANY, resource) and may in (ANY, action)
