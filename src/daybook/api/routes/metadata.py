"""Meta_data of anything, merged by key. This route takes any first word: it comes last."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from daybook.api import look_up
from daybook.api.blnk.bodies import BLANK, MetaDataBody
from daybook.api.exact import Exact, ExactRoute
from daybook.api.faults import Fault, invalid, invalid_fields
from daybook.api.service import WAIT_SECONDS_MAX, Service, service_of, unless_refused
from daybook.errors import MalformedRequest
from daybook.requests import ChangeRequest, validate

router = APIRouter(route_class=ExactRoute, tags=["metadata"])

_READERS: dict[str, Any] = {
    "ldg": look_up.ledger,
    "general": look_up.ledger,
    "bln": look_up.balance,
    "idt": look_up.identity,
}


@router.post("/{entity_id}/metadata")
async def merge_meta_data(
    entity_id: str, body: MetaDataBody, service: Annotated[Service, Depends(service_of)]
) -> Exact:
    """Merge meta_data by key over that of a ledger, balance, identity, transaction or bulk."""
    if not body.meta_data:
        raise invalid("GEN_VALIDATION_ERROR", [("meta_data", BLANK)])
    prefix = entity_id.partition("_")[0]
    reads = _READERS.get(prefix)
    if reads is None and prefix not in ("txn", "bulk"):
        text = f"unsupported entity: {entity_id} begins with none of ldg_, bln_, idt_, txn_, bulk_"
        raise Fault(400, "META_UNSUPPORTED_ENTITY", text)
    merged = dict(body.meta_data)
    if reads is not None:
        try:
            view = await reads(service, entity_id)
        except Fault:
            raise _missing(entity_id) from None
        merged = {**view.meta_data, **body.meta_data}
    elif await look_up.transaction(service, id=entity_id) is None:
        raise _missing(entity_id)
    try:
        request = validate(ChangeRequest, {"subject_id": entity_id, "meta_data": body.meta_data})
    except MalformedRequest as refused:
        raise invalid_fields("GEN_VALIDATION_ERROR", refused.errors) from None
    unless_refused(await service.hand_in(request, WAIT_SECONDS_MAX))
    if reads is not None:
        merged = (await reads(service, entity_id)).meta_data
    return Exact({"meta_data": merged})


def _missing(entity_id: str) -> Fault:
    return Fault(404, "META_ENTITY_NOT_FOUND", f"there is nothing with the id {entity_id}")
