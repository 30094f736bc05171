"""The posting of one entry: every rule of the ledger, in the order of precedence.

Each rule looks only at the book and the entry. An entry is either posted, and the book has
changed, or ``Rejected`` comes back and the book is as it was; what the dates of a hold demand at
the time of the entry is done either way.
"""

from __future__ import annotations

from daybook.ledger.book import Book, Recorded
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.posting import (  # noqa: F401 - they make their kinds known
    actions,
    bulk,
    creations,
    refunds,
    resolutions,
    transactions,
)
from daybook.ledger.posting.kinds import KINDS, kind_of
from daybook.ledger.posting.recording import sent_again
from daybook.ledger.record import Record, Status
from daybook.ledger.rejection import Reason, Rejected


def post(book: Book, entry: LogEntry) -> Decision | Rejected:
    """Decide ``entry`` and, unless it is refused, post it to ``book``."""
    wanted = entry.instruction
    kind = KINDS[type(wanted)]
    if kind.once:
        recorded = book.recorded(wanted.reference, entry.request_id)
        if recorded is not None:
            return sent_again(entry, wanted.reference, recorded)
    return kind.post(book, entry, wanted)


def reject(book: Book, entry: LogEntry, rejected: Rejected) -> Decision:
    """Record the final rejection of ``entry``.

    A conflict of references leaves no record of its own: the reference belongs to the original.
    """
    wanted = entry.instruction
    is_conflict = rejected.reason is Reason.REFERENCE_CONFLICT
    schedule = book.schedules.get(entry.request_id)
    # Another request under the same id is none of its business.
    is_scheduled = schedule is not None and schedule.fingerprint == entry.fingerprint
    records: list[Record] = []
    if is_scheduled or not is_conflict or rejected.part is not None:
        records = kind_of(entry).rejection_records(book, entry, wanted, rejected)
    if is_scheduled and is_conflict:
        # Its time has come, and another request has its reference: it still has its own outcome.
        records = [record._replace(derived=True) for record in records]
    for record in records:
        book.record(record)
    if is_scheduled:
        book.close_schedule(entry.request_id)
    return Decision(
        entry.position,
        entry.request_id,
        entry.request_id,
        wanted.reference,
        Status.REJECTED,
        rejected.reason,
        records[0].detail if records else rejected.detail,
    )


def quarantined(book: Book, entry: LogEntry, fault: str) -> Decision:
    """Quarantine ``entry``: deciding it raised, by a fault of ours.

    The journal has no record of it, so that it can be tried again under its own id and reference;
    until then both belong to it. fault: the name of the exception.
    """
    detail = f"deciding the request raised {fault}; it is quarantined"
    reference = entry.instruction.reference
    recorded = Recorded(
        entry.request_id, Status.REJECTED, entry.fingerprint, Reason.QUARANTINED, detail
    )
    book.add_quarantined(entry, reference, recorded)
    return Decision(
        entry.position,
        entry.request_id,
        entry.request_id,
        reference,
        Status.REJECTED,
        Reason.QUARANTINED,
        detail,
    )


def repeated(book: Book, entry: LogEntry) -> Decision | Rejected | None:
    """The answer to ``entry`` when its reference or id is recorded already, whatever it asks."""
    reference = entry.instruction.reference
    recorded = book.recorded(reference, entry.request_id)
    if recorded is None:
        return None
    if recorded.status == Status.SCHEDULED and recorded.transaction_id == entry.request_id:
        return None  # it is due
    return sent_again(entry, reference, recorded)


def may_credit(book: Book, entry: LogEntry) -> tuple[str, ...]:
    """Ids of the balances and things that ``entry`` would credit or create, were it posted.

    ``(ANYTHING,)`` when that cannot be known: what it names is not in the book.
    """
    return kind_of(entry).may_credit(book, entry, entry.instruction)
