"""What became of holds: how much of each is committed, voided and left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Connection, func, select

from daybook.ledger.record import Status
from daybook.store.read.records import is_one_of
from daybook.store.read.rows import hold_view, stored_id
from daybook.store.read.views import HoldView, TransactionView
from daybook.store.schema import holds

_FIGURES = ("amount", "committed", "voided", "commits")


def find_hold(connection: Connection, transaction_id: str) -> HoldView | None:
    """The state of the hold with this id, or the sum of those of the request with this id.

    None when it holds nothing, or in several currencies or precisions.
    """
    stored = stored_id(transaction_id)
    if stored is None:
        return None
    found = _states(connection, [stored]) or _sums(connection, holds.c.bulk, [stored])
    return found.get(stored)


def with_holds(connection: Connection, views: Sequence[TransactionView]) -> list[TransactionView]:
    """Records of a list, with the state of the holds among them and of those with legs.

    Not of bulks: to add up all the holds of many would take long.
    """
    ids = [_bare(view) for view in views if view.status == Status.INFLIGHT]
    found = _states(connection, ids)
    return [replace(view, hold=found.get(_bare(view))) for view in views] if found else list(views)


def _bare(view: TransactionView) -> UUID:
    stored = stored_id(view.transaction_id)
    assert stored is not None, "it is one that the journal has"
    return stored


def _states(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, HoldView]:
    return _sums(connection, holds.c.transaction_id, ids) | _sums(connection, holds.c.leg_of, ids)


def _sums(connection: Connection, key: Column[Any], ids: Sequence[UUID]) -> dict[UUID, HoldView]:
    """The holds with these keys added up, where they have one currency and precision."""
    if not ids:
        return {}
    sums: list[ColumnElement[Any]] = [func.sum(holds.c[name]).label(name) for name in _FIGURES]
    query = select(key.label("held"), *sums).where(is_one_of(key, ids))
    rows = connection.execute(query.group_by(key, holds.c.currency, holds.c.precision)).all()
    sums_of = Counter(row.held for row in rows)
    return {row.held: hold_view(row) for row in rows if sums_of[row.held] == 1}
