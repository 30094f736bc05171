"""A slowed run keeps its rate by a clock that tests move."""

from __future__ import annotations

import pytest

from daybook.backfill.pace import Clock, Pace


class MovedClock:
    """Time that passes only while someone sleeps, or when a test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.seconds += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self.sleep)


@pytest.mark.parametrize(
    ("rate", "lines"), [(None, 1000), (1e6, 1000), (500.0, 50), (5.0, 1), (0.5, 1)]
)
def test_a_slow_run_sends_small_chunks(rate: float | None, lines: int) -> None:
    """The chunk shrinks with the rate, so that the load is even; it never is empty."""
    assert Pace(rate, MovedClock().clock()).chunk_lines(1000) == lines


def test_the_rate_is_kept() -> None:
    """A hundred chunks of ten at 200 lines a second take five seconds, less the last pause."""
    time = MovedClock()
    pace = Pace(200.0, time.clock())
    for _ in range(100):
        pace.wait_for(10)
    assert time.seconds - 100.0 == pytest.approx(99 * 10 / 200)


def test_idle_time_is_not_saved_up() -> None:
    """After a pause of its own the run does not catch up with a burst."""
    time = MovedClock()
    pace = Pace(10.0, time.clock())
    pace.wait_for(10)
    time.seconds += 60
    pace.wait_for(10)
    pace.wait_for(10)
    assert time.sleeps == [pytest.approx(1.0)]


def test_no_rate_never_sleeps() -> None:
    """Without a rate nothing waits."""
    time = MovedClock()
    pace = Pace(None, time.clock())
    pace.wait_for(1_000_000)
    pace.wait_for(1_000_000)
    assert time.sleeps == []
