"""What opens which route: scopes, and the resource of every path."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from daybook.api.app import PARTS, make_app
from daybook.api.faults import Fault
from daybook.api.rights import OPEN_PATHS, check_rights, is_master, needed
from daybook.registry.keys import SCOPES_MAX, ApiKey, NewKey, has_form
from daybook.registry.scopes import RESOURCES, allows, beyond, scope_fault
from daybook.requests.bounds import NAME_LENGTH_MAX
from daybook.settings import Settings

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def key_of(*scopes: str) -> ApiKey:
    return ApiKey("api_key_1", "k", "shop", scopes, NOW + timedelta(days=1), NOW, None, None)


def refused(key: ApiKey, method: str, path: str) -> tuple[int, str]:
    with pytest.raises(Fault) as caught:
        check_rights(key, method, path)
    return caught.value.status_code, caught.value.code


def test_every_route_belongs_to_a_resource() -> None:
    """A route that forgets is one that no scope guards: here it fails."""
    routes = [
        (method, route.path)
        for part in PARTS
        for route in part.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    ]
    assert len(routes) > 60
    for method, path in routes:
        if path in OPEN_PATHS:
            continue
        found = needed(method, path)
        assert found is not None, path
        assert found[0] in RESOURCES
        assert refused(key_of(), method, path)[0] == 403


def test_nothing_is_served_beside_the_routes() -> None:
    """But the document that describes them, which is open: a browser has no key to send."""
    app = make_app(Settings(database_url="postgresql://d", redis_url="redis://r"))
    plain = [route.path for route in app.routes if isinstance(route, Route)]
    assert plain == ["/openapi.json"]
    assert len(app.routes) == len(plain) + len(PARTS)
    assert refused(key_of("*:*"), "GET", "/redoc") == (403, "AUTH_UNKNOWN_RESOURCE")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/ledgers/ldg_1", "ledgers:read"),
        ("POST", "/ledgers", "ledgers:write"),
        ("PUT", "/identities/idt_1", "identities:write"),
        ("DELETE", "/identities/idt_1", "identities:delete"),
        ("POST", "/balances/filter", "balances:read"),
        ("POST", "/balances/filter", "balances:write"),
        ("POST", "/balances-snapshots", "balances:write"),
        ("POST", "/refund-transaction/txn_1", "transactions:write"),
        ("PUT", "/transactions/inflight/txn_1", "transactions:*"),
        ("GET", "/events", "*:read"),
        ("POST", "/bln_1/metadata", "metadata:write"),
        ("GET", "/backup-s3", "*:*"),
        ("DELETE", "/api-keys/api_key_1", "api-keys:delete"),
        ("DELETE", "/api-keys/metadata", "api-keys:delete"),
        ("GET", "/transactions/metadata", "transactions:read"),
        ("POST", "/refund-transaction/filter", "transactions:write"),
    ],
)
def test_a_scope_opens_what_it_names_and_nothing_else(method: str, path: str, scope: str) -> None:
    """By resource and action; a key with all others is refused."""
    check_rights(key_of("search:read", scope), method, path)
    found = needed(method, path)
    assert found is not None
    others = [
        f"{resource}:{action}"
        for resource in RESOURCES
        for action in ("read", "write", "delete")
        if resource != found[0] or action not in found[1]
    ]
    assert refused(key_of(*others), method, path) == (403, "AUTH_INSUFFICIENT_PERMISSIONS")


def test_hooks_are_the_master_keys() -> None:
    """They are given all transactions, and can hold them up."""
    for path in ("/hooks", "/hooks/metadata", "/hooks/filter"):
        assert refused(key_of("*:*"), "POST", path) == (403, "AUTH_MASTER_KEY_REQUIRED")


def test_a_master_key_may_have_any_letters() -> None:
    """A header is read with a letter for each byte."""
    assert is_master("schlüssel".encode().decode("latin-1"), "schlüssel")
    assert not is_master("schlüssel", "schlüssel")
    assert not is_master("", "m")


def test_what_may_be_a_key() -> None:
    """All else is refused without a look into the database, so it costs nobody a connection."""
    assert has_form("dbk_" + 55 * "a")
    for text in ("", "zz", "dbk_", "dbk_" + 54 * "a", "dbk_" + 56 * "a", "dbk_" + 54 * "a" + "é"):
        assert not has_form(text)


def test_nobody_grants_more_than_one_has() -> None:
    """A wildcard is more than each of its parts, and than all of them together."""
    assert beyond(["ledgers:read"], ["ledgers:*"]) == []
    assert beyond(["*:read", "ledgers:*"], ["ledgers:read", "ledgers:write"]) == [
        "*:read",
        "ledgers:*",
    ]
    every = [f"ledgers:{action}" for action in ("read", "write", "delete")]
    assert beyond(["ledgers:*"], every) == ["ledgers:*"]
    assert not allows([], "ledgers", "read")
    assert not allows(["ledgers:read"], "ledger", "read")


@pytest.mark.parametrize("scope", ["", "ledgers", "*", "ledger:read", "ledgers:to", "a:b:c", ":"])
def test_what_is_no_scope_is_named(scope: str) -> None:
    """With what there is instead."""
    assert scope_fault(scope)


def test_all_errors_of_a_key_come_at_once() -> None:
    """Each with its field, and nothing is made."""
    wanted = NewKey(" ", "x" * (NAME_LENGTH_MAX + 1), ("ledgers:read", "no"), NOW)
    fields = [error.field for error in wanted.errors(NOW)]
    assert fields == ["name", "owner", "scopes[1]", "expires_at"]
    many = ("ledgers:read",) * (SCOPES_MAX + 1)
    assert [e.field for e in NewKey("a", "b", many, None).errors(NOW)] == ["scopes", "expires_at"]
    assert [e.field for e in NewKey("a\x00", "b", (), NOW).errors(NOW - timedelta(1))] == [
        "name",
        "scopes",
    ]
    assert NewKey("a", "b", ("*:*",), NOW + timedelta(seconds=1)).errors(NOW) == []
