"""What the journal shows: its records, a transaction in full, and how a thing was changed.

``store.read.queries`` offers these calls to all who read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    ScalarSelect,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    cast,
    exists,
    func,
    lateral,
    literal,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from daybook.ledger.ids import bare, part_id, part_ids, public_id
from daybook.ledger.instructions import Kind
from daybook.ledger.record import Status
from daybook.store.read.called import Called, told_in_details
from daybook.store.read.rows import (
    bad_value,
    bounded,
    change_view,
    columns_of,
    first_position,
    given_id,
    hold_view,
    parsed,
    rejection_view,
    stored_id,
    transaction_view,
)
from daybook.store.read.views import ChangeView, HoldView, RejectionView, TransactionView
from daybook.store.schema import (
    balances,
    holds,
    partitions,
    rejected_requests,
    schedules,
    taken_references,
    transaction_metadata,
    transactions,
)

PARTS_SHOWN_MAX = 1_000
"""Most records that a transaction is shown with: of those that carry it out, and of actions."""

ACTION_KINDS = (Kind.COMMIT, Kind.VOID, Kind.REFUND, Kind.CANCEL)
"""Kinds of records of what was done to a transaction later."""

MONEY_KINDS = (Kind.TRANSACTION, Kind.BULK, Kind.SCHEDULE, *ACTION_KINDS)
"""Kinds of records that move money, or try to."""

RECORDS_OVERTAKEN_MAX = 10_000
"""So many records a partition may have written while an entry was deferred, for lists of the newest
to show it in its place; one that waited for longer may be missing at the end of a page."""

ALL_KINDS = "all"

_HOLD_FIGURES = ("amount", "committed", "voided", "commits")

# Lists


_LEG_LABEL = re.compile(r"(.+)_([1-9][0-9]{0,3})", re.DOTALL)


def list_transactions(
    connection: Connection,
    *,
    balance_id: str | None = None,
    status: str | None = None,
    reference: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: str | None = None,
    reason: str | None = None,
    ledger_id: str | None = None,
    meta_data: Mapping[str, str] | None = None,
    parent: str | None = None,
    kind: str | None = None,
    subject: str | None = None,
    limit: int = 100,
) -> list[TransactionView]:
    """The newest records that fit all filters, newest acceptance first.

    since, until: accepted from this moment on, up to this one. after: go on behind this
    transaction, the last of a page. reason: of a rejection. ledger_id: with a side in this ledger.
    meta_data: what was merged later included, has these values, as text.
    parent: what was done to this transaction, the legs of this request, the items of this bulk.
    reference: the caller's, or one that the ledger derived.
    kind: of the record, or ``all``; without it, what moves money or tries to, unless a parent,
    subject or reference is given. subject: what a creation or change is about.
    Without ``balance_id``, ``parent``, ``subject`` and ``reference`` they are found among what each
    partition wrote last: see ``RECORDS_OVERTAKEN_MAX``.
    """
    if any(given is not None and stored_id(given) is None for given in (balance_id, parent)):
        return []
    limit = bounded(limit)
    is_named = not (parent is None and reference is None and subject is None)
    conditions: list[ColumnElement[bool]] = []
    if kind is None and not is_named:
        conditions.append(transactions.c.kind.in_(MONEY_KINDS))
    elif kind is not None and kind != ALL_KINDS:
        conditions.append(transactions.c.kind == kind)
    if status is not None:
        if status not in set(Status):
            raise bad_value("status", f"{status} is none of {', '.join(Status)}")
        conditions.append(transactions.c.status == status)
    if since is not None:
        conditions.append(transactions.c.position >= first_position(since))
    if until is not None:
        conditions.append(transactions.c.position < first_position(until, after=True))
    if after is not None:
        conditions.append(_is_older_than(connection, after))
    if reason is not None:
        conditions.append(transactions.c.reason == reason)
    if ledger_id is not None:
        conditions.append(_touches_ledger(ledger_id))
    conditions += [_has_meta(key, value) for key, value in (meta_data or {}).items()]
    if parent is not None:
        conditions.append(_names_as_parent(connection, parent))
    if subject is not None:
        conditions.append(transactions.c.subject == subject)
    if reference is not None:  # each way has an index of its own
        ways = [by_reference(reference), _by_label(reference)]
        leg = _leg_labelled(connection, reference)
        if leg is not None:
            ways.append(transactions.c.transaction_id == leg)
        conditions.append(or_(*ways))
    if balance_id is not None:
        query = _newest_of_balance(stored_id(balance_id), conditions, limit)
    elif is_named:
        query = columns_of(transactions).where(*conditions)
    else:
        query = _newest_of_partitions(conditions, limit)
    found = query.subquery()
    ordered = select(found).order_by(*(column.desc() for column in _place_of(found)))
    return views_of(connection, connection.execute(ordered.limit(limit)).all())


def _is_older_than(connection: Connection, transaction_id: str) -> ColumnElement[bool]:
    """What a list shows behind a transaction. Raises MalformedRequest when there is none."""
    place = select(*_place_of(transactions)).where(
        transactions.c.transaction_id == given_id(transaction_id, "after")
    )
    row = connection.execute(place).first()
    if row is None:
        raise bad_value("after", f"there is no transaction {transaction_id}")
    return tuple_(*_place_of(transactions)) < tuple_(*row)


def _place_of(records: FromClause) -> tuple[ColumnElement[Any], ...]:
    """By what lists are ordered: a wide request has one position in several partitions."""
    columns = records.c
    return columns.position, columns.sequence, columns.partition


def _touches_ledger(ledger_id: str) -> ColumnElement[bool]:
    sides = (transactions.c.source, transactions.c.destination)
    return exists().where(balances.c.balance_id.in_(sides), balances.c.ledger_id == ledger_id)


def _has_meta(key: str, value: str) -> ColumnElement[bool]:
    """Whether a key of meta_data has this value: as it was merged later, or as it was sent."""
    later = select(transaction_metadata.c.meta_data.op("->>")(key)).where(
        transaction_metadata.c.transaction_id == transactions.c.transaction_id
    )
    sent = transactions.c.meta_data.op("->>")(key)
    return func.coalesce(later.scalar_subquery(), sent) == value


def _newest_of_balance(
    balance_id: UUID | None, conditions: Sequence[ColumnElement[bool]], limit: int
) -> Any:
    """Each side has an index by (balance, position), and another one for records with a date of
    their own: read the newest of each."""
    effective, created = transactions.c.effective_date, transactions.c.created_at
    found = []
    for side in (transactions.c.source, transactions.c.destination):
        for dated in (effective == created, effective != created):
            newest = (
                columns_of(transactions)
                .where(side == balance_id, dated, *conditions)
                .order_by(transactions.c.position.desc())
                .limit(limit)
            )
            found.append(select(newest.subquery()))
    return union_all(*found)


def _newest_of_partitions(conditions: Sequence[ColumnElement[bool]], limit: int) -> Select[Any]:
    """No index orders the whole journal by position, but each partition ends with its newest.

    An entry that was deferred is recorded behind younger ones, so what stands before the last
    records of a partition may be younger than they are: it is read on from them, by sequence.
    """
    columns = transactions.c
    chosen = and_(columns.partition == partitions.c.partition, *conditions)
    last = select(columns.sequence).where(chosen).order_by(columns.sequence.desc()).limit(limit)
    last_ones = last.correlate(partitions).subquery()
    first = select(func.min(last_ones.c.sequence)).scalar_subquery()
    newest = lateral(
        columns_of(transactions)
        .where(chosen, columns.sequence >= first - RECORDS_OVERTAKEN_MAX)
        .order_by(columns.position.desc(), columns.sequence.desc())
        .limit(limit)
    )
    return select(newest).select_from(partitions.join(newest, true()))


def list_changes(connection: Connection, subject: str, *, limit: int = 100) -> list[ChangeView]:
    """How a thing became what it is, newest first: its changes, and its creation.

    subject: the id of a ledger, balance, identity, transaction or bulk.
    """
    query = columns_of(transactions).where(transactions.c.subject == subject)
    query = query.order_by(transactions.c.position.desc()).limit(bounded(limit))
    return [change_view(row) for row in connection.execute(query)]


def views_of(connection: Connection, rows: Sequence[Row[Any]]) -> list[TransactionView]:
    """Records as they are to be seen: with what was merged onto them later."""
    merged = _merged_later(connection, [row.transaction_id for row in rows])
    called = _called(connection, rows)
    return [transaction_view(row, merged.get(row.transaction_id), called) for row in rows]


def _called(connection: Connection, rows: Sequence[Row[Any]]) -> dict[UUID, Called]:
    """What people call the balances that the records name."""
    ids = {side for row in rows for side in (row.source, row.destination) if side is not None}
    if not ids:
        return {}
    columns = balances.c
    external_id = columns.meta_data.op("->>")("external_id")
    query = select(columns.balance_id, columns.indicator, external_id).where(
        _is_one_of(columns.balance_id, list(ids))
    )
    found = {row[0]: Called(*row[1:]) for row in connection.execute(query)}
    return found | dict(told_in_details(rows, found))


def _merged_later(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, str]:
    """The meta_data, as JSON text, that was merged onto these transactions."""
    if not ids:
        return {}
    rows = connection.execute(
        columns_of(transaction_metadata).where(
            _is_one_of(transaction_metadata.c.transaction_id, ids)
        )
    )
    return {row.transaction_id: row.meta_data for row in rows}


def _is_one_of(column: ColumnElement[Any], ids: Sequence[UUID | str]) -> ColumnElement[bool]:
    """Whether an id is among ``ids``: one parameter, however many there are."""
    wanted = literal([str(each) for each in ids], ARRAY(Text))
    return column == any_(cast(wanted, ARRAY(Uuid)))


# One transaction


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
            or _recorded(connection, _by_label(reference))
            or _labelled_leg(connection, reference)
        )
    if view is None:
        return find_rejection(connection, reference=reference, id=id)
    return _in_full(connection, view)


def _names_as_parent(connection: Connection, parent: str) -> ColumnElement[bool]:
    """What was done to a transaction has an index; legs and items have ids that follow from it."""
    columns, stored = transactions.c, stored_id(parent)
    parts = connection.execute(select(columns.parts).where(columns.transaction_id == stored))
    ids = _part_ids(public_id(str(stored)), parts.scalar() or 0)
    names_it = columns.parent_transaction == stored
    return or_(
        and_(names_it, columns.kind != Kind.TRANSACTION.value),
        and_(names_it, _is_one_of(transactions.c.transaction_id, ids)),
    )


def _part_ids(request_id: str, parts: int) -> list[str]:
    """The UUIDs of the first ``parts`` parts of a request."""
    return [bare(part) for part in part_ids(request_id, 1, parts)]


def by_reference(reference: str) -> ColumnElement[bool]:
    """A caller's own reference: the journal has no index of them, but what has taken one has it."""
    own = transactions.c.transaction_id == owner_of(reference)
    return and_(own, transactions.c.reference == reference)


