"""What readers see: one frozen value for each thing, with the field names of the HTTP answers.

Amounts and figures are integers in minor units, ids carry their prefix, moments are UTC.
``asdict`` turns a view into plain values, of which none is a float.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any


class View:
    """The base of all views."""

    def asdict(self) -> dict[str, Any]:
        """The fields by name, in order: text, integers, decimals, moments and nested values."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]  # all views are dataclasses


@dataclass(frozen=True, slots=True)
class LedgerView(View):
    """A ledger."""

    ledger_id: str
    name: str
    created_at: datetime
    meta_data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BalanceView(View):
    """A balance.

    precision: of its first transaction; None before that. identity_id: its owner.
    balance: credit minus debit. available: balance minus inflight debit.
    version: how many transactions have touched it.
    """

    balance_id: str
    ledger_id: str
    currency: str
    indicator: str | None
    identity_id: str | None
    precision: int | None
    balance: int
    credit_balance: int
    debit_balance: int
    inflight_balance: int
    inflight_credit_balance: int
    inflight_debit_balance: int
    available: int
    version: int
    created_at: datetime
    meta_data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AccountView(View):
    """An account at a bank, and the balance that it stands for."""

    account_id: str
    name: str
    number: str
    bank_name: str
    currency: str
    balance_id: str
    identity_id: str | None
    ledger_id: str
    created_at: datetime
    meta_data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class IdentityView(View):
    """A person or an organisation that owns balances; see ``ledger.identity.IDENTITY_FIELDS``."""

    identity_id: str
    identity_type: str | None
    first_name: str | None
    last_name: str | None
    other_names: str | None
    organization_name: str | None
    category: str | None
    gender: str | None
    dob: str | None
    email_address: str | None
    phone_number: str | None
    nationality: str | None
    street: str | None
    city: str | None
    state: str | None
    post_code: str | None
    country: str | None
    created_at: datetime
    meta_data: dict[str, Any]

    @property
    def name(self) -> str | None:
        """What a person would call it."""
        return (
            self.organization_name
            or " ".join(filter(None, (self.first_name, self.last_name)))
            or None
        )


@dataclass(frozen=True, slots=True)
class HoldView(View):
    """The state of a hold: amount = committed + voided + remaining.

    Of a request whose legs or items are holds: the sums of theirs.
    commits: how many transactions have committed a part of it.
    """

    amount: int
    committed: int
    voided: int
    remaining: int
    commits: int


@dataclass(frozen=True, slots=True)
class OpenHoldView(View):
    """A hold with something left to commit or void.

    reference: its own, or its label as a leg. source_indicator, destination_indicator: the
    ``@Name`` of an internal balance. source_external_id, destination_external_id: what their
    meta_data says now.
    inflight_expiry_date, inflight_commit_date: when the remainder is voided or committed.
    request: the request with legs of which it is one. bulk: the bulk to which it belongs.
    """

    transaction_id: str
    reference: str
    source: str
    source_indicator: str | None
    source_external_id: str | None
    destination: str
    destination_indicator: str | None
    destination_external_id: str | None
    currency: str
    precision: int
    amount: int
    remaining: int
    inflight_expiry_date: datetime | None
    inflight_commit_date: datetime | None
    request: str | None
    bulk: str | None


