"""The bodies of the wire: what clients send, and the request that it is to the ledger.

Unknown members are ignored, and one that is null, or Go's zero time, is not there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from daybook.api.blnk.shapes import ZERO_TIME
from daybook.api.faults import Fault, invalid, invalid_fields
from daybook.errors import FieldError, MalformedRequest
from daybook.ledger.money import FIGURE_DIGITS_MAX, HALF_UP
from daybook.requests import (
    BulkRequest,
    CommitRequest,
    RefundRequest,
    Request,
    TransactionRequest,
    VoidRequest,
    validate,
)
from daybook.requests.bounds import BULK_ITEMS_MAX, JSON_AMOUNT_DIGITS_MAX
from daybook.requests.fields import check_moment

RequestT = TypeVar("RequestT", bound=Request)

BLANK = "cannot be blank"
BULK_HOLDS_MAX = 100
_DIGITS = re.compile(r"-?[0-9]+\Z")


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic tells a ValueError
    return value


def _digits(value: Any) -> Any:
    """A number of minor units, or its digits as text, perhaps padded."""
    if isinstance(value, str):
        text = value.strip()
        if not _DIGITS.match(text) or len(text) > 2 * FIGURE_DIGITS_MAX:
            raise ValueError("must be an integer, or its digits as text")
        return int(text)
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value) if value.adjusted() <= 2 * FIGURE_DIGITS_MAX else value
    return _no_bool(value)


Number = Annotated[Decimal, BeforeValidator(_no_bool)]
"""A JSON number, exact."""
MinorUnits = Annotated[
    int,
    BeforeValidator(_digits),
    Field(json_schema_extra={"anyOf": [{"type": "integer"}, {"type": "string"}]}),
]


def _not_zero(text: str | None) -> str | None:
    return None if text == ZERO_TIME or not text else text


Date = Annotated[str | None, AfterValidator(_not_zero)]
MetaData = dict[str, Any]


class Body(BaseModel):
    """The base of all bodies."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            return {name: value for name, value in given.items() if value is not None}
        return given


class LedgerBody(Body):
    """A ledger to be created, or its new name."""

    name: str = Field("", examples=["Customer wallets"])
    meta_data: MetaData = Field(default_factory=dict)


class BalanceBody(Body):
    """A balance to be created. indicator: ``@Name``, of an internal one."""

    ledger_id: str = Field("", examples=["general_ledger_id"])
    currency: str = Field("", examples=["USD"])
    identity_id: str = ""
    indicator: str = ""
    track_fund_lineage: bool = False
    allocation_strategy: str = ""
    meta_data: MetaData = Field(default_factory=dict)


class AccountBody(Body):
    """An account at a bank, of a balance or of a new one. number: without one, it is made."""

    name: str = ""
    number: str = Field("", examples=["0123456789"])
    bank_name: str = Field("", examples=["First Bank"])
    balance_id: str = ""
    ledger_id: str = ""
    identity_id: str = ""
    currency: str = Field("", examples=["USD"])
    meta_data: MetaData = Field(default_factory=dict)


class OwnerBody(Body):
    """The identity that is to own a balance."""

    identity_id: str = ""


class MetaDataBody(Body):
    """What is merged by key over the meta_data that is there."""

    meta_data: MetaData | None = None


class ApiKeyBody(Body):
    """A key to be made. scopes: such as ``ledgers:read``."""

    name: str = Field("", examples=["reports"])
    owner: str = Field("", examples=["shop"])
    scopes: list[str] = Field(default_factory=list, examples=[["ledgers:read"]])
    expires_at: Date = Field(None, examples=["2027-01-31T00:00:00Z"])

    def expires(self) -> datetime | None:
        """When it ends. Raises Fault for what is no moment."""
        if self.expires_at is None:
            return None
        try:
            return check_moment(self.expires_at.strip())
        except PydanticCustomError as fault:
            raise invalid("APIKEY_INVALID", [("expires_at", fault.message())]) from None


class IdentityBody(Body):
    """A person or an organisation."""

    identity_id: str = ""
    identity_type: str = Field("", examples=["individual"])
    organization_name: str = ""
    category: str = ""
    first_name: str = ""
    last_name: str = ""
    other_names: str = ""
    gender: str = ""
    dob: str = ""
    email_address: str = ""
    phone_number: str = ""
    nationality: str = ""
    street: str = ""
    country: str = ""
    state: str = ""
    post_code: str = ""
    city: str = ""
    meta_data: MetaData | None = None

    def known(self) -> dict[str, str]:
        """The fields that say something."""
        fields = self.model_dump(exclude={"identity_id", "meta_data"})
        if fields["dob"] == ZERO_TIME:
            del fields["dob"]
        return {name: text for name, text in fields.items() if text}


class LegBody(Body):
    """One of several sources or destinations."""

    identifier: str = ""
    distribution: str = ""
    precise_distribution: str | int = ""


