"""A store as plain data: what a unit of work reads into a book, and what it adds when it commits.

It decides nothing. Reads are snapshots; a commit adds sums, as the store's statements do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from daybook.ledger.balance import GENERAL_LEDGER_ID, Balance
from daybook.ledger.batch import ALONE, BatchDecision, Horizon, decide_batch
from daybook.ledger.book import Book, Recorded
from daybook.ledger.chain import GENESIS, link
from daybook.ledger.inflight import Hold
from daybook.ledger.transaction import (
    Commit,
    Entry,
    NewBalance,
    NewLedger,
    Outcome,
    Record,
    Transaction,
    Void,
)
from daybook.requests import decode, fingerprint_of, validate
from daybook.requests.models import REQUEST_MODELS


@dataclass
class Journal:
    """The journal of one partition and the marks beside it."""

    records: list[Record] = field(default_factory=list)
    head: bytes = GENESIS
    cursor: int = 0
    held: list[tuple[Entry, tuple[str, ...]]] = field(default_factory=list)


@dataclass
class Shelf:
    """Everything that would stand in the database."""

    partitions: int = 1
    mixed_precision: bool = False
    balances: dict[str, dict[str, Any]] = field(default_factory=dict)
    holds: dict[str, dict[str, Any]] = field(default_factory=dict)
    ledgers: dict[str, bytes | None] = field(default_factory=lambda: {GENERAL_LEDGER_ID: None})
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    journals: list[Journal] = field(default_factory=list)
    refused_ids: set[str] = field(default_factory=set)
    index: tuple[dict[str, Recorded], dict[str, Recorded]] = field(default_factory=lambda: ({}, {}))

    def __post_init__(self) -> None:
        self.journals = [Journal() for _ in range(self.partitions)]

    def book_for(self, entries: Iterable[Entry]) -> Book:
        """A book with exactly what these entries name."""
        book = Book(mixed_precision=self.mixed_precision)
        by_reference, by_id = self.index
        named: set[str] = set()
        for entry in entries:
            wanted = entry.instruction
            reference = getattr(wanted, "reference", None)
            if reference in by_reference:
                book.references[reference] = by_reference[reference]
            if entry.request_id in by_id:
                book.taken_ids[entry.request_id] = by_id[entry.request_id]
            if isinstance(wanted, NewLedger | NewBalance) and wanted.ledger_id in self.ledgers:
                book.ledgers[wanted.ledger_id] = self.ledgers[wanted.ledger_id]
            if isinstance(wanted, Commit | Void):
                self._read_hold(book, wanted.transaction_id)
            named |= _named(wanted)
        for hold in book.holds.values():
            named |= {hold.source_id, hold.destination_id}
        for balance_id in named & self.balances.keys():
            book.balances[balance_id] = self._balance(balance_id)
        return book

    def _read_hold(self, book: Book, transaction_id: str) -> None:
        if transaction_id in self.holds:
            book.holds[transaction_id] = Hold(transaction_id, **self.holds[transaction_id])
        elif transaction_id in self.index[1]:
            book.transactions[transaction_id] = self.index[1][transaction_id].status

    def _balance(self, balance_id: str) -> Balance:
        stored = dict(self.balances[balance_id])
        del stored["version"]
        return Balance(balance_id, **stored)

    def stands(self, book: Book) -> bool:
        """Whether what the decision took for granted beside figures is still so."""
        for balance in book.balances.values():
            now = self.balances.get(balance.balance_id)
            if now is None:
                if not balance.is_new:
                    return False
            elif balance.is_new or (balance.touches and now["precision"] != balance.read_precision):
                return False
        by_reference, by_id = self.index
        return not any(
            record.transaction_id in by_id
            or (not record.derived and record.reference in by_reference)
            for record in book.records
        ) and not any(ledger.ledger_id in self.ledgers for ledger, *_ in book.new_ledgers)

    def commit(self, partition: int, book: Book, decision: BatchDecision, cursor: int) -> None:
        """Add what a decision changes, all at once."""
        journal = self.journals[partition]
        for ledger, fingerprint, _ in book.new_ledgers:
            self.ledgers[ledger.ledger_id] = fingerprint
        for balance, _ in book.new_balances:
            self.balances[balance.balance_id] = _created(balance)
        for balance in book.touched_balances():
            _add(self.balances[balance.balance_id], balance)
        for hold in book.changed_holds():
            self.holds[hold.transaction_id] = {name: getattr(hold, name) for name in _HOLD_FIELDS}
        for record in book.records:
            journal.head = link(journal.head, partition, len(journal.records) + 1, record)
            journal.records.append(record)
            self._index(record)
        for outcome in decision.outcomes:
            assert outcome.position not in self.outcomes, "an entry has two outcomes"
            self.outcomes[outcome.position] = outcome
        self.refused_ids |= {entry.request_id for entry, _ in decision.refused}
        decided = {outcome.position for outcome in decision.outcomes}
        held = {entry.position: (entry, brings) for entry, brings in journal.held}
        held |= {item.entry.position: (item.entry, item.brings) for item in decision.held_over}
        journal.held = [held[place] for place in sorted(held) if place not in decided]
        journal.cursor = cursor

    def _index(self, record: Record) -> None:
        recorded = Recorded(
            record.transaction_id, record.status, record.fingerprint, record.reason, record.detail
        )
        self.index[1][record.transaction_id] = recorded
        if not record.derived:
            self.index[0][record.reference] = recorded

    def apply(self, entries: Sequence[Entry], horizon: Horizon = ALONE) -> list[Outcome]:
        """Decide and commit one batch as the only partition."""
        book = self.book_for(entries)
        decision = decide_batch(book, [], entries, horizon)
        assert not decision.quarantined, decision.quarantined
        self.commit(0, book, decision, entries[-1].position if entries else 0)
        return decision.outcomes

    def rows(self) -> list[dict[str, Any]]:
        """The journal as the judge reads it."""
        return [
            {"partition": partition, "sequence": sequence, **record._asdict()}
            for partition, journal in enumerate(self.journals)
            for sequence, record in enumerate(journal.records, 1)
        ]

    def done(self) -> set[str]:
        """Ids of what exists or was refused outside the journal."""
        return {*self.ledgers, *self.balances, *self.refused_ids}


_HOLD_FIELDS = [
    "source_id",
    "destination_id",
    "currency",
    "precision",
    "amount",
    "committed",
    "voided",
    "commits",
]


def _named(wanted: Any) -> set[str]:
    if isinstance(wanted, Transaction):
        return {wanted.source_id, wanted.destination_id}
    return {wanted.balance_id} if isinstance(wanted, NewBalance) else set()


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
        "version": 0,
    }


def _add(stored: dict[str, Any], balance: Balance) -> None:
    stored["credit"] += balance.added_credit
    stored["debit"] += balance.added_debit
    stored["inflight_credit"] += balance.added_inflight_credit
    stored["inflight_debit"] += balance.added_inflight_debit
    stored["version"] += balance.touches
    stored["precision"] = balance.precision


def entry_of(request: dict[str, Any], request_id: str, position: int) -> Entry:
    """A request as an entry of the log: validated, written as a body, and decoded again.

    Raises MalformedRequest when the request is refused at the door.
    """
    fields = {name: value for name, value in request.items() if name != "kind"}
    if request["kind"] in ("ledger", "balance"):
        fields[f"{request['kind']}_id"] = request_id
    body = validate(REQUEST_MODELS[request["kind"]], fields).body()
    decoded = decode(body, request_id, position >> 20)
    assert hasattr(decoded, "slot"), f"an accepted request cannot be read: {decoded}"
    return Entry(
        position, decoded.slot, request_id, decoded.instruction, fingerprint_of(body), body
    )


def accepted_rows(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """The log as the judge reads it."""
    return [
        {
            "position": entry.position,
            "slot": entry.slot,
            "request_id": entry.request_id,
            "reference": getattr(entry.instruction, "reference", None),
            "fingerprint": entry.fingerprint,
            "kind": type(entry.instruction).__name__,
        }
        for entry in entries
    ]
