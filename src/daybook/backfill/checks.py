"""What a line is judged by beside itself: the references and dates of the lines before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from daybook.backfill.lines import Line, Reject, is_unchanged, rejects_of
from daybook.backfill.ordering import SeenReferences
from daybook.ledger.rejection import Reason
from daybook.requests import BulkRequest, TransactionRequest


class Checks:
    """The checks of one run.

    backwards: how many lines have an earlier date than the line before them. first_backwards: the
    number of the first of them.
    """

    def __init__(self) -> None:
        self.backwards = 0
        self.first_backwards: int | None = None
        self._seen = SeenReferences()
        self._latest: datetime | None = None

    def judged(self, built: Iterable[Line | Reject]) -> Iterator[Line | Reject]:
        """The lines; one that repeats a reference is refused, whatever else it says.

        It may be a second coffee, and it may be the first one twice: nobody but the one who made
        the file can tell. A refused line keeps its reference, too: corrected, it needs it.
        """
        try:
            for line in built:
                if isinstance(line, Reject):
                    for reference in line.references:
                        self._seen.add(reference, line.number)
                    yield line
                else:
                    yield from self._judge(line)
        finally:
            self._seen.close()

    def _judge(self, line: Line) -> Iterator[Line | Reject]:
        seen = [(named, self._seen.add(named, line.number)) for named in line.references]
        twice = [one for one in seen if one[1] not in (None, line.number)]
        if twice:
            reference, earlier = twice[0]
            reason = (
                f"reference: {reference} is that of line {earlier}, too; give each line its "
                "own, or take the second out"
            )
        elif any(is_unchanged(row, line.reference) for row in line.rows):
            reason = (
                f"reference: {line.reference} is still that of another line; give it its own, or "
                "empty rejected_code where the other line is taken out"
            )
        else:
            self._note_date(line)
            yield line
            return
        yield from rejects_of(line.rows, Reason.REFERENCE_CONFLICT, reason, line.reference)

    def _note_date(self, line: Line) -> None:
        request = line.request
        date = request.effective_date if isinstance(request, TransactionRequest) else None
        if isinstance(request, BulkRequest):
            date = request.effective_date or request.transactions[0].effective_date
        if date is None:
            return
        if self._latest is not None and date < self._latest:
            self.backwards += 1
            self.first_backwards = self.first_backwards or line.number
        self._latest = date