@dataclass(frozen=True, slots=True)
class TransactionView(View):
    """A record of the journal, or a transaction whose time has not come (SCHEDULED).

    amount_string: exact decimal text in major units. source, destination, currency and amounts
    are absent when a refused request did not say enough to know them, or when they differ among
    the parts of a request.
    source_indicator, destination_indicator: the ``@Name`` of an internal balance; of one that was
    never created, as its rejection tells it. source_external_id, destination_external_id: what
    their meta_data says now.
    parts: how many records carry the request out; then this one moves no money. part: of such a
    record, its number.
    subject, change: what a creation or a change is about, and what it set.
    meta_data: what was merged onto the transaction later included.
    partition, sequence, hash: its place in the journal; of a scheduled transaction, that of the
    record of its acceptance.

    hold: the state of a hold now, and of all holds of a request when they are in one currency and
    precision; in lists not of a bulk, and never in the tail.

    Only of one transaction that was asked for, not in lists:
    refunded_by: the id of its refund. records: the legs, items or parts that carry it
    out, and actions: what was done to it later (commits, voids, refunds, cancels), both bounded.
    """

    transaction_id: str
    kind: str
    reference: str
    parent_transaction: str | None
    parts: int | None
    part: int | None
    source: str | None
    destination: str | None
    currency: str
    precision: int | None
    amount_string: str | None
    precise_amount: int | None
    status: str
    reason: str | None
    detail: str | None
    description: str
    allow_overdraft: bool
    overdraft_limit: Decimal | None
    created_at: datetime
    effective_date: datetime
    scheduled_for: datetime | None
    inflight_expiry_date: datetime | None
    inflight_commit_date: datetime | None
    subject: str | None
    change: dict[str, Any] | None
    meta_data: dict[str, Any]
    partition: int
    sequence: int
    hash: str
    source_indicator: str | None = None
    source_external_id: str | None = None
    destination_indicator: str | None = None
    destination_external_id: str | None = None
    refunded_by: str | None = None
    hold: HoldView | None = None
    records: tuple[TransactionView, ...] = ()
    actions: tuple[TransactionView, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeView(View):
    """What was set when a thing was created or changed.

    transaction_id: of the change; of a creation, the id of the thing. made_by: who asked for it,
    as the caller said. fields: what was set; meta_data: what was merged by key.
    reason, detail: of a refused change, which set nothing.
    """

    transaction_id: str
    kind: str
    reference: str
    subject: str
    made_by: str | None
    fields: dict[str, Any]
    meta_data: dict[str, Any]
    status: str
    reason: str | None
    detail: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ScheduleView(View):
    """A transaction that was accepted for a later time and is neither applied nor cancelled.

    request: the request as it stands in the log, parsed exactly.
    """

    transaction_id: str
    reference: str
    scheduled_for: datetime
    created_at: datetime
    request: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DatesView(View):
    """What waits for a date: open schedules, and holds whose remainder a date will end.

    schedules_due, holds_due: those whose time has come and that the sweeper has not seen to yet.
    """

    schedules: int
    schedules_due: int
    holds: int
    holds_due: int


@dataclass(frozen=True, slots=True)
class RejectionView(View):
    """A refused request that the journal cannot show.

    transaction_id: the id that was asked for, of a transaction, ledger or balance.
    request: the request as it stood in the log; bytes that are not UTF-8 are escaped.
    traceback: of our own fault, when the request was quarantined.
    """

    transaction_id: str
    reference: str | None
    status: str
    reason: str
    detail: str | None
    created_at: datetime
    partition: int
    request: str
    traceback: str | None


@dataclass(frozen=True, slots=True)
class QuarantineView(View):
    """A request that was quarantined.

    entry: ``<partition>/<position>``, of the log. transaction_id: the id that was asked for.
    kind: of the request, when it can be read. error: the last line of the traceback.
    state: ``open``, ``retried`` or ``discarded``; resolved_by, resolved_why, resolved_at: by whom.
    outcome: what the journal has under its id: of a retried one, what became of it.
    request, traceback: see ``RejectionView``; of one that was asked for by name.
    """

    entry: str
    transaction_id: str
    reference: str | None
    kind: str | None
    partition: int
    position: int
    accepted_at: datetime
    error: str
    state: str
    resolved_by: str | None
    resolved_why: str | None
    resolved_at: datetime | None
    outcome: str | None = None
    reason: str | None = None
    request: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class PartitionView(View):
    """How far a partition has come.

    cursor: position of the last entry read. sequence, head: of the last record of the journal.
    deferred: entries behind the cursor that wait; oldest_deferred: position of the oldest.
    applied_at: when the last batch was committed, by the database's clock. is_closed: there are
    fewer partitions now; its journal stays.
    """

    partition: int
    cursor: int
    sequence: int
    head: str
    deferred: int
    oldest_deferred: int | None
    applied_at: datetime | None
    is_closed: bool = False
