"""Transactions of every kind: accepted into the log, found in whatever state they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query

from daybook.api import look_up
from daybook.api.blnk import previews, shapes
from daybook.api.blnk.bodies import (
    BULK_HOLDS_MAX,
    BulkBody,
    BulkCommitBody,
    BulkVoidBody,
    HoldBody,
    HoldPart,
    RefundBody,
    TransactionBody,
    action_request,
    bulk_request,
    hold_request,
    refund_request,
    transaction_request,
)
from daybook.api.blnk.shapes import Shape
from daybook.api.exact import Exact, ExactRoute
from daybook.api.faults import Fault, not_found, refused
from daybook.api.look_up import Found
from daybook.api.service import (
    WAIT_SECONDS_MAX,
    Accepted,
    Service,
    TheService,
    accepted_at,
    now_of,
    unless_refused,
)
from daybook.api.shared import Units, units_of
from daybook.errors import StoreUnavailable
from daybook.ledger.balance import named_balance_id
from daybook.ledger.instructions import Kind
from daybook.ledger.money import amount_text, to_minor
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason
from daybook.requests import BulkRequest, CancelRequest, TransactionRequest
from daybook.store.read.recorded import find_transaction
from daybook.store.read.views import RejectionView, TransactionView

router = APIRouter(route_class=ExactRoute, tags=["transactions"])
Wait = Annotated[
    float | None,
    Query(ge=0, description=f"Seconds to wait for the outcome, {WAIT_SECONDS_MAX:g} at most."),
]
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="Serves as the reference of the action."),
]


def _seconds(wait: float | None, *, skip_queue: bool) -> float | None:
    """How long an answer waits for the outcome; None when it does not."""
    if wait is None:
        return WAIT_SECONDS_MAX if skip_queue else None
    return min(wait, WAIT_SECONDS_MAX)


@router.post("/transactions", status_code=201)
async def create_transaction(
    body: TransactionBody, service: TheService, wait: Wait = None
) -> Exact:
    """Post a transaction. The answer comes once it is in the log, so nothing can lose it."""
    request = transaction_request(body)
    await check_balances(service, [request])
    if body.dry_run:
        return Exact(await previews.of_request(service, request, None))
    seconds = _seconds(wait, skip_queue=body.skip_queue)
    accepted = unless_refused(await service.hand_in(request, seconds))
    shape = await _shape_of_accepted(service, request, accepted)
    echo: Shape = {"skip_queue": body.skip_queue, "atomic": body.atomic}
    if body.effective_date:
        echo["effective_date"] = body.effective_date
    is_late = seconds is not None and accepted.outcome is None
    return Exact(shape | echo, 202 if is_late else 201)


async def _shape_of_accepted(
    service: Service, request: TransactionRequest, accepted: Accepted
) -> Shape:
    """What was accepted, as it is now: of a new one that waits, without a look."""
    receipt = accepted.receipt
    if accepted.outcome is not None and not accepted.is_repeated:
        posted = (await service.posted.of([receipt.id])).get(receipt.id)
        if posted is not None:
            return shapes.transaction(posted)
    if accepted.outcome is not None or accepted.is_repeated:
        found = await look_up.transaction(service, id=receipt.id)
        if found is not None:
            return look_up.shape_of(found)
    fields = request.canonical_fields() | {"meta_data": request.meta_data}
    for name in ("sources", "destinations"):
        legs = getattr(request, name)
        if legs is not None:
            fields[name] = [leg.model_dump(exclude_none=True) for leg in legs]
    position = receipt.position
    moment = now_of(service) if position is None else accepted_at(position)
    return shapes.queued(fields, receipt.id, moment)


async def check_balances(service: Service, requests: Sequence[TransactionRequest]) -> None:
    """Refuse what can be known at once: a balance that neither the ledger nor the log knows, and a
    currency or a precision that isn't its own.

    While Postgres is away nothing is known at once, and all that fits is accepted.
    """
    wanted = [
        (named_balance_id(name, request.currency), name, request)
        for request in requests
        for name in (*request.source_names, *request.destination_names)
    ]
    ids = list(dict.fromkeys(balance_id for balance_id, _, _ in wanted))
    internal = {balance_id for balance_id, name, _ in wanted if name.startswith("@")}
    try:
        known = await service.units.of(ids)
    except StoreUnavailable:
        return
    for balance_id in ids:
        if balance_id not in known and balance_id not in internal:
            view = await look_up.known_balance(service, balance_id)
            if view is None:
                raise _unknown(balance_id)
            known[balance_id] = units_of(view)
    for balance_id, _, request in wanted:
        if balance_id in known:
            _check_units(known[balance_id], request)


def _unknown(balance_id: str) -> Fault:
    text = f"Balance with ID '{balance_id}' not found"
    return Fault(404, "BAL_NOT_FOUND", text, {"reason": Reason.UNKNOWN_BALANCE.value})


def _check_units(units: Units, request: TransactionRequest) -> None:
    if units.currency != request.currency:
        detail = f"{units.name} is in {units.currency}, not {request.currency}"
        raise refused(Reason.CURRENCY_MISMATCH, detail)
    if units.precision is not None and units.precision != request.precision:
        detail = f"{units.name} has precision {units.precision}, not {request.precision}"
        raise refused(Reason.PRECISION_MISMATCH, detail)


@router.get("/transactions/reference/{reference:path}")
async def get_by_reference(reference: str, service: TheService) -> Exact:
    """A transaction by its reference. ``R_q`` answers what ``R`` answers."""
    found = await look_up.transaction(service, reference=reference)
    if found is None and reference.endswith("_q"):
        found = await look_up.transaction(service, reference=reference.removesuffix("_q"))
    if found is None:
        text = f"Transaction with reference '{reference}' not found"
        raise Fault(404, "TXN_NOT_FOUND", text)
    return Exact(look_up.shape_of(found))


@router.get("/transactions/{transaction_id}")
async def get_transaction(transaction_id: str, service: TheService) -> Exact:
    """A transaction, from the moment in which it was accepted."""
    return Exact(look_up.shape_of(await _found(service, transaction_id)))


async def _found(service: Service, transaction_id: str) -> Found:
    found = await look_up.transaction(service, id=transaction_id)
    if found is None:
        raise not_found(transaction_id, "txn")
    return found


@router.get("/transactions/{transaction_id}/lineage")
async def get_lineage(transaction_id: str, service: TheService) -> Exact:
    """Not built yet; an unknown transaction is told as such."""
    await _found(service, transaction_id)
    raise Fault(501, "GEN_NOT_IMPLEMENTED", "lineage of funds is not implemented yet")


# Holds


@router.put("/transactions/inflight/{transaction_id}")
async def update_hold(
    transaction_id: str,
    body: HoldBody,
    service: TheService,
    wait: Wait = None,
    key: Key = None,
) -> Exact:
    """Commit a hold, or a part of it, or void what is left of it."""
    request = hold_request(transaction_id, body, key)
    found = await _found(service, transaction_id)
    if body.dry_run:
        return Exact(await previews.of_request(service, request, body.status))
    _check_hold(found, body.status)
    _check_part(found, body)
    seconds = _seconds(wait, skip_queue=body.skip_queue)
    accepted = unless_refused(await service.hand_in(request, seconds))
    if accepted.outcome is None:
        shape = look_up.shape_of(found) | {"transaction_id": transaction_id, "queued": True}
        return Exact(shape, 202 if seconds is not None else 200)
    return Exact(await _made_by(service, accepted))


def _check_hold(found: Found, status: str) -> None:
    """What is known at once: there is no hold, or nothing is left of it. Raises Fault."""
    if isinstance(found, RejectionView):
        raise _no_hold(status)
    if not isinstance(found, TransactionView):
        return
    if found.status == Status.REJECTED or (found.hold is None and not found.parts):
        raise _no_hold(status)
    hold = found.hold
    if hold is not None and hold.remaining == 0:
        if hold.voided:
            raise refused(Reason.ALREADY_VOIDED, None)
        raise Fault(409, "TXN_ALREADY_COMMITTED", f"cannot {status}. Transaction already committed")


def _check_part(found: Found, body: HoldBody | HoldPart) -> None:
    """A part that is more than is left can't become less than it. Raises Fault."""
    if not isinstance(found, TransactionView) or found.hold is None or found.parts:
        return
    precision, left = found.precision or 1, found.hold.remaining
    wanted = body.precise_amount or (to_minor(body.amount, precision) if body.amount else 0)
    if wanted > left:
        text = (
            f"cannot commit more than the remaining amount. Available: {found.currency}"
            f"{amount_text(left, precision)}, Requested: {amount_text(wanted, precision)}"
        )
        details = {"reason": Reason.COMMIT_EXCEEDS_HOLD.value, "remaining": left}
        raise Fault(400, "TXN_COMMIT_AMOUNT_EXCEEDED", text, details)


