"""From a body in the log back to an instruction of the engine, whatever the body is."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from daybook.errors import FieldError, MalformedRequest
from daybook.ledger.balance import INDICATOR, internal_balance_id
from daybook.ledger.money import AMOUNT_TEXT_LENGTH_MAX, FIGURE_DIGITS_MAX, plain_text, to_minor
from daybook.ledger.rejection import PRECEDENCE, Reason, Rejected
from daybook.ledger.transaction import (
    Commit,
    Instruction,
    NewBalance,
    NewLedger,
    Transaction,
    Void,
)
from daybook.requests.base import amount_choice, field_error, malformed, same_balance
from daybook.requests.bounds import (
    BALANCE_ID,
    BODY_BYTES_MAX,
    BODY_VERSION,
    CURRENCY_LENGTH_MAX,
    DESCRIPTION_LENGTH_MAX,
    EPOCH,
    FUTURE_MAX,
    INDICATOR_LENGTH_MAX,
    LEDGER_ID,
    NAME_LENGTH_MAX,
    ORDERING_KEY_LENGTH_MAX,
    REFERENCE_LENGTH_MAX,
    TRANSACTION_ID,
    ordering_key,
    slot_of,
    slot_of_transaction,
)
from daybook.requests.creations import BalanceRequest
from daybook.requests.fields import (
    canonical_meta_data,
    check_amount,
    check_meta_data,
    check_moment,
    check_overdraft_limit,
    check_precise_amount,
    check_precision,
    clean_text,
)
from daybook.requests.models import (
    REQUEST_MODELS,
    load_json,
    validate,
)

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""``\\u0000`` after an even number of backslashes: otherwise it is a backslash and text."""


class _Body(BaseModel):
    """The body of any kind, as strict as the core validator can be; absent fields are None."""

    model_config = ConfigDict(extra="forbid", strict=True, regex_engine="rust-regex")

    v: int
    kind: Literal["transaction", "commit", "void", "ledger", "balance"]
    reference: Annotated[str, Field(min_length=1, max_length=REFERENCE_LENGTH_MAX)] | None = None
    source: Annotated[str, Field(max_length=INDICATOR_LENGTH_MAX)] | None = None
    destination: Annotated[str, Field(max_length=INDICATOR_LENGTH_MAX)] | None = None
    currency: Annotated[str, Field(min_length=1, max_length=CURRENCY_LENGTH_MAX)] | None = None
    precise_amount: Annotated[str, Field(max_length=2 * FIGURE_DIGITS_MAX)] | None = None
    precision: Annotated[str, Field(max_length=40)] | None = None
    amount: Annotated[str, Field(max_length=AMOUNT_TEXT_LENGTH_MAX)] | None = None
    description: Annotated[str, Field(max_length=DESCRIPTION_LENGTH_MAX)] = ""
    allow_overdraft: bool = False
    overdraft_limit: Annotated[str, Field(max_length=AMOUNT_TEXT_LENGTH_MAX)] | None = None
    inflight: bool = False
    effective_date: Annotated[str, Field(max_length=40)] | None = None
    meta_data: str | None = None
    ordering_key: Annotated[str, Field(max_length=ORDERING_KEY_LENGTH_MAX)] | None = None
    transaction_id: str | None = None
    ledger_id: str | None = None
    balance_id: str | None = None
    indicator: Annotated[str, Field(max_length=INDICATOR_LENGTH_MAX)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=NAME_LENGTH_MAX)] | None = None


_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_BalanceName = Annotated[str, Field(pattern=rf"^(bln_{_UUID}|@\S{{1,254}})$")]


class _CommonBody(BaseModel):
    """The body of nearly every request, judged by the core validator alone.

    Narrower than ``_Body``: what does not fit it is judged again, and explained, by that.
    """

    model_config = ConfigDict(extra="forbid", strict=True, regex_engine="rust-regex")

    v: Literal[1]
    kind: Literal["transaction"]
    reference: Annotated[str, Field(min_length=1, max_length=REFERENCE_LENGTH_MAX)]
    source: _BalanceName
    destination: _BalanceName
    currency: Annotated[str, Field(min_length=1, max_length=CURRENCY_LENGTH_MAX)]
    precise_amount: Annotated[str, Field(pattern=rf"^[1-9][0-9]{{0,{FIGURE_DIGITS_MAX - 1}}}$")]
    precision: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,29}$")]
    description: Annotated[str, Field(max_length=DESCRIPTION_LENGTH_MAX)] = ""
    allow_overdraft: bool = False
    inflight: bool = False


