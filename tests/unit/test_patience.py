"""Trying again: growing pauses within a bound, and never after a no."""

from __future__ import annotations

import asyncio

import pytest

from daybook.errors import LogNotInstalled, LogRefused, LogUnavailable
from daybook.queue.patience import PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN, Patience, patiently

AWAY = LogUnavailable("away")


def test_pauses_grow_to_a_bound_and_are_not_all_the_same() -> None:
    """Each is between half of its bound and the whole; the bound doubles up to two seconds."""
    series = []
    for _ in range(20):
        patience = Patience(1_000.0)
        series.append([patience.pause_after(AWAY) for _ in range(10)])
    for number, pauses in enumerate(zip(*series, strict=True)):
        bound = min(PAUSE_SECONDS_MIN * 2**number, PAUSE_SECONDS_MAX)
        assert all(bound / 2 <= pause <= bound for pause in pauses)
        assert len(set(pauses)) > 1


@pytest.mark.parametrize(
    ("fault", "seconds_max"),
    [(LogRefused("no"), 100.0), (LogNotInstalled("empty"), 100.0), (AWAY, 0.0)],
)
def test_a_no_and_the_end_of_patience_are_raised(fault: LogUnavailable, seconds_max: float) -> None:
    """After one attempt."""
    attempts = []

    async def ask() -> None:
        attempts.append(1)
        raise fault

    with pytest.raises(type(fault)) as caught:
        asyncio.run(patiently(ask, asyncio.sleep, seconds_max))
    assert (caught.value, len(attempts)) == (fault, 1)
