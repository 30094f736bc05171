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
        return asdict(self)  # type: ignore[call-overload, no-any-return]


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

    precision: of its first transaction; None before that.
    balance: credit minus debit. available: balance minus inflight debit.
    version: how many transactions have touched it.
    """

    balance_id: str
    ledger_id: str
    currency: str
    indicator: str | None
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
class HoldView(View):
    """The state of a hold: amount = committed + voided + remaining.

    commits: how many transactions have committed a part of it.
    """

    amount: int
    committed: int
    voided: int
    remaining: int
    commits: int


@dataclass(frozen=True, slots=True)
class TransactionView(View):
    """A record of the journal.

    amount_string: exact decimal text in major units. source, destination, currency and amounts
    are absent when a refused request did not say enough to know them.
    hold: the state of a hold now; None for everything else, and in lists.
    """

    transaction_id: str
    kind: str
    reference: str
    parent_transaction: str | None
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
    meta_data: dict[str, Any]
    partition: int
    sequence: int
    hash: str
    hold: HoldView | None = None


@dataclass(frozen=True, slots=True)
class RefusalView(View):
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
class PartitionView(View):
    """How far a partition has come.

    cursor: position of the last entry read. sequence, head: of the last record of the journal.
    held_over: entries behind the cursor that wait; oldest_held_over: position of the oldest.
    applied_at: when the last batch was committed, by the database's clock.
    """

    partition: int
    cursor: int
    sequence: int
    head: str
    held_over: int
    oldest_held_over: int | None
    applied_at: datetime | None
