"""What waits for a date: scheduled transactions, and holds whose remainder a date will end.

``store.read.queries`` offers these calls to all who read.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from daybook.store.read.rows import (
    bounded,
    columns_of,
    external_id_of,
    indicator_of,
    open_hold_view,
    schedule_view,
)
from daybook.store.read.views import DatesView, OpenHoldView, ScheduleView
from daybook.store.schema import holds, schedules, transactions

# As the partial index holds_due_idx has them.
is_open = holds.c.amount > holds.c.committed + holds.c.voided
due_at: ColumnElement[datetime] = func.least(
    holds.c.inflight_expiry_date, holds.c.inflight_commit_date
)


def list_schedules(
    connection: Connection, *, due_before: datetime | None = None, limit: int = 100
) -> list[ScheduleView]:
    """Transactions that wait for their time, the next one first.

    due_before: only those whose time comes before this moment.
    """
    by_date = (schedules.c.scheduled_for, schedules.c.position, schedules.c.transaction_id)
    query = columns_of(schedules).order_by(*by_date)
    if due_before is not None:
        query = query.where(schedules.c.scheduled_for < due_before)
    return [schedule_view(row) for row in connection.execute(query.limit(bounded(limit)))]


def list_holds(
    connection: Connection, *, due_before: datetime | None = None, limit: int = 100
) -> list[OpenHoldView]:
    """Holds with a remainder: those with a date first, the next one first; then those without.

    due_before: only those that a date ends before this moment.
    """
    limit = bounded(limit)
    dated = _open_holds().where(due_at.is_not(None)).order_by(due_at, holds.c.transaction_id)
    if due_before is not None:
        dated = dated.where(due_at < due_before)
    found = [open_hold_view(row) for row in connection.execute(dated.limit(limit))]
    if due_before is None and len(found) < limit:
        undated = _open_holds().where(due_at.is_(None)).order_by(holds.c.transaction_id)
        rows = connection.execute(undated.limit(limit - len(found)))
        found += [open_hold_view(row) for row in rows]
    return found


def _open_holds() -> Select[Any]:
    return (
        columns_of(holds)
        .add_columns(
            select(transactions.c.reference)
            .where(transactions.c.transaction_id == holds.c.transaction_id)
            .scalar_subquery()
            .label("reference"),
            indicator_of(holds.c.source, "source_indicator"),
            external_id_of(holds.c.source, "source_external_id"),
            indicator_of(holds.c.destination, "destination_indicator"),
            external_id_of(holds.c.destination, "destination_external_id"),
        )
        .where(is_open)
    )


def count_dates(connection: Connection) -> DatesView:
    """How much waits for a date, and how much is due by the database's clock."""
    now = func.now()
    scheduled = connection.execute(
        select(func.count(), func.count().filter(schedules.c.scheduled_for <= now)).select_from(
            schedules
        )
    ).one()
    held = connection.execute(
        select(func.count(), func.count().filter(due_at <= now)).where(is_open, due_at.is_not(None))
    ).one()
    return DatesView(*scheduled, *held)
