"""Ledgers, balances and identities: created through the log, read from the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from daybook.api import look_up
from daybook.api.blnk import shapes
from daybook.api.blnk.bodies import (
    BLANK,
    BalanceBody,
    IdentityBody,
    LedgerBody,
    OwnerBody,
    validated,
)
from daybook.api.changing import change
from daybook.api.exact import Exact, ExactRoute
from daybook.api.faults import Fault, invalid
from daybook.api.service import Service, TheService, now_of, unless_refused
from daybook.api.unapplied import queued_of
from daybook.ledger.balance import GENERAL_LEDGER_ID, INDICATOR, internal_balance_id
from daybook.requests import (
    BalanceRequest,
    IdentityRequest,
    LedgerRequest,
)
from daybook.requests.bounds import IDENTITY_ID
from daybook.store.read.counts import counts_of_ledger
from daybook.store.read.history import balance_at
from daybook.store.read.statements import LAST_MAX, StatementView, open_statement
from daybook.store.read.views import LedgerView

router = APIRouter(route_class=ExactRoute)

STRATEGIES = ("FIFO", "LIFO", "PROPORTIONAL")

CREATED_SECONDS = 0.5
"""How long a creation waits to be recorded, so that lists have it, too; it is answered anyhow."""


@router.post("/ledgers", status_code=201, tags=["ledgers"])
async def create_ledger(body: LedgerBody, service: TheService) -> Exact:
    """Create a ledger. Its id is the server's own."""
    if not body.name.strip():
        raise invalid("GEN_VALIDATION_ERROR", [("name", BLANK)])
    given: dict[str, Any] = {"name": body.name, "meta_data": body.meta_data or None}
    request = validated(LedgerRequest, given, "GEN_VALIDATION_ERROR")
    accepted = unless_refused(await service.hand_in(request, CREATED_SECONDS))
    view = LedgerView(accepted.receipt.id, body.name, now_of(service), body.meta_data)
    return Exact(shapes.ledger(view), 201)


@router.get("/ledgers/{ledger_id}", tags=["ledgers"])
async def get_ledger(ledger_id: str, service: TheService) -> Exact:
    """One ledger, and how much it has: counted up to 10,000 of each, `counts_complete` or not."""
    shape = shapes.ledger(await look_up.ledger(service, ledger_id))
    counts = await service.read(counts_of_ledger, ledger_id)
    return Exact(
        shape
        | {
            "balance_count": counts.balances,
            "transaction_count": counts.transactions,
            "counts_complete": counts.complete,
        }
    )


@router.put("/ledgers/{ledger_id}", tags=["ledgers"])
async def rename_ledger(ledger_id: str, body: LedgerBody, service: TheService) -> Exact:
    """Give a ledger another name."""
    if not body.name.strip():
        raise invalid("GEN_VALIDATION_ERROR", [("name", BLANK)])
    view = await look_up.ledger(service, ledger_id)
    await change(service, view.ledger_id, fields={"name": body.name})
    return Exact(shapes.ledger(view) | {"name": body.name})


@router.post("/balances", status_code=201, tags=["balances"])
async def create_balance(body: BalanceBody, service: TheService) -> Exact:
    """Create a balance; the very next request may use it."""
    problems = _balance_problems(body)
    if problems:
        raise invalid("BAL_VALIDATION_ERROR", problems)
    await check_ledger(service, body.ledger_id)
    if body.identity_id:
        await check_owner(service, body.identity_id)
    given: dict[str, Any] = {
        "ledger_id": body.ledger_id,
        "currency": body.currency,
        "indicator": body.indicator or None,
        "identity_id": body.identity_id or None,
        "meta_data": body.meta_data or None,
    }
    request = validated(BalanceRequest, given, "BAL_VALIDATION_ERROR")
    if body.indicator:
        await _check_free(service, body.indicator, body.currency)
    accepted = unless_refused(await service.hand_in(request, CREATED_SECONDS))
    if body.indicator and accepted.is_repeated:
        raise _taken(body.indicator, body.currency)
    fields = request.model_dump(exclude_none=True)
    view = look_up.new_balance(fields, accepted.receipt.id, now_of(service), body.meta_data)
    return Exact(shapes.balance(view), 201)


