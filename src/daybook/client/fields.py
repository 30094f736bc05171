"""The fields of a transaction as keywords of ``enqueue``, for type checkers and editors.

No annotations as text here: what is required could not be told from them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Required, TypedDict

from daybook.requests import LegRequest

Number = Decimal | int | str
Moment = datetime | str
"""A date with a time zone, or ISO 8601 text with one."""
Legs = Sequence[LegRequest | Mapping[str, Any]]


class TransactionFields(TypedDict, total=False):
    """What ``TransactionRequest`` takes: see there."""

    reference: Required[str]
    source: str | None
    destination: str | None
    sources: Legs | None
    destinations: Legs | None
    currency: Required[str]
    amount: Number | None
    precise_amount: int | str | None
    precision: Required[int | str]
    rounding: Literal["half_up"] | None
    description: str
    allow_overdraft: bool
    overdraft_limit: Number
    inflight: bool
    inflight_expiry_date: Moment | None
    inflight_commit_date: Moment | None
    effective_date: Moment | None
    scheduled_for: Moment | None
    meta_data: Mapping[str, Any] | None
    ordering_key: str | None
    transaction_id: str | None
