"""Requests as producers write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, StrictBool, ValidationError

from daybook.errors import FieldError, MalformedRequest
from daybook.ledger.balance import GENERAL_LEDGER_ID, internal_balance_id, may_be_internal
from daybook.ledger.money import FIGURE_DIGITS_MAX, FIGURE_MAX, plain_text, to_minor
from daybook.ledger.rejection import PRECEDENCE, Reason
from daybook.ledger.transaction import Kind
from daybook.requests.bounds import (
    BALANCE_ID,
    BODY_BYTES_MAX,
    BODY_VERSION,
    JSON_AMOUNT_DIGITS_MAX,
    ordering_key,
    slot_of,
    slot_of_transaction,
)
from daybook.requests.fields import (
    Amount,
    BalanceId,
    BalanceName,
    Currency,
    Description,
    Indicator,
    LedgerId,
    MetaData,
    Moment,
    Name,
    OrderingKey,
    OverdraftLimit,
    PreciseAmount,
    Precision,
    Reference,
    TransactionId,
    canonical_meta_data,
    is_clean,
)


class Request(BaseModel):
    """The base of every request: unknown fields are refused, nothing is coerced silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: ClassVar[Kind]

    def body(self) -> bytes:
        """The canonical form: what travels in the log, without anything volatile."""
        fields = {"v": BODY_VERSION, "kind": self.kind.value, **self._canonical_fields()}
        return json.dumps(
            fields, ensure_ascii=False, separators=(",", ":"), sort_keys=True
        ).encode()

    def _canonical_fields(self) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def cross_checks(cls, given: Mapping[str, Any]) -> list[FieldError]:
        """Violations between fields, judged on the request as it was given."""
        del given
        return []


class TransactionRequest(Request):
    """Ask to move or to hold money.

    reference: the key of idempotency, 1..255 characters, unique over the whole ledger.
    source, destination: balance ids (``bln_…``) or indicators (``@World``).
    amount (major units) with precision, or precise_amount (minor units): one of the two.
    precision: minor units in a major unit, e.g. 100 for cents.
    allow_overdraft: the source may go below zero; overdraft_limit (major units): how far.
    inflight: hold the money until it is committed or voided.
    effective_date: when it counts for history; default: when it is accepted.
    ordering_key: requests of the same key keep their order; default: the application balance.
    transaction_id: the id to use; minted when absent.
    """

    kind: ClassVar[Kind] = Kind.TRANSACTION

    reference: Reference
    source: BalanceName
    destination: BalanceName
    currency: Currency
    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    precision: Precision = 1
    description: Description = ""
    allow_overdraft: StrictBool = False
    overdraft_limit: OverdraftLimit = Decimal(0)
    inflight: StrictBool = False
    effective_date: Moment | None = None
    meta_data: MetaData | None = None
    ordering_key: OrderingKey | None = None
    transaction_id: TransactionId | None = None

    @property
    def slot(self) -> int:
        """The slot 0..4095 whose order this request keeps."""
        return slot_of(self.ordering_key or ordering_key(self.source, self.destination))

    def minor_amount(self) -> int:
        """The amount in minor units."""
        if self.precise_amount is not None:
            return self.precise_amount
        assert self.amount is not None
        return to_minor(self.amount, self.precision)

    def _canonical_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "reference": self.reference,
            "source": self.source,
            "destination": self.destination,
            "currency": self.currency,
            "precise_amount": str(self.minor_amount()),
            "precision": str(self.precision),
        }
        if self.description:
            fields["description"] = self.description
        if self.allow_overdraft:
            fields["allow_overdraft"] = True
        if self.overdraft_limit:
            fields["overdraft_limit"] = plain_text(self.overdraft_limit)
        if self.inflight:
            fields["inflight"] = True
        if self.effective_date is not None:
            fields["effective_date"] = _iso(self.effective_date)
        if self.meta_data:
            fields["meta_data"] = canonical_meta_data(self.meta_data)
        if self.ordering_key is not None:
            fields["ordering_key"] = self.ordering_key
        return fields

    @classmethod
    def cross_checks(cls, given: Mapping[str, Any]) -> list[FieldError]:
        errors = amount_choice(given, required=True)
        source, destination = given.get("source"), given.get("destination")
        if source is not None and source == destination:
            errors.append(same_balance())
        return errors


