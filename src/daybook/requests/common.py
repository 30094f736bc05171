"""The transaction that nearly every producer sends: judged by the core validator, written at once.

``TransactionRequest`` is the rule; this is a narrower and much faster account of it. What does not
fit is None here, and is judged and explained by that. What fits has the same body, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from json.encoder import encode_basestring as quoted
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from daybook.ledger.balance import named_balance_id
from daybook.ledger.money import FIGURE_MAX, exact_minor, to_minor
from daybook.requests.bounds import (
    BALANCE_NAME_PATTERN,
    BODY_VERSION,
    CURRENCY_LENGTH_MAX,
    DESCRIPTION_LENGTH_MAX,
    NAMING_PATTERN,
    REFERENCE_LENGTH_MAX,
)
from daybook.requests.fields import (
    canonical_meta_data,
    check_amount,
    check_precise_amount,
    check_precision,
)
from daybook.requests.naming import are_plain
from daybook.requests.routing import ordering_key, slot_of

_NUL = "\\u0000"
"""As JSON has it. A text that says just that takes the long way, too."""

_BalanceName = Annotated[str, Field(pattern=BALANCE_NAME_PATTERN)]


class _Required(TypedDict):
    reference: Annotated[str, Field(pattern=NAMING_PATTERN, max_length=REFERENCE_LENGTH_MAX)]
    source: _BalanceName
    destination: _BalanceName
    currency: Annotated[str, Field(pattern=NAMING_PATTERN, max_length=CURRENCY_LENGTH_MAX)]
    precision: Any


class _CommonFields(_Required, total=False):
    """The fields of a common transaction. Numbers are checked by the rules of ``fields``."""

    __pydantic_config__ = ConfigDict(  # type: ignore[misc]  # pydantic's way to configure one
        extra="forbid", strict=True, regex_engine="rust-regex"
    )

    kind: Literal["transaction"]
    amount: Any
    precise_amount: Any
    rounding: Literal["half_up"]
    description: Annotated[str, Field(max_length=DESCRIPTION_LENGTH_MAX)]
    allow_overdraft: bool
    inflight: bool
    meta_data: dict[str, Any]


_validate = TypeAdapter(_CommonFields).validator.validate_python


class Common(NamedTuple):
    """A common transaction. slot: 0..4095, whose order it keeps."""

    reference: str
    slot: int
    body: bytes


def common_of(given: object) -> Common | None:
    """What was given as a common transaction; None for what takes the long way."""
    try:
        fields = _validate(given)
        body = _body_of(fields)
    except ValueError:  # of the core validator, of a number's check, of a text that is no Unicode
        return None
    if body is None:
        return None
    slot = slot_of(ordering_key(fields["source"], fields["destination"]))
    return Common(fields["reference"], slot, body)


def _body_of(fields: Mapping[str, Any]) -> bytes | None:
    reference, currency = fields["reference"], fields["currency"]
    source, destination = fields["source"], fields["destination"]
    precision = check_precision(fields["precision"])
    minor = _minor_amount(fields, precision)
    if (
        minor is None
        or not are_plain(reference, currency, source, destination)
        or named_balance_id(source, currency) == named_balance_id(destination, currency)
    ):
        return None
    text = _text(fields, int(minor), int(precision))
    return None if _NUL in text else text.encode()


def _text(fields: Mapping[str, Any], minor: int, precision: int) -> str:
    """The body as ``json_text`` would write it: what is said, by name, in the order of names."""
    description, meta_data = fields.get("description"), fields.get("meta_data")
    overdraft = '"allow_overdraft":true,' if fields.get("allow_overdraft") else ""
    described = f'"description":{quoted(description)},' if description else ""
    inflight = '"inflight":true,' if fields.get("inflight") else ""
    meta = f'"meta_data":{quoted(canonical_meta_data(meta_data))},' if meta_data else ""
    return (
        f'{{{overdraft}"currency":{quoted(fields["currency"])},{described}'
        f'"destination":{quoted(fields["destination"])},{inflight}"kind":"transaction",{meta}'
        f'"precise_amount":"{minor}","precision":"{precision}",'
        f'"reference":{quoted(fields["reference"])},"source":{quoted(fields["source"])},'
        f'"v":{BODY_VERSION}}}'
    )


def _minor_amount(fields: Mapping[str, Any], precision: int) -> int | None:
    """The amount in minor units; None for none, for two, and for what would have to be judged."""
    amount = fields.get("amount")
    if amount is None:
        return check_precise_amount(fields.get("precise_amount"))
    if fields.get("precise_amount") is not None:
        return None
    number = check_amount(amount)
    minor = to_minor(number, precision) if "rounding" in fields else exact_minor(number, precision)
    return minor if minor is not None and 0 < minor <= FIGURE_MAX else None
