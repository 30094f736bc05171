"""Bodies of Celery messages: JSON whose numbers stay as they were written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from kombu.utils.json import loads

from daybook.requests.base import object_of

MESSAGE_DEPTH_MAX = 100
"""Deeper than any request may be, far below what Python can pickle."""

_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.S)


class WrittenNumber(float):
    """A number of a JSON message that remembers how it was written.

    Celery and Flower calculate with the times in their messages, so it is a float for them; the
    intake takes its text.
    """

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> WrittenNumber:
        """The number that ``text`` spells."""
        made = super().__new__(cls, text)
        made.text = text
        return made


def exact(value: Any) -> Any:
    """``value`` with each number as it was written, as a Decimal."""
    if isinstance(value, WrittenNumber):
        return Decimal(value.text)
    if isinstance(value, Mapping):
        return {name: exact(item) for name, item in value.items()}
    return [exact(item) for item in value] if isinstance(value, list) else value


def check_depth(text: str) -> None:
    """Raise ValueError for JSON that is nested deeper than MESSAGE_DEPTH_MAX.

    The worker's parent would die on it while it hands it to a child, and take it up again when it
    is restarted.
    """
    if text.count("[") + text.count("{") <= MESSAGE_DEPTH_MAX:
        return  # as nearly always
    depth = 0
    for found in _BRACKETS.finditer(text):
        mark = found[0]
        depth += (mark in "[{") - (mark in "]}")
        if depth > MESSAGE_DEPTH_MAX:
            raise ValueError(f"the message is nested deeper than {MESSAGE_DEPTH_MAX} levels")


def load_message(text: str | bytes) -> Any:
    """The body of a message, its numbers as they were written.

    Raises ValueError, also for an object that has a member twice.
    """
    plain = text.decode() if isinstance(text, bytes) else text
    check_depth(plain)
    return loads(plain, _loads=_exactly)


def _exactly(text: str, object_hook: Callable[[dict[str, Any]], Any]) -> Any:
    """What kombu reads JSON with. object_hook: its own, for dates and the like."""
    return json.loads(
        text,
        parse_float=WrittenNumber,
        object_pairs_hook=lambda pairs: object_hook(object_of(pairs)),
    )
