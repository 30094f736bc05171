"""The posting of one entry: every rule of the ledger, in the order of precedence.

Each rule looks only at the book and the entry. An entry is either posted, and the book has
changed, or ``Rejected`` comes back and the book is as it was; what the dates of a hold demand at
the time of the entry is done either way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daybook.ledger.balance import may_be_internal
from daybook.ledger.book import Book, Recorded
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.instructions import (
    Bulk,
    Cancel,
    Change,
    Commit,
    Deadline,
    MultiLeg,
    NewBalance,
    NewIdentity,
    NewLedger,
    Refund,
    Resolve,
    Transaction,
    Void,
    movements,
)
from daybook.ledger.posting.actions import (
    post_cancel,
    post_commit,
    post_deadline,
    post_void,
    rejected_action,
)
from daybook.ledger.posting.bulk import post_bulk, record_rejected
from daybook.ledger.posting.creations import (
    change_record,
    post_balance,
    post_change,
    post_identity,
    post_ledger,
)
from daybook.ledger.posting.recording import decision_of, request_record, sent_again
from daybook.ledger.posting.refunds import post_refund
from daybook.ledger.posting.transactions import post_legs, post_transaction
from daybook.ledger.record import Record, Status
from daybook.ledger.rejection import Reason, Rejected

ANYTHING = "*"
"""Stands for every balance and ledger, where it cannot be known what an entry would change."""


def post(book: Book, entry: LogEntry) -> Decision | Rejected:
    """Decide ``entry`` and, unless it is refused, post it to ``book``."""
    return _POST[type(entry.instruction)](book, entry, entry.instruction)


def reject(book: Book, entry: LogEntry, rejected: Rejected) -> Decision:
    """Record the final rejection of ``entry``.

    A conflict of references leaves no record of its own: the reference belongs to the original.
    """
    wanted = entry.instruction
    detail: str | None = rejected.detail
    is_conflict = rejected.reason is Reason.REFERENCE_CONFLICT
    schedule = book.schedules.get(entry.request_id)
    # Another request under the same id is none of its business.
    is_scheduled = schedule is not None and schedule.fingerprint == entry.fingerprint
    if isinstance(wanted, Bulk):
        if rejected.part is not None or not is_conflict:
            detail = record_rejected(book, entry, wanted, rejected)
    elif not is_conflict:
        record = _rejected_record(book, entry, rejected)
        if record is not None:
            book.record(record)
    elif is_scheduled:
        # Its time has come, and another request has its reference: it still has its own outcome.
        record = _rejected_record(book, entry, rejected)
        assert record is not None
        book.record(record._replace(derived=True))
    if is_scheduled:
        book.close_schedule(entry.request_id)
    return Decision(
        entry.position,
        entry.request_id,
        entry.request_id,
        getattr(wanted, "reference", None),
        Status.REJECTED,
        rejected.reason,
        detail,
    )


def quarantined(book: Book, entry: LogEntry, fault: str) -> Decision:
    """Quarantine ``entry``: deciding it raised, by a fault of ours.

    The journal has no record of it, so that it can be tried again under its own id and reference;
    until then both belong to it. fault: the name of the exception.
    """
    detail = f"deciding the request raised {fault}; it is quarantined"
    reference = getattr(entry.instruction, "reference", None)
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
    reference = getattr(entry.instruction, "reference", None)
    recorded = book.recorded(reference, entry.request_id)
    if recorded is None:
        return None
    if recorded.status == Status.SCHEDULED and recorded.transaction_id == entry.request_id:
        return None  # it is due
    return sent_again(entry, reference, recorded)


def may_credit(book: Book, entry: LogEntry) -> tuple[str, ...]:
    """Ids of the balances and things that ``entry`` would credit or create, were it posted.

    Also its source, when that is an internal balance: the entry may create it, and younger debits
    of it, in whatever slot, must not come first. ``("*",)`` when that cannot be known: what it
    names is not in the book.
    """
    wanted = entry.instruction
    if isinstance(wanted, Transaction | MultiLeg | Bulk):
        names: dict[str, None] = {}
        for _, leg in movements(wanted):
            names[leg.destination_id] = None
            if may_be_internal(leg.source_id):
                names[leg.source_id] = None
        return tuple(names)
    if isinstance(wanted, NewLedger | NewBalance | NewIdentity | Change):
        return (entry.request_id,)
    if isinstance(wanted, Resolve):
        return ()
    touched: dict[str, None] = {}
    original = book.original(wanted.transaction_id) if isinstance(wanted, Refund) else None
    if original is not None and original.source_id and original.destination_id:
        return (original.source_id, original.destination_id)
    for hold_id in (wanted.transaction_id, *book.groups.get(wanted.transaction_id, ())):
        hold = book.holds.get(hold_id)
        if hold is not None:
            touched[hold.source_id] = touched[hold.destination_id] = None
    return tuple(touched) or (ANYTHING,)


def _rejected_record(book: Book, entry: LogEntry, rejected: Rejected) -> Record | None:
    """The record of a rejection; None for creations: those are kept with their raw bytes."""
    wanted = entry.instruction
    if isinstance(wanted, Transaction | MultiLeg):
        return request_record(entry, wanted, Status.REJECTED, rejected)
    if isinstance(wanted, Commit | Void | Refund | Cancel):
        return rejected_action(book, entry, wanted, rejected)
    if isinstance(wanted, Change):
        return change_record(entry, wanted, Status.REJECTED, rejected)
    return None


def _post_resolve(book: Book, entry: LogEntry, wanted: Resolve) -> Decision:
    """Resolve what was quarantined. What is resolved already stays as it is."""
    if book.resolve(wanted, entry.accepted_ms):
        return decision_of(entry, None, Status.APPLIED)
    return Decision(
        entry.position, entry.request_id, entry.request_id, None, Status.APPLIED, duplicate=True
    )


_Post = Callable[[Book, LogEntry, Any], Decision | Rejected]


def _once(post_new: _Post) -> _Post:
    """Answer a request that is recorded already with its original, whatever else holds for it."""

    def post_or_repeat(book: Book, entry: LogEntry, wanted: Any) -> Decision | Rejected:
        recorded = book.recorded(wanted.reference, entry.request_id)
        if recorded is not None:
            return sent_again(entry, wanted.reference, recorded)
        return post_new(book, entry, wanted)

    return post_or_repeat


# Transactions look for themselves: one that was scheduled is recorded, and posted all the same.
_POST: dict[type, _Post] = {
    Transaction: post_transaction,
    MultiLeg: post_legs,
    Bulk: _once(post_bulk),
    Commit: _once(post_commit),
    Void: _once(post_void),
    Refund: _once(post_refund),
    Cancel: _once(post_cancel),
    Deadline: post_deadline,
    Resolve: _post_resolve,
    NewLedger: post_ledger,
    NewBalance: post_balance,
    NewIdentity: post_identity,
    Change: _once(post_change),
}
