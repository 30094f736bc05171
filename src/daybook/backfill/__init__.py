"""Files of past transactions, posted through the log: once each, in the order of the file.

A declarative mapping (``mapping``) says how the columns of a CSV or NDJSON file become requests;
``source`` opens the file and ``rows`` streams it, in another order where ``ordering`` is asked for
one; ``lines`` builds the requests (``request_lines`` takes lines that are requests themselves),
``checks`` judges them by the lines before them, ``run`` hands them to the log and gathers their
outcomes within a bounded window, ``report`` and ``rejects`` say what became of them.
"""

from daybook.backfill.lines import Line, Reject, balance_id_of, ledger_id_of
from daybook.backfill.loading import load_mapping
from daybook.backfill.mapped_lines import LineBuilder
from daybook.backfill.mapping import Mapping
from daybook.backfill.report import Summary
from daybook.backfill.request_lines import RequestLines
from daybook.backfill.rows import Row
from daybook.backfill.run import Backfill, dry_run
from daybook.backfill.source import Source, open_source

__all__ = [
    "Backfill",
    "Line",
    "LineBuilder",
    "Mapping",
    "Reject",
    "RequestLines",
    "Row",
    "Source",
    "Summary",
    "balance_id_of",
    "dry_run",
    "ledger_id_of",
    "load_mapping",
    "open_source",
]
