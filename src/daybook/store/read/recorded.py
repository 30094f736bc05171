"""A transaction in full, as the journal shows it: its hold, its parts, what was done to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    select,
)

from daybook.ledger.ids import part_id, public_id
from daybook.ledger.instructions import Kind
from daybook.ledger.record import Status
from daybook.store.read.holds import find_hold, with_holds
from daybook.store.read.records import (
    ACTION_KINDS,
    by_label,
    by_reference,
    is_one_of,
    leg_labelled,
    merged_later,
    newest_first,
    owner_of,
    part_uuids,
    views_of,
)
from daybook.store.read.rows import (
    columns_of,
    parsed,
    rejection_view,
    stored_id,
)
from daybook.store.read.views import RejectionView, TransactionView
from daybook.store.schema import (
    rejected_requests,
    schedules,
    transactions,
)

PARTS_SHOWN_MAX = 1_000
"""Most records that a transaction is shown with: of those that carry it out, and of actions."""


def find_transaction(
    connection: Connection,
    *,
    reference: str | None = None,
    id: str | None = None,
) -> TransactionView | RejectionView | None:
    """The transaction with this reference, or this id, and all that became of it: one of the two.

    id: ``txn_…`` or ``bulk_…``, or of what a creation made. What is scheduled is shown before it is
    recorded. A caller's own reference comes before the labels that the ledger derives
    (``…_void``); what the journal cannot show is looked for among the refused requests.
    """
    view: TransactionView | None = None
    if id is not None:
        stored = stored_id(id)
        if stored is not None:
            view = _recorded(connection, transactions.c.transaction_id == stored)
            view = view or _scheduled(connection, schedules.c.transaction_id == stored)
        if view is not None and view.transaction_id != id:
            view = None  # the same digits behind another prefix
    elif reference is not None:
        view = (
            _recorded(connection, by_reference(reference))
            or _scheduled(connection, schedules.c.transaction_id == owner_of(reference))
            or _recorded(connection, by_label(reference))
            or _labelled_leg(connection, reference)
        )
    if view is None:
        return find_rejection(connection, reference=reference, id=id)
    return _in_full(connection, view)


def posted_by_id(connection: Connection, ids: Sequence[str]) -> dict[str, TransactionView]:
    """The records of those of these transactions that are one movement, in one look: as they were
    posted, with the state of holds, and without what was done to them since."""
    stored = [one for one in map(stored_id, ids) if one is not None]
    columns = transactions.c
    single = (columns.kind == Kind.TRANSACTION.value, columns.parts.is_(None))
    query = columns_of(transactions).where(is_one_of(columns.transaction_id, stored), *single)
    views = with_holds(connection, views_of(connection, connection.execute(query).all()))
    return {view.transaction_id: view for view in views}


def _labelled_leg(connection: Connection, label: str) -> TransactionView | None:
    leg = leg_labelled(connection, label)
    return None if leg is None else _recorded(connection, transactions.c.transaction_id == leg)


def _recorded(connection: Connection, condition: ColumnElement[bool]) -> TransactionView | None:
    """The newest record that fits."""
    query = columns_of(transactions).where(condition).order_by(*newest_first(transactions))
    return next(iter(views_of(connection, connection.execute(query.limit(1)).all())), None)


def _scheduled(connection: Connection, condition: ColumnElement[bool]) -> TransactionView | None:
    """The transaction that waits for its time: what the record of its acceptance says of it."""
    row = connection.execute(select(schedules).where(condition)).first()
    if row is None:
        return None
    transaction_id = public_id(str(row.transaction_id))
    record = stored_id(part_id(transaction_id, "scheduled"))
    accepted = _recorded(connection, transactions.c.transaction_id == record)
    if accepted is None:
        return None
    merged = parsed(merged_later(connection, [row.transaction_id]).get(row.transaction_id))
    return replace(
        accepted,
        transaction_id=transaction_id,
        kind=Kind.TRANSACTION.value,
        reference=row.reference,
        parent_transaction=None,
        meta_data=accepted.meta_data | merged,
    )


def _in_full(connection: Connection, view: TransactionView) -> TransactionView:
    """A transaction with its hold, its refund, its parts, and what was done to it."""
    return replace(
        view,
        refunded_by=_refund_of(connection, view),
        hold=find_hold(connection, view.transaction_id),
        records=tuple(_parts_of(connection, view)),
        actions=tuple(_actions_on(connection, view)),
    )


def _refund_of(connection: Connection, view: TransactionView) -> str | None:
    """Looked for by itself: it may stand behind any number of refused refunds."""
    is_refund = and_(
        transactions.c.parent_transaction == stored_id(view.transaction_id),
        transactions.c.kind == Kind.REFUND,
        transactions.c.status == Status.APPLIED,
    )
    refund = _recorded(connection, is_refund)
    return None if refund is None else refund.transaction_id


def _parts_of(connection: Connection, view: TransactionView) -> list[TransactionView]:
    """The records that carry a request out: their ids follow from its own."""
    shown = min(view.parts or 0, PARTS_SHOWN_MAX)
    ids = part_uuids(view.transaction_id, shown)
    if not ids:
        return []
    query = columns_of(transactions).where(is_one_of(transactions.c.transaction_id, ids))
    rows = connection.execute(query.order_by(transactions.c.part)).all()
    return with_holds(connection, views_of(connection, rows))


def _actions_on(connection: Connection, view: TransactionView) -> list[TransactionView]:
    """Commits, voids, refunds and cancels that name it, the newest first."""
    query = columns_of(transactions).where(
        transactions.c.parent_transaction == stored_id(view.transaction_id),
        transactions.c.kind.in_(ACTION_KINDS),
    )
    newest = query.order_by(*newest_first(transactions))
    return views_of(connection, connection.execute(newest.limit(PARTS_SHOWN_MAX)).all())


def find_rejection(
    connection: Connection,
    *,
    reference: str | None = None,
    id: str | None = None,
) -> RejectionView | None:
    """The newest refused request with this reference, or this id, that the journal cannot show."""
    if id is None:
        wanted = and_(
            rejected_requests.c.reference == reference, rejected_requests.c.uses_reference
        )
    else:
        wanted = rejected_requests.c.request_id == id
    query = (
        select(rejected_requests)
        .where(wanted)
        .order_by(rejected_requests.c.position.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else rejection_view(row)
