"""From rows to views: exact numbers, moments in UTC, ids with the prefix of what they name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ColumnElement, DateTime, Row, Select, Text, cast, func, literal, select

from daybook.errors import FieldError, MalformedRequest
from daybook.ledger.batch import POSITION_MAX
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.ledger.ids import public_id
from daybook.ledger.instructions import Kind
from daybook.ledger.meta import merge
from daybook.ledger.money import amount_text
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason
from daybook.requests import load_json
from daybook.requests.bounds import EPOCH
from daybook.requests.models import malformed
from daybook.store.read.called import NAMELESS, Called
from daybook.store.read.views import (
    AccountView,
    BalanceView,
    ChangeView,
    HoldView,
    IdentityView,
    LedgerView,
    OpenHoldView,
    RejectionView,
    ScheduleView,
    TransactionView,
)
from daybook.store.schema import balances

LIMIT_MAX = 10_000
"""Most rows that one call returns."""

_MILLISECOND = timedelta(milliseconds=1)

CREATION_PREFIXES = {Kind.LEDGER: "ldg_", Kind.BALANCE: "bln_", Kind.IDENTITY: "idt_"}


def stored_id(shown: str) -> UUID | None:
    """The uuid behind ``bln_<uuid>`` or ``txn_<uuid>``; None for what is no such id."""
    try:
        return UUID(shown.partition("_")[2])
    except ValueError:
        return None


def given_id(shown: str, field: str) -> UUID:
    """The uuid behind an id that must be one. Raises MalformedRequest that names the field."""
    stored = stored_id(shown)
    if stored is None:
        raise bad_value(field, f"{shown} is no id: give one as a list or `--json` shows it")
    return stored


def bad_value(field: str, message: str) -> MalformedRequest:
    """The fault of a reader's value."""
    return malformed([FieldError(field, Reason.MALFORMED, message)])


def check_span(since: datetime | None, until: datetime | None) -> None:
    """See to it that a span does not end before it begins. Raises MalformedRequest."""
    if since is not None and until is not None and until < since:
        raise bad_value("until", f"{until} lies before since, {since}: turn the two around")


def check_indicator(field: str, name: str | None) -> None:
    """See to it that an ``@Name``, or how it begins, is one. Raises MalformedRequest."""
    if name is not None and not name.startswith("@"):
        raise bad_value(field, f"names of internal balances begin with @; give @{name}")


def bounded(limit: int) -> int:
    """A limit that a list may have. Raises MalformedRequest."""
    if not 1 <= limit <= LIMIT_MAX:
        raise bad_value("limit", f"{limit} is not 1 to {LIMIT_MAX:,}")
    return limit


def first_position(moment: datetime, *, after: bool = False) -> int:
    """The first position of the millisecond of a moment, or of the one after it."""
    milliseconds = (moment - EPOCH) // _MILLISECOND + after
    return max(0, min(milliseconds << POSITION_COUNTER_BITS, POSITION_MAX))


def columns_of(table: Any) -> Select[Any]:
    """All columns; JSON as text, since parsing must not round its numbers, and moments in UTC
    without zone, since the session's zone could push one out of Python's range."""
    columns: list[ColumnElement[Any]] = []
    for column in table.c:
        if isinstance(column.type, JSON):
            columns.append(cast(column, Text).label(column.name))
        elif isinstance(column.type, DateTime):
            columns.append(func.timezone(literal("UTC"), column).label(column.name))
        else:
            columns.append(column)
    return select(*columns)


EXTERNAL_ID = balances.c.meta_data.op("->>")("external_id")
"""Of a balance, as text."""


