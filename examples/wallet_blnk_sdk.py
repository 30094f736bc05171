"""A wallet by Blnk's own Python SDK, unchanged: deposit, hold, commit of a part, refund.

    pip install blnk-python
    daybook up --detach
    python examples/wallet_blnk_sdk.py

API_URL and API_KEY say where the HTTP API is, and with which key it is asked.
"""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

from blnk_sdk import BlnkClientOptions, blnk_init

blnk = blnk_init(
    os.environ.get("API_KEY", ""),
    BlnkClientOptions(base_url=os.environ.get("API_URL", "http://127.0.0.1:5001")),
)
RUN = uuid4().hex[:8]


def payment(name: str, source: str, destination: str, amount: float, **more: Any) -> Any:
    """Post a transaction, and wait for its outcome."""
    return blnk.transactions.create(
        {
            "reference": f"{RUN}-{name}",
            "source": source,
            "destination": destination,
            "amount": amount,
            "precision": 100,
            "currency": "USD",
            "description": name,
            "skip_queue": True,
            **more,
        }
    )


def main() -> None:
    ledger = blnk.ledgers.create({"name": "Wallets"}).data["ledger_id"]
    person = blnk.identity.create({"identity_type": "individual", "first_name": "Ada"}).data
    wallet = blnk.ledger_balances.create(
        {"ledger_id": ledger, "currency": "USD", "identity_id": person["identity_id"]}
    ).data["balance_id"]

    print(
        "deposit:", payment("deposit", "@World", wallet, 100, allow_overdraft=True).data["status"]
    )
    hold = payment("hold", wallet, "@Shop", 60, inflight=True)
    print("hold:", hold.data["status"])
    part = {"status": "commit", "amount": 25, "skip_queue": True}
    print(
        "commit:", blnk.transactions.update_status(hold.data["transaction_id"], part).data["status"]
    )
    paid = payment("payment", wallet, "@Shop", 10)
    back = blnk.transactions.refund(paid.data["transaction_id"], {"skip_queue": True})
    print("refund:", back.data["status"])
    too_much = payment("too-much", wallet, "@Shop", 1000)
    print("too much:", too_much.status, too_much.error.code)
    figures = blnk.ledger_balances.get(wallet).data
    print("balance:", figures["balance"], "inflight:", figures["inflight_balance"])


if __name__ == "__main__":
    main()
