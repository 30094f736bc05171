"""Meta_data of anything, merged by key. This route takes any first word: it comes last."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from daybook.api import look_up
from daybook.api.blnk.bodies import BLANK, MetaDataBody
from daybook.api.changing import change
from daybook.api.exact import Exact, ExactRoute
from daybook.api.faults import Fault, invalid
from daybook.api.service import TheService

router = APIRouter(route_class=ExactRoute, tags=["metadata"])

_READERS: dict[str, Any] = {
    "ldg": look_up.ledger,
    "general": look_up.ledger,
    "bln": look_up.balance,
    "idt": look_up.identity,
}


@router.post("/{entity_id}/metadata")
async def merge_meta_data(entity_id: str, body: MetaDataBody, service: TheService) -> Exact:
    """Merge meta_data by key over that of a ledger, balance, identity, transaction or bulk."""
    if not body.meta_data:
        raise invalid("GEN_VALIDATION_ERROR", [("meta_data", BLANK)])
    prefix = entity_id.partition("_")[0]
    reads = _READERS.get(prefix)
    if reads is None and prefix not in ("txn", "bulk"):
        text = f"unsupported entity: {entity_id} begins with none of ldg_, bln_, idt_, txn_, bulk_"
        raise Fault(400, "META_UNSUPPORTED_ENTITY", text)
    if reads is None:
        if await look_up.transaction(service, id=entity_id) is None:
            raise _missing(entity_id)
        await change(service, entity_id, meta_data=body.meta_data)
        return Exact({"meta_data": body.meta_data})
    try:
        await reads(service, entity_id)
    except Fault:
        raise _missing(entity_id) from None
    await change(service, entity_id, meta_data=body.meta_data)
    return Exact({"meta_data": (await reads(service, entity_id)).meta_data})


def _missing(entity_id: str) -> Fault:
    return Fault(404, "META_ENTITY_NOT_FOUND", f"there is nothing with the id {entity_id}")
