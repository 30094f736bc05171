"""A wallet over plain HTTP: the same request twice, a conflict, a rejection.

    daybook up --detach
    python examples/wallet_http.py

API_URL and API_KEY say where the HTTP API is, and with which key it is asked.
"""

from __future__ import annotations

import json
import os
from typing import Any
from uuid import uuid4

import httpx

KEY = os.environ.get("API_KEY")
RUN = uuid4().hex[:8]


def main() -> None:
    with httpx.Client(
        base_url=os.environ.get("API_URL", "http://127.0.0.1:5001"),
        headers={"X-Blnk-Key": KEY} if KEY else {},
        timeout=30,
    ) as http:
        ledger = http.post("/ledgers", json={"name": "Wallets"}).json()["ledger_id"]
        asked = {"ledger_id": ledger, "currency": "USD"}
        wallet = http.post("/balances", json=asked).json()["balance_id"]

        def post(name: str, minor: int, source: str, destination: str) -> tuple[int, Any]:
            answer = http.post(
                "/transactions",
                params={"wait": 8},  # seconds for the outcome; without it the log has it, at once
                json={
                    "reference": f"{RUN}-{name}",
                    "source": source,
                    "destination": destination,
                    "precise_amount": minor,
                    "precision": 100,
                    "currency": "USD",
                    "description": name,
                    "allow_overdraft": source == "@World",
                },
            )
            return answer.status_code, answer.json()

        status, first = post("deposit", 5_000, "@World", wallet)
        print("deposit:", status, first["status"])
        status, again = post("deposit", 5_000, "@World", wallet)
        print("again:", status, "the same:", again["transaction_id"] == first["transaction_id"])
        status, other = post("deposit", 6_000, "@World", wallet)
        print("another:", status, other["error_detail"]["details"]["fields"])
        status, refused = post("too-much", 9_999, wallet, "@Shop")
        print("too much:", status, refused["error_detail"]["code"])
        print("balance:", http.get(f"/balances/{wallet}").json()["balance"])
        found = http.get("/transactions", params={"balance_id_eq": wallet}).json()
        print("its transactions:", json.dumps([one["status"] for one in found]))


if __name__ == "__main__":
    main()