class CommitRequest(Request):
    """Ask to post the remainder of a hold, or a part of it.

    transaction_id: the hold. amount (major units) or precise_amount (minor units): the part;
    neither: the whole remainder. reference: makes the commit idempotent by itself.
    """

    kind: ClassVar[Kind] = Kind.COMMIT

    transaction_id: TransactionId
    reference: Reference | None = None
    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    description: Description = ""
    meta_data: MetaData | None = None

    @property
    def slot(self) -> int:
        """The slot of the hold."""
        return slot_of_transaction(self.transaction_id)

    def _canonical_fields(self) -> dict[str, Any]:
        fields = _action_fields(self)
        if self.amount is not None:
            fields["amount"] = plain_text(self.amount)
        if self.precise_amount is not None:
            fields["precise_amount"] = str(self.precise_amount)
        return fields

    @classmethod
    def cross_checks(cls, given: Mapping[str, Any]) -> list[FieldError]:
        return amount_choice(given, required=False)


class VoidRequest(Request):
    """Ask to release the whole remainder of a hold."""

    kind: ClassVar[Kind] = Kind.VOID

    transaction_id: TransactionId
    reference: Reference | None = None
    description: Description = ""
    meta_data: MetaData | None = None

    @property
    def slot(self) -> int:
        """The slot of the hold."""
        return slot_of_transaction(self.transaction_id)

    def _canonical_fields(self) -> dict[str, Any]:
        return _action_fields(self)


class LedgerRequest(Request):
    """Ask for a ledger. ledger_id: the id to use; minted when absent."""

    kind: ClassVar[Kind] = Kind.LEDGER

    name: Name
    ledger_id: LedgerId | None = None
    meta_data: MetaData | None = None

    @property
    def slot(self) -> int:
        """The slot of the ledger's own id."""
        return slot_of(self.ledger_id or "")

    def _canonical_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"ledger_id": self.ledger_id, "name": self.name}
        if self.meta_data:
            fields["meta_data"] = canonical_meta_data(self.meta_data)
        return fields


class BalanceRequest(Request):
    """Ask for a balance in a ledger.

    balance_id: the id to use; minted when absent. indicator: only in the General Ledger; the id
    of an internal balance follows from its indicator and currency.
    """

    kind: ClassVar[Kind] = Kind.BALANCE

    ledger_id: LedgerId
    currency: Currency
    balance_id: BalanceId | None = None
    indicator: Indicator | None = None
    meta_data: MetaData | None = None

    @property
    def slot(self) -> int:
        """The slot of the balance's own id, as a request that debits it would have."""
        return slot_of(self.indicator or self.balance_id or "")

    def _canonical_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "balance_id": self.balance_id,
            "ledger_id": self.ledger_id,
            "currency": self.currency,
        }
        if self.indicator is not None:
            fields["indicator"] = self.indicator
        if self.meta_data:
            fields["meta_data"] = canonical_meta_data(self.meta_data)
        return fields

    @classmethod
    def cross_checks(cls, given: Mapping[str, Any]) -> list[FieldError]:
        indicator, currency = given.get("indicator"), given.get("currency")
        balance_id = given.get("balance_id")
        if indicator is None and isinstance(balance_id, str) and BALANCE_ID.match(balance_id):
            return _reserved(balance_id)
        if not isinstance(indicator, str) or not isinstance(currency, str):
            return []
        errors = []
        if given.get("ledger_id") != GENERAL_LEDGER_ID:
            errors.append(
                FieldError(
                    "indicator",
                    Reason.MALFORMED,
                    f"internal balances live in the General Ledger: use {GENERAL_LEDGER_ID}",
                )
            )
        if not (is_clean(indicator) and is_clean(currency)):
            return errors  # said of the field itself
        derived = internal_balance_id(indicator, currency)
        if given.get("balance_id") not in (None, derived):
            errors.append(
                FieldError(
                    "balance_id", Reason.MALFORMED, f"{indicator} in {currency} is {derived}"
                )
            )
        return errors


AnyRequest = TransactionRequest | CommitRequest | VoidRequest | LedgerRequest | BalanceRequest
RequestT = TypeVar("RequestT", bound=Request)


def _reserved(balance_id: str) -> list[FieldError]:
    """Ids of internal balances follow from their indicators: nobody else may take one."""
    if not may_be_internal(balance_id):
        return []
    message = "is a UUID of version 8, which internal balances have; use another version"
    return [FieldError("balance_id", Reason.MALFORMED, message)]


def _action_fields(request: CommitRequest | VoidRequest) -> dict[str, Any]:
    fields: dict[str, Any] = {"transaction_id": request.transaction_id}
    if request.reference is not None:
        fields["reference"] = request.reference
    if request.description:
        fields["description"] = request.description
    if request.meta_data:
        fields["meta_data"] = canonical_meta_data(request.meta_data)
    return fields


