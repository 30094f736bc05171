"""Lists and filters of every collection, paged by offset."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from daybook.api.blnk import shapes
from daybook.api.blnk.questions import LIMIT_DEFAULT, LISTED_MAX, QuestionBody, question_of
from daybook.api.exact import Exact, ExactRoute
from daybook.api.faults import Fault
from daybook.api.service import Service, TheService
from daybook.errors import MalformedRequest
from daybook.store.read import filters
from daybook.store.read.filters import Question

router = APIRouter(route_class=ExactRoute, tags=["lists"])

_SHAPES: dict[str, Any] = {
    "ledgers": shapes.ledger,
    "balances": shapes.balance,
    "identities": shapes.identity,
    "accounts": shapes.account,
    "transactions": shapes.transaction,
}
_LIMITS = {
    "ledgers": 10,
    "balances": 10,
    "identities": 10_000,
    "accounts": 10_000,
    "transactions": LIMIT_DEFAULT,
}
"""How many rows a list has that says no limit: of identities and accounts, as clients know them,
all."""


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


def _serve(collection: str) -> None:
    """The list of a collection, and its filter."""

    async def listed(request: Request, service: TheService) -> Exact:
        return await _listed(service, collection, request)

    async def filtered(body: QuestionBody, service: TheService) -> Exact:
        return await _filtered(service, collection, body)

    router.add_api_route(
        f"/{collection}",
        listed,
        name=f"list_{collection}",
        summary=f"List {collection}, the newest first; `field_operator=value` filters.",
    )
    router.add_api_route(
        f"/{collection}/filter",
        filtered,
        methods=["POST"],
        name=f"filter_{collection}",
        summary=f"Find {collection} by filters in the body.",
    )


for _collection in _SHAPES:
    _serve(_collection)
