"""What is done to holds and schedules that were recorded before: commits, voids, cancels.

An action may name one transaction or a request that several records carry out; then it is done to
each of them, or to none.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from daybook.ledger.book import Book
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.hold import Hold
from daybook.ledger.ids import part_id
from daybook.ledger.instructions import Action, Cancel, Commit, Deadline, Kind, Void
from daybook.ledger.money import misfit, to_minor
from daybook.ledger.posting.kinds import ANYTHING, KindOfInstruction, Reads, add_kind
from daybook.ledger.posting.recording import action_record, as_part, decision_of, request_record
from daybook.ledger.record import Record, Status
from daybook.ledger.rejection import Reason, Rejected


def post_commit(book: Book, entry: LogEntry, wanted: Commit) -> Decision | Rejected:
    """Post the remainder of a hold or a part of it; of a request, that of each of its holds."""
    holds = _open_holds(book, entry, wanted)
    if isinstance(holds, Rejected):
        return holds
    amounts: list[int] = []
    for hold in holds:
        amount = _commit_amount(wanted, hold)
        if isinstance(amount, Rejected):
            return amount
        amounts.append(amount)
    outcome = _begin(book, entry, wanted, holds, Status.APPLIED)
    for number, (hold, amount) in enumerate(zip(holds, amounts, strict=True), 1):
        _commit(book, hold, amount)
        label = f"{hold.transaction_id}_commit_{hold.commits}"
        _record_on_hold(book, entry, wanted, hold, number, amount, label)
    return outcome or decision_of(entry, book.records[-1].reference, Status.APPLIED)


def post_void(book: Book, entry: LogEntry, wanted: Void) -> Decision | Rejected:
    """Release the remainder of a hold, or of each hold of a request."""
    holds = _open_holds(book, entry, wanted)
    if isinstance(holds, Rejected):
        return holds
    outcome = _begin(book, entry, wanted, holds, Status.VOID)
    for number, hold in enumerate(holds, 1):
        amount = hold.remainder
        _void(book, hold, amount)
        label = f"{hold.transaction_id}_void"
        _record_on_hold(book, entry, wanted, hold, number, amount, label)
    return outcome or decision_of(entry, book.records[-1].reference, Status.VOID)


def post_deadline(book: Book, entry: LogEntry, wanted: Deadline) -> Decision:
    """Apply the dates of holds. What has ended already stays as it is."""
    ended = [
        status
        for hold in _holds_named(book, wanted.transaction_id)
        if (status := _apply_dates(book, entry, hold)) is not None
    ]
    if ended:
        return decision_of(entry, None, ended[0])
    return Decision(
        entry.position,
        entry.request_id,
        wanted.transaction_id,
        None,
        Status.APPLIED,
        duplicate=True,
    )


def post_cancel(book: Book, entry: LogEntry, wanted: Cancel) -> Decision | Rejected:
    """Withdraw a scheduled transaction: it is recorded as refused, and its reference is used."""
    schedule = book.schedules.get(wanted.transaction_id)
    if schedule is None:
        known = status_of(book, wanted.transaction_id)
        if known is None:
            return unknown_transaction(wanted.transaction_id)
        return Rejected(
            Reason.NOT_SCHEDULED,
            f"transaction_id: {wanted.transaction_id} is {known}; "
            "only what is SCHEDULED can be cancelled",
        )
    instruction = schedule.instruction
    whole = instruction.whole
    if whole.scheduled_micros is not None and whole.scheduled_micros <= entry.accepted_ms * 1000:
        return Rejected(
            Reason.NOT_SCHEDULED,
            f"transaction_id: {wanted.transaction_id} is due since before the cancel was accepted",
        )
    label = f"{wanted.transaction_id}_cancel"
    book.record(action_record(entry, wanted, label, Status.APPLIED))
    rejected = Rejected(Reason.CANCELLED, f"cancelled by {entry.request_id}")
    cancelled = entry._replace(request_id=schedule.transaction_id, fingerprint=schedule.fingerprint)
    record = request_record(cancelled, instruction, Status.REJECTED, rejected)
    book.record(record)
    book.close_schedule(schedule.transaction_id)
    book.cancelled.append(
        (
            schedule,
            Decision(
                entry.position,
                schedule.transaction_id,
                schedule.transaction_id,
                whole.reference,
                Status.REJECTED,
                rejected.reason,
                record.detail,
            ),
        )
    )
    return decision_of(entry, wanted.reference or label, Status.APPLIED)


def rejected_action(
    book: Book, entry: LogEntry, wanted: Action, rejected: Rejected
) -> list[Record]:
    """The record of a rejected action."""
    del book
    label = f"{entry.request_id}_rejected"
    return [action_record(entry, wanted, label, Status.REJECTED, rejected)]


def _rejected_on_hold(
    book: Book, entry: LogEntry, wanted: Commit | Void, rejected: Rejected
) -> list[Record]:
    """With the sides of the hold that it names, as far as they are known.

    Only for these it is always read: the record must not depend on what else the batch needs.
    """
    (record,) = rejected_action(book, entry, wanted, rejected)
    hold = book.holds.get(wanted.transaction_id)
    if hold is None:
        return [record]
    record = record._replace(
        source_id=hold.source_id,
        destination_id=hold.destination_id,
        currency=hold.currency,
        precision=hold.precision,
    )
    if isinstance(wanted, Commit):
        record = record._replace(precise_amount=wanted.precise_amount)
    return [record]


def credited_by_holds(book: Book, entry: LogEntry, wanted: Action | Deadline) -> tuple[str, ...]:
    """Both sides of the holds that it names; anything, when none of them is in the book."""
    del entry
    holds = _holds_named(book, wanted.transaction_id)
    touched = dict.fromkeys(
        side for hold in holds for side in (hold.source_id, hold.destination_id)
    )
    return tuple(touched) or (ANYTHING,)


def status_of(book: Book, transaction_id: str) -> str | None:
    """The status of a recorded or scheduled transaction; None when there is no such."""
    recorded = book.recorded(None, transaction_id)
    if recorded is not None:
        return recorded.status
    if transaction_id in book.schedules:
        return Status.SCHEDULED
    original = book.original(transaction_id)
    return original.status if original else book.transactions.get(transaction_id)


# Holds


def _holds_named(book: Book, transaction_id: str) -> list[Hold]:
    """The hold with this id, or the holds of the request with this id, as they were made."""
    hold = book.holds.get(transaction_id)
    if hold is not None:
        return [hold]
    return [book.holds[hold_id] for hold_id in book.groups.get(transaction_id, ())]


def _open_holds(book: Book, entry: LogEntry, wanted: Commit | Void) -> list[Hold] | Rejected:
    """The holds to act on, after what their own dates demand; or why there are none."""
    transaction_id = wanted.transaction_id
    holds = _holds_named(book, transaction_id)
    if not holds:
        return _holds_nothing(book, transaction_id)
    for hold in holds:
        _apply_dates(book, entry, hold)
    invalid = _invalid_amount(book, wanted, holds[0]) if isinstance(wanted, Commit) else None
    if invalid is not None:
        return invalid
    still_open = [hold for hold in holds if hold.remainder]
    if still_open:
        return still_open
    if any(hold.voided for hold in holds):
        return Rejected(Reason.ALREADY_VOIDED, f"transaction_id: {transaction_id} has been voided")
    return Rejected(
        Reason.ALREADY_COMMITTED, f"transaction_id: {transaction_id} has been committed in full"
    )


def _invalid_amount(book: Book, wanted: Commit, hold: Hold) -> Rejected | None:
    """What is wrong with a commit's amount, whatever the state of the hold."""
    if wanted.amount is None and wanted.precise_amount is None:
        return None
    if wanted.transaction_id not in book.holds:
        return Rejected(
            Reason.INVALID_AMOUNT,
            f"amount: {wanted.transaction_id} is held in parts; leave the amount out, or name the "
            "part that it is for",
        )
    if wanted.amount is None:
        return None
    amount = Decimal(wanted.amount)
    wrong = misfit(amount, hold.precision, wanted.rounding)
    if wrong is None and to_minor(amount, hold.precision) == 0:
        wrong = f"{wanted.amount} is zero at the hold's precision {hold.precision}"
    return None if wrong is None else Rejected(Reason.INVALID_AMOUNT, f"amount: {wrong}")


