"""How often a key may ask: so many requests a second, and as many at once after a pause."""

from __future__ import annotations

KEYS_MAX = 10_000
"""Keys of which a process knows how much they have left; the longest silent one is forgotten."""


class Limits:
    """What each key has left. per_second: requests that it may send; None: any number."""

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, key: str, now: float) -> float:
        """Count a request of a key at a moment, in seconds of any clock that does not go back.

        Returns 0.0, or after how many seconds it may be sent; then it does not count.
        """
        rate = self._per_second
        if rate is None:
            return 0.0
        most = max(1.0, rate)
        left, since = self._left.pop(key, (most, now))
        left = min(most, left + (now - since) * rate)
        wait = 0.0 if left >= 1.0 else (1.0 - left) / rate
        self._left[key] = (left if wait else left - 1.0, now)
        if len(self._left) > KEYS_MAX:
            del self._left[next(iter(self._left))]
        return wait
