"""Dry runs, as the wire shows them: amounts and figures are text there."""

from __future__ import annotations

from typing import Any

from daybook.api.blnk.shapes import Shape, number
from daybook.api.faults import REJECTIONS, refused, rejection_text
from daybook.api.service import Service
from daybook.ledger.preview import BalancePreview, Figures, Preview, RecordPreview
from daybook.ledger.rejection import Reason
from daybook.requests import BulkRequest, Request

_REASONS = {
    Reason.INSUFFICIENT_FUNDS: "insufficient_funds",
    Reason.OVERDRAFT_LIMIT_EXCEEDED: "overdraft_limit",
}
"""Why a dry run is refused, in the wire's few words; else ``other``."""

_MALFORMED = frozenset({Reason.UNKNOWN_BALANCE, Reason.UNKNOWN_TRANSACTION})
"""Refused in a dry run as in the real call, and not told within its answer."""


async def of_request(service: Service, request: Request, operation: str | None) -> Shape:
    """What would become of one request. operation: of one on a hold, ``commit`` or ``void``.

    Raises Fault for what the real call would not accept.
    """
    preview = await service.client.dry_run.enqueue(request)
    _unless_unknown(preview)
    reference = getattr(request, "reference", None)
    return _shape(preview, reference, operation)


async def of_bulk(service: Service, request: BulkRequest) -> Shape:
    """What would become of a bulk: item by item, each behind those before it."""
    preview = await service.client.dry_run.enqueue(request)
    _unless_unknown(preview)
    results = [_item(preview, record) for record in preview.records if record.part is not None]
    refused_whole = [] if preview.would_apply else [rejection(preview.reason, preview.detail)]
    return {
        "dry_run": True,
        "would_apply": preview.would_apply and not any("rejection" in result for result in results),
        "cumulative": True,
        "atomic": request.atomic,
        "results": results,
        "balances": [_projection(one, "source") for one in preview.balances],
        "notes": [each["message"] for each in refused_whole],
    }


def _unless_unknown(preview: Preview) -> None:
    if preview.reason in _MALFORMED:
        raise refused(preview.reason or "malformed", preview.detail)


def rejection(reason: str | None, detail: str | None) -> Shape:
    """Why a dry run is refused: the code that the real call would give."""
    reason = reason or Reason.MALFORMED
    _, code = REJECTIONS.get(reason, (400, "TXN_VALIDATION_ERROR"))
    known = _REASONS.get(Reason(reason)) if reason in set(Reason) else None
    return {"code": code, "reason": known or "other", "message": rejection_text(reason, detail)}


def _shape(preview: Preview, reference: str | None, operation: str | None) -> Shape:
    money = _money_of(preview)
    shape: Shape = {"dry_run": True, "would_apply": preview.would_apply}
    if not preview.would_apply:
        shape["rejection"] = rejection(preview.reason, preview.detail)
    if operation is not None:
        shape["operation"] = operation
    if preview.would_apply:
        shape["status"] = preview.status
    sides = {
        side: role
        for record in preview.records
        for side, role in ((record.source, "source"), (record.destination, "destination"))
        if side is not None
    }
    shape |= {
        "reference": reference or (preview.records[0].reference if preview.records else ""),
        **money,
        "balances": [
            _projection(one, sides.get(one.balance_id, "source")) for one in preview.balances
        ],
    }
    legs = [record for record in preview.records if record.part is not None]
    if legs:
        shape["legs"] = [_leg(record, legs) for record in legs]
    return shape


def _money_of(preview: Preview) -> Shape:
    record = next((one for one in preview.records if one.precise_amount is not None), None)
    if record is None:
        return {"currency": "", "amount": 0, "precise_amount": "0", "precision": 1}
    return {
        "currency": record.currency,
        "amount": number(record.amount_string or "0"),
        "precise_amount": str(record.precise_amount),
        "precision": record.precision,
    }


def _leg(record: RecordPreview, legs: list[RecordPreview]) -> Shape:
    """One leg, from the side that has several."""
    several = len({leg.destination for leg in legs}) > 1
    return {
        "identifier": record.destination if several else record.source,
        "role": "destination" if several else "source",
        "precise_amount": str(record.precise_amount),
        "amount": number(record.amount_string or "0"),
    }


def _item(preview: Preview, record: RecordPreview) -> Shape:
    """One transaction of a bulk."""
    sides = {record.source: "source", record.destination: "destination"}
    applies = record.status != "REJECTED"
    shape: Shape = {"dry_run": True, "would_apply": applies}
    if not applies:
        shape["rejection"] = rejection(record.reason, record.detail)
    else:
        shape["status"] = record.status
    return shape | {
        "reference": record.reference,
        "currency": record.currency,
        "amount": number(record.amount_string or "0"),
        "precise_amount": str(record.precise_amount or 0),
        "precision": record.precision,
        "balances": [
            _projection(one, sides[one.balance_id])
            for one in preview.balances
            if one.balance_id in sides
        ],
    }


def _projection(one: BalancePreview, role: str) -> Shape:
    """A balance before and after."""
    shape: Shape = {"balance_id": one.balance_id, "role": role, "currency": one.currency}
    if not one.exists:
        shape["virtual"] = True
    for when, figures in (("current", one.before), ("resulting", one.after)):
        shape |= {f"{when}_{name}": text for name, text in _figures(figures).items()}
    return shape


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "balance": str(figures.balance),
        "available": str(figures.available),
        "credit_balance": str(figures.credit_balance),
        "debit_balance": str(figures.debit_balance),
        "inflight_debit_balance": str(figures.inflight_debit_balance),
        "inflight_credit_balance": str(figures.inflight_credit_balance),
    }