def _holds_nothing(book: Book, transaction_id: str) -> Rejected:
    """Why there is nothing inflight under this id."""
    status = status_of(book, transaction_id)
    if status is None:
        return unknown_transaction(transaction_id)
    hint = "cancel it instead" if status == Status.SCHEDULED else "it holds nothing"
    return Rejected(Reason.NOT_INFLIGHT, f"transaction_id: {transaction_id} is {status}, {hint}")


def unknown_transaction(transaction_id: str) -> Rejected:
    """The rejection of an action on a transaction that is not known."""
    return Rejected(Reason.UNKNOWN_TRANSACTION, f"transaction_id: {transaction_id} does not exist")


def _commit_amount(wanted: Commit, hold: Hold) -> int | Rejected:
    """How much to commit (minor units), or why not."""
    amount = wanted.precise_amount
    if wanted.amount is not None:
        amount = to_minor(Decimal(wanted.amount), hold.precision)
    if amount is None:
        return hold.remainder
    if amount > hold.remainder:
        return Rejected(
            Reason.COMMIT_EXCEEDS_HOLD,
            f"amount: {amount} asked, {hold.remainder} left of the hold "
            f"{hold.transaction_id} (minor units)",
        )
    return amount


def _commit(book: Book, hold: Hold, amount: int) -> None:
    hold.commit(amount)
    book.balances[hold.source_id].add(inflight_debit=-amount, debit=amount)
    book.balances[hold.destination_id].add(inflight_credit=-amount, credit=amount)


