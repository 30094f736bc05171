"""What the ledger records: the rows of its journal."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from operator import itemgetter
from typing import Any, NamedTuple


class Status(StrEnum):
    """The status of a transaction (ledger semantics, section 5)."""

    QUEUED = "QUEUED"
    SCHEDULED = "SCHEDULED"
    APPLIED = "APPLIED"
    INFLIGHT = "INFLIGHT"
    VOID = "VOID"
    REJECTED = "REJECTED"


class Record(NamedTuple):
    """One row of the journal, showing both sides. Amounts are minor units.

    derived: the reference is a label made by the ledger, not a caller's reference.
    parent_id: the hold, of a commit or a void; the original, of a refund; the request, of its
    legs and of the transactions of a bulk; the scheduled transaction, of its schedule or cancel.
    effective_micros: microseconds since the epoch.
    parts: how many records carry the request out; then this one moves no money itself.
    part: of such a record, its number, from 1.
    expires_micros, commits_micros, scheduled_micros: see ``Transaction``.
    subject_id: what a creation or a change is about.
    change: canonical JSON text: what a creation or a change has set.
    """

    transaction_id: str
    kind: str
    reference: str
    derived: bool
    parent_id: str | None
    source_id: str | None
    destination_id: str | None
    currency: str
    precision: int | None
    precise_amount: int | None
    status: str
    reason: str | None
    detail: str | None
    description: str
    allow_overdraft: bool
    overdraft_limit: str | None
    position: int
    effective_micros: int
    meta_data: str | None
    fingerprint: bytes
    parts: int | None = None
    part: int | None = None
    expires_micros: int | None = None
    commits_micros: int | None = None
    scheduled_micros: int | None = None
    subject_id: str | None = None
    change: str | None = None


_Fields = Callable[[Record], tuple[Any, ...]]
_at = Record._fields.index
own_fields: _Fields = itemgetter(slice(_at("status")))
"""What each record has for itself: what it is, its sides and its amount."""
common_fields: _Fields = itemgetter(slice(_at("status"), _at("parts")))
"""What all parts of a request have in common, from the status to the fingerprint."""
rare_fields: _Fields = itemgetter(slice(_at("parts"), None))
"""What few records have."""
