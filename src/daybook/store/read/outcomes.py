"""What the ledger has recorded of a request, when the log has forgotten its outcome."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, select

from daybook.ledger.balance import GENERAL_LEDGER_ID
from daybook.ledger.ids import public_id
from daybook.ledger.record import Status
from daybook.requests import fingerprint_of
from daybook.store.read.records import by_reference, owner_of
from daybook.store.read.rows import record_id, stored_id
from daybook.store.schema import (
    balances,
    deferred_entries,
    identities,
    ledgers,
    rejected_requests,
    schedules,
    transactions,
)

_NOBODY = bytes(32)
"""Stands for the fingerprint of what nobody asked for: the General Ledger, first uses."""

_CREATED: dict[str, tuple[Any, Any]] = {
    "ldg_": (ledgers, ledgers.c.ledger_id),
    "bln_": (balances, balances.c.balance_id),
    "idt_": (identities, identities.c.identity_id),
}


class RecordedOutcome(NamedTuple):
    """The outcome of a request. reference: None when it is known by its id alone.

    status: QUEUED of an entry that waits for the past of other partitions. position: of its entry;
    0 when that is not known.
    """

    request_id: str
    reference: str | None
    status: str
    fingerprint: bytes
    position: int
    reason: str | None = None
    detail: str | None = None
    precise_amount: int | None = None
    precision: int | None = None
    currency: str | None = None


def recorded_by_reference(connection: Connection, reference: str) -> RecordedOutcome | None:
    """What became of the request that has this reference."""
    return (
        _in_journal(connection, by_reference(reference))
        or _scheduled(connection, schedules.c.transaction_id == owner_of(reference))
        or _rejected(
            connection,
            and_(rejected_requests.c.reference == reference, rejected_requests.c.uses_reference),
        )
    )


def recorded_by_id(connection: Connection, request_id: str) -> RecordedOutcome | None:
    """What became of the request with this id, or of the creation of the thing with this id."""
    return (
        _created(connection, request_id)
        or _named(connection, request_id)
        or _rejected(connection, rejected_requests.c.request_id == request_id)
    )


def deferred_body(connection: Connection, request_id: str) -> bytes | None:
    """The body of the entry with this id that waits for the past of other partitions."""
    query = select(deferred_entries.c.body).where(deferred_entries.c.request_id == request_id)
    body: bytes | None = connection.execute(query).scalar()
    return body


def deferred_bodies(connection: Connection, limit: int) -> list[tuple[str, bytes]]:
    """Entries that wait for the past of other partitions, oldest first: id and body of each."""
    columns = deferred_entries.c
    query = select(columns.request_id, columns.body).order_by(columns.position).limit(limit)
    return [(row.request_id, bytes(row.body)) for row in connection.execute(query)]


def _named(connection: Connection, request_id: str) -> RecordedOutcome | None:
    stored = stored_id(request_id)
    if stored is None or public_id(str(stored)) != request_id:
        return None
    return _in_journal(connection, transactions.c.transaction_id == stored) or _scheduled(
        connection, schedules.c.transaction_id == stored
    )


def _in_journal(connection: Connection, condition: ColumnElement[bool]) -> RecordedOutcome | None:
    row = connection.execute(select(transactions).where(condition)).first()
    if row is None:
        return None
    return RecordedOutcome(
        record_id(row.kind, row.transaction_id),
        None if row.derived else row.reference,
        row.status,
        bytes(row.fingerprint),
        row.position,
        row.reason,
        row.detail,
        None if row.precise_amount is None else int(row.precise_amount),
        None if row.precision is None else int(row.precision),
        row.currency or None,
    )


def _scheduled(connection: Connection, condition: ColumnElement[bool]) -> RecordedOutcome | None:
    row = connection.execute(select(schedules).where(condition)).first()
    if row is None:
        return None
    return RecordedOutcome(
        public_id(str(row.transaction_id)),
        row.reference,
        Status.SCHEDULED,
        bytes(row.fingerprint),
        row.position,
    )


def _rejected(connection: Connection, condition: ColumnElement[bool]) -> RecordedOutcome | None:
    newest = (
        select(rejected_requests)
        .where(condition)
        .order_by(rejected_requests.c.position.desc())
        .limit(1)
    )
    row = connection.execute(newest).first()
    if row is None:
        return None
    return RecordedOutcome(
        row.request_id,
        row.reference if row.uses_reference else None,
        Status.REJECTED,
        fingerprint_of(bytes(row.body)),
        row.position,
        row.reason,
        row.detail,
    )


def _created(connection: Connection, request_id: str) -> RecordedOutcome | None:
    table, column = _CREATED.get(request_id[:4], (ledgers, ledgers.c.ledger_id))
    wanted = request_id if table is ledgers else stored_id(request_id)
    if wanted is None or (table is ledgers and not _is_ledger(request_id)):
        return None
    row = connection.execute(select(table).where(column == wanted)).first()
    if row is None:
        return None
    made_by = _NOBODY if row.fingerprint is None else bytes(row.fingerprint)
    return RecordedOutcome(request_id, None, Status.APPLIED, made_by, row.position)


def _is_ledger(request_id: str) -> bool:
    return request_id.startswith("ldg_") or request_id == GENERAL_LEDGER_ID
