"""A service that speaks Celery: requests in its own chains and groups.

    export DAYBOOK_HOME=$PWD/.daybook   # the same instance from every folder
    daybook up --detach
    cd examples
    celery -A celery_service worker --detach --pidfile shop.pid   # the service's own worker
    python celery_service.py
    kill $(cat shop.pid)

Prints what stands in celery_service.out. ``enqueue`` appends straight to the log; no message of
the broker carries money. The service's own worker is needed for its own tasks, and to hand
outcomes on to the next link of a chain.
"""

from __future__ import annotations

import uuid
from typing import Any

from celery import Celery, chain, group

from daybook.celery import enqueue
from daybook.settings import Settings

# Any broker and result backend will do; here they are the Redis that keeps the log.
URL = Settings().require_broker_url()
app = Celery("shop", broker=URL, backend=URL)
app.conf.update(task_default_queue="shop")


@app.task(name="shop.message")
def message(outcome: dict[str, Any]) -> str:
    """The text for the customer."""
    return "thank you" if outcome["status"] == "APPLIED" else f"sorry: {outcome['reason']}"


def deposit(reference: str, amount: str) -> dict[str, Any]:
    """Money that comes in."""
    return {
        "reference": reference,
        "source": "@World",
        "destination": "@Till",
        "currency": "USD",
        "amount": amount,
        "precision": 100,
        "allow_overdraft": True,
    }


def main() -> None:
    run = uuid.uuid4().hex

    result = enqueue.delay(**deposit(f"{run}-1", "19.99"))
    print("one:", result.get(timeout=30)["status"])
    print("its task id is the reference:", result.id == f"{run}-1")

    paid = chain(enqueue.s(**deposit(f"{run}-2", "5.00")), message.s()).apply_async()
    print("chain:", paid.get(timeout=30))

    payout = {"source": "@Empty", "destination": "@World", "currency": "USD", "amount": "1.00"}
    refused = chain(enqueue.s(**payout, precision=100, reference=f"{run}-3"), message.s())
    print("chain of a refused one:", refused.apply_async().get(timeout=30))

    several = group(enqueue.s(**deposit(f"{run}-{n}", "1.00")) for n in range(4, 7)).apply_async()
    print("group:", [outcome["status"] for outcome in several.get(timeout=30)])


if __name__ == "__main__":
    main()
