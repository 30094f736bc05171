"""What became of the lines: the summary, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from daybook.backfill.spans import Spans
from daybook.counting import counted


@dataclass(slots=True)
class Summary:
    """Counts of lines by what became of them; every line that was read is in exactly one.

    applied, inflight: posted by this run. scheduled: accepted for a later time. duplicates: the
    ledger or the log had them already, nothing happened twice. refused_before_log,
    refused_by_ledger: by code. unknown: in the log, their outcome was not seen. valid: of a dry
    run.
    refused_earlier: by code, those of the duplicates whose first request was refused.
    spans: rows of a CSV that take several lines, unless the mapping expects them.
    rejects_fault: why the rejects file could not be written.
    dates_backwards: lines whose effective date is earlier than that of the line before them.
    """

    applied: int = 0
    inflight: int = 0
    scheduled: int = 0
    duplicates: int = 0
    refused_before_log: Counter[str] = field(default_factory=Counter)
    refused_by_ledger: Counter[str] = field(default_factory=Counter)
    refused_earlier: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    valid: int = 0
    balances_created: int = 0
    unseen_columns: list[str] = field(default_factory=list)
    spans: Spans = field(default_factory=Spans)
    dates_backwards: int = 0
    stopped: str | None = None
    seconds: float = 0.0
    rejects_path: str | None = None
    rejects_fault: str | None = None
    is_dry_run: bool = False

    @property
    def lines(self) -> int:
        """All lines that were read and are accounted for."""
        posted = self.applied + self.inflight + self.scheduled
        counted = posted + self.duplicates + self.unknown + self.valid
        return counted + self.refused_before_log.total() + self.refused_by_ledger.total()

    @property
    def rejects(self) -> int:
        """Lines that are not posted, by this run or an earlier one."""
        refused = (self.refused_before_log, self.refused_by_ledger, self.refused_earlier)
        return sum(counter.total() for counter in refused)

    @property
    def is_in_doubt(self) -> bool:
        """Whether something is not posted, or may not be what was meant."""
        return bool(self.rejects or self.spans.count)

    @property
    def lines_per_second(self) -> float:
        """The rate of the whole run."""
        return self.lines / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The summary as plain data, for ``--json``."""
        return {
            "lines": self.lines,
            "applied": self.applied,
            "inflight": self.inflight,
            "scheduled": self.scheduled,
            "duplicates": self.duplicates,
            "refused_before_log": dict(self.refused_before_log),
            "refused_by_ledger": dict(self.refused_by_ledger),
            "refused_earlier": dict(self.refused_earlier),
            "unknown": self.unknown,
            "valid": self.valid,
            "balances_created": self.balances_created,
            "columns_never_seen": self.unseen_columns,
            "rows_over_lines": self.spans.count,
            "first_rows_over_lines": self.spans.first,
            "dates_backwards": self.dates_backwards,
            "rejects_file": self.rejects_path,
            "rejects_fault": self.rejects_fault,
            "dry_run": self.is_dry_run,
            "complete": self.stopped is None,
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
            "lines_per_second": round(self.lines_per_second, 1),
        }

    def rows(self) -> Iterator[tuple[str, int, str]]:
        """Label, count and remark of each figure that a person wants to see."""
        if self.is_dry_run:
            yield "valid", self.valid, "nothing was written"
        else:
            yield "applied", self.applied, ""
            if self.inflight:
                yield "inflight", self.inflight, "held until committed or voided"
            if self.scheduled:
                yield "scheduled", self.scheduled, "applied when their time comes"
            yield "duplicates", self.duplicates, "known already" if self.duplicates else ""
        for code, count in sorted(self.refused_before_log.items()):
            yield f"refused: {code}", count, "before they reached the log"
        for code, count in sorted(self.refused_by_ledger.items()):
            yield f"refused: {code}", count, "by the ledger"
        if self.unknown:
            yield "unknown", self.unknown, "outcome not seen: run again"
        yield "lines", self.lines, f"{self.lines_per_second:,.0f}/s"

    def remarks(self) -> Iterator[str]:
        """Sentences that follow the figures."""
        if self.balances_created:
            yield f"{counted(self.balances_created, 'balance')} created."
        if self.refused_earlier:
            codes = ", ".join(f"{n:,} {code}" for code, n in sorted(self.refused_earlier.items()))
            yield (
                f"Of the duplicates, refused the first time: {codes}. To try such a line again, "
                "give it another reference."
            )
        if self.unseen_columns:
            names = ", ".join(self.unseen_columns)
            yield f"No line has {names}, which the mapping names: is it spelt as in the file?"
        if self.spans.count:
            yield (
                f"{counted(self.spans.count, 'row')} with line feeds in a cell: lines "
                f"{self.spans}. If none is meant there, a quote is missing or stray, and lines are "
                "lost in the cell; if they are, write line_feeds = true into [csv] of the mapping."
            )
        if self.dates_backwards:
            yield (
                f"{counted(self.dates_backwards, 'line')} dated earlier than the line before. A "
                "file that has the newest first is posted with --reverse; order_by in the mapping "
                "orders it by a column."
            )
        if self.rejects_path:
            yield f"{counted(self.rejects, 'line')} not posted; the reasons: {self.rejects_path}"
        if self.rejects_fault:
            yield (
                f"{counted(self.rejects, 'line')} not posted, and the reasons could not be kept: "
                f"{self.rejects_fault}. Run it again with another --rejects to have them; what "
                "was posted is not posted twice."
            )
        if self.stopped:
            yield f"Stopped: {self.stopped}"
            yield "Running it again is safe: what was accepted is not posted twice."


def backwards_warning(line: int) -> str:
    """What is said as soon as dates run backwards."""
    return (
        f"Line {line} has an earlier date than the line before it. A file that has the newest "
        "first is posted with --reverse; order_by in the mapping orders it by a column"
    )
