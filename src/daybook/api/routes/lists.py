"""Lists and filters of every collection, paged by offset."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from daybook.api.blnk import shapes
from daybook.api.blnk.questions import LIMIT_DEFAULT, LISTED_MAX, QuestionBody, question_of
from daybook.api.exact import Exact, ExactRoute
from daybook.api.faults import Fault
from daybook.api.service import Service, service_of
from daybook.errors import MalformedRequest
from daybook.store.read import filters
from daybook.store.read.filters import Question

router = APIRouter(route_class=ExactRoute, tags=["lists"])
TheService = Annotated[Service, Depends(service_of)]

_SHAPES: dict[str, Any] = {
    "ledgers": shapes.ledger,
    "balances": shapes.balance,
    "identities": shapes.identity,
    "transactions": shapes.transaction,
}
_LIMITS = {"ledgers": 10, "balances": 10, "identities": 10_000, "transactions": LIMIT_DEFAULT}
"""How many rows a list has that says no limit: of identities, as clients know them, all."""


async def _found(service: Service, collection: str, question: Question) -> list[Any]:
    try:
        views = await service.read(filters.find, collection, question)
    except MalformedRequest as fault:
        raise _bad(fault) from None
    return [_SHAPES[collection](view) for view in views]


def _bad(fault: MalformedRequest) -> Fault:
    details = [{"Param": error.field, "Message": error.message} for error in fault.errors]
    return Fault(400, "GEN_BAD_REQUEST", str(fault), details)


async def _listed(service: Service, collection: str, request: Request) -> Exact:
    default = _LIMITS[collection]
    most = max(default, LISTED_MAX)
    question = question_of(request.query_params.multi_items(), default, most)
    return Exact(await _found(service, collection, question))


async def _filtered(service: Service, collection: str, body: QuestionBody) -> Exact:
    question = body.question()
    rows = await _found(service, collection, question)
    if not body.include_count:
        return Exact(rows)
    total = await service.read(filters.count, collection, question)
    return Exact({"data": rows, "total_count": total})


@router.get("/ledgers")
async def list_ledgers(request: Request, service: TheService) -> Exact:
    """Ledgers, the newest first; ``field_operator=value`` filters."""
    return await _listed(service, "ledgers", request)


@router.get("/balances")
async def list_balances(request: Request, service: TheService) -> Exact:
    """Balances, the newest first."""
    return await _listed(service, "balances", request)


@router.get("/identities")
async def list_identities(request: Request, service: TheService) -> Exact:
    """Identities, the newest first."""
    return await _listed(service, "identities", request)


@router.get("/transactions")
async def list_transactions(request: Request, service: TheService) -> Exact:
    """What moved money, or was refused, the newest first."""
    return await _listed(service, "transactions", request)


@router.post("/ledgers/filter")
async def filter_ledgers(body: QuestionBody, service: TheService) -> Exact:
    """Ledgers that fit."""
    return await _filtered(service, "ledgers", body)


@router.post("/balances/filter")
async def filter_balances(body: QuestionBody, service: TheService) -> Exact:
    """Balances that fit."""
    return await _filtered(service, "balances", body)


@router.post("/identities/filter")
async def filter_identities(body: QuestionBody, service: TheService) -> Exact:
    """Identities that fit."""
    return await _filtered(service, "identities", body)


@router.post("/transactions/filter")
async def filter_transactions(body: QuestionBody, service: TheService) -> Exact:
    """Transactions that fit."""
    return await _filtered(service, "transactions", body)
