"""One thing by its name: from the ledger, or from the log while it waits there.

Between the two nothing is ever missing: what leaves the log is in the ledger before.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from daybook.api.blnk import shapes
from daybook.api.blnk.shapes import Shape
from daybook.api.faults import not_found
from daybook.api.service import Service
from daybook.errors import MalformedRequest
from daybook.ledger.balance import GENERAL_LEDGER_ID
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.ledger.instructions import Kind
from daybook.ledger.record import Status
from daybook.requests import load_json
from daybook.requests.bounds import BALANCE_ID, IDENTITY_ID, LEDGER_ID
from daybook.store.read.outcomes import deferred_body
from daybook.store.read.queries import find_balance, find_identity, find_ledger
from daybook.store.read.recorded import find_transaction
from daybook.store.read.views import (
    BalanceView,
    IdentityView,
    LedgerView,
    RejectionView,
    TransactionView,
)


class Waiting(NamedTuple):
    """A request that waits in the log. fields: of its body."""

    id: str
    fields: dict[str, Any]
    accepted: datetime

    @property
    def meta_data(self) -> dict[str, Any]:
        """What its body says, parsed exactly."""
        text = self.fields.get("meta_data")
        found: dict[str, Any] = load_json(text) if text else {}
        return found


async def find_waiting(
    service: Service, *, reference: str | None = None, id: str | None = None
) -> Waiting | None:
    """What is accepted and not recorded under a reference, or under an id.

    Raises LogUnavailable, StoreUnavailable.
    """
    found = await service.client.queued(reference=reference, id=id)
    if found is None:
        return None
    body = found.body
    if body is None:
        body = await service.read(deferred_body, found.receipt.id)
    try:
        fields = load_json(body) if body is not None else None
    except MalformedRequest:
        fields = None
    accepted = datetime.fromtimestamp((found.position >> POSITION_COUNTER_BITS) / 1000, UTC)
    return Waiting(found.receipt.id, fields, accepted) if isinstance(fields, dict) else None


async def ledger(service: Service, ledger_id: str) -> LedgerView:
    """Raises Fault when there is none."""
    if ledger_id == GENERAL_LEDGER_ID or LEDGER_ID.match(ledger_id):
        for _ in range(2):
            view = await service.read(find_ledger, ledger_id)
            if view is not None:
                return view
            queued = await find_waiting(service, id=ledger_id)
            if queued is not None and queued.fields.get("kind") == Kind.LEDGER:
                name = str(queued.fields.get("name"))
                return LedgerView(ledger_id, name, queued.accepted, queued.meta_data)
    raise not_found(ledger_id, "ldg")


async def balance(service: Service, balance_id: str) -> BalanceView:
    """Raises Fault when there is none."""
    view = await known_balance(service, balance_id)
    if view is None:
        raise not_found(balance_id, "bln")
    return view


async def known_balance(service: Service, balance_id: str) -> BalanceView | None:
    """A balance of the ledger, or one that waits in the log to be created."""
    if not BALANCE_ID.match(balance_id):
        return None
    for _ in range(2):
        view = await service.read(find_balance, balance_id)
        if view is not None:
            return view
        queued = await find_waiting(service, id=balance_id)
        if queued is not None and queued.fields.get("kind") == Kind.BALANCE:
            return new_balance(queued.fields, balance_id, queued.accepted, queued.meta_data)
    return None


def new_balance(
    fields: dict[str, Any], balance_id: str, accepted: datetime, meta_data: dict[str, Any]
) -> BalanceView:
    """A balance that is only asked for: nothing has moved on it."""
    return BalanceView(
        balance_id,
        fields["ledger_id"],
        fields["currency"],
        fields.get("indicator"),
        fields.get("identity_id"),
        None,
        *(0,) * 8,
        accepted,
        meta_data,
    )


async def identity(service: Service, identity_id: str) -> IdentityView:
    """Raises Fault when there is none."""
    if IDENTITY_ID.match(identity_id):
        for _ in range(2):
            view = await service.read(find_identity, identity_id)
            if view is not None:
                return view
            queued = await find_waiting(service, id=identity_id)
            if queued is not None and queued.fields.get("kind") == Kind.IDENTITY:
                return new_identity(queued.fields, identity_id, queued.accepted, queued.meta_data)
    raise not_found(identity_id, "idt")


def new_identity(
    fields: dict[str, Any], identity_id: str, accepted: datetime, meta_data: dict[str, Any]
) -> IdentityView:
    """An identity that is only asked for."""
    known = {name: fields.get(name) for name in IDENTITY_FIELDS}
    return IdentityView(identity_id, **known, created_at=accepted, meta_data=meta_data)


Found = TransactionView | RejectionView | Waiting


async def transaction(
    service: Service, *, reference: str | None = None, id: str | None = None
) -> Found | None:
    """A transaction in whatever state it is, by its id or its reference."""
    for _ in range(2):
        view = await service.read(find_transaction, reference=reference, id=id)
        if view is not None:
            return view
        queued = await find_waiting(service, reference=reference, id=id)
        if queued is not None:
            return queued
    return None


def shape_of(found: Found) -> Shape:
    """A transaction as the wire has it, in whatever state it is."""
    if isinstance(found, TransactionView):
        return shapes.transaction(found)
    if isinstance(found, Waiting):
        return shapes.queued_of(
            found.fields | {"meta_data": found.meta_data}, found.id, found.accepted
        )
    return _rejected(found)


def _rejected(view: RejectionView) -> Shape:
    """A refused request that the journal can't show, as far as its body can be read."""
    try:
        fields = load_json(view.request)
    except MalformedRequest:
        fields = {}
    fields = fields if isinstance(fields, dict) else {}
    try:
        meta_data = load_json(fields.get("meta_data") or "{}")
        shape = shapes.queued_of(fields | {"meta_data": None}, view.transaction_id, view.created_at)
    except (MalformedRequest, ValueError, TypeError):
        meta_data, shape = {}, shapes.queued_of({}, view.transaction_id, view.created_at)
    why = shapes.rejection(view.reason, view.detail)
    return shape | {
        "reference": view.reference or shape["reference"],
        "status": Status.REJECTED.value,
        "inflight": False,
        "meta_data": {**meta_data, "blnk_rejection_reason": why},
    }


def known_balances(connection: Connection, ids: list[str]) -> dict[str, BalanceView]:
    """Those of these balances that the ledger has, by id."""
    found = ((one, find_balance(connection, one)) for one in ids)
    return {one: view for one, view in found if view is not None}
