"""What seems wrong is looked at again, a bounded number of times."""

from __future__ import annotations

from daybook.monitoring.recheck import LOOK_PAUSE_SECONDS, LOOKS_MAX, what_stays


def test_what_is_wrong_at_every_look_stays() -> None:
    """Others come and go: nothing that is right at one of the looks is reported."""
    looks = iter([{1, 2, 3}, {2, 3}, {1, 2, 3}, *[{2, 3, 4}] * LOOKS_MAX])
    pauses: list[float] = []
    assert what_stays(lambda: next(looks), set.intersection, pauses.append) == {2, 3}
    assert pauses == [LOOK_PAUSE_SECONDS] * LOOKS_MAX
    assert len(list(looks)) == 2


def test_nobody_waits_for_what_is_well() -> None:
    """The first look that finds nothing is the last."""
    pauses: list[float] = []
    assert what_stays(set[int], set.intersection, pauses.append) == set()
    looks = iter([{1}, {2}])
    assert what_stays(lambda: next(looks), set.intersection, pauses.append) == set()
    assert pauses == [LOOK_PAUSE_SECONDS]
