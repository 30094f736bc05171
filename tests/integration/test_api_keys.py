"""Keys of the API: made, used, kept apart by owner, ended; through the SDK of the wire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from blnk_sdk import BlnkClientOptions, blnk_init
from tests.harness import Cluster, Installation
from tests.integration.serving import served

MASTER = "the-master-key"
SOON = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Keys:
    """A served installation that asks for keys."""

    def __init__(self, url: str, installation: Installation) -> None:
        self.url = url
        self.installation = installation
        self.sdk: Any = blnk_init(MASTER, BlnkClientOptions(base_url=url, timeout=30_000))

    def made(self, *scopes: str, owner: str = "shop", **more: Any) -> dict[str, Any]:
        """A new key."""
        wanted = {"name": "k", "owner": owner, "scopes": list(scopes), "expires_at": SOON}
        answer = self.sdk.api_keys.create(wanted | more)
        assert answer.status == 201, answer.message
        return dict(answer.data)

    def call(self, key: str | None, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status, and the code of the error or the answer."""
        headers = {b"X-Blnk-Key": key.encode()} if key else {}
        answer = httpx.request(method, self.url + path, json=body, headers=headers, timeout=30)
        found = answer.json() if answer.content else None
        if isinstance(found, dict) and "error_detail" in found:
            found = found["error_detail"]["code"]
        return answer.status_code, found