def _no_hold(status: str) -> Fault:
    return Fault(400, "TXN_NOT_INFLIGHT", f"no transaction to {status}")


async def _made_by(service: Service, accepted: Accepted) -> Shape:
    """The record that an action has made; of one on several holds, the first of them."""
    outcome = accepted.outcome
    assert outcome is not None
    found = await service.read(find_transaction, id=outcome.transaction_id)
    if not isinstance(found, TransactionView):
        raise not_found(outcome.transaction_id, "txn")
    first = next(iter(found.records), found)
    return look_up.shape_of(first)


@router.post("/transactions/inflight/bulk/commit")
async def commit_holds(body: BulkCommitBody, service: TheService) -> Exact:
    """Commit up to 100 holds, each on its own."""
    parts = body.transactions
    return await _on_each_hold(service, "commit", parts, body.skip_queue)


@router.post("/transactions/inflight/bulk/void")
async def void_holds(body: BulkVoidBody, service: TheService) -> Exact:
    """Void up to 100 holds, each on its own."""
    parts = [HoldPart(transaction_id=each) for each in body.transaction_ids]
    return await _on_each_hold(service, "void", parts, body.skip_queue)


_HOLD_CODES = {
    "TXN_NOT_FOUND": "NOT_FOUND",
    "TXN_ALREADY_COMMITTED": "ALREADY_COMMITTED",
    "TXN_ALREADY_VOIDED": "ALREADY_VOIDED",
    "TXN_NOT_INFLIGHT": "NOT_INFLIGHT",
    "TXN_COMMIT_AMOUNT_EXCEEDED": "INVALID_AMOUNT",
    "TXN_VALIDATION_ERROR": "INVALID_AMOUNT",
    "GEN_BAD_REQUEST": "INVALID_AMOUNT",
}


