"""Accounts at banks, each with the balance that it stands for."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import NAMESPACE_URL, uuid5

from fastapi import APIRouter, Query

from daybook.api import look_up
from daybook.api.account_numbers import generated_number
from daybook.api.blnk import shapes
from daybook.api.blnk.bodies import BLANK, AccountBody, validated
from daybook.api.exact import Exact, ExactRoute
from daybook.api.faults import Fault, invalid, invalid_fields, not_found
from daybook.api.routes.things import check_ledger, check_owner
from daybook.api.service import WAIT_SECONDS_MAX, Service, TheService, now_of, unless_refused
from daybook.errors import MalformedRequest
from daybook.registry.accounts import (
    NewAccount,
    create_account,
    find_account,
    has_number,
    new_account,
)
from daybook.requests import BalanceRequest
from daybook.store.read.views import BalanceView

router = APIRouter(route_class=ExactRoute, tags=["accounts"])

CODE = "GEN_VALIDATION_ERROR"


@router.post("/accounts", status_code=201)
async def create(body: AccountBody, service: TheService) -> Exact:
    """Keep an account: of a balance, or of a new one in a ledger, for an owner, in a currency."""
    if problems := _problems(body):
        raise invalid(CODE, problems)
    number, bank_name = body.number, body.bank_name
    if not number:
        number, bank_name = await generated_number(service)
    wanted = _described(body, number, bank_name)
    if await service.read(has_number, number):
        raise _taken(number)
    balance = await _balance(service, body, number)
    made = await service.register(create_account, wanted, balance, now_of(service))
    if made is None:
        raise _taken(number)
    return Exact(shapes.account(made), 201)


def _problems(body: AccountBody) -> Sequence[tuple[str, str]]:
    if body.balance_id:
        return ()
    needed = ("ledger_id", "identity_id", "currency")
    missing = [name for name in needed if not getattr(body, name).strip()]
    text = f"{BLANK}: give a balance_id, or {', '.join(needed)} of a new balance"
    return [(name, text) for name in missing]


def _described(body: AccountBody, number: str, bank_name: str) -> NewAccount:
    given = {"number": number, "bank_name": bank_name, "name": body.name}
    try:
        return new_account(given | {"meta_data": body.meta_data})
    except MalformedRequest as fault:
        raise invalid_fields(CODE, fault.errors) from None


async def _balance(service: Service, body: AccountBody, number: str) -> BalanceView:
    """The balance that is named, which must be as it is told; or a new one."""
    if not body.balance_id:
        return await _new_balance(service, body, number)
    view = await look_up.balance(service, body.balance_id)
    told = {name: getattr(body, name) for name in ("ledger_id", "identity_id", "currency")}
    wrong = [name for name, value in told.items() if value and value != getattr(view, name)]
    if wrong:
        raise invalid(CODE, [(name, f"is not that of {view.balance_id}") for name in wrong])
    return view


async def _new_balance(service: Service, body: AccountBody, number: str) -> BalanceView:
    """A balance of its own. The same account, asked for again after a fault, has the same."""
    await check_ledger(service, body.ledger_id)
    await check_owner(service, body.identity_id)
    given = {name: getattr(body, name) for name in ("ledger_id", "identity_id", "currency")}
    name = "/".join(("account", *given.values(), number))
    given["balance_id"] = f"bln_{uuid5(NAMESPACE_URL, name)}"
    request = validated(BalanceRequest, given, CODE)
    accepted = unless_refused(await service.hand_in(request, WAIT_SECONDS_MAX))
    return look_up.new_balance(given, accepted.receipt.id, now_of(service), {})


def _taken(number: str) -> Fault:
    return Fault(409, "ACC_DUPLICATE", f"there is an account with the number {number} already")


@router.get("/accounts/{account_id}")
async def get(
    account_id: str,
    service: TheService,
    include: Annotated[list[str] | None, Query()] = None,
) -> Exact:
    """One account. include: ``balance``, ``identity``, ``ledger``."""
    view = await service.read(find_account, account_id)
    if view is None:
        raise not_found(account_id, "acc")
    shape = shapes.account(view)
    if "balance" in (include or ()):
        shape["balance"] = shapes.balance(await look_up.balance(service, view.balance_id))
    return Exact(shape | await look_up.included(service, view, include))


@router.get("/mocked-account")
async def mocked() -> Exact:
    """What a generator of account numbers answers, made up: for trying accounts without a bank."""
    digits: dict[str, Any] = {"account_number": f"{secrets.randbelow(10**10):010d}"}
    return Exact({"bank_name": "Blnk Bank", **digits})
