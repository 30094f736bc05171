"""Moments as Postgres reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def date_text(micros: int | None) -> str | None:
    """A moment as Postgres reads it; microseconds since the epoch."""
    return None if micros is None else Dates().text(micros)


class Dates:
    """Texts of timestamps, and of what parts of a request share; a batch has a few of each."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}
        self.shared: tuple[Any, ...] = ()
        self.middle = ""

    def text(self, micros: int) -> str:
        known = self._known.get(micros)
        if known is None:
            moment = _EPOCH + timedelta(microseconds=micros)
            known = self._known[micros] = moment.isoformat(timespec="microseconds")
        return known
