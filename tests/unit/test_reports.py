"""What batches and drains say that they did."""

from __future__ import annotations

from typing import Any

import pytest

from daybook.apply.report import BatchReport, DrainReport
from daybook.ledger.batch import BatchDecision
from daybook.ledger.entry import Decision


def outcome(status: str, reason: str | None = None, **more: Any) -> Decision:
    return Decision(1, "txn_1", "txn_1", "r", status, reason, **more)


def test_outcomes_are_counted_by_their_names() -> None:
    """A duplicate of what was rejected is a duplicate; a reason is told of what is rejected now."""
    report = BatchReport(1)
    decisions = [
        outcome("APPLIED"),
        outcome("INFLIGHT"),
        outcome("APPLIED"),
        outcome("REJECTED", "insufficient_funds"),
        outcome("REJECTED", "insufficient_funds", duplicate=True),
        outcome("APPLIED", duplicate=True),
    ]
    report.count_decisions(BatchDecision(decisions))
    report.count_rejected("malformed")
    report.count_rejected("malformed")
    assert report.outcomes == {"applied": 2, "inflight": 1, "duplicate": 2, "rejected": 3}
    assert report.reasons == {"insufficient_funds": 1, "malformed": 2}


def test_a_batch_begins_with_nothing_done() -> None:
    """No entry, and no lock."""
    report, drained = BatchReport(1), DrainReport(1)
    assert (report.busy, report.progress, report.fenced) == (False, False, False)
    assert (report.cursor, report.read, report.deferred, report.opened) == (0, 0, 0, set())
    assert (drained.batches, drained.deferred, drained.more, drained.busy) == (0, 0, False, False)


def test_a_drain_adds_its_batches_up() -> None:
    """What waits is what waits after its last own batch; others are helped, or opened."""
    drained = DrainReport(1)
    first = BatchReport(1, deferred=3, progress=True, opened={1, 4})
    first.outcomes["applied"] += 2
    idle = BatchReport(1, deferred=2)
    other = BatchReport(2, deferred=9, progress=True)
    other.outcomes["applied"] += 1
    other.count_rejected("malformed")
    for report in (first, idle, other):
        drained.add(report)
    assert (drained.batches, drained.deferred, drained.helped) == (2, 2, {2, 4})
    assert drained.outcomes == {"applied": 3, "rejected": 1}
    assert drained.reasons == {"malformed": 1}


@pytest.mark.parametrize(
    ("drained", "said"),
    [
        (DrainReport(3), "partition 3: nothing to apply"),
        (DrainReport(3, busy=True, more=True), "partition 3: another worker is applying it"),
        (DrainReport(3, deferred=2), "partition 3: 2 deferred"),
        (DrainReport(3, more=True), "partition 3: nothing to apply; there is more"),
    ],
)
def test_a_drain_says_in_a_line_what_it_did(drained: DrainReport, said: str) -> None:
    """For people who look at the results of tasks."""
    assert str(drained) == said


def test_a_drain_says_why_it_has_rejected() -> None:
    """Each reason with its number."""
    drained = DrainReport(3, deferred=1, more=True)
    drained.outcomes.update({"applied": 5, "rejected": 3})
    drained.reasons.update({"malformed": 1, "insufficient_funds": 2})
    assert str(drained) == (
        "partition 3: 5 applied, 3 rejected, 1 deferred (1 malformed, 2 insufficient_funds); "
        "there is more"
    )
