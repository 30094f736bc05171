"""What a batch and a drain did, in words that a person understands in Flower."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from daybook.ledger.batch import BatchDecision


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
    outcomes: dict[str, int] = field(default_factory=dict)

    def count(self, name: str) -> None:
        """One more outcome of this name."""
        self.outcomes[name] = self.outcomes.get(name, 0) + 1

    def count_decisions(self, decision: BatchDecision) -> None:
        """Count the outcomes of a batch by the name that a person would give them."""
        for outcome in decision.decisions:
            self.count("duplicate" if outcome.duplicate else str(outcome.status).lower())


@dataclass(slots=True)
class DrainReport:
    """What one doorbell led to. helped: other partitions that it applied a batch of, or opened."""

    partition: int
    batches: int = 0
    deferred: int = 0
    more: bool = False
    busy: bool = False
    outcomes: dict[str, int] = field(default_factory=dict)
    helped: set[int] = field(default_factory=set)

    def add(self, report: BatchReport) -> None:
        """Add a batch."""
        self.batches += report.progress
        self.helped |= report.opened - {self.partition}
        if report.partition == self.partition:
            self.deferred = report.deferred
        else:
            self.helped.add(report.partition)
        for name, number in report.outcomes.items():
            self.outcomes[name] = self.outcomes.get(name, 0) + number

    def summary(self) -> dict[str, Any]:
        """The task's result."""
        if self.busy:
            return {"partition": self.partition, "skipped": "another worker is applying it"}
        return {
            "partition": self.partition,
            **self.outcomes,
            "batches": self.batches,
            "deferred": self.deferred,
            "more": self.more,
        }
