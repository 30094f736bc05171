"""Resolutions: what becomes of requests that were quarantined."""

from __future__ import annotations

from daybook.ledger.book import Book
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.instructions import Resolve
from daybook.ledger.posting.kinds import KindOfInstruction, Reads, add_kind
from daybook.ledger.posting.recording import decision_of
from daybook.ledger.record import Status


def post_resolve(book: Book, entry: LogEntry, wanted: Resolve) -> Decision:
    """Resolve what was quarantined. What is resolved already stays as it is."""
    if book.resolve(wanted, entry.accepted_ms):
        return decision_of(entry, None, Status.APPLIED)
    return Decision(
        entry.position, entry.request_id, entry.request_id, None, Status.APPLIED, duplicate=True
    )


add_kind(
    Resolve,
    KindOfInstruction(
        post=post_resolve,
        reads=lambda wanted: Reads(quarantined=((wanted.request_id, wanted.position),)),
        has_record=False,
    ),
)
