"""The summary says what became of the lines, in a table that a terminal has room for."""

from __future__ import annotations

from collections import Counter

from daybook.backfill.report import Summary
from daybook.ledger.rejection import Reason

MANY = 10_000_000
TERMINAL_WIDTH = 80
EDGES = 2


def test_the_table_fits_into_a_terminal() -> None:
    """However many lines came to whatever: no row is folded, remarks stand below the table."""
    refused = Counter({str(reason): MANY for reason in Reason})
    for is_dry_run in (False, True):
        summary = Summary(
            applied=MANY, inflight=MANY, scheduled=MANY, duplicates=MANY, unknown=MANY, valid=MANY,
            refused_before_log=refused, refused_by_ledger=refused, refused_earlier=refused,
            seconds=1.0, is_dry_run=is_dry_run,
        )  # fmt: skip
        rows = [(label, f"{count:,}", remark) for label, count, remark in summary.rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        assert sum(widths) + 2 * (len(widths) - 1) + EDGES <= TERMINAL_WIDTH


def test_what_was_refused_the_first_time_stands_below_the_table() -> None:
    """By code; without any, nothing is said."""
    summary = Summary(duplicates=3, refused_earlier=Counter(insufficient_funds=2))
    (said,) = summary.remarks()
    assert said.startswith(
        "Of the duplicates, refused the first time: 2 insufficient_funds. To try"
    )
    assert list(Summary(duplicates=3).remarks()) == []
