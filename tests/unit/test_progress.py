"""When a partition stands still, from what was found of all of them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from daybook.monitoring.progress import Progress, stalled

BOUND = 30.0
LONG, SHORT = 100.0, 1.0


def found(partition: int, idle: float, **more: Any) -> Progress:
    return Progress(partition, 5, 1, idle, **more)


@pytest.mark.parametrize(
    ("claim", "partitions", "expected"),
    [
        ("idle for long", [found(0, LONG)], []),
        ("never used", [found(0, math.inf)], []),
        ("a young entry after a long idle time", [found(0, LONG, unread=9, waited_seconds=1)], []),
        ("a backlog that moves", [found(0, SHORT, unread=9, waited_seconds=LONG)], []),
        ("nobody there", [found(0, LONG, unread=9, waited_seconds=LONG)], [0]),
        ("never anybody there", [found(0, math.inf, unread=9, waited_seconds=LONG)], [0]),
        ("an entry from the future", [found(0, LONG, unread=9, waited_seconds=math.inf)], [0]),
        (
            "deferred behind others that move",
            [found(0, SHORT), found(1, LONG, deferred=9, waited_seconds=LONG)],
            [],
        ),
        (
            "deferred and nobody moves",
            [found(0, LONG), found(1, LONG, deferred=9, waited_seconds=LONG)],
            [1],
        ),
        (
            "waits for its turn behind an older entry that moves",
            [
                found(0, SHORT, unread=8, waited_seconds=LONG),
                found(1, LONG, unread=9, waited_seconds=LONG, may_wait=True),
            ],
            [],
        ),
        (
            "could wait, but is the oldest",
            [
                found(0, SHORT, unread=10, waited_seconds=LONG),
                found(1, LONG, unread=9, waited_seconds=LONG, may_wait=True),
            ],
            [1],
        ),
        (
            "need not wait for the older one that moves",
            [
                found(0, SHORT, unread=8, waited_seconds=LONG),
                found(1, LONG, unread=9, waited_seconds=LONG),
            ],
            [1],
        ),
    ],
)
def test_a_partition_is_stalled_when_it_could_move_and_does_not(
    claim: str, partitions: list[Progress], expected: list[int]
) -> None:
    """The claim of each row."""
    assert [each.partition for each in stalled(partitions, BOUND)] == expected, claim
