"""The sweeper's part, done in this process, and waiting for what only time brings."""

from __future__ import annotations

from daybook.apply.due import append_due
from tests.harness import WAIT_SECONDS_MAX, Installation, wait_until

_DUE_SOON = """
SELECT (SELECT count(*) FROM schedules WHERE scheduled_for < now() + interval '1 hour')
    + (SELECT count(*) FROM holds WHERE amount > committed + voided
        AND LEAST(inflight_expiry_date, inflight_commit_date) < now() + interval '1 hour')
"""


def sweep_due(installation: Installation) -> int:
    """Append what is due; returns how much was new."""
    return append_due(installation.store, installation.log, lambda partition: None)


def drain_due(installation: Installation, *partitions: int) -> int:
    """Append what is due and apply everything; returns how much was new."""
    appended = sweep_due(installation)
    installation.drain(*partitions)
    return appended


def is_decided(installation: Installation) -> bool:
    """Whether nothing is open, and nothing waits for a time of this hour."""
    return (
        installation.open_entries() == 0
        and installation.rows(_DUE_SOON) == [(0,)]
        and installation.open_entries() == 0
    )


def wait_decided(installation: Installation, seconds: float = WAIT_SECONDS_MAX) -> None:
    """Wait until running workers and beat have decided everything, also what is due later.

    seconds: without progress at most.
    """
    wait_until(
        lambda: is_decided(installation),
        "everything is decided",
        seconds,
        progress=installation.progress,
    )


def decide_all(installation: Installation) -> None:
    """Decide everything in this process, waiting for what is due a moment later."""

    def decided() -> bool:
        drain_due(installation)
        return is_decided(installation)

    wait_until(decided, "everything is decided", progress=installation.progress)
