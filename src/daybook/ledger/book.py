"""The working set of a batch: everything that a decision may look at, read beforehand."""

from __future__ import annotations

from typing import NamedTuple

from daybook.ledger.balance import GENERAL_LEDGER_ID, Balance, BalanceState
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.hold import Hold
from daybook.ledger.ids import ID_LENGTH
from daybook.ledger.instructions import (
    RETRIED,
    Kind,
    MultiLeg,
    NewBalance,
    NewIdentity,
    NewLedger,
    Resolve,
    Transaction,
)
from daybook.ledger.record import Record, Status


class Recorded(NamedTuple):
    """What is already recorded under a reference.

    is_retried: it was quarantined and is tried again: its reference waits for the same id.
    precise_amount (minor units), precision, currency: what it is about, where a record says so.
    """

    transaction_id: str
    status: str
    fingerprint: bytes
    reason: str | None = None
    detail: str | None = None
    is_retried: bool = False
    precise_amount: int | None = None
    precision: int | None = None
    currency: str | None = None


class Original(NamedTuple):
    """A recorded transaction, as far as a refund looks at it; fields as in ``Record``."""

    transaction_id: str
    kind: str
    status: str
    source_id: str | None
    destination_id: str | None
    currency: str
    precision: int | None
    precise_amount: int | None
    meta_data: str | None
    parts: int | None


class Schedule(NamedTuple):
    """A transaction that was accepted for a later time and is not due yet.

    flags: of the entry, as the log has them.
    """

    transaction_id: str
    instruction: Transaction | MultiLeg
    position: int
    fingerprint: bytes
    flags: str = ""


class Subject:
    """What changes are about: its meta_data, and the fields that the batch sets.

    meta_data: canonical JSON text. It is None, too, for what has none.
    """

    __slots__ = ("fields", "is_merged", "meta_data")

    def __init__(self, meta_data: str | None) -> None:
        self.meta_data = meta_data
        self.fields: dict[str, str] = {}
        self.is_merged = False


class Savepoint(NamedTuple):
    """A state of the book to come back to, as far as transactions change it."""

    balances: dict[str, BalanceState]
    records: int
    new_balances: int