async def _on_each_hold(
    service: Service, status: str, parts: Sequence[HoldPart], skip_queue: bool
) -> Exact:
    if not parts:
        raise Fault(400, "TXN_BULK_EMPTY", "at least one transaction is required")
    if len(parts) > BULK_HOLDS_MAX:
        text = f"{len(parts)} are more than {BULK_HOLDS_MAX} transactions"
        raise Fault(400, "TXN_BULK_LIMIT_EXCEEDED", text)
    results = [await _on_hold(service, status, part, skip_queue) for part in parts]
    failed = sum(result["status"] == "failed" for result in results)
    return Exact({"succeeded": len(results) - failed, "failed": failed, "results": results})


async def _on_hold(service: Service, status: str, part: HoldPart, skip_queue: bool) -> Shape:
    body = HoldBody(status=status, amount=part.amount, precise_amount=part.precise_amount)
    result: Shape = {"transaction_id": part.transaction_id}
    try:
        request = hold_request(part.transaction_id, body, None)
        found = await _found(service, part.transaction_id)
        _check_hold(found, status)
        _check_part(found, part)
        seconds = _seconds(None, skip_queue=skip_queue)
        accepted = unless_refused(await service.hand_in(request, seconds))
    except Fault as fault:
        code = _HOLD_CODES.get(fault.code, "INTERNAL_ERROR")
        return result | {"status": "failed", "code": code, "message": fault.message}
    if accepted.outcome is None:
        return result | {"status": "queued", "code": "QUEUED"}
    return result | {"status": "succeeded"}


@router.post("/refund-transaction/{transaction_id}", status_code=201)
async def refund(
    transaction_id: str,
    service: TheService,
    body: RefundBody | None = None,
    wait: Wait = None,
    key: Key = None,
) -> Exact:
    """Give the whole of a transaction back, once."""
    body = body or RefundBody()
    request = refund_request(transaction_id, body, key)
    found = await _found(service, transaction_id)
    if body.dry_run:
        return Exact(await previews.of_request(service, request, None))
    _check_refund(found)
    seconds = _seconds(wait, skip_queue=body.skip_queue)
    accepted = unless_refused(await service.hand_in(request, seconds))
    if accepted.outcome is None:
        shape = _refund_of(look_up.shape_of(found), accepted)
        return Exact(shape, 202 if seconds is not None else 201)
    return Exact(await _made_by(service, accepted), 201)


def _check_refund(found: Found) -> None:
    """What is known at once. Raises Fault."""
    if isinstance(found, RejectionView) or (
        isinstance(found, TransactionView) and found.status == Status.REJECTED
    ):
        text = (
            f"transaction {found.transaction_id} cannot be refunded in status REJECTED "
            "(only APPLIED)"
        )
        raise Fault(400, "TXN_VALIDATION_ERROR", text)
    if not isinstance(found, TransactionView):
        return
    if found.status == Status.INFLIGHT:
        commits = [one.transaction_id for one in found.actions if one.kind == Kind.COMMIT]
        text = (
            f"transaction {found.transaction_id} is a hold: refund its commits by their ids, "
            f"{', '.join(commits) or 'of which there are none'}"
        )
        raise Fault(400, "TXN_VALIDATION_ERROR", text, {"commits": commits})
    if found.refunded_by is not None:
        text = f"transaction {found.transaction_id} has already been refunded"
        raise Fault(409, "TXN_ALREADY_REFUNDED", text, {"refund": found.refunded_by})


