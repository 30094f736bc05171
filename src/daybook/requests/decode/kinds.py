"""What each kind of body asks for. Each decoder raises MalformedRequest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from daybook.errors import MalformedRequest
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.ledger.ids import part_id
from daybook.ledger.instructions import (
    Bulk,
    Cancel,
    Change,
    Commit,
    Deadline,
    MultiLeg,
    NewBalance,
    NewIdentity,
    NewLedger,
    Refund,
    Resolve,
    Transaction,
    Void,
)
from daybook.requests.actions import (
    CancelRequest,
    ChangeRequest,
    CommitRequest,
    RefundRequest,
    VoidRequest,
    amount_of_bulk,
    changed_field_errors,
    changed_meta_errors,
    slot_of_subject,
)
from daybook.requests.base import NO_SLOTS, amount_choice, malformed, within
from daybook.requests.bounds import (
    BULK_ID,
    GROUP_ID,
    IDENTITY_ID,
    LEDGER_ID,
    NEW_TRANSACTION_ID,
    TRANSACTION_ID,
)
from daybook.requests.bulk import BulkRequest, repeated_references
from daybook.requests.creations import BalanceRequest, IdentityRequest, LedgerRequest
from daybook.requests.decode.bodies import (
    ActionBody,
    BalanceBody,
    BulkBody,
    CancelBody,
    ChangeBody,
    CommitBody,
    CommonItem,
    DeadlineBody,
    IdentityBody,
    ItemBody,
    LedgerBody,
    ResolveBody,
    TransactionBody,
)
from daybook.requests.decode.instructions import (
    check_names,
    checked,
    effective_micros_of,
    fault,
    movement_of,
    names_of,
    object_text,
)
from daybook.requests.fields import (
    SUBJECTS,
    check_amount,
    check_precise_amount,
    external_id_fault,
)
from daybook.requests.kinds import Decoded, KindOfRequest, add_kind
from daybook.requests.models import load_json, validate
from daybook.requests.naming import are_plain
from daybook.requests.quarantine import resolve_id
from daybook.requests.routing import (
    ordering_key,
    ordering_key_of,
    slot_of,
    slot_of_transaction,
    slots_moved,
    slots_spent,
)
from daybook.requests.transactions import TransactionRequest


def _decode_transaction(fields: TransactionBody, request_id: str, accepted_ms: int) -> Decoded:
    instruction = movement_of(fields, accepted_ms, fields.scheduled_for)
    check_names(fields, "ordering_key")
    sources = names_of(fields.source, fields.sources)
    destinations = names_of(fields.destination, fields.destinations)
    slot = slot_of(fields.ordering_key or ordering_key_of(sources, destinations))
    _refuse_foreign_id(request_id, NEW_TRANSACTION_ID, slot, "transaction_id")
    slots = NO_SLOTS if len(sources) == 1 else slots_spent(slot, sources)
    return Decoded(instruction, slot, request_id, slots)


def _refuse_foreign_id(request_id: str, form: re.Pattern[str], slot: int, field: str) -> None:
    """An id of another slot would part a request from what is done to it later."""
    if not form.match(request_id) or slot_of_transaction(request_id) != slot:
        raise fault(field, f"is not an id that carries slot {slot}")


def _decode_bulk(fields: BulkBody, request_id: str, accepted_ms: int) -> Decoded:
    check_names(fields, "reference", "ordering_key")
    items: list[Transaction | MultiLeg] = []
    slots: set[int] = set()
    for place, item in enumerate(fields.transactions):
        if isinstance(item, dict):
            transaction = _common_item(item, slots)
            if transaction is not None:
                items.append(transaction)
                continue
            item = ItemBody(**item)
        try:
            items.append(movement_of(item, accepted_ms))
        except MalformedRequest as found:
            raise malformed(within(f"transactions[{place}]", list(found.errors))) from None
        sources = names_of(item.source, item.sources)
        slots.update(slots_moved(sources, names_of(item.destination, item.destinations)))
    references = [item.reference for item in items]
    if len({fields.reference, *references}) <= len(references):
        raise malformed(repeated_references(references, fields.reference))
    slot = slot_of(fields.ordering_key or _key_of_first(fields.transactions[0]))
    _refuse_foreign_id(request_id, BULK_ID, slot, "bulk_id")
    effective_micros = effective_micros_of(fields.effective_date, accepted_ms)
    if fields.description or effective_micros is not None:
        items = [_filled(item, fields.description, effective_micros) for item in items]
    bulk = Bulk(
        fields.reference,
        tuple(items),
        fields.atomic,
        fields.description,
        object_text(fields.meta_data, "meta_data"),
        effective_micros,
    )
    return Decoded(bulk, slot, request_id, frozenset((slot, *slots)))


def _filled(
    item: Transaction | MultiLeg, description: str, effective_micros: int | None
) -> Transaction | MultiLeg:
    """The item with what its bulk says for those that say nothing themselves."""
    whole = item.whole
    own = whole.effective_micros
    filled = whole._replace(
        description=whole.description or description,
        effective_micros=effective_micros if own is None else own,
    )
    return item._replace(whole=filled) if isinstance(item, MultiLeg) else filled


def _key_of_first(item: CommonItem | ItemBody) -> str:
    if isinstance(item, dict):
        return ordering_key(item["source"], item["destination"])
    sources = names_of(item.source, item.sources)
    return ordering_key_of(sources, names_of(item.destination, item.destinations))


def _common_item(item: CommonItem, slots: set[int]) -> Transaction | None:
    """A common transaction of a bulk, its slot noted; None when it is to be judged at length."""
    reference, currency = item["reference"], item["currency"]
    source, destination = item["source"], item["destination"]
    if not are_plain(reference, currency, source, destination):
        return None
    source_indicator = source if source[0] == "@" else None
    destination_indicator = destination if destination[0] == "@" else None
    source_id = internal_balance_id(source, currency) if source_indicator else source
    destination_id = (
        internal_balance_id(destination, currency) if destination_indicator else destination
    )
    if source_id == destination_id:
        return None
    if source_indicator is None:
        slots.add(slot_of(source))
    elif destination_indicator is None:
        slots.add(slot_of(destination))
    return Transaction(
        reference,
        source_id,
        destination_id,
        source_indicator,
        destination_indicator,
        currency,
        int(item["precise_amount"]),
        int(item["precision"]),
        item.get("description", ""),
        item.get("allow_overdraft", False),
        inflight=item.get("inflight", False),
    )


def _decode_commit(fields: CommitBody, request_id: str, accepted_ms: int) -> Decoded:
    slot = _slot_of_named(fields.transaction_id, request_id, GROUP_ID)
    check_names(fields, "reference")
    given = {"amount": fields.amount, "precise_amount": fields.precise_amount}
    errors = amount_choice(given, required=False)
    errors += amount_of_bulk(given | {"transaction_id": fields.transaction_id})
    if errors:
        raise malformed(errors)
    precise, amount = fields.precise_amount, fields.amount
    instruction = Commit(
        fields.transaction_id,
        fields.reference,
        None if precise is None else checked(check_precise_amount, precise, "precise_amount"),
        None if amount is None else str(checked(check_amount, amount, "amount")),
        fields.description,
        object_text(fields.meta_data, "meta_data"),
        effective_micros_of(fields.effective_date, accepted_ms),
        fields.rounding,
    )
    return Decoded(instruction, slot, request_id)


_ACTIONS: dict[str, Callable[..., Void | Refund]] = {"void": Void, "refund": Refund}


def _decode_action(fields: ActionBody, request_id: str, accepted_ms: int) -> Decoded:
    slot = _slot_of_named(fields.transaction_id, request_id, GROUP_ID)
    check_names(fields, "reference")
    instruction = _ACTIONS[fields.kind](
        fields.transaction_id,
        fields.reference,
        fields.description,
        object_text(fields.meta_data, "meta_data"),
        effective_micros_of(fields.effective_date, accepted_ms),
    )
    return Decoded(instruction, slot, request_id)


def _decode_cancel(fields: CancelBody, request_id: str, accepted_ms: int) -> Decoded:
    del accepted_ms
    slot = _slot_of_named(fields.transaction_id, request_id, TRANSACTION_ID)
    check_names(fields, "reference")
    meta_data = object_text(fields.meta_data, "meta_data")
    instruction = Cancel(fields.transaction_id, fields.reference, fields.description, meta_data)
    return Decoded(instruction, slot, request_id)


def _slot_of_named(named: str, request_id: str, form: re.Pattern[str]) -> int:
    """The slot of the transaction that is named, which the request's own id carries, too."""
    if not form.match(named):
        known = "txn_<uuid>" if form is TRANSACTION_ID else "txn_<uuid> or bulk_<uuid>"
        raise fault("transaction_id", f"must look like {known}, in lower case")
    slot = slot_of_transaction(named)
    _refuse_foreign_id(request_id, TRANSACTION_ID, slot, "request_id")
    return slot