def _balance_problems(body: BalanceBody) -> list[tuple[str, str]]:
    found = [(name, BLANK) for name in ("ledger_id", "currency") if not getattr(body, name).strip()]
    if body.indicator and not INDICATOR.match(body.indicator):
        found.append(("indicator", "indicator must be @ and a name without blanks, as @Revenue"))
    if body.indicator and body.ledger_id != GENERAL_LEDGER_ID:
        text = f"indicator is only of balances in the General Ledger: use {GENERAL_LEDGER_ID}"
        found.append(("indicator", text))
    if body.track_fund_lineage and not body.identity_id:
        text = "identity_id is required when track_fund_lineage is enabled"
        found.append(("identity_id", text))
    if body.allocation_strategy and body.allocation_strategy not in STRATEGIES:
        text = f"allocation_strategy must be one of {', '.join(STRATEGIES)}"
        found.append(("allocation_strategy", text))
    return found


async def check_ledger(service: Service, ledger_id: str) -> None:
    """Raises Fault for a ledger that there is not."""
    try:
        await look_up.ledger(service, ledger_id)
    except Fault:
        raise invalid(
            "GEN_VALIDATION_ERROR", [("ledger_id", f"Invalid ledger ID: there is no {ledger_id}")]
        ) from None


async def check_owner(service: Service, identity_id: str) -> None:
    """Raises Fault for an identity that there is not."""
    try:
        await look_up.identity(service, identity_id)
    except Fault:
        text = f"there is no identity {identity_id}"
        raise invalid("GEN_VALIDATION_ERROR", [("identity_id", text)]) from None


async def _check_free(service: Service, indicator: str, currency: str) -> None:
    balance_id = internal_balance_id(indicator, currency)
    if await look_up.known_balance(service, balance_id) is not None:
        raise _taken(indicator, currency)


def _taken(indicator: str, currency: str) -> Fault:
    return Fault(409, "GEN_CONFLICT", f"there is a balance {indicator} in {currency} already")


@router.get("/balances/indicator/{indicator:path}/currency/{currency:path}", tags=["balances"])
async def get_internal_balance(indicator: str, currency: str, service: TheService) -> Exact:
    """The internal balance of a name in a currency."""
    balance_id = internal_balance_id(indicator, currency)
    view = await look_up.known_balance(service, balance_id)
    if view is None:
        raise Fault(404, "BAL_NOT_FOUND", f"Balance {indicator} in {currency} not found")
    return Exact(shapes.balance(view))


@router.get("/balances/{balance_id}", tags=["balances"])
async def get_balance(
    balance_id: str,
    service: TheService,
    include: Annotated[list[str] | None, Query()] = None,
    with_queued: bool = False,
) -> Exact:
    """One balance. include: ``identity``, ``ledger``. with_queued: sums of what waits."""
    view = await look_up.balance(service, balance_id)
    shape = shapes.balance(view)
    if with_queued:
        queued = await queued_of(service, view.balance_id)
        shape |= {
            "queued_debit_balance": queued.debit,
            "queued_credit_balance": queued.credit,
            "queued_complete": queued.complete,
        }
    return Exact(shape | await look_up.included(service, view, include))


@router.get("/balances/{balance_id}/at", tags=["balances"])
async def get_balance_at(
    balance_id: str,
    service: TheService,
    timestamp: str | None = None,
    from_source: bool = False,
) -> Exact:
    """What a balance stood at, by effective date. timestamp: RFC 3339; without one, now."""
    at = _moment(timestamp) if timestamp else now_of(service)
    view = await look_up.balance(service, balance_id)
    found = await service.read(balance_at, view.balance_id, at, from_journal=from_source)
    credit, debit = (found.credit_balance, found.debit_balance) if found else (0, 0)
    figures = {
        "balance_id": view.balance_id,
        "currency": view.currency,
        "balance": credit - debit,
        "credit_balance": credit,
        "debit_balance": debit,
    }
    return Exact({"balance": figures, "timestamp": shapes.moment(at), "from_source": from_source})


def _moment(text: str) -> datetime:
    """A moment of a query string, where the + of an offset arrives as a blank."""
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        found = None
    if found is None or found.utcoffset() is None:
        message = (
            f"invalid timestamp format: {text} is not like 2024-04-22T15:28:03Z "
            "or 2024-04-22T15:28:03+00:00"
        )
        raise Fault(400, "BAL_INVALID_TIMESTAMP", message)
    return found.astimezone(UTC)