def owner_of(reference: str) -> ScalarSelect[Any]:
    """The UUID of the transaction that has taken a reference."""
    taken = taken_references.c
    return select(taken.owner).where(taken.reference == reference).scalar_subquery()


def _by_label(label: str) -> ColumnElement[bool]:
    """A label that the ledger derived, but for those of legs, which no index has."""
    return and_(
        transactions.c.reference == label,
        transactions.c.derived,
        transactions.c.kind != Kind.TRANSACTION.value,
    )


def _leg_labelled(connection: Connection, label: str) -> UUID | None:
    """The UUID of the leg labelled ``<reference>_<number>``: it follows from its request."""
    named = _LEG_LABEL.fullmatch(label)
    if named is None:
        return None
    columns = transactions.c
    whole = select(columns.transaction_id).where(
        by_reference(named[1]),
        columns.kind == Kind.TRANSACTION.value,
        columns.parts >= int(named[2]),
    )
    found = connection.execute(whole).scalar_one_or_none()
    return None if found is None else stored_id(part_id(f"txn_{found}", int(named[2])))


def _labelled_leg(connection: Connection, label: str) -> TransactionView | None:
    leg = _leg_labelled(connection, label)
    return None if leg is None else _recorded(connection, transactions.c.transaction_id == leg)