def indicator_of(balance_id: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """The ``@Name`` of the balance in a column, as a column called ``name``."""
    return _of_balance(balance_id, balances.c.indicator, name)


def external_id_of(balance_id: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """The external_id of the balance in a column, as a column called ``name``."""
    return _of_balance(balance_id, EXTERNAL_ID, name)


def _of_balance(
    balance_id: ColumnElement[Any], wanted: ColumnElement[Any], name: str
) -> ColumnElement[Any]:
    query = select(wanted).where(balances.c.balance_id == balance_id)
    return query.scalar_subquery().label(name)


def parsed(text: str | None) -> dict[str, Any]:
    """A JSON object, its numbers exact; empty when absent."""
    return load_json(text) if text else {}


def _moment(naive: datetime) -> datetime:
    return naive.replace(tzinfo=UTC)


def _date(naive: datetime | None) -> datetime | None:
    return None if naive is None else _moment(naive)


def _integer(value: Decimal | None) -> int | None:
    return None if value is None else int(value)


def _balance_id(stored: UUID | None) -> str | None:
    return None if stored is None else f"bln_{stored}"


def _request_id(stored: UUID | None) -> str | None:
    """The id of what may be a transaction or a bulk."""
    return None if stored is None else public_id(str(stored))


def record_id(kind: str, stored: UUID) -> str:
    """The id of a record's subject or request: creations have that of what they create."""
    prefix = CREATION_PREFIXES.get(Kind(kind))
    return public_id(str(stored)) if prefix is None else f"{prefix}{stored}"


def ledger_view(row: Row[Any]) -> LedgerView:
    return LedgerView(row.ledger_id, row.name, _moment(row.created_at), parsed(row.meta_data))


def balance_view(row: Row[Any]) -> BalanceView:
    credit, debit = int(row.credit_balance), int(row.debit_balance)
    inflight_credit = int(row.inflight_credit_balance)
    inflight_debit = int(row.inflight_debit_balance)
    return BalanceView(
        f"bln_{row.balance_id}",
        row.ledger_id,
        row.currency,
        row.indicator,
        None if row.identity_id is None else f"idt_{row.identity_id}",
        _integer(row.precision),
        credit - debit,
        credit,
        debit,
        inflight_credit - inflight_debit,
        inflight_credit,
        inflight_debit,
        credit - debit - inflight_debit,
        row.version,
        _moment(row.created_at),
        parsed(row.meta_data),
    )


def identity_view(row: Row[Any]) -> IdentityView:
    return IdentityView(
        f"idt_{row.identity_id}",
        **{name: getattr(row, name) for name in IDENTITY_FIELDS},
        created_at=_moment(row.created_at),
        meta_data=parsed(row.meta_data),
    )


def account_view(row: Row[Any]) -> AccountView:
    return AccountView(
        f"acc_{row.account_id}",
        row.name,
        row.number,
        row.bank_name,
        row.currency,
        f"bln_{row.balance_id}",
        None if row.identity_id is None else f"idt_{row.identity_id}",
        row.ledger_id,
        _moment(row.created_at),
        parsed(row.meta_data),
    )


def transaction_view(
    row: Row[Any], merged_later: str | None = None, called: Mapping[UUID, Called] | None = None
) -> TransactionView:
    """A record of the journal. merged_later: what was merged onto it, as JSON text.

    called: what people call its balances.
    """
    names = called or {}
    source, destination = (names.get(each, NAMELESS) for each in (row.source, row.destination))
    amount, precision = _integer(row.precise_amount), _integer(row.precision)
    text = None if amount is None or precision is None else amount_text(amount, precision)
    return TransactionView(
        transaction_id=record_id(row.kind, row.transaction_id),
        kind=row.kind,
        reference=row.reference,
        parent_transaction=_request_id(row.parent_transaction),
        parts=row.parts,
        part=row.part,
        source=_balance_id(row.source),
        destination=_balance_id(row.destination),
        currency=row.currency,
        precision=precision,
        amount_string=text,
        precise_amount=amount,
        status=row.status,
        reason=row.reason,
        detail=row.detail,
        description=row.description,
        allow_overdraft=row.allow_overdraft,
        overdraft_limit=row.overdraft_limit,
        created_at=_moment(row.created_at),
        effective_date=_moment(row.effective_date),
        scheduled_for=_date(row.scheduled_for),
        inflight_expiry_date=_date(row.inflight_expiry_date),
        inflight_commit_date=_date(row.inflight_commit_date),
        subject=row.subject,
        change=load_json(row.change) if row.change else None,
        meta_data=parsed(merge(row.meta_data, merged_later)),
        partition=row.partition,
        sequence=row.sequence,
        hash=bytes(row.hash).hex(),
        source_indicator=source.indicator,
        source_external_id=source.external_id,
        destination_indicator=destination.indicator,
        destination_external_id=destination.external_id,
    )


def change_view(row: Row[Any]) -> ChangeView:
    """A creation lists its fields side by side, a change below ``fields``; here both are one."""
    change = parsed(row.change)
    made_by, meta_data = change.pop("made_by", None), change.pop("meta_data", None)
    fields = change.pop("fields", None)
    return ChangeView(
        record_id(row.kind, row.transaction_id),
        row.kind,
        row.reference,
        row.subject,
        made_by,
        change | (fields or {}),
        meta_data or {},
        row.status,
        row.reason,
        row.detail,
        _moment(row.created_at),
    )


def schedule_view(row: Row[Any]) -> ScheduleView:
    return ScheduleView(
        _request_id(row.transaction_id) or "",
        row.reference,
        _moment(row.scheduled_for),
        _moment(row.created_at),
        load_json(bytes(row.body).decode()),
    )


def hold_view(row: Row[Any]) -> HoldView:
    amount, committed, voided = int(row.amount), int(row.committed), int(row.voided)
    return HoldView(amount, committed, voided, amount - committed - voided, int(row.commits))


def open_hold_view(row: Row[Any]) -> OpenHoldView:
    return OpenHoldView(
        public_id(str(row.transaction_id)),
        row.reference,
        f"bln_{row.source}",
        row.source_indicator,
        row.source_external_id,
        f"bln_{row.destination}",
        row.destination_indicator,
        row.destination_external_id,
        row.currency,
        int(row.precision),
        int(row.amount),
        int(row.amount) - int(row.committed) - int(row.voided),
        _date(row.inflight_expiry_date),
        _date(row.inflight_commit_date),
        _request_id(row.leg_of),
        _request_id(row.bulk),
    )


def rejection_view(row: Row[Any]) -> RejectionView:
    return RejectionView(
        row.request_id,
        row.reference,
        Status.REJECTED.value,
        row.reason,
        row.detail,
        row.created_at.astimezone(UTC),
        row.partition,
        bytes(row.body).decode(errors="backslashreplace"),
        row.traceback,
    )