def _refund_of(original: Shape, accepted: Accepted) -> Shape:
    """A refund that waits: the original, turned around."""
    own = {
        "transaction_id": accepted.receipt.id,
        "parent_transaction": original["transaction_id"],
        "reference": accepted.receipt.reference or f"{original['transaction_id']}_refund",
        "status": Status.QUEUED.value,
        "hash": shapes.NO_HASH,
        "allow_overdraft": True,
    }
    sides = {"source": original.get("destination"), "destination": original.get("source")}
    return original | own | {name: side for name, side in sides.items() if side}


@router.post("/transactions/{transaction_id}/cancel")
async def cancel(
    transaction_id: str, service: TheService, wait: Wait = None, key: Key = None
) -> Exact:
    """Withdraw a scheduled transaction before its time."""
    given = {"transaction_id": transaction_id, "reference": key}
    request = action_request(CancelRequest, given)
    await _found(service, transaction_id)
    seconds = _seconds(wait, skip_queue=True)
    accepted = unless_refused(await service.hand_in(request, seconds))
    shape = look_up.shape_of(await _found(service, transaction_id))
    return Exact(shape, 202 if accepted.outcome is None else 200)


# Bulks


@router.post("/transactions/bulk", status_code=201)
async def create_bulk(body: BulkBody, service: TheService, wait: Wait = None) -> Exact:
    """Post up to 10,000 transactions in their order; atomic: all of them or none."""
    request = bulk_request(body)
    await check_balances(service, request.transactions)
    if body.dry_run:
        return Exact(await previews.of_bulk(service, request))
    seconds = None if body.run_async else _seconds(wait, skip_queue=body.skip_queue)
    accepted = await service.hand_in(request, seconds)
    batch_id = accepted.receipt.id
    if body.run_async:
        text = "Bulk transaction processing started"
        return Exact({"message": text, "batch_id": batch_id, "status": "processing"}, 202)
    if accepted.outcome is not None:
        await _check_bulk(service, request, batch_id)
    status = "inflight" if body.inflight else "applied"
    count = len(request.transactions)
    return Exact({"batch_id": batch_id, "status": status, "transaction_count": count}, 201)


async def _check_bulk(service: Service, request: BulkRequest, batch_id: str) -> None:
    """Raises Fault when one of its transactions was refused: the answer of the first of them."""
    found = await service.read(find_transaction, id=batch_id)
    records: Sequence[TransactionView] = ()
    if isinstance(found, TransactionView):
        records = found.records
    elif isinstance(found, RejectionView):
        raise _bulk_fault(refused(found.reason, found.detail), batch_id, [])
    failures = [one for one in records if one.status == Status.REJECTED]
    causes = [one for one in failures if one.reason != Reason.BULK_ABORTED] or failures
    if not causes:
        return
    first = causes[0]
    told = refused(first.reason or Reason.MALFORMED, first.detail)
    ending = (
        "No transaction of this batch was applied."
        if request.atomic
        else "The other transactions of this batch were applied."
    )
    item = (
        f"transaction {first.part} ({first.reference}, {first.source} to {first.destination}, "
        f"{first.amount_string} {first.currency})"
    )
    told.message = f"{item}: {told.message}. {ending}"
    raise _bulk_fault(told, batch_id, causes)


def _bulk_fault(told: Fault, batch_id: str, failures: Sequence[TransactionView]) -> Fault:
    details = {
        "batch_id": batch_id,
        "failures": [
            {
                "item": one.part,
                "transaction_id": one.transaction_id,
                "reference": one.reference,
                "reason": one.reason,
                "message": one.detail,
            }
            for one in failures
        ],
    }
    return Fault(told.status_code, told.code, told.message, details, more={"batch_id": batch_id})


_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?\Z")
RECOVER_DEFAULT = "2h"


@router.post("/transactions/recover")
async def recover(service: TheService, threshold: str = RECOVER_DEFAULT) -> Exact:
    """Have a worker come to each partition with something open, and say how many those are.

    Nothing accepted is ever lost, so nothing else has to be recovered.
    """
    found = _DURATION.match(threshold)
    if not threshold or found is None or not any(found.groups()):
        text = f"invalid threshold duration: {threshold} is not like 24h, 90m or 1h30m"
        raise Fault(400, "GEN_VALIDATION_ERROR", text)
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    whole = hours * 3600 + minutes * 60 + seconds
    rung = await service.ring_open()
    return Exact({"recovered": rung, "threshold": _go_duration(whole)})


def _go_duration(seconds: int) -> str:
    """A duration as Go writes it: ``24h0m0s``."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
