"""What the intake takes from a message, and gives to it when it has to be tried again."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any, cast

import pytest
from celery.app.task import Context
from kombu.serialization import dumps
from tests.envelopes import envelope

from daybook.errors import MalformedRequest
from daybook.queue.doorbell import INTAKE_QUEUE
from daybook.worker.answering import mark_of
from daybook.worker.envelopes import envelope_of
from daybook.worker.intake import Desk, again, take
from daybook.worker.messages import exact, load_message

REQUEST = (
    '{"amount": 19.990000000000000001, "precise_amount": 123456789012345678901234567890,'
    ' "meta_data": {"x": [0.1234567890123456789, 1e2, 1.10, "1.10", {"y": -0.0}, 1e999]}}'
)
EXACT = {
    "amount": Decimal("19.990000000000000001"),
    "precise_amount": 123456789012345678901234567890,
    "meta_data": {
        "x": [
            Decimal("0.1234567890123456789"),
            Decimal("1e2"),
            Decimal("1.10"),
            "1.10",
            {"y": Decimal("-0.0")},
            Decimal("1e999"),
        ]
    },
}


def arrived(body: str, retries: int = 0) -> Context:
    """A message with this body, as Celery shows it once the envelope was written anew."""
    made = envelope("daybook.enqueue", [], {}, "r-1", INTAKE_QUEUE)
    made["body"] = base64.b64encode(body.encode()).decode()
    made = envelope_of(json.dumps(made).encode(), INTAKE_QUEUE)
    args, kwargs, _ = load_message(base64.b64decode(made["body"]))
    return Context(id="r-1", args=args, kwargs=kwargs, retries=retries, eta=None)


def sent_again(message: Context, retries: int) -> Context:
    """It, after Celery wrote what the intake gave it and a worker read that."""
    _, _, body = dumps([(), again(message), {}], serializer="json")
    return arrived(body, retries)


def spelled(value: Any) -> str:
    """Digits and exponents included, which compare equal otherwise."""
    return repr(value)


def test_a_message_that_is_tried_again_says_the_same() -> None:
    """Numbers stay as they were written, however often; nothing is rounded, and it has one mark."""
    message = arrived(f'[[], {{"request": {REQUEST}}}, {{}}]')
    first = mark_of(message)
    for retries in range(1, 4):
        message = sent_again(message, retries)
        assert spelled(exact(message.kwargs["request"])) == spelled(EXACT)
        assert mark_of(message) == first


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.1234567890123456789", "0.12345678901234568"),
        ("1.10", "1.1"),
        ("1.10", '"1.10"'),
        ("1.10", "\"Decimal('1.10')\""),
    ],
)
def test_messages_that_differ_in_a_number_are_not_the_same(one: str, other: str) -> None:
    """Another digit, or the same as text, is another request, and so another message."""
    first, second = (f'[[], {{"request": {{"x": {said}}}}}, {{}}]' for said in (one, other))
    assert mark_of(arrived(first)) != mark_of(arrived(second))


def test_fields_that_came_flat_are_refused_with_the_form() -> None:
    """A message with a keyword for each field is told how a request is sent."""
    message = arrived('[[], {"reference": "r", "source": "@World"}, {}]')
    message.ignore_result = True
    with pytest.raises(
        MalformedRequest, match=r'reference, source; .* kwargs=\{"request": \{…\}\}'
    ):
        take(cast(Desk, None), message)