class Book:
    """What was read of the ledger, and how the batch changes it.

    balances, holds: by id. groups: the holds of a request with legs or of a bulk, by its id.
    ledgers, identities: fingerprint by id (None: made by the migration).
    references: what is recorded, by reference. taken: references that a schedule or a request that
    is tried again has taken before it is recorded, with its id.
    taken_ids: what is recorded, by the id's UUID, of this batch and of those that were looked up.
    transactions: status of the transactions that actions
    name, by id.
    originals: the transactions that refunds name, with their parts. refunded: ids of those that
    have been. commits: ids of the commits of those that are holds.
    schedules: by the id of the transaction. subjects: what changes are about, by id.
    cancelled: outcomes of earlier requests that this batch decided: schedules that it cancelled.
    quarantined: open entries that were quarantined, with the references that they have taken and
    how they are recorded, by position and id.
    resolutions: what this batch resolves of them, with the time of the entry that asks for it.
    """

    def __init__(self) -> None:
        self.balances: dict[str, Balance] = {}
        self.holds: dict[str, Hold] = {}
        self.groups: dict[str, list[str]] = {}
        self.ledgers: dict[str, bytes | None] = {GENERAL_LEDGER_ID: None}
        self.identities: dict[str, bytes] = {}
        self.references: dict[str, Recorded] = {}
        self.taken: dict[str, str] = {}
        self.taken_ids: dict[str, Recorded] = {}
        self.transactions: dict[str, str] = {}
        self.originals: dict[str, Original] = {}
        self.commits: dict[str, list[str]] = {}
        self.refunded: set[str] = set()
        self.schedules: dict[str, Schedule] = {}
        self.subjects: dict[str, Subject] = {}
        self.records: list[Record] = []
        self.new_ledgers: list[tuple[NewLedger, bytes, int]] = []
        self.new_balances: list[tuple[Balance, int]] = []
        self.new_identities: list[tuple[NewIdentity, bytes, int]] = []
        self.new_schedules: list[LogEntry] = []
        self.closed_schedules: list[str] = []
        self.cancelled: list[tuple[Schedule, Decision]] = []
        self.quarantined: dict[tuple[int, str], tuple[str | None, Recorded]] = {}
        self.resolutions: dict[tuple[int, str], tuple[Resolve, int]] = {}
        self._records_by_id: dict[str, Record] = {}
        self._records_indexed = 0

    def internal_balance(self, balance_id: str, indicator: str, currency: str) -> Balance:
        """A fresh internal balance; it is added only when something is posted."""
        return Balance(balance_id, GENERAL_LEDGER_ID, currency, indicator=indicator, is_new=True)

    def add_balance(self, balance: Balance, position: int) -> None:
        """Make a new balance known; it is created with the batch."""
        if balance.balance_id not in self.balances:
            self.balances[balance.balance_id] = balance
            self.new_balances.append((balance, position))
            self.subjects.setdefault(balance.balance_id, Subject(balance.meta_data))

    def add_ledger(self, ledger: NewLedger, fingerprint: bytes, position: int) -> None:
        """Make a new ledger known; it is created with the batch."""
        self.ledgers[ledger.ledger_id] = fingerprint
        self.new_ledgers.append((ledger, fingerprint, position))
        self.subjects[ledger.ledger_id] = Subject(ledger.meta_data)

    def add_identity(self, identity: NewIdentity, fingerprint: bytes, position: int) -> None:
        """Make a new identity known; it is created with the batch."""
        self.identities[identity.identity_id] = fingerprint
        self.new_identities.append((identity, fingerprint, position))
        self.subjects[identity.identity_id] = Subject(identity.meta_data)

    def add_hold(self, hold: Hold) -> None:
        """Make a new hold known, also to the requests of which it is a part."""
        self.holds[hold.transaction_id] = hold
        for group_id in (hold.leg_of, hold.bulk_id):
            if group_id is not None:
                self.groups.setdefault(group_id, []).append(hold.transaction_id)

    def add_schedule(self, entry: LogEntry, instruction: Transaction | MultiLeg) -> None:
        """Keep a transaction for its time; its reference is used up from now on."""
        transaction_id = entry.request_id
        self.new_schedules.append(entry)
        self.schedules[transaction_id] = Schedule(
            transaction_id, instruction, entry.position, entry.fingerprint
        )
        recorded = Recorded(transaction_id, "SCHEDULED", entry.fingerprint)
        self.references[instruction.reference] = recorded
        self.taken_ids[transaction_id[-ID_LENGTH:]] = recorded
        self.subjects[transaction_id] = Subject(None)

    def close_schedule(self, transaction_id: str) -> None:
        """A schedule, if there is one, is over: its transaction came to be, or was cancelled."""
        if self.schedules.pop(transaction_id, None) is not None:
            self.closed_schedules.append(transaction_id)

    def add_quarantined(self, entry: LogEntry, reference: str | None, recorded: Recorded) -> None:
        """Keep an entry that is quarantined, and its reference with it."""
        self.quarantined[entry.position, entry.request_id] = reference, recorded
        self.close_schedule(entry.request_id)
        if reference is not None:
            self.references[reference] = recorded

    def resolve(self, wanted: Resolve, accepted_ms: int) -> bool:
        """Resolve what was quarantined; returns whether it was still open.

        What is to be tried again keeps its reference for itself, and may be recorded under its id.
        """
        place = (wanted.position, wanted.request_id)
        if place not in self.quarantined:
            return False
        reference, recorded = self.quarantined.pop(place)
        self.resolutions[place] = (wanted, accepted_ms)
        if wanted.how == RETRIED:
            if reference is not None:
                self.references[reference] = recorded._replace(is_retried=True)
            self.taken_ids.pop(wanted.request_id[-ID_LENGTH:], None)
        return True

    def record(self, record: Record) -> None:
        """Append a record to the journal, and use up its reference."""
        self.records.append(record)
        recorded = Recorded(
            record.transaction_id,
            record.status,
            record.fingerprint,
            record.reason,
            record.detail,
            False,
            record.precise_amount,
            record.precision,
            record.currency or None,
        )
        self.taken_ids[record.transaction_id[-ID_LENGTH:]] = recorded
        if not record.derived:
            self.references[record.reference] = recorded

    def recorded(self, reference: str | None, transaction_id: str) -> Recorded | None:
        """What is recorded under the reference, or under the id."""
        if reference is not None and reference in self.references:
            found = self.references[reference]
            if not (found.is_retried and found.transaction_id == transaction_id):
                return found
        return self.taken_ids.get(transaction_id[-ID_LENGTH:])

    def has(self, thing_id: str) -> bool:
        """Whether there is a ledger, a balance or an identity with this id."""
        return thing_id in self.ledgers or thing_id in self.balances or thing_id in self.identities

    def created_by(self, thing_id: str) -> bytes | None:
        """The fingerprint of the request that created this; None when no request did."""
        balance = self.balances.get(thing_id)
        if balance is not None:
            return balance.fingerprint
        return self.ledgers.get(thing_id) or self.identities.get(thing_id)

    def claims(self) -> dict[str, str]:
        """The references that the batch takes, with the id of what takes each."""
        claims = {
            record.reference: record.transaction_id for record in self.records if not record.derived
        }
        for entry in self.new_schedules:
            assert isinstance(entry.instruction, Transaction | MultiLeg), (
                "nothing else is scheduled"
            )
            claims[entry.instruction.reference] = entry.request_id
        return claims

    def original(self, transaction_id: str) -> Original | None:
        """The recorded transaction with this id, of the journal or of this batch."""
        for record in self.records[self._records_indexed :]:
            self._records_by_id[record.transaction_id] = record
        self._records_indexed = len(self.records)
        made = self._records_by_id.get(transaction_id)
        if made is None:
            return self.originals.get(transaction_id)
        return Original(
            made.transaction_id,
            made.kind,
            made.status,
            made.source_id,
            made.destination_id,
            made.currency,
            made.precision,
            made.precise_amount,
            made.meta_data,
            made.parts,
        )

    def commits_of(self, hold_id: str) -> list[str]:
        """Ids of the commits of a hold, of the journal and of this batch."""
        made = [
            record.transaction_id
            for record in self.records
            if record.parent_id == hold_id
            and record.kind == Kind.COMMIT
            and record.status == Status.APPLIED
        ]
        return self.commits.get(hold_id, []) + made

    def savepoint(self, balance_ids: set[str]) -> Savepoint:
        """The present state, for ``undo``; only these balances change until then."""
        states = {
            balance_id: self.balances[balance_id].state()
            for balance_id in balance_ids
            if balance_id in self.balances
        }
        return Savepoint(states, len(self.records), len(self.new_balances))

    def undo(self, savepoint: Savepoint) -> None:
        """Forget all transactions since the savepoint."""
        for record in self.records[savepoint.records :]:
            self.taken_ids.pop(record.transaction_id[-ID_LENGTH:], None)
            if not record.derived:
                self.references.pop(record.reference, None)
            hold = self.holds.pop(record.transaction_id, None)
            if hold is not None:
                for group_id in (hold.leg_of, hold.bulk_id):
                    if group_id is not None:
                        self.groups.pop(group_id, None)
        del self.records[savepoint.records :]
        self._records_by_id.clear()
        self._records_indexed = 0
        for balance, _ in self.new_balances[savepoint.new_balances :]:
            del self.balances[balance.balance_id]
            self.subjects.pop(balance.balance_id, None)
        del self.new_balances[savepoint.new_balances :]
        for balance_id, state in savepoint.balances.items():
            self.balances[balance_id].restore(state)

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
        identity_id=new.identity_id,
        is_new=True,
    )