class Decoded:
    """A body that is a request: the engine's instruction, its slot and the id that it asks for."""

    __slots__ = ("instruction", "request_id", "slot", "slots")

    def __init__(
        self,
        instruction: Instruction,
        slot: int,
        request_id: str,
        slots: frozenset[int] = frozenset(),
    ) -> None:
        self.slots = slots
        self.instruction = instruction
        self.slot = slot
        self.request_id = request_id


def fingerprint_of(body: bytes) -> bytes:
    """The fingerprint (32 bytes) of the request with this body."""
    return sha256(body).digest()


def decode(body: bytes, request_id: str, accepted_ms: int) -> Decoded | Rejected:
    """The instruction in ``body``, or why it is none.

    request_id: the id that the entry was accepted under. accepted_ms: when, milliseconds since
    the epoch by the log's clock.
    """
    if len(body) > BODY_BYTES_MAX:
        return Rejected(Reason.MALFORMED, f"request: is longer than {BODY_BYTES_MAX} bytes")
    if b"\x00" in body or (b"\\u0000" in body and _ESCAPED_NUL.search(body)):
        return Rejected(Reason.MALFORMED, "request: contains a NUL character")
    common = _decode_common(body, request_id)
    if common is not None:
        return common
    try:
        fields = _Body.model_validate_json(body)
    except ValidationError as invalid:
        return _undecodable(body, invalid)
    if fields.v != BODY_VERSION:
        return _unsupported(fields.v)
    try:
        _refuse_foreign_fields(fields)
        return _DECODERS[fields.kind](fields, request_id, accepted_ms)
    except MalformedRequest as fault:
        first = min(fault.errors, key=lambda error: PRECEDENCE[error.code])
        return Rejected(Reason(first.code), _printable(str(fault)))


_validate_common = _CommonBody.__pydantic_validator__.validate_json


def _decode_common(body: bytes, request_id: str) -> Decoded | None:
    """The instruction of a common body; None when it takes the long way to judge it."""
    try:
        fields = _validate_common(body)
    except ValidationError:
        return None
    reference, currency = fields.reference, fields.currency
    source, destination = fields.source, fields.destination
    if reference.isspace() or currency.isspace() or not TRANSACTION_ID.match(request_id):
        return None
    slot = slot_of(ordering_key(source, destination))
    if slot != slot_of_transaction(request_id):
        return None
    source_indicator = source if source[0] == "@" else None
    destination_indicator = destination if destination[0] == "@" else None
    source_id = internal_balance_id(source, currency) if source_indicator else source
    destination_id = (
        internal_balance_id(destination, currency) if destination_indicator else destination
    )
    if source_id == destination_id:
        return None
    instruction = Transaction(
        reference,
        source_id,
        destination_id,
        source_indicator,
        destination_indicator,
        currency,
        int(fields.precise_amount),
        int(fields.precision),
        fields.description,
        fields.allow_overdraft,
        inflight=fields.inflight,
    )
    return Decoded(instruction, slot, request_id)