def _decode_deadline(fields: DeadlineBody, request_id: str, accepted_ms: int) -> Decoded:
    del accepted_ms
    if request_id != part_id(fields.transaction_id, "deadline"):
        raise fault("request_id", "is not the id of this deadline")
    slot = _slot_of_named(fields.transaction_id, request_id, GROUP_ID)
    return Decoded(Deadline(fields.transaction_id), slot, request_id)


def _decode_resolve(fields: ResolveBody, request_id: str, accepted_ms: int) -> Decoded:
    del accepted_ms
    wanted = Resolve(fields.request_id, fields.position, fields.how, fields.made_by, fields.why)
    if request_id != resolve_id(wanted):
        raise fault("request_id", "is not the id of this resolution")
    return Decoded(wanted, fields.slot, request_id)


def _decode_ledger(fields: LedgerBody, request_id: str, accepted_ms: int) -> Decoded:
    del accepted_ms
    check_names(fields, "name")
    if not LEDGER_ID.match(fields.ledger_id) or fields.ledger_id != request_id:
        raise fault("ledger_id", "must look like ldg_<uuid> and be the entry's id")
    meta_data = object_text(fields.meta_data, "meta_data")
    instruction = NewLedger(fields.ledger_id, fields.name, meta_data)
    return Decoded(instruction, slot_of(fields.ledger_id), request_id)


