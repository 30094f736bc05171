"""A store as plain data: what a unit of work reads into a book, and what it adds when it commits.

It decides nothing. Reads are snapshots; a commit adds sums, as the store's statements do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from daybook.ledger.balance import GENERAL_LEDGER_ID, Balance
from daybook.ledger.batch import ALONE, BatchDecision, Horizon, decide_batch
from daybook.ledger.book import Book, Original, Recorded, Schedule, Subject
from daybook.ledger.chain import GENESIS, link
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.hold import Hold
from daybook.ledger.ids import ID_LENGTH, part_id
from daybook.ledger.instructions import (
    Bulk,
    Cancel,
    Change,
    Commit,
    Deadline,
    NewBalance,
    NewIdentity,
    NewLedger,
    Refund,
    Void,
    movements,
)
from daybook.ledger.record import Record, Status
from tests.engine.entries import accepted_rows
from tests.oracle.judge import audit


@dataclass
class Journal:
    """The journal of one partition and the marks beside it."""

    records: list[Record] = field(default_factory=list)
    head: bytes = GENESIS
    cursor: int = 0
    held: list[tuple[LogEntry, tuple[str, ...]]] = field(default_factory=list)


def _general_ledger() -> dict[str, dict[str, Any]]:
    return {GENERAL_LEDGER_ID: {"fingerprint": None, "name": "General Ledger", "meta_data": None}}


@dataclass
class Shelf:
    """Everything that would stand in the database."""

    partitions: int = 1
    balances: dict[str, dict[str, Any]] = field(default_factory=dict)
    holds: dict[str, dict[str, Any]] = field(default_factory=dict)
    ledgers: dict[str, dict[str, Any]] = field(default_factory=_general_ledger)
    identities: dict[str, dict[str, Any]] = field(default_factory=dict)
    schedules: dict[str, LogEntry] = field(default_factory=dict)
    merged: dict[str, str | None] = field(default_factory=dict)
    outcomes: dict[int, Decision] = field(default_factory=dict)
    journals: list[Journal] = field(default_factory=list)
    refused_ids: set[str] = field(default_factory=set)
    records: dict[str, Record] = field(default_factory=dict)
    references: dict[str, Recorded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.journals = [Journal() for _ in range(self.partitions)]

    # reading

    def book_for(self, entries: Iterable[LogEntry]) -> Book:
        """A book with exactly what these entries name."""
        book = Book()
        named: set[str] = set()
        acted_on: set[str] = set()
        for entry in entries:
            wanted = entry.instruction
            self._read_taken(book, entry)
            if isinstance(wanted, Commit | Void | Deadline):
                acted_on.add(wanted.transaction_id)
                self._read_status(book, wanted.transaction_id)
            elif isinstance(wanted, Refund):
                self._read_originals(book, wanted.transaction_id)
            elif isinstance(wanted, Cancel):
                self._read_schedule(book, wanted.transaction_id)
                self._read_status(book, wanted.transaction_id)
            if isinstance(wanted, Commit | Void | Refund):
                self._read_schedule(book, wanted.transaction_id)
            if isinstance(wanted, NewBalance):
                named.add(wanted.balance_id)
            for _, leg in movements(wanted):
                named |= {leg.source_id, leg.destination_id}
            self._read_things(book, wanted)
        for hold_id, stored in self.holds.items():  # as they were made
            if acted_on & {hold_id, stored["leg_of"], stored["bulk_id"]}:
                book.add_hold(Hold(hold_id, **stored))
        for hold in book.holds.values():
            named |= {hold.source_id, hold.destination_id}
        for original in book.originals.values():
            named |= {original.source_id or "", original.destination_id or ""}
        for balance_id in named & self.balances.keys():
            book.balances[balance_id] = self._balance(balance_id)
        return book

    def _read_taken(self, book: Book, entry: LogEntry) -> None:
        """What stands under the references and the id of an entry."""
        wanted = entry.instruction
        references = [getattr(wanted, "reference", None)]
        if isinstance(wanted, Bulk):
            references += [item.reference for item in wanted.items]
        for reference in filter(None, references):
            if reference in self.references:
                book.references[reference] = self.references[reference]
            for transaction_id, scheduled in self.schedules.items():
                if scheduled.instruction.reference == reference:
                    self._read_schedule(book, transaction_id)
        bare = entry.request_id[-ID_LENGTH:]
        for record in self.records.values():
            if record.transaction_id[-ID_LENGTH:] == bare:
                book.taken_ids[bare] = _recorded(record)
        if isinstance(wanted, Bulk):
            for number in range(1, len(wanted.items) + 1):
                self._read_status(book, part_id(entry.request_id, number))
        self._read_schedule(book, entry.request_id)

    def _read_schedule(self, book: Book, transaction_id: str) -> None:
        entry = self.schedules.get(transaction_id)
        if entry is None:
            return
        wanted: Any = entry.instruction
        schedule = Schedule(transaction_id, wanted, entry.position, entry.fingerprint)
        book.schedules[transaction_id] = schedule
        recorded = Recorded(transaction_id, Status.SCHEDULED, entry.fingerprint)
        book.references.setdefault(wanted.reference, recorded)
        book.taken[wanted.reference] = transaction_id
        book.taken_ids.setdefault(transaction_id[-ID_LENGTH:], recorded)

    def _read_status(self, book: Book, transaction_id: str) -> None:
        if transaction_id in self.records:
            book.transactions[transaction_id] = self.records[transaction_id].status
        elif transaction_id in self.schedules:
            book.transactions[transaction_id] = Status.SCHEDULED

    def _read_originals(self, book: Book, named: str) -> None:
        """What is to be refunded, with its parts and the parts of these."""
        self._read_status(book, named)
        record = self.records.get(named)
        if record is None or named in book.originals:
            return
        book.originals[named] = _original(record)
        for child in self.records.values():
            if child.parent_id == named and child.status == "APPLIED" and child.parts is None:
                if child.kind == "refund":
                    book.refunded.add(named)
                elif child.kind == "commit":
                    book.commits.setdefault(named, []).append(child.transaction_id)
        for number in range(1, (record.parts or 0) + 1):
            self._read_originals(book, part_id(named, number))

    def _read_things(self, book: Book, wanted: Any) -> None:
        ledger_id, owner = getattr(wanted, "ledger_id", None), getattr(wanted, "identity_id", None)
        if isinstance(wanted, Change):
            self._read_subject(book, wanted.subject_id)
            owner = json.loads(wanted.fields).get("identity_id")
        if isinstance(wanted, NewLedger | NewBalance) and ledger_id in self.ledgers:
            book.ledgers[ledger_id] = self.ledgers[ledger_id]["fingerprint"]
        if isinstance(wanted, NewBalance | NewIdentity | Change) and owner in self.identities:
            book.identities[owner] = self.identities[owner]["fingerprint"]

    def _read_subject(self, book: Book, subject_id: str) -> None:
        for things in (self.ledgers, self.balances, self.identities):
            if subject_id in things:
                book.subjects[subject_id] = Subject(things[subject_id]["meta_data"])
        recorded = subject_id in self.records or subject_id in self.schedules
        if recorded and subject_id.startswith(("txn_", "bulk_")):
            book.subjects[subject_id] = Subject(self.merged.get(subject_id))

    def _balance(self, balance_id: str) -> Balance:
        stored = dict(self.balances[balance_id])
        del stored["version"]
        return Balance(balance_id, **stored)

    # writing

    def stands(self, book: Book) -> bool:
        """Whether what the decision took for granted beside figures is still so."""
        for balance in book.balances.values():
            now = self.balances.get(balance.balance_id)
            if now is None:
                if not balance.is_new:
                    return False
            elif balance.is_new or (balance.touches and now["precision"] != balance.read_precision):
                return False
        scheduled = {e.instruction.reference: own for own, e in self.schedules.items()}
        used: list[tuple[Any, str]] = [
            (record.reference, record.transaction_id)
            for record in book.records
            if not record.derived
        ]
        used += [(e.instruction.reference, e.request_id) for e in book.new_schedules]
        created = [new.ledger_id for new, *_ in book.new_ledgers]
        created += [new.identity_id for new, *_ in book.new_identities]
        return not (
            any(record.transaction_id in self.records for record in book.records)
            or any(scheduled.get(reference, own) != own for reference, own in used)
            or any(reference in self.references for reference, _ in used)
            or any(own in self.ledgers or own in self.identities for own in created)
        )

    def commit(self, partition: int, book: Book, decision: BatchDecision, cursor: int) -> None:
        """Add what a decision changes, all at once."""
        journal = self.journals[partition]
        self._create(book)
        for balance in book.touched_balances():
            _add(self.balances[balance.balance_id], balance)
        for hold in book.changed_holds():
            self.holds[hold.transaction_id] = {name: getattr(hold, name) for name in _HOLD_FIELDS}
        for record in book.records:
            journal.head = link(journal.head, partition, len(journal.records) + 1, record)
            journal.records.append(record)
            self.records[record.transaction_id] = record
            if not record.derived:
                self.references[record.reference] = _recorded(record)
        for entry in book.new_schedules:
            self.schedules[entry.request_id] = entry
        for transaction_id in book.closed_schedules:
            del self.schedules[transaction_id]
        for outcome in decision.decisions:
            assert outcome.position not in self.outcomes, "an entry has two outcomes"
            self.outcomes[outcome.position] = outcome
        self.refused_ids |= {entry.request_id for entry, _ in decision.rejected}
        decided = {outcome.position for outcome in decision.decisions}
        held = {entry.position: (entry, may_credit) for entry, may_credit in journal.held}
        held |= {item.entry.position: (item.entry, item.may_credit) for item in decision.deferred}
        journal.held = [held[place] for place in sorted(held) if place not in decided]
        journal.cursor = cursor

    def _create(self, book: Book) -> None:
        """Things that are new, and what has changed about things."""
        for ledger, fingerprint, _ in book.new_ledgers:
            self.ledgers[ledger.ledger_id] = {
                "fingerprint": fingerprint,
                "name": ledger.name,
                "meta_data": ledger.meta_data,
            }
        for identity, fingerprint, _ in book.new_identities:
            self.identities[identity.identity_id] = {
                "fingerprint": fingerprint,
                "fields": json.loads(identity.fields),
                "meta_data": identity.meta_data,
            }
        for balance, _ in book.new_balances:
            self.balances[balance.balance_id] = _created(balance)
        for subject_id, subject in book.subjects.items():
            if subject_id.startswith(("txn_", "bulk_")):
                if subject.is_merged:
                    self.merged[subject_id] = subject.meta_data
                continue
            things = (self.ledgers, self.balances, self.identities)
            thing = next(kept[subject_id] for kept in things if subject_id in kept)
            if subject.is_merged:
                thing["meta_data"] = subject.meta_data
            thing.get("fields", thing).update(subject.fields)

    def apply(self, entries: Sequence[LogEntry], horizon: Horizon = ALONE) -> list[Decision]:
        """Decide and commit one batch as the only partition."""
        book = self.book_for(entries)
        decision = decide_batch(book, [], entries, horizon)
        assert not decision.quarantined, decision.quarantined
        self.commit(0, book, decision, entries[-1].position if entries else 0)
        return decision.decisions

    def rows(self) -> list[dict[str, Any]]:
        """The journal as the judge reads it."""
        return [
            {"partition": partition, "sequence": sequence, **record._asdict()}
            for partition, journal in enumerate(self.journals)
            for sequence, record in enumerate(journal.records, 1)
        ]

    def done(self) -> set[str]:
        """Ids of what exists or was refused outside the journal."""
        return {*self.ledgers, *self.balances, *self.identities, *self.refused_ids}

    def things(self) -> dict[str, dict[str, Any]]:
        """What is known of things, and was merged onto transactions, as the judge reads it."""
        told = {
            own: ({"name": ledger["name"]}, ledger["meta_data"])
            for own, ledger in self.ledgers.items()
        }
        for own, balance in self.balances.items():
            owner = balance["identity_id"]
            told[own] = ({"identity_id": owner} if owner else {}, balance["meta_data"])
        told |= {own: (each["fields"], each["meta_data"]) for own, each in self.identities.items()}
        told |= {own: ({}, meta_data) for own, meta_data in self.merged.items()}
        return {
            own: {"fields": fields, "meta_data": json.loads(meta_data or "{}")}
            for own, (fields, meta_data) in told.items()
        }

    def violations(self, entries: Sequence[LogEntry], *, drained: bool = True) -> list[str]:
        """What the judge says of all this, given what was accepted."""
        return audit(
            self.rows(),
            self.balances,
            self.holds,
            accepted_rows(entries),
            done=self.done(),
            drained=drained,
            schedules=self.schedules.keys(),
            things=self.things(),
        )


_HOLD_FIELDS = [
    "source_id",
    "destination_id",
    "currency",
    "precision",
    "amount",
    "committed",
    "voided",
    "commits",
    "leg_of",
    "bulk_id",
    "expires_micros",
    "commits_micros",
]


def _recorded(record: Record) -> Recorded:
    return Recorded(
        record.transaction_id,
        record.status,
        record.fingerprint,
        record.reason,
        record.detail,
        precise_amount=record.precise_amount,
        precision=record.precision,
        currency=record.currency or None,
    )


def _original(record: Record) -> Original:
    return Original(*(getattr(record, name) for name in Original._fields))


def _created(balance: Balance) -> dict[str, Any]:
    return {
        "ledger_id": balance.ledger_id,
        "currency": balance.currency,
        "indicator": balance.indicator,
        "precision": None,
        "credit": 0,
        "debit": 0,
        "inflight_credit": 0,
        "inflight_debit": 0,
        "fingerprint": balance.fingerprint,
        "meta_data": balance.meta_data,
        "identity_id": balance.identity_id,
        "version": 0,
    }


def _add(stored: dict[str, Any], balance: Balance) -> None:
    stored["credit"] += balance.added_credit
    stored["debit"] += balance.added_debit
    stored["inflight_credit"] += balance.added_inflight_credit
    stored["inflight_debit"] += balance.added_inflight_debit
    stored["version"] += balance.touches
    stored["precision"] = balance.precision