def _void(book: Book, hold: Hold, amount: int) -> None:
    hold.void(amount)
    book.balances[hold.source_id].add(inflight_debit=-amount)
    book.balances[hold.destination_id].add(inflight_credit=-amount)


def _apply_dates(book: Book, entry: LogEntry, hold: Hold) -> str | None:
    """Do what the dates of a hold demand at the time of ``entry``; returns the record's status."""
    demanded = hold.due(entry.accepted_ms * 1000)
    if demanded is None:
        return None
    amount = hold.remainder
    if demanded == "commit":
        kind, status = Kind.COMMIT, Status.APPLIED
        _commit(book, hold, amount)
        label = f"{hold.transaction_id}_commit_{hold.commits}"
        description = "the commit date of the hold has come"
    else:
        kind, status = Kind.VOID, Status.VOID
        _void(book, hold, amount)
        label = f"{hold.transaction_id}_void"
        description = "the hold has expired"
    record = action_record(entry, Void(hold.transaction_id), label, status)
    book.record(
        _on_hold(record, hold, amount)._replace(
            transaction_id=part_id(hold.transaction_id, "deadline"),
            kind=kind,
            description=description,
        )
    )
    return status


def _on_hold(record: Record, hold: Hold, amount: int) -> Record:
    return record._replace(
        parent_id=hold.transaction_id,
        source_id=hold.source_id,
        destination_id=hold.destination_id,
        currency=hold.currency,
        precision=hold.precision,
        precise_amount=amount,
    )


def _record_on_hold(
    book: Book,
    entry: LogEntry,
    wanted: Commit | Void,
    hold: Hold,
    number: int,
    amount: int,
    label: str,
) -> None:
    """Record what was done to one hold; of a request, as a part of the action."""
    status = Status.APPLIED if isinstance(wanted, Commit) else Status.VOID
    record = _on_hold(action_record(entry, wanted, label, status), hold, amount)
    if hold.transaction_id != wanted.transaction_id:
        record = as_part(record, wanted, number, label)
    book.record(record)


def _begin(
    book: Book, entry: LogEntry, wanted: Commit | Void, holds: Sequence[Hold], status: str
) -> Decision | None:
    """Record an action on a request as a whole, before its parts; None when it names a hold."""
    if wanted.transaction_id in book.holds:
        return None
    label = f"{wanted.transaction_id}_{'commit' if isinstance(wanted, Commit) else 'void'}"
    root = action_record(entry, wanted, label, status)
    book.record(root._replace(parts=len(holds)))
    return decision_of(entry, root.reference, status)


def _reads_holds(wanted: Commit | Void) -> Reads:
    return Reads(holds=(wanted.transaction_id,), schedules=(wanted.transaction_id,))


add_kind(
    Commit,
    KindOfInstruction(
        post=post_commit,
        once=True,
        reads=_reads_holds,
        may_credit=credited_by_holds,
        rejection_records=_rejected_on_hold,
        by_id=True,
    ),
)
add_kind(
    Void,
    KindOfInstruction(
        post=post_void,
        once=True,
        reads=_reads_holds,
        may_credit=credited_by_holds,
        rejection_records=_rejected_on_hold,
        by_id=True,
    ),
)
add_kind(
    Cancel,
    KindOfInstruction(
        post=post_cancel,
        once=True,
        reads=lambda wanted: Reads(
            statuses=(wanted.transaction_id,), schedules=(wanted.transaction_id,)
        ),
        may_credit=credited_by_holds,
        rejection_records=rejected_action,
        by_id=True,
    ),
)
add_kind(
    Deadline,
    KindOfInstruction(
        post=post_deadline,
        reads=lambda wanted: Reads(holds=(wanted.transaction_id,)),
        may_credit=credited_by_holds,
        has_record=False,
    ),
)
