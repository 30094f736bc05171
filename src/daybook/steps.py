"""Named points of the pipeline: where it can be made to crash, stall, fail or repeat itself.

Nothing happens there unless somebody watches: tests and simulations do, with ``watched``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

Watcher = Callable[["Point"], None]


class Point(StrEnum):
    """Every step between two of which a process may die, in the order of the pipeline."""

    DRAFTED = "drafted"
    """Producer: the request is valid, and not sent yet."""
    APPENDED = "appended"
    """Producer: the log has accepted it, and no doorbell was rung."""
    RUNG = "rung"
    """Producer: all is done."""
    LOCKED = "locked"
    """Worker: has the partition."""
    READ = "read"
    """Worker: has read what is new."""
    HORIZON_READ = "horizon-read"
    """Worker: knows what is open elsewhere."""
    RIGHTS_TAKEN = "rights-taken"
    """Worker: may debit all that the batch debits."""
    LOADED = "loaded"
    """Worker: has read the figures."""
    DECIDED = "decided"
    """Worker: knows every outcome, and has written nothing."""
    RECORDS_WRITTEN = "records-written"
    HOLDS_WRITTEN = "holds-written"
    BALANCES_WRITTEN = "balances-written"
    """Worker: all but the cursor is written, and balances are locked."""
    BEFORE_COMMIT = "before-commit"
    COMMITTED = "committed"
    """Worker: the batch is true, and nobody was told."""
    REPLIED = "replied"
    """Worker: producers can read the outcomes."""
    TRIMMED = "trimmed"
    """Sweeper: the log has lost what was applied long ago."""
    DUE_READ = "due-read"
    """Sweeper: knows what is due, and has appended nothing of it."""
    DUE_APPENDED = "due-appended"
    """Sweeper: what is due is accepted, and no doorbell was rung."""
    BEGUN = "begun"
    """Resize: the log routes by the new number."""
    ADVANCING = "advancing"
    """Resize: everything older is decided, and the partitions' rows are written."""
    ADVANCED = "advanced"
    """Resize: workers decide by the new number."""


_watcher: Watcher | None = None


def reach(point: Point) -> None:
    """Come to a point. Raises whatever the watcher raises."""
    if _watcher is not None:
        _watcher(point)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Tell ``watcher`` of every point that this process comes to, until the end of the block."""
    global _watcher
    before, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = before
