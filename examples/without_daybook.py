"""A service that has Celery and no Daybook: it sends a task by name to the intake.

    daybook up --detach
    python examples/without_daybook.py ADDRESS

ADDRESS is the broker of Daybook's workers, as Celery spells it: ``redis://:password@host:6379/0``,
or ``redis+socket:///data/.daybook/run/valkey.sock?virtual_host=0`` for a socket. Prints what stands
in without_daybook.out. What the broker can lose on this way stands in docs/how-to/celery.md.
"""

from __future__ import annotations

import sys
import uuid

from celery import Celery
from celery.result import AsyncResult


def main(address: str) -> None:
    app = Celery("elsewhere", broker=address, backend=address)
    reference = f"invoice-{uuid.uuid4()}"
    request = {
        "reference": reference,
        "source": "@World",
        "destination": "@Invoices",
        "currency": "USD",
        "amount": "12.50",
        "precision": 100,
        "allow_overdraft": True,
    }
    sent = app.send_task("daybook.enqueue", kwargs={"request": request}, queue="daybook.intake")
    outcome = AsyncResult(sent.id, app=app).get(timeout=30)  # here, or in any other process
    print(outcome["status"], "under its reference:", outcome["reference"] == reference)
    print("what it is of:", outcome["amount"], outcome["currency"])

    wrong = app.send_task(
        "daybook.enqueue",
        kwargs={"request": {**request, "reference": f"{reference}-b", "amount": "0"}},
        queue="daybook.intake",
    )
    print("a bad request:", wrong.get(timeout=30, propagate=False))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: python without_daybook.py ADDRESS (of the broker)", file=sys.stderr)
        sys.exit(2)
    main(sys.argv[1])
