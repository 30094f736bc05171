"""The API of an installation, served on a free port while a test runs; and a client of it."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import uvicorn
from blnk_sdk import BlnkClientOptions, blnk_init
from tests.harness import Installation, wait_until

from daybook.api.serving import guarded

LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def served(installation: Installation, master_key: str | None = None, **more: Any) -> Iterator[str]:
    """Its address. more: other settings."""
    more |= {"api_master_key": master_key, "registry_database_url": installation.registrar_url}
    settings = installation.settings.model_copy(update=more)
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen()
        port = listening.getsockname()[1]
        config = uvicorn.Config(guarded(settings), log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started or not thread.is_alive(), "the API listens")
        assert server.started
        try:
            yield f"http://{LOOPBACK}:{port}"
        finally:
            server.should_exit = True
            thread.join()


NUMBERS = itertools.count(1)


class Api:
    """A served installation: its SDK, and plain HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=30)
        self.sdk: Any = blnk_init("", BlnkClientOptions(base_url=url, timeout=30_000))

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The answer's JSON, decimals exact; with its status under ``status_code``."""
        answer = self.http.request(method, path, json=body, **more)
        found = json.loads(answer.text, parse_float=Decimal)
        return answer.status_code, found

    def wallet(self, funds: int = 0, currency: str = "USD") -> str:
        """A new balance with so many minor units."""
        ledger = self.sdk.ledgers.create({"name": "wallets"}).data["ledger_id"]
        made = self.sdk.ledger_balances.create({"ledger_id": ledger, "currency": currency})
        balance_id: str = made.data["balance_id"]
        if funds:
            status, _ = self.pay("@World", balance_id, funds, allow_overdraft=True)
            assert status == 201
        return balance_id

    def body(self, source: str, destination: str, minor: int | None, **more: Any) -> dict[str, Any]:
        given = {
            "precise_amount": minor,
            "precision": 100,
            "reference": f"r{next(NUMBERS)}",
            "description": "test",
            "currency": "USD",
            "source": source,
            "destination": destination,
            "skip_queue": True,
        }
        return {name: value for name, value in (given | more).items() if value is not None}

    def pay(self, source: str, destination: str, minor: int | None, **more: Any) -> Any:
        """Post a transaction; its status and answer."""
        return self.call("POST", "/transactions", self.body(source, destination, minor, **more))

    def figures(self, balance_id: str) -> tuple[int, int]:
        """Balance and inflight balance."""
        found = self.sdk.ledger_balances.get(balance_id).data
        return found["balance"], found["inflight_balance"]


def refused(found: tuple[int, Any], status: int, code: str, text: str = "") -> Any:
    """An error in both forms of the wire."""
    given, body = found
    assert (given, body["error_detail"]["code"]) == (status, code), body
    message = body["error_detail"]["message"]
    assert message in (body.get("error"), body.get("errors"))
    assert text.lower() in message.lower()
    return body
