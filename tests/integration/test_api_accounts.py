"""Accounts at banks over the wire: of a balance, of a new one, with a number from elsewhere."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.harness import Cluster, Installation
from tests.integration.serving import LOOPBACK, Api, refused, served

MISSING = "00000000-0000-4000-8000-000000000000"


class Bank(http.server.BaseHTTPRequestHandler):
    """Makes account numbers, for who has the word."""

    answers: list[Any]

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == "Bearer word"
        body = json.dumps(self.answers.pop(0) if known else None).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def api(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    installation = Installation(cluster, 1, Path(tmp_path_factory.mktemp("accounts")))
    installation.workers(1)
    bank = http.server.HTTPServer((LOOPBACK, 0), Bank)
    threading.Thread(target=bank.serve_forever, daemon=True).start()
    numbers = {
        "api_account_number_service": f"http://{LOOPBACK}:{bank.server_port}/new",
        "api_account_number_authorization": "Bearer word",
    }
    try:
        with served(installation, **numbers) as url:
            yield Api(url)
    finally:
        bank.shutdown()
        bank.server_close()
        installation.close()


def test_an_account_stands_for_a_balance(api: Api) -> None:
    """It is shown with all that it refers to, and found by each of its fields."""
    person = api.sdk.identity.create({"identity_type": "individual", "first_name": "Ada"}).data[
        "identity_id"
    ]
    ledger = api.sdk.ledgers.create({"name": "Wallets"}).data["ledger_id"]
    asked = {"ledger_id": ledger, "identity_id": person, "currency": "USD"}
    wallet = api.sdk.ledger_balances.create(asked).data["balance_id"]
    given = {"number": "0001", "bank_name": "First", "name": "Main", "meta_data": {"n": 2**60 + 1}}
    status, made = api.call("POST", "/accounts", given | {"balance_id": wallet})
    assert status == 201, made
    assert made["account_id"].startswith("acc_")
    assert {name: made[name] for name in given} == given
    assert {name: made[name] for name in asked} == asked
    assert made["balance_id"] == wallet
    path = f"/accounts/{made['account_id']}"
    assert api.call("GET", path) == (200, made)
    _, whole = api.call("GET", f"{path}?include=balance&include=identity&include=ledger")
    assert whole["balance"]["balance_id"] == wallet
    assert (whole["identity"]["first_name"], whole["ledger"]["name"]) == ("Ada", "Wallets")
    for field in ("account_id", "number", "bank_name", "name", "balance_id", "identity_id"):
        asked_for = {"field": field, "operator": "eq", "value": made[field]}
        assert api.call("POST", "/accounts/filter", {"filters": [asked_for]}) == (200, [made])
    assert api.call("GET", "/accounts?number_eq=0001") == (200, [made])
    assert api.call("GET", "/accounts?meta_data.n_eq=5") == (200, [])


def test_an_account_brings_its_balance(api: Api) -> None:
    """A new one, of the ledger, owner and currency that are named; payments find it at once."""
    person = api.sdk.identity.create({"identity_type": "individual", "first_name": "Ben"}).data[
        "identity_id"
    ]
    ledger = api.sdk.ledgers.create({"name": "Wallets"}).data["ledger_id"]
    given = {"number": "0002", "ledger_id": ledger, "identity_id": person, "currency": "EUR"}
    status, made = api.call("POST", "/accounts", given)
    assert status == 201, made
    balance = api.sdk.ledger_balances.get(made["balance_id"]).data
    assert (balance["ledger_id"], balance["identity_id"], balance["currency"]) == (
        *(ledger, person, "EUR"),
    )
    more = {"allow_overdraft": True, "currency": "EUR"}
    assert api.pay("@World", made["balance_id"], 5, **more)[1]["status"] == "APPLIED"


def test_a_number_is_there_once(api: Api) -> None:
    """Who sends the same again is told so, and no balance is made for it."""
    wallet = api.wallet()
    given = {"number": "0003", "balance_id": wallet}
    assert api.call("POST", "/accounts", given)[0] == 201
    refused(api.call("POST", "/accounts", given), 409, "ACC_DUPLICATE", "0003")
    refused(api.call("POST", "/accounts", given | {"number": " 0003"}), 400, "GEN_VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("given", "status", "code", "text"),
    [
        ({}, 400, "GEN_VALIDATION_ERROR", "ledger_id: cannot be blank: give a balance_id, or"),
        ({"balance_id": f"bln_{MISSING}"}, 404, "BAL_NOT_FOUND", MISSING),
        (
            {"balance_id": "mine", "currency": "EUR"},
            400,
            "GEN_VALIDATION_ERROR",
            "is not that of",
        ),
        ({"balance_id": "mine", "name": "x" * 256}, 400, "GEN_VALIDATION_ERROR", "name: "),
        (
            {"ledger_id": "general_ledger_id", "currency": "USD", "identity_id": f"idt_{MISSING}"},
            *(400, "GEN_VALIDATION_ERROR", "there is no identity"),
        ),
    ],
)
def test_a_bad_account_names_its_field(
    api: Api, given: dict[str, Any], status: int, code: str, text: str
) -> None:
    """And nothing is kept."""
    if given.get("balance_id") == "mine":
        given = given | {"balance_id": api.wallet()}
    refused(api.call("POST", "/accounts", given | {"number": "0009"}), status, code, text)
    assert api.call("GET", "/accounts?number_eq=0009") == (200, [])


def test_a_number_comes_from_the_bank(api: Api) -> None:
    """Where none is given; a bank that does not answer as agreed is told as such."""
    wallet = api.wallet()
    Bank.answers = [{"account_number": "0777", "bank_name": "Second"}, {"number": "0778"}, "no"]
    _, made = api.call("POST", "/accounts", {"balance_id": wallet})
    assert (made["number"], made["bank_name"]) == ("0777", "Second")
    for _ in range(2):
        refused(api.call("POST", "/accounts", {"balance_id": wallet}), 500, "ACC_GENERATION_FAILED")
    _, mocked = api.call("GET", "/mocked-account")
    assert (len(mocked["account_number"]), mocked["bank_name"]) == (10, "Blnk Bank")


def test_there_is_no_such_account(api: Api) -> None:
    """By an id of its form, and by any other text."""
    for name in (f"acc_{MISSING}", "nothing"):
        refused(api.call("GET", f"/accounts/{name}"), 404, "ACC_NOT_FOUND", name)
