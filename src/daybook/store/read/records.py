"""How records of the journal are seen, and how they are found by a reference or a label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    ScalarSelect,
    Text,
    Uuid,
    and_,
    any_,
    cast,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from daybook.ledger.ids import bare, part_id, part_ids
from daybook.ledger.instructions import Kind
from daybook.requests import load_json
from daybook.store.read.called import Called, told_in
from daybook.store.read.rows import EXTERNAL_ID, columns_of, stored_id, transaction_view
from daybook.store.read.views import TransactionView
from daybook.store.schema import (
    balances,
    schedules,
    taken_references,
    transaction_metadata,
    transactions,
)

ACTION_KINDS = (Kind.COMMIT, Kind.VOID, Kind.REFUND, Kind.CANCEL)
"""Kinds of records of what was done to a transaction later."""

PLACE = ("position", "sequence", "partition")
"""By what records are ordered: a wide request has one position in several partitions, and the items
of a bulk have one in the same."""

_LEG_LABEL = re.compile(r"(.+)_([1-9][0-9]{0,3})", re.DOTALL)


def views_of(connection: Connection, rows: Sequence[Row[Any]]) -> list[TransactionView]:
    """Records as they are to be seen: with what was merged onto them later."""
    merged = merged_later(connection, [row.transaction_id for row in rows])
    called = _called(connection, rows)
    return [transaction_view(row, merged.get(row.transaction_id), called) for row in rows]


def _called(connection: Connection, rows: Sequence[Row[Any]]) -> dict[UUID, Called]:
    """What people call the balances that the records name."""
    ids = {side for row in rows for side in _sides_of(row)}
    if not ids:
        return {}
    columns = balances.c
    query = select(columns.balance_id, columns.indicator, EXTERNAL_ID).where(
        is_one_of(columns.balance_id, list(ids))
    )
    found = {row[0]: Called(*row[1:]) for row in connection.execute(query)}
    found |= dict(told_in([(row, row.detail or "") for row in rows], found))
    planned = [
        row for row in rows if row.kind == Kind.SCHEDULE and not _sides_of(row) <= found.keys()
    ]
    return found | dict(told_in(_told_of_schedules(connection, planned), found))


def _sides_of(row: Row[Any]) -> set[UUID]:
    return {row.source, row.destination} - {None}


def _told_of_schedules(
    connection: Connection, rows: Sequence[Row[Any]]
) -> list[tuple[Row[Any], str]]:
    """What names the balances of scheduled requests: the request while it waits, then its end."""
    if not rows:
        return []
    ids = [row.parent_transaction for row in rows]
    open_, ends = schedules.c, transactions.c
    waiting = select(open_.transaction_id, open_.body).where(is_one_of(open_.transaction_id, ids))
    ended = select(ends.transaction_id, ends.detail).where(is_one_of(ends.transaction_id, ids))
    told = {request_id: _sides_in(body) for request_id, body in connection.execute(waiting)}
    told |= {request_id: detail or "" for request_id, detail in connection.execute(ended)}
    return [(row, told.get(row.parent_transaction, "")) for row in rows]


def _sides_in(body: bytes) -> str:
    request = load_json(bytes(body))
    return " ".join(str(request.get(side)) for side in ("source", "destination"))


def merged_later(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, str]:
    """The meta_data, as JSON text, that was merged onto these transactions."""
    if not ids:
        return {}
    rows = connection.execute(
        columns_of(transaction_metadata).where(
            is_one_of(transaction_metadata.c.transaction_id, ids)
        )
    )
    return {row.transaction_id: row.meta_data for row in rows}


def place_of(records: FromClause) -> tuple[ColumnElement[Any], ...]:
    """The columns by which records are ordered."""
    return tuple(records.c[name] for name in PLACE)


def newest_first(records: FromClause) -> tuple[ColumnElement[Any], ...]:
    """What to order by for the newest acceptance first."""
    return tuple(column.desc() for column in place_of(records))


def is_one_of(column: ColumnElement[Any], ids: Sequence[UUID | str]) -> ColumnElement[bool]:
    """Whether an id is among ``ids``: one parameter, however many there are."""
    wanted = literal([str(each) for each in ids], ARRAY(Text))
    return column == any_(cast(wanted, ARRAY(Uuid)))


def part_uuids(request_id: str, parts: int) -> list[str]:
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


def by_label(label: str) -> ColumnElement[bool]:
    """A label that the ledger derived, but for those of legs, which no index has."""
    return and_(
        transactions.c.reference == label,
        transactions.c.derived,
        transactions.c.kind != Kind.TRANSACTION.value,
    )


def leg_labelled(connection: Connection, label: str) -> UUID | None:
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
