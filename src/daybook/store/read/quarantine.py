"""The read path of what was quarantined. ``store.batch.quarantine`` writes it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select

from daybook.ledger.rejection import Reason
from daybook.store.read.rows import bounded, stored_id
from daybook.store.read.views import QuarantineView
from daybook.store.schema import rejected_requests, transactions

OPEN = "open"

_ENTRY = re.compile(r"([0-9]{1,4})/([0-9]{1,19})")
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*[a-z]\w*(: |$)")
_QUARANTINED = rejected_requests.c.reason == Reason.QUARANTINED.value
_NEWEST_FIRST = (rejected_requests.c.position.desc(), rejected_requests.c.partition.desc())
_IS_OPEN = and_(_QUARANTINED, rejected_requests.c.resolved.is_(None))


def count_quarantined(connection: Connection) -> int:
    """How many requests that were quarantined are open."""
    query = select(func.count()).select_from(rejected_requests).where(_IS_OPEN)
    return int(connection.execute(query).scalar_one())


def list_quarantined(
    connection: Connection, *, resolved: bool = False, limit: int = 100
) -> list[QuarantineView]:
    """What was quarantined, newest first. resolved: also what was retried or discarded."""
    query = select(rejected_requests).where(_QUARANTINED if resolved else _IS_OPEN)
    query = query.order_by(*_NEWEST_FIRST).limit(bounded(limit))
    return [_view(row) for row in connection.execute(query)]


def find_quarantined(connection: Connection, name: str) -> tuple[QuarantineView, bytes] | None:
    """The newest request with this id, reference or place in the log that was quarantined.

    With its body, as it stood in the log.
    """
    ways = [rejected_requests.c.request_id == name, rejected_requests.c.reference == name]
    place = _ENTRY.fullmatch(name)
    if place is not None:
        partition, position = map(int, place.groups())
        ways.insert(0, _stands_at(partition, position))
    for way in ways:
        query = select(rejected_requests).where(_QUARANTINED, way).order_by(*_NEWEST_FIRST)
        row = connection.execute(query.limit(1)).first()
        if row is not None:
            return _view(row, connection), bytes(row.body)
    return None


def _stands_at(partition: int, position: int) -> ColumnElement[bool]:
    return and_(
        rejected_requests.c.partition == partition, rejected_requests.c.position == position
    )


def _view(row: Row[Any], connection: Connection | None = None) -> QuarantineView:
    """connection: to show it in full."""
    body = bytes(row.body)
    status, reason = _recorded(connection, row.request_id) if connection else (None, None)
    return QuarantineView(
        f"{row.partition}/{row.position}",
        row.request_id,
        row.reference,
        _kind_in(body),
        row.partition,
        row.position,
        row.created_at.astimezone(UTC),
        _error_in(row.traceback or row.detail or ""),
        row.resolved or OPEN,
        row.resolved_by or None,
        row.resolved_why or None,
        _utc(row.resolved_at),
        status,
        reason,
        body.decode(errors="backslashreplace") if connection else None,
        row.traceback if connection else None,
    )


def _recorded(connection: Connection, request_id: str) -> tuple[str | None, str | None]:
    """Status and reason in the journal of what has this id."""
    columns = transactions.c
    query = select(columns.status, columns.reason)
    row = connection.execute(query.where(columns.transaction_id == stored_id(request_id))).first()
    return (row.status, row.reason) if row is not None else (None, None)


def _kind_in(body: bytes) -> str | None:
    try:
        kind = json.loads(body)["kind"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return kind if isinstance(kind, str) else None


def _error_in(text: str) -> str:
    """The line of a traceback that names the exception: Postgres adds others, with data, below."""
    lines = text.strip().splitlines()
    named = [line for line in lines if _EXCEPTION.match(line)]
    return (named or lines or [""])[-1]


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
