"""The objects of the wire, as its clients decode them: every key, each number in its form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import simplejson

from daybook.api.faults import rejection_text
from daybook.ledger.instructions import Kind
from daybook.ledger.money import amount_text
from daybook.ledger.record import Status
from daybook.registry.keys import ApiKey
from daybook.store.read.statements import StatementLine
from daybook.store.read.views import (
    AccountView,
    BalanceView,
    IdentityView,
    LedgerView,
    TransactionView,
)

ZERO_TIME = "0001-01-01T00:00:00Z"
"""How the wire says that a date is not set."""

NO_HASH = "0" * 64
"""Of what no journal has yet."""

Shape = dict[str, Any]

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


def number(text: str) -> Any:
    """Exact decimal text as a JSON number."""
    return simplejson.RawJSON(text)


def moment(when: datetime | None) -> str:
    """A moment as the wire has it: UTC, to the microsecond."""
    if when is None:
        return ZERO_TIME
    text = when.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    return (text.rstrip("0").removesuffix(".") if "." in text else text) + "Z"


def ledger(view: LedgerView) -> Shape:
    return {
        "ledger_id": view.ledger_id,
        "name": view.name,
        "created_at": moment(view.created_at),
        "meta_data": view.meta_data,
    }


def api_key(key: ApiKey, text: str | None = None) -> Shape:
    """A key of the API. text: what is sent, shown once."""
    shape: Shape = {
        "api_key_id": key.id,
        "name": key.name,
        "owner_id": key.owner,
        "scopes": list(key.scopes),
        "expires_at": moment(key.expires_at),
        "created_at": moment(key.created_at),
        "last_used_at": moment(key.last_used_at),
        "is_revoked": key.revoked_at is not None,
    }
    if text is not None:
        shape["key"] = text
    if key.revoked_at is not None:
        shape["revoked_at"] = moment(key.revoked_at)
    return shape


def balance(view: BalanceView) -> Shape:
    """A balance; figures are integers in minor units."""
    shape: Shape = {
        "balance": view.balance,
        "version": view.version,
        "inflight_balance": view.inflight_balance,
        "credit_balance": view.credit_balance,
        "inflight_credit_balance": view.inflight_credit_balance,
        "debit_balance": view.debit_balance,
        "inflight_debit_balance": view.inflight_debit_balance,
        "ledger_id": view.ledger_id,
        "identity_id": view.identity_id or "",
        "balance_id": view.balance_id,
    }
    if view.indicator is not None:
        shape["indicator"] = view.indicator
    return shape | {
        "currency": view.currency,
        "created_at": moment(view.created_at),
        "inflight_expires_at": ZERO_TIME,
        "meta_data": view.meta_data,
        "track_fund_lineage": False,
        "allocation_strategy": "FIFO",
    }


def account(view: AccountView) -> Shape:
    """An account at a bank."""
    return {
        "account_id": view.account_id,
        "name": view.name,
        "number": view.number,
        "bank_name": view.bank_name,
        "currency": view.currency,
        "balance_id": view.balance_id,
        "identity_id": view.identity_id or "",
        "ledger_id": view.ledger_id,
        "created_at": moment(view.created_at),
        "meta_data": view.meta_data,
    }


_PERSON = (
    "identity_type",
    "organization_name",
    "category",
    "first_name",
    "last_name",
    "other_names",
    "gender",
    "email_address",
    "phone_number",
    "nationality",
    "street",
    "country",
    "state",
    "post_code",
    "city",
)


def identity(view: IdentityView) -> Shape:
    """A person or an organisation; what is not known is empty."""
    shape: Shape = {"identity_id": view.identity_id}
    shape |= {name: getattr(view, name) or "" for name in _PERSON}
    return shape | {
        "dob": _day(view.dob),
        "created_at": moment(view.created_at),
        "meta_data": view.meta_data,
    }


def _day(text: str | None) -> str:
    """A date of birth: the wire has a moment, other doors a day."""
    if not text:
        return ZERO_TIME
    return f"{text}T00:00:00Z" if _DAY.match(text) else text


def transaction(view: TransactionView) -> Shape:
    """A record of the journal, or a transaction whose time has not come."""
    meta_data = dict(view.meta_data)
    if view.status == Status.REJECTED:
        meta_data["blnk_rejection_reason"] = rejection_text(view.reason or "malformed", view.detail)
    if view.part is not None and (view.parent_transaction or "").startswith("bulk_"):
        meta_data.setdefault("sequence", view.part)
    shape = _money(view.precise_amount, view.precision)
    shape |= {
        "overdraft_limit": view.overdraft_limit or 0,
        "transaction_id": view.transaction_id,
        "parent_transaction": view.parent_transaction or "",
        **_set({"source": view.source, "destination": view.destination}),
        "reference": view.reference,
        "currency": view.currency,
        **_set({"description": view.description}),
        "status": view.status,
        "hash": view.hash,
        "allow_overdraft": view.allow_overdraft,
        "inflight": view.status == Status.INFLIGHT,
        "skip_queue": False,
        "atomic": False,
        "created_at": moment(view.created_at),
        "effective_date": moment(view.effective_date),
        "scheduled_for": moment(view.scheduled_for),
        "inflight_expiry_date": moment(view.inflight_expiry_date),
        "inflight_commit_date": moment(view.inflight_commit_date),
        **_set({"meta_data": meta_data}),
    }
    return shape | _sides_of(view)


def _money(precise_amount: int | None, precision: int | None) -> Shape:
    if precise_amount is None or precision is None:
        return {"amount": 0, "precision": precision or 1}
    text = amount_text(precise_amount, precision)
    return {
        "precise_amount": precise_amount,
        "amount": number(text),
        "amount_string": text,
        "precision": precision,
    }


def _set(members: Shape) -> Shape:
    """What is there: the wire leaves these out when they are empty."""
    return {name: value for name, value in members.items() if value}


def _sides_of(view: TransactionView) -> Shape:
    """Of a request with legs: those of the side that has several."""
    legs = [leg for leg in view.records if leg.kind == Kind.TRANSACTION]
    if not legs or view.kind == Kind.BULK:
        return {}
    shape: Shape = {}
    for one, many in (("source", "sources"), ("destination", "destinations")):
        names = {getattr(leg, one) for leg in legs}
        if len(names) > 1:
            shape[many] = [
                {
                    "identifier": getattr(leg, one),
                    "distribution": leg.amount_string or "",
                    "precise_distribution": str(leg.precise_amount or ""),
                    "transaction_id": leg.transaction_id,
                }
                for leg in legs
            ]
        elif names:
            shape[one] = names.pop()
    return shape


def line(view: StatementLine) -> Shape:
    """A line of a statement, in minor units."""
    return {
        "transaction_id": view.transaction_id,
        "effective_date": moment(view.effective_date),
        "kind": view.kind,
        "reference": view.reference,
        "description": view.description,
        "other": view.other,
        "other_indicator": view.other_indicator or "",
        "debit": view.debit,
        "credit": view.credit,
        "balance": view.balance,
        "balance_string": view.balance_string,
    }


def queued(fields: Mapping[str, Any], transaction_id: str, accepted: datetime) -> Shape:
    """A transaction that is accepted and not recorded yet, of the canonical fields of its request.

    Its sides are named as they were sent.
    """
    shape = _money(_integer(fields.get("precise_amount")), _integer(fields.get("precision")))
    shape |= {
        "overdraft_limit": Decimal(fields.get("overdraft_limit") or 0),
        "transaction_id": transaction_id,
        "parent_transaction": "",
        **_set({name: fields.get(name) for name in ("source", "destination")}),
        **_set({name: _legs(fields.get(name)) for name in ("sources", "destinations")}),
        "reference": fields.get("reference") or "",
        "currency": fields.get("currency") or "",
        **_set({"description": fields.get("description")}),
        "status": Status.QUEUED.value,
        "hash": NO_HASH,
        "allow_overdraft": bool(fields.get("allow_overdraft")),
        "inflight": bool(fields.get("inflight")),
        "skip_queue": False,
        "atomic": False,
        "created_at": moment(accepted),
        "effective_date": _date(fields.get("effective_date")) or moment(accepted),
    }
    for name in ("scheduled_for", "inflight_expiry_date", "inflight_commit_date"):
        shape[name] = _date(fields.get(name)) or ZERO_TIME
    scheduled = fields.get("scheduled_for")
    if scheduled is not None and datetime.fromisoformat(scheduled) > accepted:
        shape["status"] = Status.SCHEDULED.value
    return shape | _set({"meta_data": fields.get("meta_data")})


def _integer(text: Any) -> int | None:
    return None if text is None else int(text)


def _date(text: Any) -> str | None:
    return moment(datetime.fromisoformat(text)) if isinstance(text, str) else None


def _legs(legs: Any) -> list[Shape]:
    return [
        {"distribution": "", "precise_distribution": "", "transaction_id": "", **leg}
        for leg in legs or ()
    ]