class TransactionBody(Body):
    """A transaction to be posted. amount: major units; precise_amount: minor units."""

    amount: Number | None = None
    precise_amount: MinorUnits | None = None
    precision: Number = Decimal(0)
    reference: str = ""
    currency: str = ""
    description: str = ""
    source: str = ""
    sources: list[LegBody] = Field(default_factory=list)
    destination: str = ""
    destinations: list[LegBody] = Field(default_factory=list)
    allow_overdraft: bool = False
    overdraft_limit: Number = Decimal(0)
    inflight: bool = False
    inflight_expiry_date: Date = None
    inflight_commit_date: Date = None
    scheduled_for: Date = None
    effective_date: Date = None
    skip_queue: bool = False
    atomic: bool = False
    dry_run: bool = False
    meta_data: MetaData = Field(default_factory=dict)


class BulkBody(Body):
    """Many transactions, posted in order."""

    transactions: list[TransactionBody] = Field(default_factory=list)
    atomic: bool = False
    inflight: bool = False
    run_async: bool = False
    skip_queue: bool = False
    dry_run: bool = False


class HoldBody(Body):
    """What is to be done to a hold: ``commit`` or ``void``."""

    status: str = ""
    amount: Number | None = None
    precise_amount: MinorUnits | None = None
    skip_queue: bool = False
    dry_run: bool = False


class HoldPart(Body):
    """A hold to be committed, and how much of it."""

    transaction_id: str = ""
    amount: Number | None = None
    precise_amount: MinorUnits | None = None


class BulkCommitBody(Body):
    """Holds to be committed."""

    transactions: list[HoldPart] = Field(default_factory=list)
    skip_queue: bool = False
    dry_run: bool = False


class BulkVoidBody(Body):
    """Holds to be voided."""

    transaction_ids: list[str] = Field(default_factory=list)
    skip_queue: bool = False
    dry_run: bool = False


class RefundBody(Body):
    """How a transaction is refunded."""

    skip_queue: bool = False
    dry_run: bool = False
    description: str = ""
    meta_data: MetaData = Field(default_factory=dict)


# From bodies to requests


def transaction_request(body: TransactionBody) -> TransactionRequest:
    """Raises Fault that names every field that is wrong."""
    problems = transaction_problems(body)
    if problems:
        raise invalid("TXN_VALIDATION_ERROR", problems)
    try:
        return validate(TransactionRequest, _fields_of(body))
    except MalformedRequest as refused:
        raise told(refused) from None


def told(refused: MalformedRequest) -> Fault:
    """The answer to a request that breaks a rule of the ledger."""
    errors = refused.errors
    is_split = {error.code for error in errors} == {"invalid_distribution"}
    code = "TXN_INVALID_DISTRIBUTION" if is_split else "TXN_VALIDATION_ERROR"
    return invalid_fields(code, errors)


Problem = tuple[str, str]
"""A field, and what is wrong with it."""


def transaction_problems(body: TransactionBody) -> list[Problem]:
    """What is wrong with a body, in the words of the wire."""
    found = _amount_problems(body.amount, body.precise_amount)
    if body.precision != body.precision.to_integral_value():
        found.append(("precision", "precision must be an integer value"))
    elif body.precision < 0:
        found.append(("precision", "precision cannot be negative"))
    if body.overdraft_limit < 0:
        found.append(("overdraft_limit", "overdraft_limit cannot be negative"))
    found += [
        (name, BLANK)
        for name in ("reference", "currency", "description")
        if not getattr(body, name).strip()
    ]
    for one, many in (("source", "sources"), ("destination", "destinations")):
        single, legs = getattr(body, one), getattr(body, many)
        if bool(single) == bool(legs):
            text = f"either {one} or {many} is required"
            found.append((one, f"{text}, not both" if single else text))
    if body.sources and body.destinations:
        text = "sources and destinations can't both be given: one side is a single balance"
        found.append(("sources", text))
    if body.skip_queue and body.scheduled_for:
        text = "scheduled_for and skip_queue can't both be meant: leave one of them out"
        found.append(("scheduled_for", text))
    return found


def _amount_problems(amount: Decimal | None, precise: int | None) -> list[Problem]:
    if amount is not None and amount < 0:
        return [("amount", "amount cannot be negative")]
    if precise is not None and precise < 0:
        return [("precise_amount", "precise_amount cannot be negative")]
    if amount and precise:
        text = "either amount or precise_amount should be provided, not both"
        return [("amount", text)]
    if amount and len(amount.as_tuple().digits) > JSON_AMOUNT_DIGITS_MAX:
        text = (
            "amount has more than 15 significant digits which may cause rounding errors; "
            "use precise_amount instead"
        )
        return [("amount", text)]
    if not amount and precise == 0:
        return [("precise_amount", "precise_amount must be positive")]
    if not amount and not precise:
        return [("amount", "either amount or precise_amount is required")]
    return []


