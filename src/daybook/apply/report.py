"""What a batch and a drain did, in words that a person understands in Flower."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from daybook.ledger.batch import BatchDecision
from daybook.ledger.record import Status


@dataclass(slots=True)
class BatchReport:
    """What one batch did. Counts are entries; deferred counts what waits after it.

    cursor: the partition's, when the batch began. opened: other partitions that had to wait for
    this batch and can go on. fenced: the log has another number of partitions from some entry on,
    and only what stands before that was read.
    """

    partition: int
    busy: bool = False
    cursor: int = 0
    read: int = 0
    deferred: int = 0
    progress: bool = False
    fenced: bool = False
    opened: set[int] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def count_decisions(self, decision: BatchDecision) -> None:
        """Count the outcomes of a batch by the name that a person would give them."""
        for outcome in decision.decisions:
            if outcome.status == Status.REJECTED and not outcome.duplicate:
                self.count_rejected(outcome.reason)
            else:
                self.outcomes["duplicate" if outcome.duplicate else outcome.status.lower()] += 1

    def count_rejected(self, reason: str | None) -> None:
        """Count one that was rejected."""
        self.outcomes["rejected"] += 1
        self.reasons[str(reason)] += 1


@dataclass(slots=True)
class DrainReport:
    """What one doorbell led to. helped: other partitions that it applied a batch of, or opened."""

    partition: int
    batches: int = 0
    deferred: int = 0
    more: bool = False
    busy: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    helped: set[int] = field(default_factory=set)

    def add(self, report: BatchReport) -> None:
        """Add a batch."""
        self.batches += report.progress
        self.helped |= report.opened - {self.partition}
        if report.partition == self.partition:
            self.deferred = report.deferred
        else:
            self.helped.add(report.partition)
        self.outcomes += report.outcomes
        self.reasons += report.reasons

    def __str__(self) -> str:
        """One line, as the result of the task."""
        where = f"partition {self.partition}: "
        if self.busy:
            return where + "another worker is applying it"
        counts = [f"{number} {name}" for name, number in self.outcomes.items()]
        if self.deferred:
            counts.append(f"{self.deferred} deferred")
        said = where + (", ".join(counts) or "nothing to apply")
        if self.reasons:
            said += " (" + ", ".join(f"{n} {reason}" for reason, n in self.reasons.items()) + ")"
        return said + ("; there is more" if self.more else "")
