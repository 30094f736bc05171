"""What an outcome says: under which key, about how much money, and whose it is in a conflict."""

from __future__ import annotations

from daybook.ledger.book import Book
from daybook.ledger.entry import LogEntry
from daybook.ledger.instructions import (
    Instruction,
    Kind,
    MultiLeg,
    Transaction,
)
from daybook.ledger.posting.kinds import kind_of
from daybook.ledger.record import Record, Status
from daybook.queue.entries import NO_MONEY, Money, key_of_request, outcome_value

NO_FINGERPRINT = "0" * 64
"""Stands for the fingerprint of what nobody asked for: the General Ledger, first uses."""


def key_of_entry(entry: LogEntry) -> str:
    """The outcome key of a decoded entry."""
    return key_of_request(entry.instruction.reference, entry.request_id)


def money_of(instruction: Instruction, record: Record | None) -> Money:
    """What an outcome is about. record: of what is no transaction, if there is one."""
    if isinstance(instruction, Transaction | MultiLeg):
        whole = instruction.whole
        return Money(whole.precise_amount, whole.precision, whole.currency)
    if record is None:
        return NO_MONEY
    return Money(record.precise_amount, record.precision, record.currency or None)


def actions_in(book: Book) -> dict[str, Record]:
    """The records of a batch whose requests do not say themselves how much they moved."""
    plain = Kind.TRANSACTION
    return {record.transaction_id: record for record in book.records if record.kind != plain}


def belongs_to_another(book: Book, entry: LogEntry) -> bool:
    """Whether the key of a conflict is taken: the id may be taken while the reference is not."""
    if kind_of(entry).is_creation:
        return book.has(entry.request_id)
    reference = entry.instruction.reference
    return reference is None or reference in book.references


def value_of_owner(book: Book, entry: LogEntry) -> str:
    """The outcome of the request that has the id or the reference which ``entry`` wants, too."""
    if kind_of(entry).is_creation:
        owner = book.created_by(entry.request_id)
        fingerprint = owner.hex() if owner else NO_FINGERPRINT
        return outcome_value(fingerprint, entry.request_id, Status.APPLIED.value)
    recorded = book.recorded(entry.instruction.reference, entry.request_id)
    assert recorded is not None
    return outcome_value(
        recorded.fingerprint.hex() or NO_FINGERPRINT,
        recorded.transaction_id,
        recorded.status,
        recorded.reason,
        recorded.detail,
        money=Money(recorded.precise_amount, recorded.precision, recorded.currency),
    )