@pytest.fixture(scope="module")
def keys(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    installation = Installation(cluster, 1, Path(tmp_path_factory.mktemp("keys")))
    installation.workers(1)
    try:
        with served(installation, MASTER) as url:
            yield Keys(url, installation)
    finally:
        installation.close()


def test_a_key_is_shown_once_and_kept_as_a_hash(keys: Keys) -> None:
    """Lists have neither its text nor its hash; the database does not have its text."""
    made = keys.made("ledgers:read", "ledgers:read", owner="once", name="reports")
    assert made["key"].startswith("dbk_")
    assert made["scopes"] == ["ledgers:read"]
    assert (made["owner_id"], made["name"], made["is_revoked"]) == ("once", "reports", False)
    listed = keys.sdk.api_keys.list({"owner": "once"}).data
    assert [{**key, "key": made["key"]} for key in listed] == [made]
    (row,) = keys.installation.rows("SELECT * FROM api_keys WHERE owner = 'once'")
    assert made["key"] not in str(row)


def test_a_key_opens_what_its_scopes_say(keys: Keys) -> None:
    """And nothing else; that it was used is noted."""
    made = keys.made("ledgers:*", "balances:write")
    key = made["key"]
    status, ledger = keys.call(key, "POST", "/ledgers", {"name": "books"})
    assert status == 201
    wanted = {"ledger_id": ledger["ledger_id"], "currency": "USD"}
    status, balance = keys.call(key, "POST", "/balances", wanted)
    assert status == 201
    for method, path in (
        ("GET", f"/balances/{balance['balance_id']}"),
        ("POST", "/transactions"),
        ("GET", "/api-keys"),
        ("POST", f"/{ledger['ledger_id']}/metadata"),
    ):
        assert keys.call(key, method, path) == (403, "AUTH_INSUFFICIENT_PERMISSIONS")
    assert keys.call(key, "GET", "/nothing") == (403, "AUTH_UNKNOWN_RESOURCE")
    assert keys.call(key, "GET", "/health")[0] == 200
    (used,) = [
        one
        for one in keys.sdk.api_keys.list({"owner": "shop"}).data
        if one["api_key_id"] == made["api_key_id"]
    ]
    assert used["last_used_at"] >= made["created_at"]


def test_the_same_request_may_come_with_another_key(keys: Keys) -> None:
    """Who changes a key while a request is in doubt sends it again, and it is the same."""
    made = [keys.made("*:*")["key"] for _ in range(2)]
    body = {
        "reference": "in-doubt",
        "description": "sent three times",
        "source": "@World",
        "destination": "@Shop",
        "currency": "USD",
        "precise_amount": 100,
        "precision": 100,
        "allow_overdraft": True,
    }
    answers = [keys.call(key, "POST", "/transactions", body) for key in (*made, MASTER)]
    assert [status for status, _ in answers] == [201] * 3
    assert len({answer["transaction_id"] for _, answer in answers}) == 1


def test_a_revoked_key_follows_the_journal_no_longer(keys: Keys) -> None:
    """An answer that lasts ends with its key."""
    made = keys.made("*:*", owner="follows")
    headers = {"X-Blnk-Key": made["key"]}
    with httpx.stream(
        "GET", f"{keys.url}/events?follow=true", headers=headers, timeout=30
    ) as answer:
        path = f"/api-keys/{made['api_key_id']}?owner=follows"
        assert keys.call(MASTER, "DELETE", path) == (204, None)
        assert answer.read() is not None  # to its end


def test_keys_that_open_nothing(keys: Keys) -> None:
    """None, a wrong one, one that is over, one that was revoked: from the next request on."""
    made = keys.made("ledgers:*", owner="ends")
    key = made["key"]
    assert keys.call(None, "GET", "/ledgers") == (401, "AUTH_MISSING_API_KEY")
    for wrong in ("x", "dbk_", "dbk_é", key[:-1], key + "x", key.swapcase(), made["api_key_id"]):
        assert keys.call(wrong, "GET", "/ledgers") == (401, "AUTH_INVALID_API_KEY"), wrong
    assert keys.call(key, "GET", "/ledgers")[0] == 200
    path = f"/api-keys/{made['api_key_id']}"
    assert keys.call(MASTER, "DELETE", f"{path}?owner=other") == (404, "APIKEY_NOT_FOUND")
    assert keys.call(MASTER, "DELETE", path) == (400, "APIKEY_OWNER_REQUIRED")
    for _ in range(2):  # again is no error
        assert keys.call(MASTER, "DELETE", f"{path}?owner=ends") == (204, None)
        assert keys.call(key, "GET", "/ledgers") == (401, "AUTH_EXPIRED_API_KEY")
    (listed,) = keys.sdk.api_keys.list({"owner": "ends"}).data
    assert listed["is_revoked"]
    assert listed["revoked_at"] >= listed["created_at"]
    over = keys.made("ledgers:*", owner="over")
    keys.installation.rows("UPDATE api_keys SET expires_at = now() WHERE owner = 'over'")
    assert keys.call(over["key"], "GET", "/ledgers") == (401, "AUTH_EXPIRED_API_KEY")


def test_owners_are_kept_apart(keys: Keys) -> None:
    """A key manages those of its own owner, and grants nothing that it lacks."""
    ours = keys.made("api-keys:*", "ledgers:read", owner="ours")
    theirs = keys.made("ledgers:read", owner="theirs")
    key = ours["key"]
    wanted = {"name": "n", "owner": "ours", "scopes": ["ledgers:read"], "expires_at": SOON}
    status, child = keys.call(key, "POST", "/api-keys", wanted)
    assert status == 201
    later = wanted | {"expires_at": "9999-01-01T00:00:00Z"}
    assert keys.call(key, "POST", "/api-keys", later) == (400, "APIKEY_INVALID")
    more = wanted | {"scopes": ["ledgers:read", "ledgers:write"]}
    assert keys.call(key, "POST", "/api-keys", more) == (403, "AUTH_SCOPE_ESCALATION")
    other = wanted | {"owner": "theirs"}
    assert keys.call(key, "POST", "/api-keys", other) == (403, "AUTH_CROSS_OWNER_ACCESS")
    assert keys.call(key, "GET", "/api-keys?owner=theirs") == (403, "AUTH_CROSS_OWNER_ACCESS")
    status, listed = keys.call(key, "GET", "/api-keys")
    assert {one["api_key_id"] for one in listed} == {ours["api_key_id"], child["api_key_id"]}
    path = f"/api-keys/{theirs['api_key_id']}"
    assert keys.call(key, "DELETE", path) == (404, "APIKEY_NOT_FOUND")
    assert keys.call(key, "DELETE", f"/api-keys/{child['api_key_id']}") == (204, None)
    assert keys.call(child["key"], "GET", "/ledgers") == (401, "AUTH_EXPIRED_API_KEY")
    assert keys.call(theirs["key"], "GET", "/ledgers")[0] == 200


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"owner": ""}, "APIKEY_OWNER_REQUIRED"),
        ({"name": ""}, "APIKEY_INVALID"),
        ({"scopes": []}, "APIKEY_INVALID"),
        ({"scopes": ["ledger:read"]}, "APIKEY_INVALID"),
        ({"expires_at": None}, "APIKEY_INVALID"),
        ({"expires_at": "soon"}, "APIKEY_INVALID"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "APIKEY_INVALID"),
        ({"scopes": "ledgers:read"}, "GEN_MALFORMED_REQUEST"),
    ],
)
def test_a_key_that_cannot_be(keys: Keys, wrong: dict[str, Any], code: str) -> None:
    """Each mistake is told with its field."""
    given = {"name": "n", "owner": "o", "scopes": ["ledgers:read"], "expires_at": SOON} | wrong
    assert keys.call(MASTER, "POST", "/api-keys", given) == (400, code)


def test_ids_that_are_none(keys: Keys) -> None:
    """Of keys that never were, and of an owner whom no database could have."""
    for method, path in (("GET", "/api-keys"), ("DELETE", "/api-keys/x")):
        assert keys.call(MASTER, method, f"{path}?owner=a%00") == (400, "APIKEY_INVALID")
    for wrong in ("x", "api_key_", "api_key_00000000-0000-4000-8000-000000000000"):
        found = keys.call(MASTER, "DELETE", f"/api-keys/{wrong}?owner=o")
        assert found == (404, "APIKEY_NOT_FOUND")


def test_without_keys_there_is_nobody_to_have_them(installation: Installation) -> None:
    """Where authentication is off, nobody is known whose keys could be managed."""
    with served(installation) as url:
        answer = httpx.get(f"{url}/api-keys?owner=o")
    assert answer.status_code == 401
    assert answer.json()["error_detail"]["code"] == "AUTH_MISSING_PRINCIPAL"