@router.post("/balances-snapshots", tags=["balances"])
async def take_snapshot(service: TheService) -> Exact:
    """Have a worker keep the figures of all balances that changed, which makes history quick."""
    await service.client.ask_for_snapshot()
    return Exact({"message": "a snapshot of all balances that changed is on its way"})


@router.get("/balances/{balance_id}/statement", tags=["balances"])
async def get_statement(
    balance_id: str,
    service: TheService,
    since: str | None = None,
    until: str | None = None,
    last: Annotated[int, Query(ge=1, le=LAST_MAX)] = 100,
) -> Exact:
    """The last lines that moved a balance, by effective date, between what it opened and closed
    at. Amounts are in minor units."""
    view = await look_up.balance(service, balance_id)
    span = {"since": _moment(since) if since else None, "until": _moment(until) if until else None}
    found = await service.read(_statement, view.balance_id, last, **span)
    if found is None:  # it is asked for, and nothing has moved
        opened, lines = 0, []
    else:
        opened, lines = found.opening, [shapes.line(each) for each in found.lines]
    return Exact(
        {
            "balance_id": view.balance_id,
            "currency": view.currency,
            "precision": view.precision or 1,
            "since": shapes.moment(span["since"]),
            "until": shapes.moment(span["until"]),
            "opening": opened,
            "closing": found.closing if found else 0,
            "lines": lines,
        }
    )


def _statement(
    connection: Connection, balance_id: str, last: int, **span: datetime | None
) -> StatementView | None:
    found = open_statement(connection, balance_id, last=last, **span)
    return None if found is None else found.read()


@router.put("/balances/{balance_id}/identity", tags=["balances"])
async def link_identity(balance_id: str, body: OwnerBody, service: TheService) -> Exact:
    """Make an identity the owner of a balance."""
    if not body.identity_id:
        raise invalid("GEN_VALIDATION_ERROR", [("identity_id", BLANK)])
    view = await look_up.balance(service, balance_id)
    await look_up.identity(service, body.identity_id)
    await change(service, view.balance_id, fields={"identity_id": body.identity_id})
    return Exact({"message": "Balance identity updated successfully"})


@router.get("/balances/{balance_id}/lineage", tags=["balances"])
async def get_lineage(balance_id: str, service: TheService) -> Exact:
    """Not built yet; an unknown balance is told as such."""
    await look_up.balance(service, balance_id)
    raise Fault(501, "GEN_NOT_IMPLEMENTED", "lineage of funds is not implemented yet")


@router.post("/identities", status_code=201, tags=["identities"])
async def create_identity(body: IdentityBody, service: TheService) -> Exact:
    """Create an identity. identity_id: the caller's own, ``idt_`` and a UUID."""
    if body.identity_id and not IDENTITY_ID.match(body.identity_id):
        text = "identity_id must be idt_ and a UUID, in lower case"
        raise invalid("IDT_VALIDATION_ERROR", [("identity_id", text)])
    given: dict[str, Any] = dict(body.known())
    given |= {"identity_id": body.identity_id or None, "meta_data": body.meta_data or None}
    request = validated(IdentityRequest, given, "IDT_VALIDATION_ERROR")
    try:
        accepted = await service.hand_in(request, CREATED_SECONDS)
    except Fault as fault:
        raise Fault(409, "IDT_VALIDATION_ERROR", fault.message) from None
    unless_refused(accepted)
    if accepted.is_repeated:
        text = f"there is an identity {body.identity_id} already"
        raise Fault(409, "IDT_VALIDATION_ERROR", text)
    view = look_up.new_identity(
        body.known(), accepted.receipt.id, now_of(service), body.meta_data or {}
    )
    return Exact(shapes.identity(view), 201)


@router.get("/identities/{identity_id}", tags=["identities"])
async def get_identity(identity_id: str, service: TheService) -> Exact:
    """One identity."""
    return Exact(shapes.identity(await look_up.identity(service, identity_id)))


@router.put("/identities/{identity_id}", tags=["identities"])
async def update_identity(identity_id: str, body: IdentityBody, service: TheService) -> Exact:
    """Change the fields that are given."""
    view = await look_up.identity(service, identity_id)
    known = body.known()
    if not known and not body.meta_data:
        raise Fault(400, "IDT_VALIDATION_ERROR", "give at least one field to change")
    await change(service, view.identity_id, fields=known or None, meta_data=body.meta_data)
    return Exact({"message": "Identity updated successfully"})
