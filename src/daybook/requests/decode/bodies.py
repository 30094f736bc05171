"""The shapes of bodies: as strict as the core validator can be; what is absent is None."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from daybook.ledger.money import AMOUNT_EXPONENT_MAX, AMOUNT_TEXT_LENGTH_MAX, FIGURE_DIGITS_MAX
from daybook.requests.bounds import (
    BALANCE_NAME_PATTERN,
    BULK_ITEMS_MAX,
    CURRENCY_LENGTH_MAX,
    DESCRIPTION_LENGTH_MAX,
    IDENTITY_FIELD_LENGTH_MAX,
    INDICATOR_LENGTH_MAX,
    LEGS_MAX,
    MADE_BY_LENGTH_MAX,
    NAME_LENGTH_MAX,
    NAMING_PATTERN,
    ORDERING_KEY_LENGTH_MAX,
    REFERENCE_LENGTH_MAX,
    REQUEST_ID_LENGTH_MAX,
)
from daybook.requests.routing import SLOTS

CONFIG = ConfigDict(extra="forbid", strict=True, regex_engine="rust-regex")

_Reference = Annotated[str, Field(min_length=1, max_length=REFERENCE_LENGTH_MAX)]
_Side = Annotated[str, Field(max_length=INDICATOR_LENGTH_MAX)]
_Currency = Annotated[str, Field(min_length=1, max_length=CURRENCY_LENGTH_MAX)]
_Integer = Annotated[str, Field(max_length=2 * FIGURE_DIGITS_MAX)]
_Precision = Annotated[str, Field(max_length=40)]
_Decimal = Annotated[str, Field(max_length=AMOUNT_TEXT_LENGTH_MAX)]
_Date = Annotated[str, Field(max_length=40)]
_Description = Annotated[str, Field(max_length=DESCRIPTION_LENGTH_MAX)]
_OrderingKey = Annotated[str, Field(max_length=ORDERING_KEY_LENGTH_MAX)]
_Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH_MAX)]
_IdentityText = Annotated[str, Field(min_length=1, max_length=IDENTITY_FIELD_LENGTH_MAX)]

_BalanceName = Annotated[str, Field(pattern=BALANCE_NAME_PATTERN)]
_SHARE = rf"^(left|[0-9]{{1,3}}(\.[0-9]{{1,{AMOUNT_EXPONENT_MAX}}})?%)$"
_MINOR_UNITS = rf"^(0|[1-9][0-9]{{0,{FIGURE_DIGITS_MAX - 1}}})$"
_PlainReference = Annotated[str, Field(pattern=NAMING_PATTERN, max_length=REFERENCE_LENGTH_MAX)]
_PlainCurrency = Annotated[str, Field(pattern=NAMING_PATTERN, max_length=CURRENCY_LENGTH_MAX)]
_PlainInteger = Annotated[str, Field(pattern=rf"^[1-9][0-9]{{0,{FIGURE_DIGITS_MAX - 1}}}$")]
_PlainPrecision = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,29}$")]


class CommonBody(BaseModel):
    """The body of nearly every request, judged by the core validator alone.

    Narrower than ``TransactionBody``: what does not fit it is judged again, and explained, by that.
    """

    model_config = CONFIG

    v: Literal[1]
    kind: Literal["transaction"]
    reference: _PlainReference
    source: _BalanceName
    destination: _BalanceName
    currency: _PlainCurrency
    precise_amount: _PlainInteger
    precision: _PlainPrecision
    description: _Description = ""
    allow_overdraft: bool = False
    inflight: bool = False


class _CommonRequired(TypedDict):
    reference: _PlainReference
    source: _BalanceName
    destination: _BalanceName
    currency: _PlainCurrency
    precise_amount: _PlainInteger
    precision: _PlainPrecision


class CommonItem(_CommonRequired, total=False):
    """A transaction of a bulk as ``CommonBody`` is one on its own."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]  # pydantic's way to configure one

    description: _Description
    allow_overdraft: bool
    inflight: bool


class _NamedLeg(TypedDict):
    identifier: _BalanceName


class LegBody(_NamedLeg, total=False):
    """One of several sources or destinations, in its canonical form only."""

    __pydantic_config__ = CONFIG  # type: ignore[misc]  # pydantic's way to configure one

    distribution: Annotated[str, Field(pattern=_SHARE)]
    precise_distribution: Annotated[str, Field(pattern=_MINOR_UNITS)]


_Legs = Annotated[list[LegBody], Field(min_length=1, max_length=LEGS_MAX)]


