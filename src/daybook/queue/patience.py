"""Trying again when Redis is away or its reply was lost: within a bound, and never after a no."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from daybook.errors import LogNotInstalled, LogRefused, LogUnavailable

PAUSE_SECONDS_MIN = 0.05
PAUSE_SECONDS_MAX = 2.0

FINAL = (LogNotInstalled, LogRefused)
"""What another attempt does not change."""

Answer = TypeVar("Answer")


class Patience:
    """Pauses between attempts, for ``seconds_max`` from now on.

    Each is twice as long as the one before, up to a bound, and by chance some shorter: producers
    that lost the same server do not come back at the same moment.
    """

    def __init__(self, seconds_max: float) -> None:
        self._deadline = time.monotonic() + seconds_max
        self._pause = PAUSE_SECONDS_MIN

    def pause_after(self, fault: LogUnavailable) -> float:
        """Seconds until the next attempt. Raises ``fault`` when there is none."""
        left = self._deadline - time.monotonic()
        if isinstance(fault, FINAL) or left <= 0:
            raise fault
        pause = random.uniform(self._pause / 2, self._pause)  # noqa: S311 - no secret
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
        return min(pause, left)


async def patiently(
    ask: Callable[[], Awaitable[Answer]],
    sleep: Callable[[float], Awaitable[None]],
    seconds_max: float,
) -> Answer:
    """What ``ask`` answers, asked again while Redis is away. Raises what ``ask`` raised last."""
    patience = Patience(seconds_max)
    while True:
        try:
            return await ask()
        except LogUnavailable as fault:
            await sleep(patience.pause_after(fault))
