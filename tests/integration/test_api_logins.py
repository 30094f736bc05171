"""What `daybook api` does with the rights of the logins that are shipped for it, and no others."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx
from tests.guarded import Guarded
from tests.harness import Installation
from tests.integration.serving import served

MASTER = "the-master-key"
_NUMBERS = itertools.count(1)


def paid(source: str, destination: str, minor: int, **more: Any) -> dict[str, Any]:
    """The body of a transaction."""
    return {
        "precise_amount": minor,
        "precision": 100,
        "reference": f"r{next(_NUMBERS)}",
        "currency": "USD",
        "source": source,
        "destination": destination,
        "description": "test",
        "allow_overdraft": source == "@World",
        **more,
    }


class Caller:
    """Who uses the API: each answer has to be what it is without any bound of rights."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)

    def __call__(
        self, method: str, path: str, body: Any = None, status: int | None = None, key: str = MASTER
    ) -> Any:
        answer = self._http.request(method, path, json=body, headers={"X-Blnk-Key": key})
        if status is None:
            assert answer.is_success, (method, path, answer.text)
        else:
            assert answer.status_code == status, (method, path, answer.text)
        if "ndjson" in answer.headers.get("content-type", ""):
            return [json.loads(line) for line in answer.text.splitlines()]
        return answer.json() if answer.content else None

    def close(self) -> None:
        self._http.close()


def test_the_api_runs_with_the_rights_of_its_logins(guarded: Guarded, parted: Installation) -> None:
    """A reader of the ledger, a registrar of keys, and a producer that reads the log: all works."""
    own = {"redis_url": guarded.url("daybook_api"), "database_url": parted.reader_url}
    parted.settings = parted.settings.model_copy(update=own)
    with served(parted, MASTER) as url:
        call = Caller(url)
        try:
            wallets = before_any_worker(call)
            assert guarded.denied() == []
            parted.workers(1)
            every_kind(call, *wallets)
            look(call, wallets[0])
            keys(call)
        finally:
            call.close()
    assert guarded.denied() == []


def before_any_worker(call: Caller) -> tuple[str, str]:
    """What waits is read where it waits."""
    ledger = call("POST", "/ledgers", {"name": "wallets"})["ledger_id"]
    wallet, shop = (
        call("POST", "/balances", {"ledger_id": ledger, "currency": "USD"})["balance_id"]
        for _ in range(2)
    )
    body = paid("@World", wallet, 10_000)
    sent = call("POST", "/transactions", body)
    for path in (sent["transaction_id"], f"reference/{sent['reference']}"):
        assert call("GET", f"/transactions/{path}")["precise_amount"] == 10_000
    assert call("POST", "/transactions", body)["transaction_id"] == sent["transaction_id"]
    other = call("POST", "/transactions", {**body, "precise_amount": 1}, status=409)
    assert other["error_detail"]["details"]["fields"] == ["precise_amount"]
    queued = call("GET", f"/balances/{wallet}?with_queued=true")
    assert queued["queued_credit_balance"] == 10_000
    return wallet, shop


def every_kind(call: Caller, wallet: str, shop: str) -> None:
    """Requests of every kind, and their outcomes."""
    now = {"skip_queue": True}
    held = call("POST", "/transactions", paid(wallet, shop, 900, inflight=True, **now))
    hold = f"/transactions/inflight/{held['transaction_id']}"
    part = call("PUT", hold, {"status": "commit", "precise_amount": 500, **now})
    call("PUT", hold, {"status": "void", **now})
    call("POST", f"/refund-transaction/{part['transaction_id']}", now)
    items = [paid(wallet, shop, 1), paid(wallet, shop, 2)]
    call("POST", "/transactions/bulk", {"transactions": items, "atomic": True, **now})
    later = call(
        "POST", "/transactions", paid(wallet, shop, 3, scheduled_for="2999-01-01T00:00:00Z")
    )
    call("POST", f"/transactions/{later['transaction_id']}/cancel")
    call("POST", "/transactions", paid(wallet, shop, 4, dry_run=True))
    call("POST", f"/{wallet}/metadata", {"meta_data": {"tier": "gold"}})
    person = {"identity_type": "individual", "first_name": "Ada", "last_name": "L"}
    identity = call("POST", "/identities", person)["identity_id"]
    call("PUT", f"/identities/{identity}", {"first_name": "Eve"})
    call("PUT", f"/balances/{wallet}/identity", {"identity_id": identity})
    call("POST", "/balances-snapshots")
    call("POST", "/transactions/recover")


def look(call: Caller, wallet: str) -> None:
    """All that is read."""
    assert call("GET", f"/balances/{wallet}?include=identity")["balance"] == 9_997
    assert call("GET", f"/balances/{wallet}/at?from_source=true")["balance"]["balance"] == 9_997
    assert call("GET", f"/balances/{wallet}/statement")["closing"] == 9_997
    call("GET", "/balances/indicator/@World/currency/USD")
    here = {"filters": [{"field": "currency", "operator": "eq", "value": "USD"}]}
    for collection in ("ledgers", "balances", "identities", "transactions"):
        assert call("GET", f"/{collection}")
    assert call("POST", "/transactions/filter", here)
    assert call("GET", "/events?after=start&limit=1000")
    assert call("GET", "/health") == {"status": "UP"}


def keys(call: Caller) -> None:
    """Made, used, which is noted, and revoked."""
    wanted = {"name": "k", "owner": "shop", "scopes": ["ledgers:read"],
              "expires_at": "2999-01-01T00:00:00Z"}  # fmt: skip
    made = call("POST", "/api-keys", wanted)
    assert call("GET", "/ledgers", key=made["key"])
    (listed,) = call("GET", "/api-keys?owner=shop")
    assert listed["last_used_at"] > listed["created_at"]
    call("DELETE", f"/api-keys/{made['api_key_id']}?owner=shop", status=204)
    call("GET", "/ledgers", key=made["key"], status=401)
