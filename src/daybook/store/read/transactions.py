"""Lists of the journal's records: the newest that fit, and how a thing was changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    exists,
    func,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

from daybook.errors import NotFound
from daybook.ledger.ids import public_id
from daybook.ledger.instructions import Kind
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason
from daybook.store.read.holds import with_holds
from daybook.store.read.records import (
    ACTION_KINDS,
    by_label,
    by_reference,
    is_one_of,
    leg_labelled,
    newest_first,
    part_uuids,
    place_of,
    views_of,
)
from daybook.store.read.rows import (
    bad_value,
    bounded,
    change_view,
    check_span,
    columns_of,
    first_position,
    given_id,
    stored_id,
)
from daybook.store.read.views import ChangeView, TransactionView
from daybook.store.schema import balances, ledgers, transaction_metadata, transactions

MONEY_KINDS = (Kind.TRANSACTION, Kind.BULK, Kind.SCHEDULE, *ACTION_KINDS)
"""Kinds of records that move money, or try to."""

ALL_KINDS = "all"

_NO_TEXTS = frozenset({"since", "until", "meta_data"})


class Filters(TypedDict, total=False):
    """What ``list_transactions`` may be asked for. None asks for nothing.

    balance_id: with this side. reference: the caller's, or one that the ledger derived.
    since, until: accepted from this moment on, up to this one. after: go on behind this
    transaction, the last of a page. reason: of a rejection. ledger_id: with a side in this ledger.
    meta_data: what was merged later included, has these values, as text. parent: what was done to
    this transaction, the legs of this request, the items of this bulk. kind: of the record, or
    ``all``; without it, what moves money or tries to, unless a parent, subject or reference is
    given. subject: what a creation or change is about.
    """

    balance_id: str | None
    status: str | None
    reference: str | None
    since: datetime | None
    until: datetime | None
    after: str | None
    reason: str | None
    ledger_id: str | None
    meta_data: Mapping[str, str] | None
    parent: str | None
    kind: str | None
    subject: str | None


def list_transactions(
    connection: Connection, *, limit: int = 100, **filters: Unpack[Filters]
) -> list[TransactionView]:
    """The newest records that fit all filters, newest acceptance first.

    Raises MalformedRequest for a filter that nothing can fit, NotFound for a balance or a ledger
    that is not there.
    """
    unknown = filters.keys() - Filters.__annotations__.keys()
    if unknown:
        raise TypeError(f"there is no filter {min(unknown)}")
    asked: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    for name, value in asked.items():
        if name not in _NO_TEXTS and not isinstance(value, str):
            raise bad_value(name, f"{value!r} is no text")
    balance_id, is_named = asked.pop("balance_id", None), not _NAMING.isdisjoint(asked)
    for name, given in (("balance_id", balance_id), ("parent", asked.get("parent"))):
        if given is not None:
            given_id(given, name)
    check_span(filters.get("since"), filters.get("until"))
    limit = bounded(limit)
    if not is_named:
        asked.setdefault("kind", None)
    conditions = [_FILTERS[name](connection, value) for name, value in asked.items()]
    if balance_id is not None:
        own = [[side == stored_id(balance_id)] for side in BOTH_SIDES]
        query = newest_of([[*one, dated] for one in own for dated in BOTH_DATES], conditions, limit)
    else:
        query = columns_of(transactions).where(*conditions)
    found = query.subquery()
    ordered = select(found).order_by(*newest_first(found))
    rows = connection.execute(ordered.limit(limit)).all()
    if not rows and balance_id is not None:
        _check_balance(connection, balance_id)
    return with_holds(connection, views_of(connection, rows))


def _check_balance(connection: Connection, balance_id: str) -> None:
    """What was never created may have records all the same: rejections."""
    stored = stored_id(balance_id)
    known = [balances.c.balance_id == stored, *(side == stored for side in BOTH_SIDES)]
    if not any(connection.execute(select(exists().where(one))).scalar() for one in known):
        raise NotFound(f"there is no balance {balance_id}, and no record names it")


def _check_known(field: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise bad_value(field, f"{value} is none of {', '.join(known)}")


def _has_kind(_: Connection, kind: str | None) -> ColumnElement[bool]:
    """kind: None for those that move money."""
    if kind == ALL_KINDS:
        return true()
    if kind is not None:
        _check_known("kind", kind, (*Kind, ALL_KINDS))
    wanted = MONEY_KINDS if kind is None else (kind,)
    return transactions.c.kind.in_(wanted)


def _has_status(_: Connection, status: str) -> ColumnElement[bool]:
    status = status.upper()
    _check_known("status", status, tuple(Status))
    return transactions.c.status == status


def has_reference(connection: Connection, reference: str) -> ColumnElement[bool]:
    """Records under a reference, their own or derived. Each way has an index of its own."""
    ways = [by_reference(reference), by_label(reference)]
    leg = leg_labelled(connection, reference)
    if leg is not None:
        ways.append(transactions.c.transaction_id == leg)
    return or_(*ways)


def _is_older_than(connection: Connection, transaction_id: str) -> ColumnElement[bool]:
    """What a list shows behind a transaction. Raises MalformedRequest when there is none."""
    place = select(*place_of(transactions)).where(
        transactions.c.transaction_id == given_id(transaction_id, "after")
    )
    row = connection.execute(place).first()
    if row is None:
        raise bad_value("after", f"there is no transaction {transaction_id}")
    return tuple_(*place_of(transactions)) < tuple_(*row)


def _touches_ledger(connection: Connection, ledger_id: str) -> ColumnElement[bool]:
    known = select(ledgers.c.ledger_id).where(ledgers.c.ledger_id == ledger_id)
    if connection.execute(known).first() is None:
        raise NotFound(f"there is no ledger {ledger_id}")
    sides = (transactions.c.source, transactions.c.destination)
    return exists().where(balances.c.balance_id.in_(sides), balances.c.ledger_id == ledger_id)


def _has_reason(_: Connection, reason: str) -> ColumnElement[bool]:
    _check_known("reason", reason, tuple(Reason))
    return transactions.c.reason == reason


def _has_meta_data(_: Connection, wanted: Mapping[str, str]) -> ColumnElement[bool]:
    if not isinstance(wanted, Mapping):
        raise bad_value("meta_data", f"{wanted!r} is no mapping of keys to texts")
    for key, value in wanted.items():
        if not isinstance(value, str):
            raise bad_value("meta_data", f"{key} is compared as text: give {str(value)!r}")
    return and_(true(), *(_has_meta(key, value) for key, value in wanted.items()))


def _has_meta(key: str, value: str) -> ColumnElement[bool]:
    """Whether a key of meta_data has this value: as it was merged later, or as it was sent."""
    later = select(transaction_metadata.c.meta_data.op("->>")(key)).where(
        transaction_metadata.c.transaction_id == transactions.c.transaction_id
    )
    sent = transactions.c.meta_data.op("->>")(key)
    return func.coalesce(later.scalar_subquery(), sent) == value


def _names_as_parent(connection: Connection, parent: str) -> ColumnElement[bool]:
    """What was done to a transaction has an index; legs and items have ids that follow from it."""
    columns, stored = transactions.c, stored_id(parent)
    parts = connection.execute(select(columns.parts).where(columns.transaction_id == stored))
    ids = part_uuids(public_id(str(stored)), parts.scalar() or 0)
    names_it = columns.parent_transaction == stored
    return or_(
        and_(names_it, columns.kind != Kind.TRANSACTION.value),
        and_(names_it, is_one_of(transactions.c.transaction_id, ids)),
    )


BOTH_SIDES = (transactions.c.source, transactions.c.destination)


UNDATED = transactions.c.effective_date == transactions.c.created_at
DATED = transactions.c.effective_date != transactions.c.created_at
BOTH_DATES = (UNDATED, DATED)
"""Records without a date of their own, and with one: each has indexes that the other is not in."""


def newest_of(
    arms: Sequence[Sequence[ColumnElement[bool]]],
    conditions: Sequence[ColumnElement[bool]],
    limit: int,
) -> Any:
    """The newest records of each arm that fit the conditions: an index finds those of one, and the
    planner can't find it behind an or. No record is in two arms."""
    found = []
    for arm in arms:
        newest = columns_of(transactions).where(*arm, *conditions)
        newest = newest.order_by(*newest_first(transactions)).limit(limit)
        found.append(select(newest.subquery()))
    return union_all(*found)


_NAMING = frozenset({"parent", "reference", "subject"})
"""Filters of which an index finds the few records that fit."""

_FILTERS: Mapping[str, Callable[[Connection, Any], ColumnElement[bool]]] = {
    "kind": _has_kind,
    "status": _has_status,
    "since": lambda _, moment: transactions.c.position >= first_position(moment),
    "until": lambda _, moment: transactions.c.position < first_position(moment, after=True),
    "after": _is_older_than,
    "reason": _has_reason,
    "ledger_id": _touches_ledger,
    "meta_data": _has_meta_data,
    "parent": _names_as_parent,
    "subject": lambda _, subject: transactions.c.subject == subject,
    "reference": has_reference,
}


def list_changes(connection: Connection, subject: str, *, limit: int = 100) -> list[ChangeView]:
    """How a thing became what it is, newest first: its changes, and its creation.

    subject: the id of a ledger, balance, identity, transaction or bulk.
    """
    query = columns_of(transactions).where(transactions.c.subject == subject)
    query = query.order_by(*newest_first(transactions)).limit(bounded(limit))
    return [change_view(row) for row in connection.execute(query)]
