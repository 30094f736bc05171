"""How often a key may ask."""

from __future__ import annotations

import pytest

from daybook.api import limits
from daybook.api.limits import Limits


def test_a_key_has_a_second_s_worth_at_once_and_then_its_rate() -> None:
    """What is refused does not count; another key has its own."""
    given = Limits(2.0)
    assert [given.wait("a", 10.0) for _ in range(4)] == [0.0, 0.0, 0.5, 0.5]
    assert given.wait("b", 10.0) == 0.0
    assert given.wait("a", 10.25) == 0.25
    assert [given.wait("a", 10.5) for _ in range(2)] == [0.0, 0.5]
    assert [given.wait("a", 99.0) for _ in range(3)] == [0.0, 0.0, 0.5]


def test_less_than_one_a_second_lets_one_through() -> None:
    """And the next one after its time."""
    given = Limits(0.1)
    assert given.wait("a", 0.0) == 0.0
    assert given.wait("a", 0.0) == pytest.approx(10.0)


def test_without_a_limit_everything_goes_through() -> None:
    """Nothing is remembered."""
    given = Limits(None)
    assert {given.wait("a", 0.0) for _ in range(1000)} == {0.0}
    assert given._left == {}


def test_the_longest_silent_key_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """So who tries keys fills no memory."""
    monkeypatch.setattr(limits, "KEYS_MAX", 2)
    given = Limits(1.0)
    for key in ("a", "b", "a", "c"):
        given.wait(key, 0.0)
    assert given._left.keys() == {"a", "c"}
