"""Whether what is due happens: beat rings, the sweeper does its steps, nothing is overdue."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from daybook.counting import counted
from daybook.monitoring.health.checks import Asked, Finding, inspection, worst
from daybook.monitoring.recheck import LOOK_PAUSE_SECONDS, LOOKS_MAX
from daybook.queue.sweeps import SweepSign, last_sweep

SWEEPS_MISSED_MAX = 5
"""So many sweeps may fail to come before that is told, whatever the bound in seconds."""

_OLDEST_DUE = """
SELECT due, id FROM (
    (SELECT scheduled_for AS due, transaction_id AS id FROM schedules
        WHERE scheduled_for <= :before ORDER BY scheduled_for, position LIMIT 1)
    UNION ALL
    (SELECT LEAST(inflight_expiry_date, inflight_commit_date), transaction_id FROM holds
        WHERE amount > (committed + voided)
            AND LEAST(inflight_expiry_date, inflight_commit_date) IS NOT NULL
            AND LEAST(inflight_expiry_date, inflight_commit_date) <= :before
        ORDER BY LEAST(inflight_expiry_date, inflight_commit_date), transaction_id LIMIT 1)
) oldest ORDER BY due LIMIT 1
"""
_OVERDUE = """
SELECT (SELECT count(*) FROM schedules WHERE scheduled_for <= :before),
    (SELECT count(*) FROM holds WHERE amount > (committed + voided)
        AND LEAST(inflight_expiry_date, inflight_commit_date) IS NOT NULL
        AND LEAST(inflight_expiry_date, inflight_commit_date) <= :before)
"""


def judge_sweep(asked: Asked) -> Finding:
    """The sweeper ended a moment ago, and none of its steps failed."""
    bound = max(asked.seconds_max, SWEEPS_MISSED_MAX * asked.settings.sweep_interval_seconds)
    for _ in range(LOOKS_MAX):
        sign = last_sweep(asked.log)
        late = _late(sign, bound)
        if late is None:
            break
        time.sleep(LOOK_PAUSE_SECONDS)
    failed = [
        Finding(
            "failed",
            f"its step {fault.step!r} failed {counted(fault.times, 'time')} in a row, for "
            f"{max(0, sign.now_ms - fault.since_ms) / 1000:.0f} s: {fault.error}",
        )
        for fault in sign.faults
    ]
    return worst([*([late] if late else []), *failed], "ended a moment ago, every step done")


def _late(sign: SweepSign, seconds_max: float) -> Finding | None:
    cause = "beat has stopped, or no worker takes its sweeps"
    if sign.ended_ms is None:
        return Finding("failed", f"there was none yet: {cause}")
    age_seconds = (sign.now_ms - sign.ended_ms) / 1000
    if abs(age_seconds) <= seconds_max:  # in the future: the server's clock was put back
        return None
    return Finding("failed", f"the last one ended {age_seconds:.0f} s ago: {cause}")


def judge_dates(asked: Asked) -> Finding:
    """Nothing is overdue by the log's clock, which decides what is due.

    After an outage everything is late at first: it is looked at for some seconds whether the
    oldest comes to be.
    """
    bound = timedelta(seconds=asked.seconds_max)
    before = datetime.fromtimestamp(asked.log.now_ms() / 1000, UTC) - bound
    oldest = first = asked.row(_OLDEST_DUE, {"before": before})
    for _ in range(LOOKS_MAX):
        if oldest is None or oldest != first:
            return Finding("ok", "nothing is overdue" if oldest is None else "late, and moving")
        time.sleep(LOOK_PAUSE_SECONDS)
        oldest = asked.row(_OLDEST_DUE, {"before": before})
    schedules, holds = asked.row(_OVERDUE, {"before": before})
    since = first.due.astimezone(UTC).isoformat(timespec="seconds")
    return Finding(
        "failed",
        f"{counted(schedules, 'schedule')} and {counted(holds, 'deadline')} of holds are overdue, "
        f"the oldest since {since}: see `daybook schedules` and `daybook holds`",
    )


DATES = (
    inspection("sweep", judge_sweep, "log"),
    inspection("dates", judge_dates, "log", "database"),
)
