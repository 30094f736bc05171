"""Making the records and outcomes of decided entries."""

from __future__ import annotations

from collections.abc import Callable

from daybook.ledger.book import Recorded
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.ids import part_id
from daybook.ledger.instructions import (
    Action,
    Cancel,
    Commit,
    Kind,
    Leg,
    MultiLeg,
    Refund,
    Transaction,
)
from daybook.ledger.record import Record, Status
from daybook.ledger.rejection import Reason, Rejected, detail_with_names

ACTION_KINDS: dict[type, Kind] = {
    Commit: Kind.COMMIT,
    Refund: Kind.REFUND,
    Cancel: Kind.CANCEL,
}
"""The kind of each action's record; a void is what is left."""


def decision_of(entry: LogEntry, reference: str | None, status: str) -> Decision:
    """The outcome of an entry that was posted."""
    return Decision(entry.position, entry.request_id, entry.request_id, reference, status)


def effective_of(entry: LogEntry, effective_micros: int | None) -> int:
    """When a record counts for history: at its own date, by default when it was accepted."""
    return entry.accepted_ms * 1000 if effective_micros is None else effective_micros


def sent_again(entry: LogEntry, reference: str | None, recorded: Recorded) -> Decision | Rejected:
    """The original's outcome, when the request is the same; a conflict when it is not."""
    if recorded.fingerprint != entry.fingerprint:
        field = "transaction_id" if recorded.transaction_id == entry.request_id else "reference"
        return Rejected(
            Reason.REFERENCE_CONFLICT,
            f"{field}: {reference or entry.request_id} belongs to another request, "
            f"{recorded.transaction_id}",
        )
    return Decision(
        entry.position,
        entry.request_id,
        recorded.transaction_id,
        reference,
        recorded.status,
        recorded.reason,
        recorded.detail,
        duplicate=True,
    )


def transaction_record(
    entry: LogEntry,
    wanted: Transaction,
    status: str,
    rejected: Rejected | None = None,
    *,
    parent_id: str | None = None,
    part: int | None = None,
) -> Record:
    """The record of a transaction with one movement."""
    return Record(
        entry.request_id,
        Kind.TRANSACTION,
        wanted.reference,
        False,
        parent_id,
        wanted.source_id,
        wanted.destination_id,
        wanted.currency,
        wanted.precision,
        wanted.precise_amount,
        status,
        rejected.reason if rejected else None,
        _detail_of(wanted, rejected) if rejected else None,
        wanted.description,
        wanted.allow_overdraft,
        wanted.overdraft_limit,
        entry.position,
        effective_of(entry, wanted.effective_micros),
        wanted.meta_data,
        entry.fingerprint,
        None,
        part,
        wanted.expires_micros,
        wanted.commits_micros,
        wanted.scheduled_micros,
    )


def _detail_of(wanted: Transaction, rejected: Rejected) -> str:
    return detail_with_names(rejected, wanted.source_indicator, wanted.destination_indicator)


def legs_record(
    entry: LogEntry,
    wanted: MultiLeg,
    status: str,
    rejected: Rejected | None = None,
    *,
    parent_id: str | None = None,
    part: int | None = None,
) -> Record:
    """The record of a request with legs as a whole: it moves no money itself.

    Only what was posted has parts.
    """
    source_id, destination_id = shared_sides(wanted)
    whole = wanted.whole
    if rejected is not None:
        whole = whole._replace(
            source_indicator=whole.source_indicator if source_id else None,
            destination_indicator=whole.destination_indicator if destination_id else None,
        )
    record = transaction_record(entry, whole, status, rejected, parent_id=parent_id, part=part)
    parts = len(wanted.legs) if status in (Status.APPLIED, Status.INFLIGHT) else None
    return record._replace(source_id=source_id, destination_id=destination_id, parts=parts)


def request_record(
    entry: LogEntry,
    wanted: Transaction | MultiLeg,
    status: str,
    rejected: Rejected | None = None,
    *,
    parent_id: str | None = None,
    part: int | None = None,
) -> Record:
    """The record of a request as a whole, with one movement or with several legs."""
    if isinstance(wanted, MultiLeg):
        return legs_record(entry, wanted, status, rejected, parent_id=parent_id, part=part)
    return transaction_record(entry, wanted, status, rejected, parent_id=parent_id, part=part)


def shared_sides(wanted: MultiLeg) -> tuple[str | None, str | None]:
    """The source and the destination that all legs have; None for the side with several."""
    first, second = wanted.legs[0], wanted.legs[-1]
    return (
        first.source_id if first.source_id == second.source_id else None,
        first.destination_id if first.destination_id == second.destination_id else None,
    )


def leg_records(root: Record) -> Callable[[Leg, str, int], Record]:
    """What makes the records of the legs of the request with the record ``root``.

    It takes the leg, its id and its number.
    """
    root_id, reference, currency, precision = root[0], root[2], root[7], root[8]
    shared = root[10:20]  # from the status to the fingerprint
    dates = root[22:]

    def make(leg: Leg, leg_id: str, part: int) -> Record:
        source_id, destination_id, _, _, amount = leg
        label = f"{reference}_{part}"
        return Record._make(
            (
                leg_id,
                Kind.TRANSACTION,
                label,
                True,
                root_id,
                source_id,
                destination_id,
                currency,
                precision,
                amount,
                *shared,
                None,
                part,
                *dates,
            )
        )

    return make


def action_record(
    entry: LogEntry,
    wanted: Action,
    label: str,
    status: str,
    rejected: Rejected | None = None,
    *,
    parent_id: str | None = None,
) -> Record:
    """The record of an action without sides and amount: refused, or carried out by its parts.

    label: its reference when the caller gave none.
    """
    return Record(
        entry.request_id,
        ACTION_KINDS.get(type(wanted), Kind.VOID),
        wanted.reference or label,
        wanted.reference is None,
        parent_id or wanted.transaction_id,
        None,
        None,
        "",
        None,
        None,
        status,
        rejected.reason if rejected else None,
        rejected.detail if rejected else None,
        wanted.description,
        False,
        None,
        entry.position,
        effective_of(entry, None if isinstance(wanted, Cancel) else wanted.effective_micros),
        wanted.meta_data,
        entry.fingerprint,
    )


def as_part(record: Record, wanted: Action, part: int, label: str) -> Record:
    """The record of an action, as that of its ``part``-th part. label: see ``action_record``."""
    return record._replace(
        transaction_id=part_id(record.transaction_id, part),
        reference=f"{wanted.reference}_{part}" if wanted.reference else label,
        derived=True,
        part=part,
    )