def _decode_balance(fields: BalanceBody, request_id: str, accepted_ms: int) -> Decoded:
    del accepted_ms
    given = {name: getattr(fields, name) for name in BalanceRequest.model_fields}
    given["meta_data"] = None
    validate(BalanceRequest, given)
    meta_data = object_text(fields.meta_data, "meta_data")
    wrong = external_id_fault(load_json(meta_data or "{}"))
    if wrong:
        raise fault("meta_data", wrong)
    if fields.balance_id != request_id:
        raise fault("balance_id", "is not the entry's id")
    instruction = NewBalance(
        fields.balance_id,
        fields.ledger_id,
        fields.currency,
        fields.indicator,
        fields.identity_id,
        meta_data,
    )
    return Decoded(instruction, slot_of(fields.indicator or fields.balance_id), request_id)


def _decode_identity(fields: IdentityBody, request_id: str, accepted_ms: int) -> Decoded:
    del accepted_ms
    if not IDENTITY_ID.match(fields.identity_id) or fields.identity_id != request_id:
        raise fault("identity_id", "must look like idt_<uuid> and be the entry's id")
    given = ((name, getattr(fields, name)) for name in sorted(IDENTITY_FIELDS))
    known = {name: text for name, text in given if text is not None}
    text = json.dumps(known, ensure_ascii=False, separators=(",", ":"))
    meta_data = object_text(fields.meta_data, "meta_data")
    instruction = NewIdentity(fields.identity_id, text, meta_data)
    return Decoded(instruction, slot_of(fields.identity_id), request_id)


def _decode_change(fields: ChangeBody, request_id: str, accepted_ms: int) -> Decoded:
    del accepted_ms
    subject_id = fields.subject_id
    if not any(form.match(subject_id) for form in SUBJECTS):
        raise fault("subject_id", "must be the id of what is to be changed")
    slot = slot_of_subject(subject_id)
    _refuse_foreign_id(request_id, TRANSACTION_ID, slot, "request_id")
    check_names(fields, "reference")
    if fields.fields is None and fields.meta_data is None:
        raise fault("fields", "or meta_data is required")
    text = object_text(fields.fields, "fields") or "{}"
    meta_data = object_text(fields.meta_data, "meta_data")
    errors = changed_field_errors(subject_id, load_json(text))
    errors += changed_meta_errors(subject_id, load_json(meta_data or "{}"))
    if errors:
        raise malformed(errors)
    instruction = Change(subject_id, fields.reference, text, meta_data, fields.made_by)
    return Decoded(instruction, slot, request_id)


add_kind("transaction", KindOfRequest(TransactionBody, _decode_transaction, TransactionRequest))
add_kind("bulk", KindOfRequest(BulkBody, _decode_bulk, BulkRequest))
add_kind("commit", KindOfRequest(CommitBody, _decode_commit, CommitRequest))
add_kind("void", KindOfRequest(ActionBody, _decode_action, VoidRequest))
add_kind("refund", KindOfRequest(ActionBody, _decode_action, RefundRequest))
add_kind("cancel", KindOfRequest(CancelBody, _decode_cancel, CancelRequest))
add_kind("deadline", KindOfRequest(DeadlineBody, _decode_deadline))
add_kind("resolve", KindOfRequest(ResolveBody, _decode_resolve))
add_kind("ledger", KindOfRequest(LedgerBody, _decode_ledger, LedgerRequest))
add_kind("balance", KindOfRequest(BalanceBody, _decode_balance, BalanceRequest))
add_kind("identity", KindOfRequest(IdentityBody, _decode_identity, IdentityRequest))
add_kind("change", KindOfRequest(ChangeBody, _decode_change, ChangeRequest))