def _recorded(connection: Connection, condition: ColumnElement[bool]) -> TransactionView | None:
    """The newest record that fits."""
    query = columns_of(transactions).where(condition).order_by(transactions.c.position.desc())
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
    merged = parsed(_merged_later(connection, [row.transaction_id]).get(row.transaction_id))
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
    ids = _part_ids(view.transaction_id, shown)
    if not ids:
        return []
    query = columns_of(transactions).where(_is_one_of(transactions.c.transaction_id, ids))
    return views_of(connection, connection.execute(query.order_by(transactions.c.part)).all())


def _actions_on(connection: Connection, view: TransactionView) -> list[TransactionView]:
    """Commits, voids, refunds and cancels that name it, the newest first."""
    query = columns_of(transactions).where(
        transactions.c.parent_transaction == stored_id(view.transaction_id),
        transactions.c.kind.in_(ACTION_KINDS),
    )
    newest = query.order_by(transactions.c.position.desc(), transactions.c.sequence.desc())
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


def find_hold(connection: Connection, transaction_id: str) -> HoldView | None:
    """The state of the hold with this id, or the sum of those of the request with this id.

    None when it holds nothing, or in several currencies or precisions.
    """
    stored = stored_id(transaction_id)
    row = connection.execute(select(holds).where(holds.c.transaction_id == stored)).first()
    if row is not None:
        return hold_view(row)
    sums: list[ColumnElement[Any]] = [func.sum(holds.c[name]).label(name) for name in _HOLD_FIGURES]
    several = connection.execute(
        select(*sums)
        .where(or_(holds.c.leg_of == stored, holds.c.bulk == stored))
        .group_by(holds.c.currency, holds.c.precision)
        .limit(2)
    ).all()
    return hold_view(several[0]) if len(several) == 1 else None