class ItemBody(BaseModel):
    """Any transaction of a bulk."""

    model_config = CONFIG

    reference: _Reference
    currency: _Currency
    precise_amount: _Integer
    precision: _Precision
    source: _Side | None = None
    destination: _Side | None = None
    sources: _Legs | None = None
    destinations: _Legs | None = None
    description: _Description = ""
    allow_overdraft: bool = False
    overdraft_limit: _Decimal | None = None
    inflight: bool = False
    inflight_expiry_date: _Date | None = None
    inflight_commit_date: _Date | None = None
    effective_date: _Date | None = None
    meta_data: str | None = None


class TransactionBody(ItemBody):
    """Any transaction on its own."""

    v: int
    kind: Literal["transaction"]
    scheduled_for: _Date | None = None
    ordering_key: _OrderingKey | None = None


class BulkBody(BaseModel):
    """A bulk, all of its transactions judged in one go."""

    model_config = CONFIG

    v: int
    kind: Literal["bulk"]
    reference: _Reference
    transactions: Annotated[
        list[Annotated[CommonItem | ItemBody, Field(union_mode="left_to_right")]],
        Field(min_length=1, max_length=BULK_ITEMS_MAX),
    ]
    atomic: bool = False
    description: _Description = ""
    effective_date: _Date | None = None
    meta_data: str | None = None
    ordering_key: _OrderingKey | None = None


class _ActionBody(BaseModel):
    model_config = CONFIG

    v: int
    transaction_id: str
    reference: _Reference | None = None
    description: _Description = ""
    meta_data: str | None = None


class CommitBody(_ActionBody):
    """A commit. rounding: whether the hold's precision may round the amount."""

    kind: Literal["commit"]
    precise_amount: _Integer | None = None
    amount: _Decimal | None = None
    rounding: Literal["half_up"] | None = None
    effective_date: _Date | None = None


class ActionBody(_ActionBody):
    """A void or a refund."""

    kind: Literal["void", "refund"]
    effective_date: _Date | None = None


class CancelBody(_ActionBody):
    """A cancel."""

    kind: Literal["cancel"]


class DeadlineBody(BaseModel):
    """What the sweeper asks."""

    model_config = CONFIG

    v: int
    kind: Literal["deadline"]
    transaction_id: str


class ResolveBody(BaseModel):
    """What an operator asks about a request that was quarantined.

    slot: of that request, so that what is tried again comes behind this in the same partition.
    """

    model_config = CONFIG

    v: int
    kind: Literal["resolve"]
    request_id: Annotated[str, Field(max_length=REQUEST_ID_LENGTH_MAX)]
    position: Annotated[int, Field(ge=0, lt=1 << 63)]
    how: Literal["retried", "discarded"]
    slot: Annotated[int, Field(ge=0, lt=SLOTS)]
    made_by: Annotated[str, Field(max_length=MADE_BY_LENGTH_MAX)] = ""
    why: _Description = ""


class LedgerBody(BaseModel):
    """A new ledger."""

    model_config = CONFIG

    v: int
    kind: Literal["ledger"]
    ledger_id: str
    name: _Name
    meta_data: str | None = None


class BalanceBody(BaseModel):
    """A new balance."""

    model_config = CONFIG

    v: int
    kind: Literal["balance"]
    balance_id: str
    ledger_id: str
    currency: _Currency
    indicator: _Side | None = None
    identity_id: str | None = None
    meta_data: str | None = None


class IdentityBody(BaseModel):
    """A new identity; its fields as in ``ledger.identity``."""

    model_config = CONFIG

    v: int
    kind: Literal["identity"]
    identity_id: str
    identity_type: _IdentityText | None = None
    first_name: _IdentityText | None = None
    last_name: _IdentityText | None = None
    other_names: _IdentityText | None = None
    organization_name: _IdentityText | None = None
    category: _IdentityText | None = None
    gender: _IdentityText | None = None
    dob: _IdentityText | None = None
    email_address: _IdentityText | None = None
    phone_number: _IdentityText | None = None
    nationality: _IdentityText | None = None
    street: _IdentityText | None = None
    city: _IdentityText | None = None
    state: _IdentityText | None = None
    post_code: _IdentityText | None = None
    country: _IdentityText | None = None
    meta_data: str | None = None


class ChangeBody(BaseModel):
    """A change. fields: canonical JSON text, as meta_data is."""

    model_config = CONFIG

    v: int
    kind: Literal["change"]
    subject_id: str
    reference: _Reference | None = None
    fields: str | None = None
    meta_data: str | None = None
    made_by: Annotated[str, Field(max_length=MADE_BY_LENGTH_MAX)] = ""


validate_common = CommonBody.__pydantic_validator__.validate_json
