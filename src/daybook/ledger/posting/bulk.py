"""The posting of a bulk: many transactions in one request, in order."""

from __future__ import annotations

from collections.abc import Sequence

from daybook.ledger.book import Book
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.ids import part_id, part_ids
from daybook.ledger.instructions import Bulk, Kind, MultiLeg, Transaction, movements
from daybook.ledger.posting.kinds import KindOfInstruction, add_kind
from daybook.ledger.posting.recording import effective_of, request_record
from daybook.ledger.posting.transactions import credited, post_legs, post_transaction
from daybook.ledger.record import Record, Status
from daybook.ledger.rejection import Reason, Rejected

REFUSED_SHOWN_MAX = 20
"""Refused items that the detail of a bulk names."""


def post_bulk(book: Book, entry: LogEntry, bulk: Bulk) -> Decision | Rejected:
    """Post the items of a bulk in order: all or none when it is atomic, else each on its own.

    It comes up only when nothing older is open anywhere, so the rejection of an item is final.
    """
    named = {
        balance_id
        for _, leg in movements(bulk)
        for balance_id in (leg.source_id, leg.destination_id)
    }
    savepoint = book.savepoint(named)
    refused: list[tuple[int, Rejected]] = []
    ids = part_ids(entry.request_id, 1, len(bulk.items))
    for number, (item, item_id) in enumerate(zip(bulk.items, ids, strict=True), 1):
        part = entry._replace(request_id=item_id)
        rejection = _post_item(book, part, item, entry.request_id, number)
        if rejection is None:
            continue
        if bulk.atomic:
            book.undo(savepoint)
            return rejection._replace(part=number)
        refused.append((number, rejection))
        if item.reference not in book.references:
            book.record(_rejected_item(entry, item, number, rejection))
    root = _root_of_posted(entry, bulk, refused)
    book.record(root)
    book.records.insert(savepoint.records, book.records.pop())  # a request comes before its parts
    return Decision(
        entry.position,
        entry.request_id,
        entry.request_id,
        bulk.reference,
        root.status,
        None if root.reason is None else Reason(root.reason),
        root.detail,
    )


def _rejection_records(book: Book, entry: LogEntry, bulk: Bulk, rejected: Rejected) -> list[Record]:
    """The records of an atomic bulk that was rejected because of one of its items.

    Its neighbours are rejected with it. An item whose reference belongs to another request has no
    record of its own.
    """
    failed = rejected.part
    assert failed is not None, "only an item makes it fail"
    detail = _about(bulk, failed, rejected)
    aborted = Rejected(Reason.BULK_ABORTED, f"the bulk was refused: {detail}")
    records = [_root(entry, bulk, Status.REJECTED, rejected.reason, detail)]
    for number, item in enumerate(bulk.items, 1):
        if item.reference not in book.references:
            why = rejected if number == failed else aborted
            records.append(_rejected_item(entry, item, number, why))
    return records


def _post_item(
    book: Book, part: LogEntry, item: Transaction | MultiLeg, bulk_id: str, number: int
) -> Rejected | None:
    """Post one item of a bulk; returns why not, if it is refused.

    part: the entry of the bulk, under the item's id.
    """
    if isinstance(item, MultiLeg):
        outcome = post_legs(book, part, item, bulk_id, number)
    else:
        outcome = post_transaction(book, part, item, bulk_id, number)
    if isinstance(outcome, Rejected):
        return outcome
    if outcome.duplicate:
        return Rejected(
            Reason.REFERENCE_CONFLICT,
            f"reference: {item.reference} belongs to another request, {outcome.transaction_id}",
        )
    return None


def _rejected_item(
    entry: LogEntry, item: Transaction | MultiLeg, number: int, rejected: Rejected
) -> Record:
    part = entry._replace(request_id=part_id(entry.request_id, number))
    return request_record(
        part, item, Status.REJECTED, rejected, parent_id=entry.request_id, part=number
    )


def _about(bulk: Bulk, number: int, rejected: Rejected) -> str:
    reference = bulk.items[number - 1].reference
    return f"item {number} ({reference}): {rejected.reason}: {rejected.detail}"


def _root_of_posted(entry: LogEntry, bulk: Bulk, refused: Sequence[tuple[int, Rejected]]) -> Record:
    if not refused:
        return _root(entry, bulk, _status(bulk.items))
    shown = [_about(bulk, number, rejected) for number, rejected in refused[:REFUSED_SHOWN_MAX]]
    if len(refused) > REFUSED_SHOWN_MAX:
        shown.append(f"and {len(refused) - REFUSED_SHOWN_MAX} more")
    detail = f"{len(refused)} of {len(bulk.items)} refused: {'; '.join(shown)}"
    if len(refused) == len(bulk.items):
        return _root(entry, bulk, Status.REJECTED, refused[0][1].reason, detail)
    left_out = {number for number, _ in refused}
    posted = [item for number, item in enumerate(bulk.items, 1) if number not in left_out]
    return _root(entry, bulk, _status(posted), None, detail)


def _status(posted: Sequence[Transaction | MultiLeg]) -> Status:
    """INFLIGHT when every item that was posted is a hold."""
    held = all(item.whole.inflight for item in posted)
    return Status.INFLIGHT if held else Status.APPLIED


def _root(
    entry: LogEntry,
    bulk: Bulk,
    status: Status,
    reason: Reason | None = None,
    detail: str | None = None,
) -> Record:
    """The record of the bulk as a whole: it moves no money itself."""
    return Record(
        entry.request_id,
        Kind.BULK,
        bulk.reference,
        False,
        None,
        None,
        None,
        "",
        None,
        None,
        status,
        reason,
        detail,
        bulk.description,
        False,
        None,
        entry.position,
        effective_of(entry, bulk.effective_micros),
        bulk.meta_data,
        entry.fingerprint,
        len(bulk.items),
    )


def _references(bulk: Bulk) -> tuple[str, ...]:
    return (*(item.reference for item in bulk.items), bulk.reference)


add_kind(
    Bulk,
    KindOfInstruction(
        post=post_bulk,
        once=True,
        may_credit=credited,
        rejection_records=_rejection_records,
        references=_references,
    ),
)