def reference_in(body: bytes) -> str | None:
    """The reference of a body that may be broken, for the record of its refusal."""
    try:
        found = json.loads(body)["reference"]
        return clean_text(found)[:REFERENCE_LENGTH_MAX] if isinstance(found, str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _undecodable(body: bytes, invalid: ValidationError) -> Rejected:
    try:
        version = json.loads(body)["v"]
    except (ValueError, KeyError, TypeError, RecursionError):
        version = BODY_VERSION
    if isinstance(version, int) and not isinstance(version, bool) and version != BODY_VERSION:
        return _unsupported(version)
    errors = [str(field_error(error)) for error in invalid.errors(include_url=False)]
    return Rejected(Reason.MALFORMED, _printable("; ".join(errors)))


def _printable(text: str) -> str:
    """``text`` as it can be stored, whatever bytes the request was made of."""
    cleaned = text.replace("\x00", "\\0").encode(errors="backslashreplace").decode()
    return cleaned[:DESCRIPTION_LENGTH_MAX]


def _unsupported(version: int) -> Rejected:
    return Rejected(
        Reason.UNSUPPORTED_VERSION,
        f"v: version {str(version)[:20]} is not {BODY_VERSION}; update the workers first",
    )


_SAYS_WHAT = {"v", "kind"}
_FIELDS = {kind: _SAYS_WHAT | model.model_fields.keys() for kind, model in REQUEST_MODELS.items()}
_FIELDS["transaction"] = _FIELDS["transaction"] - {"amount", "transaction_id"}
"""Fields of a body by kind. A transaction travels in minor units; its id is the entry's."""


def _refuse_foreign_fields(fields: _Body) -> None:
    """Fields that belong to another kind, and text that is blank, are as wrong as unknown ones."""
    foreign = fields.model_fields_set - _FIELDS[fields.kind]
    if foreign:
        message = f"is not a field of a {fields.kind}; remove it"
        raise malformed([FieldError(name, Reason.MALFORMED, message) for name in sorted(foreign)])
    for name in ("reference", "currency", "name"):
        value = getattr(fields, name)
        if value is not None and value.isspace():
            raise malformed([FieldError(name, Reason.MALFORMED, "cannot be blank")])


def _overdraft_limit(text: str | None) -> Decimal | None:
    return None if text is None else _strict(check_overdraft_limit, text, "overdraft_limit")


def _decode_transaction(fields: _Body, request_id: str, accepted_ms: int) -> Decoded:
    source, destination, currency = fields.source, fields.destination, fields.currency
    if (
        fields.reference is None
        or source is None
        or destination is None
        or currency is None
        or fields.precise_amount is None
        or fields.precision is None
    ):
        raise malformed(
            _missing(fields, "reference source destination currency precise_amount precision")
        )
    precise_amount = _strict(check_precise_amount, fields.precise_amount, "precise_amount")
    precision = _strict(check_precision, fields.precision, "precision")
    source_id, source_indicator = _resolve(source, currency, "source")
    destination_id, destination_indicator = _resolve(destination, currency, "destination")
    if source_id == destination_id:
        raise malformed([same_balance()])
    limit = _overdraft_limit(fields.overdraft_limit)
    slot = slot_of(fields.ordering_key or ordering_key(source, destination))
    if not TRANSACTION_ID.match(request_id) or slot_of_transaction(request_id) != slot:
        message = "is not an id that carries the slot of its ordering key"
        raise malformed([FieldError("transaction_id", Reason.MALFORMED, message)])
    instruction = Transaction(
        fields.reference,
        source_id,
        destination_id,
        source_indicator,
        destination_indicator,
        currency,
        precise_amount,
        precision,
        fields.description,
        fields.allow_overdraft,
        plain_text(limit) if limit else None,
        to_minor(limit, precision) if limit else 0,
        fields.inflight,
        _effective_micros(fields.effective_date, accepted_ms),
        _checked_meta_data(fields.meta_data),
    )
    return Decoded(instruction, slot, request_id)


def _decode_commit(fields: _Body, request_id: str, accepted_ms: int) -> Decoded:
    del accepted_ms
    hold_id = _required_id(fields, request_id)
    if fields.amount is not None and fields.precise_amount is not None:
        raise malformed(amount_choice(fields.model_dump(), required=False))
    precise = fields.precise_amount
    amount = fields.amount
    instruction = Commit(
        hold_id,
        fields.reference,
        None if precise is None else _strict(check_precise_amount, precise, "precise_amount"),
        None if amount is None else str(_strict(check_amount, amount, "amount")),
        fields.description,
        _checked_meta_data(fields.meta_data),
    )
    return Decoded(instruction, slot_of_transaction(hold_id), request_id)


def _decode_void(fields: _Body, request_id: str, accepted_ms: int) -> Decoded:
    del accepted_ms
    hold_id = _required_id(fields, request_id)
    instruction = Void(
        hold_id, fields.reference, fields.description, _checked_meta_data(fields.meta_data)
    )
    return Decoded(instruction, slot_of_transaction(hold_id), request_id)


def _decode_ledger(fields: _Body, request_id: str, accepted_ms: int) -> Decoded:
    del accepted_ms
    if fields.ledger_id is None or fields.name is None:
        raise malformed(_missing(fields, "ledger_id name"))
    if not LEDGER_ID.match(fields.ledger_id) or fields.ledger_id != request_id:
        message = "must look like ldg_<uuid> and be the entry's id"
        raise malformed([FieldError("ledger_id", Reason.MALFORMED, message)])
    instruction = NewLedger(fields.ledger_id, fields.name, _checked_meta_data(fields.meta_data))
    return Decoded(instruction, slot_of(fields.ledger_id), request_id)


def _decode_balance(fields: _Body, request_id: str, accepted_ms: int) -> Decoded:
    del accepted_ms
    if fields.ledger_id is None or fields.currency is None or fields.balance_id is None:
        raise malformed(_missing(fields, "ledger_id currency balance_id"))
    given = {name: getattr(fields, name) for name in BalanceRequest.model_fields}
    given["meta_data"] = None
    validate(BalanceRequest, given)
    if fields.balance_id != request_id:
        raise malformed([FieldError("balance_id", Reason.MALFORMED, "is not the entry's id")])
    instruction = NewBalance(
        fields.balance_id,
        fields.ledger_id,
        fields.currency,
        fields.indicator,
        meta_data=_checked_meta_data(fields.meta_data),
    )
    return Decoded(instruction, slot_of(fields.indicator or fields.balance_id), request_id)


_DECODERS = {
    "transaction": _decode_transaction,
    "commit": _decode_commit,
    "void": _decode_void,
    "ledger": _decode_ledger,
    "balance": _decode_balance,
}


def _missing(fields: _Body, names: str) -> list[FieldError]:
    return [
        FieldError(name, Reason.MALFORMED, "is required")
        for name in names.split()
        if getattr(fields, name) is None
    ]


def _strict(check: Any, value: str, field: str) -> Any:
    try:
        return check(value)
    except PydanticCustomError as fault:
        raise malformed([FieldError(field, fault.type, fault.message())]) from None


def _required_id(fields: _Body, request_id: str) -> str:
    hold_id = fields.transaction_id
    for name, value in (("transaction_id", hold_id), ("request_id", request_id)):
        if value is None or not TRANSACTION_ID.match(value):
            message = "must look like txn_<uuid>, in lower case"
            raise malformed([FieldError(name, Reason.MALFORMED, message)])
    assert hold_id is not None
    return hold_id


def _resolve(name: str, currency: str, field: str) -> tuple[str, str | None]:
    """The balance id and, when named by one, the indicator of one side."""
    if name[0:1] == "@" and INDICATOR.match(name):
        return internal_balance_id(name, currency), name
    if not BALANCE_ID.match(name):
        message = "must be a balance id (bln_<uuid>) or an indicator (@Name)"
        raise malformed([FieldError(field, Reason.MALFORMED, message)])
    return name, None


def _effective_micros(text: str | None, accepted_ms: int) -> int | None:
    if text is None:
        return None
    moment = _strict(check_moment, text, "effective_date")
    micros = (moment - EPOCH) // timedelta(microseconds=1)
    if micros > accepted_ms * 1000 + FUTURE_MAX // timedelta(microseconds=1):
        message = "lies more than a day in the future"
        raise malformed([FieldError("effective_date", Reason.MALFORMED, message)])
    return int(micros)


def _checked_meta_data(text: str | None) -> str | None:
    if text is None:
        return None
    value = load_json(text)
    canonical = _strict(_meta_data_text, value, "meta_data")
    if canonical != text:
        raise malformed([FieldError("meta_data", Reason.MALFORMED, "is not canonical JSON")])
    return text


def _meta_data_text(value: Any) -> str:
    return canonical_meta_data(check_meta_data(value))
