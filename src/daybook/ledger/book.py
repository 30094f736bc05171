"""The working set of a batch: everything that a decision may look at, read beforehand."""

from __future__ import annotations

from typing import NamedTuple

from daybook.ledger.balance import GENERAL_LEDGER_ID, Balance
from daybook.ledger.inflight import Hold
from daybook.ledger.transaction import NewBalance, NewLedger, Record


class Recorded(NamedTuple):
    """What is already recorded under a reference."""

    transaction_id: str
    status: str
    fingerprint: bytes
    reason: str | None = None
    detail: str | None = None


class Book:
    """Balances, holds, ledgers and references, as read and as changed by the batch.

    balances, holds: by id. ledgers: fingerprint by id (None: made by the migration).
    references: what is recorded, by reference. taken_ids: the same by transaction id, of this
    batch and of those that were looked up. transactions: status of the transactions that
    commits and voids name and that are no holds, by id.
    mixed_precision: whether a balance may see several precisions.
    """

    def __init__(self, *, mixed_precision: bool = False) -> None:
        self.mixed_precision = mixed_precision
        self.balances: dict[str, Balance] = {}
        self.holds: dict[str, Hold] = {}
        self.ledgers: dict[str, bytes | None] = {GENERAL_LEDGER_ID: None}
        self.references: dict[str, Recorded] = {}
        self.taken_ids: dict[str, Recorded] = {}
        self.transactions: dict[str, str] = {}
        self.records: list[Record] = []
        self.new_ledgers: list[tuple[NewLedger, bytes, int]] = []
        self.new_balances: list[tuple[Balance, int]] = []

    def internal_balance(self, balance_id: str, indicator: str, currency: str) -> Balance:
        """The internal balance, or a fresh one that is added only when something is posted."""
        known = self.balances.get(balance_id)
        return known or Balance(
            balance_id, GENERAL_LEDGER_ID, currency, indicator=indicator, is_new=True
        )

    def add_balance(self, balance: Balance, position: int) -> None:
        """Make a new balance known; it is created with the batch."""
        if balance.balance_id not in self.balances:
            self.balances[balance.balance_id] = balance
            self.new_balances.append((balance, position))

    def add_ledger(self, ledger: NewLedger, fingerprint: bytes, position: int) -> None:
        """Make a new ledger known; it is created with the batch."""
        self.ledgers[ledger.ledger_id] = fingerprint
        self.new_ledgers.append((ledger, fingerprint, position))

    def record(self, record: Record) -> None:
        """Append a record to the journal, and use up its reference."""
        self.records.append(record)
        recorded = Recorded(
            record.transaction_id,
            record.status,
            record.fingerprint,
            record.reason,
            record.detail,
        )
        self.taken_ids[record.transaction_id] = recorded
        if not record.derived:
            self.references[record.reference] = recorded

    def recorded(self, reference: str | None, transaction_id: str) -> Recorded | None:
        """What is recorded under the reference, or under the id."""
        if reference is not None and reference in self.references:
            return self.references[reference]
        return self.taken_ids.get(transaction_id)

    def touched_balances(self) -> list[Balance]:
        """Balances whose figures the batch changes."""
        return [balance for balance in self.balances.values() if balance.touches]

    def changed_holds(self) -> list[Hold]:
        """Holds that the batch creates or changes."""
        return [hold for hold in self.holds.values() if hold.changed]


def balance_of(new: NewBalance, fingerprint: bytes) -> Balance:
    """The balance that a creation asks for, with all figures at zero."""
    return Balance(
        new.balance_id,
        new.ledger_id,
        new.currency,
        indicator=new.indicator,
        fingerprint=fingerprint,
        meta_data=new.meta_data,
        is_new=True,
    )
