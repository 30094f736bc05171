"""One thing by its name: from the ledger, or from the log while it waits there.

Between the two nothing is ever missing: what leaves the log is in the ledger before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

from daybook.api.blnk import shapes
from daybook.api.blnk.shapes import Shape
from daybook.api.faults import not_found, rejection_text
from daybook.api.service import Service, accepted_at
from daybook.errors import MalformedRequest
from daybook.ledger.balance import GENERAL_LEDGER_ID
from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.ledger.instructions import Kind
from daybook.ledger.record import Status
from daybook.requests import load_json
from daybook.requests.bounds import BALANCE_ID, IDENTITY_ID, LEDGER_ID
from daybook.store.read.outcomes import deferred_body
from daybook.store.read.queries import find_identity, find_ledger
from daybook.store.read.recorded import find_transaction
from daybook.store.read.views import (
    AccountView,
    BalanceView,
    IdentityView,
    LedgerView,
    RejectionView,
    TransactionView,
)

ViewT = TypeVar("ViewT")


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
    accepted = accepted_at(found.position)
    return Waiting(found.receipt.id, fields, accepted) if isinstance(fields, dict) else None


async def _ledger_or_log(
    service: Service,
    read: Callable[[], Awaitable[ViewT | None]],
    from_log: Callable[[Waiting], ViewT | None],
    **name: str | None,
) -> ViewT | None:
    """What the ledger has, or else the log; then the ledger once more, for what came to it
    meanwhile. name: ``id`` or ``reference``, by which the log is asked."""
    for _ in range(2):
        view = await read()
        if view is not None:
            return view
        queued = await find_waiting(service, **name)
        found = None if queued is None else from_log(queued)
        if found is not None:
            return found
    return None


def _created(kind: Kind, made: Callable[[Waiting], ViewT]) -> Callable[[Waiting], ViewT | None]:
    """What a creation of this kind asks for; None of any other request."""
    return lambda queued: made(queued) if queued.fields.get("kind") == kind else None


async def ledger(service: Service, ledger_id: str) -> LedgerView:
    """Raises Fault when there is none."""
    view = None
    if ledger_id == GENERAL_LEDGER_ID or LEDGER_ID.match(ledger_id):
        asked = _created(Kind.LEDGER, _new_ledger)
        read = partial(service.read, find_ledger, ledger_id)
        view = await _ledger_or_log(service, read, asked, id=ledger_id)
    if view is None:
        raise not_found(ledger_id, "ldg")
    return view


def _new_ledger(queued: Waiting) -> LedgerView:
    name = str(queued.fields.get("name"))
    return LedgerView(queued.id, name, queued.accepted, queued.meta_data)


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
    asked = _created(
        Kind.BALANCE, lambda one: new_balance(one.fields, one.id, one.accepted, one.meta_data)
    )

    async def read() -> BalanceView | None:
        return (await service.balances.of([balance_id])).get(balance_id)

    return await _ledger_or_log(service, read, asked, id=balance_id)


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
    view = None
    if IDENTITY_ID.match(identity_id):
        asked = _created(
            Kind.IDENTITY,
            lambda one: new_identity(one.fields, one.id, one.accepted, one.meta_data),
        )
        read = partial(service.read, find_identity, identity_id)
        view = await _ledger_or_log(service, read, asked, id=identity_id)
    if view is None:
        raise not_found(identity_id, "idt")
    return view


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

    async def read() -> Found | None:
        return await service.read(find_transaction, reference=reference, id=id)

    def from_log(queued: Waiting) -> Found:
        return queued

    return await _ledger_or_log(service, read, from_log, reference=reference, id=id)


def shape_of(found: Found) -> Shape:
    """A transaction as the wire has it, in whatever state it is."""
    if isinstance(found, TransactionView):
        return shapes.transaction(found)
    if isinstance(found, Waiting):
        return shapes.queued(
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
        shape = shapes.queued(fields | {"meta_data": None}, view.transaction_id, view.created_at)
    except (MalformedRequest, ValueError, TypeError):
        meta_data, shape = {}, shapes.queued({}, view.transaction_id, view.created_at)
    why = rejection_text(view.reason, view.detail)
    return shape | {
        "reference": view.reference or shape["reference"],
        "status": Status.REJECTED.value,
        "inflight": False,
        "meta_data": {**meta_data, "blnk_rejection_reason": why},
    }


async def included(
    service: Service, view: BalanceView | AccountView, include: Sequence[str] | None
) -> Shape:
    """The owner and the ledger of a thing, as far as they are to be shown with it."""
    wanted, shape = set(include or ()), Shape()
    if "identity" in wanted and view.identity_id:
        shape["identity"] = shapes.identity(await identity(service, view.identity_id))
    if "ledger" in wanted:
        shape["ledger"] = shapes.ledger(await ledger(service, view.ledger_id))
    return shape
