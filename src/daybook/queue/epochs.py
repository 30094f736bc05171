"""Epochs of the log: how many partitions it has, and since which entry.

The append script routes by the number in the log's state. A resize changes that number in one
step, and keeps the position of the newest entry as a *fence*: what stands at or before it was
routed by the number before, everything behind it by the new one. Positions are one order over all
partitions, so the number is a function of the position, and no producer has to wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import redis

from daybook.errors import LogUnavailable
from daybook.queue.connect import not_installed, strange, translated_faults
from daybook.queue.entries import entry_id_of
from daybook.queue.parsing import number_in, state_in
from daybook.queue.scripts import BEGIN_SCRIPT, CATCH_UP_SCRIPT

FIRST_EPOCH = 1
NO_END = (1 << 63) - 1
"""Where the present epoch ends: behind every entry."""
NOTHING = -1
"""Before every entry."""


_NO_CLOCK, _TOO_OLD = -1, 0
"""What the scripts answer when they begin no epoch."""


class Epoch(NamedTuple):
    """A span of the log. fence: the position behind which it begins."""

    number: int
    partitions: int
    fence: int


def older_than_database() -> LogUnavailable:
    """What is raised when the log has lost what the database knows of."""
    return LogUnavailable(
        "the log is older than the database: a worker's sweep repairs it within a second or two; "
        "then try again"
    )


class Epochs:
    """The epochs of one log.

    state, clock: its keys.
    """

    def __init__(self, client: redis.Redis, state: str, clock: str) -> None:
        self._client: Any = client
        self._state = state
        self._keys = [state, clock]
        self._begin = client.register_script(BEGIN_SCRIPT)
        self._catch_up = client.register_script(CATCH_UP_SCRIPT)

    def newest(self) -> int:
        """The number of the present epoch. Raises LogUnavailable."""
        with translated_faults():
            found = self._client.hget(self._state, "epoch")
        number = None if found is None else number_in(f"{self._state} epoch", found)
        return FIRST_EPOCH if number is None else number

    def after(self, number: int) -> Epoch | None:
        """The epoch that comes after ``number``, if it has begun. Raises LogUnavailable."""
        later = [epoch for epoch in self._all() if epoch.number > number]
        return min(later, default=None)

    def end_of(self, number: int) -> int:
        """The last position that is routed as in the epoch ``number``.

        NO_END for the present one, NOTHING for one that this log does not know yet: it is older
        than the database, and the sweeper repairs it first. Raises LogUnavailable.
        """
        newest = self.newest()
        if newest == number:
            return NO_END
        following = self.after(number) if newest > number else None
        return NOTHING if following is None else following.fence

    def since(self, number: int) -> list[Epoch]:
        """The epochs from ``number`` on that the log knows, oldest first. Raises LogUnavailable."""
        return sorted(epoch for epoch in self._all() if epoch.number >= number)

    def begin(self, partitions: int, stored: int = FIRST_EPOCH, newest: int = 0) -> Epoch:
        """From now on, route new entries by this number; nothing happens when it is so.

        stored: the epoch that Postgres is in. newest: the newest position that it knows of: what
        it has decided must lie before the fence, or nobody could tell by which number it was
        routed. Raises LogNotInstalled, LogUnavailable: also when the log is older than that.
        """
        with translated_faults():
            found = self._begin(keys=self._keys, args=[partitions, stored, entry_id_of(newest)])
        if found is None:
            raise not_installed()
        number = int(found)
        if number == _NO_CLOCK:
            raise strange("its clock")
        if number == _TOO_OLD:
            raise older_than_database()
        begun = next((each for each in self._all() if each.number == number), None)
        return begun or Epoch(number, partitions, 0)

    def catch_up(self, number: int, partitions: int, fence: int, newest: int) -> bool:
        """Follow a database whose epoch this log does not know: it lost the tail of its file.

        newest: the newest position that the database knows of. Up to there all was routed by its
        number, and is decided. What was accepted since was routed by the log's older number: that
        becomes an epoch of its own, and the database's number goes on behind it. The clock must be
        set right before. Returns whether there was something to do.
        """
        fences = (entry_id_of(fence), entry_id_of(max(fence, newest)))
        arguments: list[Any] = [number, partitions, *fences]
        with translated_faults():
            done = int(self._catch_up(keys=self._keys, args=arguments))
        if done == _NO_CLOCK:
            raise strange("its clock")
        return bool(done)

    def _all(self) -> list[Epoch]:
        with translated_faults():
            return _epochs(self._client.hgetall(self._state))


def partitions_at(state: Mapping[bytes, bytes], position: int) -> int:
    """How many partitions there were at ``position``, by the fields of the log's state.

    Raises LogNotInstalled.
    """
    known = state_in("state", state)
    if known is None:
        raise not_installed()
    before = [epoch for epoch in _epochs(state) if epoch.fence < position]
    return max(before).partitions if before else known.partitions


def _epochs(state: Mapping[bytes, bytes]) -> list[Epoch]:
    known = state_in("state", state)
    if known is None:
        return []
    return [Epoch(number, *epoch) for number, epoch in known.epochs.items()]
