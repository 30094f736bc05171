"""Refunds: the reverse of what was applied, in full and once (ledger semantics, section 9)."""

from __future__ import annotations

from collections.abc import Sequence

from daybook.ledger.book import Book, Original
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.ids import part_id
from daybook.ledger.instructions import Kind, Refund
from daybook.ledger.meta import merge
from daybook.ledger.posting.actions import (
    credited_by_holds,
    rejected_action,
    status_of,
    unknown_transaction,
)
from daybook.ledger.posting.kinds import KindOfInstruction, Reads, add_kind
from daybook.ledger.posting.recording import action_record, as_part, decision_of
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason, Rejected

NAMED_MAX = 5
"""Transactions that a rejection names."""


def post_refund(book: Book, entry: LogEntry, wanted: Refund) -> Decision | Rejected:
    """Reverse an applied transaction, or all those of a request, in full and once."""
    original = book.original(wanted.transaction_id)
    if original is None:
        status = status_of(book, wanted.transaction_id)
        if status is None:
            return unknown_transaction(wanted.transaction_id)
        return _refused(wanted.transaction_id, f"is {status}, nothing was moved by it")
    refundable = _refundable(book, original)
    if isinstance(refundable, Rejected):
        return refundable
    overflow = _refund_overflows(book, refundable)
    if overflow is not None:
        return overflow
    label = f"{original.transaction_id}_refund"
    if original.parts:
        root = action_record(entry, wanted, label, Status.APPLIED)
        book.record(root._replace(parts=len(refundable)))
    for number, each in enumerate(refundable, 1):
        _refund(book, entry, wanted, each, number if original.parts else None)
    return decision_of(entry, wanted.reference or label, Status.APPLIED)


def _refundable(book: Book, original: Original) -> list[Original] | Rejected:
    """What is reversed when ``original`` is refunded, or why it can't be."""
    leaves = _leaves(book, original)
    held = [each for each in leaves if each.status == Status.INFLIGHT]
    if held:
        return _refused(original.transaction_id, _names_commits(book, held))
    if original.kind == Kind.REFUND:
        return _refused(original.transaction_id, "is a refund, which can't be refunded")
    applied = [
        each
        for each in leaves
        if each.status == Status.APPLIED and each.kind in (Kind.TRANSACTION, Kind.COMMIT)
    ]
    if not applied:
        return _refused(original.transaction_id, f"is {original.status}, nothing was moved by it")
    fresh = [each for each in applied if each.transaction_id not in book.refunded]
    if not fresh:
        return Rejected(
            Reason.ALREADY_REFUNDED,
            f"transaction_id: {original.transaction_id} has been refunded",
        )
    return fresh


def _leaves(book: Book, original: Original) -> list[Original]:
    """The records that carry a request out: itself, its legs, the items of a bulk."""
    if not original.parts:
        return [original]
    leaves: list[Original] = []
    for number in range(1, original.parts + 1):
        part = book.original(part_id(original.transaction_id, number))
        if part is not None:  # an item whose reference belonged to another has no record
            leaves += _leaves(book, part)
    return leaves


def _names_commits(book: Book, held: Sequence[Original]) -> str:
    """A hold is not refunded, its commits are: says which these are."""
    commits = [name for hold in held for name in book.commits_of(hold.transaction_id)]
    if not commits:
        return "is INFLIGHT and nothing of it is committed: void it instead"
    more = f" and {len(commits) - NAMED_MAX} more" if len(commits) > NAMED_MAX else ""
    return f"is INFLIGHT; refund its commits: {', '.join(commits[:NAMED_MAX])}{more}"


def _refused(transaction_id: str, why: str) -> Rejected:
    return Rejected(Reason.NOT_REFUNDABLE, f"transaction_id: {transaction_id} {why}")


def _refund_overflows(book: Book, refundable: Sequence[Original]) -> Rejected | None:
    debits: dict[str, int] = {}
    credits: dict[str, int] = {}
    for each in refundable:
        assert each.precise_amount is not None
        assert each.source_id is not None
        assert each.destination_id is not None
        debits[each.destination_id] = debits.get(each.destination_id, 0) + each.precise_amount
        credits[each.source_id] = credits.get(each.source_id, 0) + each.precise_amount
    balances = book.balances
    fits = all(balances[name].debit_fits(amount) for name, amount in debits.items()) and all(
        balances[name].credit_fits(amount) for name, amount in credits.items()
    )
    if fits:
        return None
    return Rejected(
        Reason.FIGURE_OVERFLOW, "amount: the refund makes a figure longer than the ledger keeps"
    )


def _refund(
    book: Book, entry: LogEntry, wanted: Refund, original: Original, part: int | None
) -> None:
    amount = original.precise_amount
    assert amount is not None
    assert original.source_id is not None
    assert original.destination_id is not None
    book.balances[original.destination_id].add(debit=amount)
    book.balances[original.source_id].add(credit=amount)
    book.refunded.add(original.transaction_id)
    label = f"{original.transaction_id}_refund"
    record = action_record(entry, wanted, label, Status.APPLIED)._replace(
        parent_id=original.transaction_id,
        source_id=original.destination_id,
        destination_id=original.source_id,
        currency=original.currency,
        precision=original.precision,
        precise_amount=amount,
        meta_data=merge(original.meta_data, wanted.meta_data),
    )
    if part is not None:
        record = as_part(record, wanted, part, label)
    book.record(record)


def _credited(book: Book, entry: LogEntry, wanted: Refund) -> tuple[str, ...]:
    original = book.original(wanted.transaction_id)
    if original is not None and original.source_id and original.destination_id:
        return (original.source_id, original.destination_id)
    return credited_by_holds(book, entry, wanted)


add_kind(
    Refund,
    KindOfInstruction(
        post=post_refund,
        once=True,
        reads=lambda wanted: Reads(
            originals=(wanted.transaction_id,), schedules=(wanted.transaction_id,)
        ),
        may_credit=_credited,
        rejection_records=rejected_action,
        is_reversal=True,
        by_id=True,
    ),
)
