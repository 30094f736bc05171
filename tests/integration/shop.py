"""A service with a Celery application of its own: what a user of ``daybook.celery`` writes."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, shared_task

from daybook.celery import enqueue


def make_app(broker: str | None, backend: str | None) -> Celery:
    """The service's application."""
    app = Celery("shop", broker=broker, backend=backend)
    app.conf.update(task_default_queue="shop", result_expires=600)
    return app


app = make_app(os.environ.get("SHOP_BROKER"), os.environ.get("SHOP_BACKEND"))


@shared_task(name="shop.price")
def price(request: dict[str, Any]) -> dict[str, Any]:
    """The first link of a chain: makes a request."""
    return request


@shared_task(name="shop.receipt_text")
def receipt_text(outcome: dict[str, Any]) -> str:
    """The last link of a chain: reads an outcome."""
    return f"{outcome['reference']} is {outcome['status']}"


@shared_task(name="shop.pay")
def pay(request: dict[str, Any]) -> str:
    """A task that needs the outcome of a request before it goes on."""
    text: str = receipt_text(enqueue.delay(request).get(timeout=60))
    return text


@shared_task(name="shop.count")
def count(outcomes: list[dict[str, Any]]) -> dict[str, int]:
    """The body of a chord: counts outcomes by status."""
    statuses = [outcome["status"] for outcome in outcomes]
    return {status: statuses.count(status) for status in set(statuses)}


__all__ = ["app", "count", "enqueue", "make_app", "pay", "price", "receipt_text"]