def amount_choice(given: Mapping[str, Any], *, required: bool) -> list[FieldError]:
    amount, precise = given.get("amount"), given.get("precise_amount")
    message = None
    if amount is not None and precise is not None:
        message = "either amount or precise_amount should be provided, not both"
    elif required and amount is None and precise is None:
        message = "either amount or precise_amount is required"
    return [FieldError("amount", Reason.INVALID_AMOUNT, message)] if message else []


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def validate(model: type[RequestT], given: Mapping[str, Any]) -> RequestT:
    """``given`` as a request of type ``model``.

    Raises MalformedRequest with every violation at once, field by field.
    """
    errors = model.cross_checks(given)
    request = None
    try:
        request = model.model_validate(dict(given))
    except ValidationError as invalid:
        errors.extend(field_error(error) for error in invalid.errors(include_url=False))
    if request is not None and not errors:
        errors.extend(_late_checks(request))
    if errors or request is None:
        raise malformed(errors)
    return request


def _late_checks(request: Request) -> list[FieldError]:
    """Rules on the resolved request: amounts that round to nothing, ids of the wrong slot."""
    errors = []
    if isinstance(request, TransactionRequest):
        minor = request.minor_amount()
        if minor <= 0:
            errors.append(_rounds_to_zero(request))
        if minor > FIGURE_MAX:
            errors.append(
                FieldError(
                    "amount",
                    Reason.INVALID_AMOUNT,
                    f"has more than {FIGURE_DIGITS_MAX} digits in minor units",
                )
            )
        if _balance_id_of(request.source, request) == _balance_id_of(request.destination, request):
            errors.append(same_balance())
        named = request.transaction_id
        if named is not None and slot_of_transaction(named) != request.slot:
            errors.append(
                FieldError(
                    "transaction_id",
                    Reason.MALFORMED,
                    f"must carry slot {request.slot} of its ordering key in the 12 bits "
                    "after the time; leave it out to have one minted",
                )
            )
    if not errors and len(request.body()) > BODY_BYTES_MAX:
        errors.append(
            FieldError("request", Reason.MALFORMED, f"is longer than {BODY_BYTES_MAX} bytes")
        )
    return errors


def _balance_id_of(name: str, request: TransactionRequest) -> str:
    return internal_balance_id(name, request.currency) if name.startswith("@") else name


def same_balance() -> FieldError:
    message = "source and destination cannot be the same balance"
    return FieldError("destination", Reason.SAME_BALANCE, message)


def _rounds_to_zero(request: TransactionRequest) -> FieldError:
    return FieldError(
        "amount",
        Reason.INVALID_AMOUNT,
        f"{request.amount} is zero at precision {request.precision}; raise the precision",
    )


def malformed(errors: list[FieldError]) -> MalformedRequest:
    """The exception for these violations, coded by the one that takes precedence."""
    return MalformedRequest(errors, min((e.code for e in errors), key=lambda c: PRECEDENCE[c]))


_PLAIN_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request; remove it",
    "string_type": "must be text",
    "string_too_short": "cannot be blank",
    "bool_type": "must be true or false",
}


def field_error(error: Any) -> FieldError:
    field = ".".join(str(part) for part in error["loc"]) or "request"
    code = error["type"]
    if code in PRECEDENCE:
        return FieldError(field, code, error["msg"])
    return FieldError(field, Reason.MALFORMED, _PLAIN_MESSAGES.get(code, error["msg"]))


def load_json(text: str | bytes) -> Any:
    """Parse JSON without letting a number pass through a float: fractions become Decimal.

    Raises MalformedRequest for broken, too deep or absurdly large JSON.
    """
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError, ArithmeticError) as fault:
        message = f"is not valid JSON: {fault}"
        raise malformed([FieldError("request", Reason.MALFORMED, message)]) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def check_json_amount(given: Mapping[str, Any]) -> None:
    """Refuse an ``amount`` that came as a JSON number of more than 15 significant digits.

    Raises MalformedRequest with the advice to use ``precise_amount``.
    """
    amount = given.get("amount")
    if isinstance(amount, int | Decimal) and not isinstance(amount, bool):
        digits = str(amount).split("E")[0].lstrip("-0.").replace(".", "")
        if len(digits) > JSON_AMOUNT_DIGITS_MAX:
            message = (
                f"has more than {JSON_AMOUNT_DIGITS_MAX} significant digits; use precise_amount"
            )
            raise malformed([FieldError("amount", Reason.INVALID_AMOUNT, message)])


REQUEST_MODELS: dict[str, type[Request]] = {
    model.kind.value: model
    for model in (TransactionRequest, CommitRequest, VoidRequest, LedgerRequest, BalanceRequest)
}
"""The request models by kind."""
