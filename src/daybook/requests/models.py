"""Requests as producers write them: from what was given to a request, all errors at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import ValidationError

from daybook.errors import FieldError, MalformedRequest
from daybook.ledger.instructions import Kind
from daybook.ledger.rejection import Reason
from daybook.requests.actions import (
    CancelRequest,
    ChangeRequest,
    CommitRequest,
    RefundRequest,
    VoidRequest,
)
from daybook.requests.base import Request, field_error, malformed, object_of, within
from daybook.requests.bounds import BULK_ITEMS_MAX, JSON_AMOUNT_DIGITS_MAX
from daybook.requests.bulk import BulkRequest, item_errors, repeated_references
from daybook.requests.creations import BalanceRequest, IdentityRequest, LedgerRequest
from daybook.requests.kinds import KINDS
from daybook.requests.transactions import TransactionRequest

__all__ = ["malformed", "request_models", "request_of", "validate"]

AnyRequest = (
    TransactionRequest
    | BulkRequest
    | CommitRequest
    | VoidRequest
    | RefundRequest
    | CancelRequest
    | LedgerRequest
    | BalanceRequest
    | IdentityRequest
    | ChangeRequest
)
RequestT = TypeVar("RequestT", bound=Request)


def request_models() -> dict[str, type[Request]]:
    """The models of what producers may send, by kind."""
    return {name: kind.model for name, kind in KINDS.items() if kind.model is not None}


def request_of(given: Request | Mapping[str, Any]) -> Request:
    """What was given as a request: a mapping is of the kind that it says in ``kind``.

    Without one it is a bulk when it has ``transactions``, else a transaction. Raises
    MalformedRequest with every violation at once.
    """
    if isinstance(given, Request):
        return given
    if not isinstance(given, Mapping):
        message = f"must be a request or a mapping, not {type(given).__name__}"
        raise malformed([FieldError("request", Reason.MALFORMED, message)])
    kind = given.get("kind")
    known = KINDS.get(kind) if isinstance(kind, str) else None
    if kind is None:
        model: type[Request] = BulkRequest if "transactions" in given else TransactionRequest
    elif known is not None and known.model is not None:
        model = known.model
    else:
        message = f"must be one of {', '.join(request_models())}"
        raise malformed([FieldError("kind", Reason.MALFORMED, message)])
    if "kind" in given:
        given = {name: value for name, value in given.items() if name != "kind"}
    return validate(model, given)


def validate(model: type[RequestT], given: Mapping[str, Any]) -> RequestT:
    """``given`` as a request of type ``model``.

    Raises MalformedRequest with every violation at once, field by field.
    """
    errors: list[FieldError] = []
    if model is BulkRequest:
        given, errors = _with_items(given)
    errors += model.cross_checks(given)
    told = bool(errors)
    request: RequestT | None = None
    try:
        request = model.__pydantic_validator__.validate_python(dict(given))
    except ValidationError as invalid:
        errors += [field_error(error) for error in _worth_reporting(invalid, told=told)]
    if request is not None and not errors:
        errors = _late_errors(request)
    if errors or request is None:
        raise malformed(errors)
    return request


def _worth_reporting(invalid: ValidationError, *, told: bool) -> list[Any]:
    """The violations, without what another one says better.

    told: the cross checks found something, so they said what is wrong with the whole.
    """
    found = invalid.errors(include_url=False)
    lists = {error["loc"][0] for error in found if len(error["loc"]) > 1}
    return [
        error
        for error in found
        if not (told and not error["loc"])
        and not (error["type"] == "too_short" and error["loc"][0] in lists)  # all of it is wrong
    ]


def _late_errors(request: Request) -> list[FieldError]:
    errors = request.late_checks()
    longest = request.body_bytes_max
    if not errors and longest is not None and len(request.body()) > longest:
        message = f"is longer than {longest} bytes"
        errors.append(FieldError("request", Reason.MALFORMED, message))
    return errors


def _with_items(given: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[FieldError]]:
    """A bulk as it was given, with requests for its items, and what is wrong with these.

    When something is, another one stands for all of them, so that the rest can be judged.
    """
    items = given.get("transactions")
    if not isinstance(items, list | tuple) or not items:
        return given, []
    if len(items) > BULK_ITEMS_MAX:
        message = f"are {len(items)}; send at most {BULK_ITEMS_MAX} in one bulk"
        return {**given, "transactions": (_STAND_IN,)}, [
            FieldError("transactions", Reason.MALFORMED, message)
        ]
    requests, errors = _items(items, inflight=given.get("inflight") is True)
    errors += repeated_references(
        [item.get("reference") if isinstance(item, Mapping) else getattr(item, "reference", None)
         for item in items],
        given.get("reference"),
    )  # fmt: skip
    return {**given, "transactions": (_STAND_IN,) if errors else tuple(requests)}, errors


def _items(
    items: Sequence[Any], *, inflight: bool
) -> tuple[list[TransactionRequest], list[FieldError]]:
    requests: list[TransactionRequest] = []
    errors: list[FieldError] = []
    for place, item in enumerate(items):
        try:
            requests.append(_item(item, inflight=inflight))
        except MalformedRequest as fault:
            errors += within(f"transactions[{place}]", list(fault.errors))
    return requests, errors


def _item(item: Any, *, inflight: bool) -> TransactionRequest:
    """One transaction of a bulk. Raises MalformedRequest."""
    if isinstance(item, TransactionRequest):
        item = {name: getattr(item, name) for name in item.model_fields_set}
    if not isinstance(item, Mapping):
        raise malformed([FieldError("", Reason.MALFORMED, "must be an object")])
    given = dict(item)
    if given.get("kind") == Kind.TRANSACTION:
        del given["kind"]
    if inflight and given.get("inflight", False) is False:
        given["inflight"] = True
    errors = item_errors(given)
    for error in errors:
        del given[error.field]
    try:
        request = validate(TransactionRequest, given)
    except MalformedRequest as fault:
        raise malformed([*errors, *fault.errors]) from None
    if errors:
        raise malformed(errors)
    return request


_STAND_IN = TransactionRequest.model_construct(
    reference="", source="@A", destination="@B", currency="", precise_amount=1, precision=1
)


def load_json(text: str | bytes) -> Any:
    """Parse JSON without letting a number pass through a float: fractions become Decimal.

    A byte order mark before it is skipped. Raises MalformedRequest for broken, too deep or absurdly
    large JSON, and for an object that has a member twice.
    """
    try:
        if isinstance(text, str):
            text = text.removeprefix("\ufeff")
        return json.loads(
            text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=object_of
        )
    except (ValueError, RecursionError, ArithmeticError) as fault:
        message = f"is not valid JSON: {fault}"
        raise malformed([FieldError("request", Reason.MALFORMED, message)]) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def check_json_amount(given: Mapping[str, Any]) -> None:
    """Refuse an ``amount`` that came as a JSON number of more than 15 significant digits.

    Also those of the transactions of a bulk. Raises MalformedRequest with the advice to use
    ``precise_amount``.
    """
    places = [("amount", given)]
    items = given.get("transactions")
    if isinstance(items, list):
        places += [
            (f"transactions[{place}].amount", item)
            for place, item in enumerate(items[:BULK_ITEMS_MAX])
            if isinstance(item, Mapping)
        ]
    message = f"has more than {JSON_AMOUNT_DIGITS_MAX} significant digits; use precise_amount"
    errors = [
        FieldError(field, Reason.INVALID_AMOUNT, message)
        for field, fields in places
        if _has_too_many_digits(fields.get("amount"))
    ]
    if errors:
        raise malformed(errors)


def _has_too_many_digits(amount: Any) -> bool:
    if not isinstance(amount, int | Decimal) or isinstance(amount, bool):
        return False
    digits = str(amount).split("E")[0].lstrip("-0.").replace(".", "")
    return len(digits) > JSON_AMOUNT_DIGITS_MAX