def _fields_of(body: TransactionBody) -> dict[str, Any]:
    """The fields of a transaction: what is empty on the wire is not there."""
    fields: dict[str, Any] = {
        "reference": body.reference,
        "currency": body.currency,
        "description": body.description,
        "precision": int(body.precision) or 1,
        "rounding": HALF_UP,
    }
    if body.amount:
        fields["amount"] = body.amount
    else:
        fields["precise_amount"] = body.precise_amount
    for one, many in (("source", "sources"), ("destination", "destinations")):
        if getattr(body, one):
            fields[one] = getattr(body, one)
        else:
            fields[many] = [_leg(leg) for leg in getattr(body, many)]
    if body.allow_overdraft:
        fields["allow_overdraft"] = True
    if body.overdraft_limit:
        fields["overdraft_limit"] = body.overdraft_limit
    if body.inflight:
        fields["inflight"] = True
        for name in ("inflight_expiry_date", "inflight_commit_date"):
            fields[name] = getattr(body, name)
    fields |= {name: getattr(body, name) for name in ("effective_date", "scheduled_for")}
    fields["meta_data"] = body.meta_data or None
    return {name: value for name, value in fields.items() if value is not None}


def _leg(leg: LegBody) -> dict[str, Any]:
    given: dict[str, Any] = {"identifier": leg.identifier}
    if leg.distribution:
        given["distribution"] = leg.distribution
    if leg.precise_distribution != "":
        given["precise_distribution"] = leg.precise_distribution
    return given


def bulk_request(body: BulkBody) -> BulkRequest:
    """Raises Fault that names the item and the field."""
    if not body.transactions:
        raise Fault(400, "TXN_BULK_EMPTY", "transactions: at least one transaction is required")
    if len(body.transactions) > BULK_ITEMS_MAX:
        text = f"transactions: {len(body.transactions):,} are more than {BULK_ITEMS_MAX:,}"
        raise Fault(400, "TXN_BULK_LIMIT_EXCEEDED", text)
    problems = [
        (f"transactions[{place}].{field}", text)
        for place, item in enumerate(body.transactions)
        for field, text in transaction_problems(item)
    ]
    if problems:
        raise invalid("TXN_VALIDATION_ERROR", problems)
    given: dict[str, Any] = {
        "transactions": [
            _fields_of(item.model_copy(update={"inflight": body.inflight}))
            for item in body.transactions
        ],
        "atomic": body.atomic,
        "inflight": body.inflight,
    }
    try:
        return validate(BulkRequest, given)
    except MalformedRequest as refused:
        raise told(refused) from None


def hold_request(transaction_id: str, body: HoldBody, reference: str | None) -> Request:
    """A commit or a void. reference: makes it idempotent. Raises Fault."""
    if body.status not in ("commit", "void"):
        text = "status not supported. use either commit or void"
        raise Fault(400, "TXN_INVALID_STATUS_ACTION", text)
    given: dict[str, Any] = {"transaction_id": transaction_id, "reference": reference}
    if body.status == "void":
        return action_request(VoidRequest, given)
    return action_request(CommitRequest, given | committed_part(body.amount, body.precise_amount))


def committed_part(amount: Decimal | None, precise: int | None) -> dict[str, Any]:
    """How much of a hold is committed; nothing, or 0, means all that is left. Raises Fault."""
    if precise is not None and precise < 0:
        raise Fault(400, "GEN_BAD_REQUEST", "precise_amount must be positive")
    if amount is not None and amount < 0:
        raise Fault(400, "GEN_BAD_REQUEST", "amount cannot be negative")
    if precise:
        return {"precise_amount": precise}
    if precise == 0 and not amount:
        raise Fault(400, "GEN_BAD_REQUEST", "precise_amount must be positive")
    return {"amount": amount, "rounding": HALF_UP} if amount else {}


def refund_request(transaction_id: str, body: RefundBody, reference: str | None) -> Request:
    """Raises Fault."""
    given: dict[str, Any] = {
        "transaction_id": transaction_id,
        "reference": reference,
        "description": body.description or None,
        "meta_data": body.meta_data or None,
    }
    return action_request(RefundRequest, given)


def action_request(model: type[Request], given: Mapping[str, Any]) -> Request:
    """A request about a transaction; what is None is not there. Raises Fault."""
    try:
        return _validated(model, given)
    except MalformedRequest as refused:
        raise _told_of_action(refused.errors, str(given["transaction_id"])) from None


def validated(model: type[RequestT], given: Mapping[str, Any], code: str) -> RequestT:
    """A request of the ledger; what is None is not there. Raises Fault with this code."""
    try:
        return _validated(model, given)
    except MalformedRequest as refused:
        raise invalid_fields(code, refused.errors) from None


def _validated(model: type[RequestT], given: Mapping[str, Any]) -> RequestT:
    return validate(model, {name: value for name, value in given.items() if value is not None})


def _told_of_action(errors: tuple[FieldError, ...], transaction_id: str) -> Fault:
    if [error.field for error in errors] == ["transaction_id"]:
        return Fault(404, "TXN_NOT_FOUND", f"Transaction with ID '{transaction_id}' not found")
    return invalid_fields("TXN_VALIDATION_ERROR", errors)
