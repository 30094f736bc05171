"""A dry run: what a request of any kind would do to the ledger as it stands at this moment.

Nothing is written and no reference is used up. What is still queued is not looked at: a request
that is sent for real is decided behind everything that was accepted before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import Engine

from daybook.client.calls import Calls
from daybook.client.drafts import draft
from daybook.ledger.balance import Balance
from daybook.ledger.book import Book
from daybook.ledger.entry import POSITION_COUNTER_BITS, LogEntry
from daybook.ledger.instructions import Bulk, MultiLeg, Transaction, movements
from daybook.ledger.money import amount_text
from daybook.ledger.posting.rules import post, reject
from daybook.ledger.preview import BalancePreview, Figures, Preview, RecordPreview
from daybook.ledger.record import Record, Status
from daybook.ledger.rejection import Rejected
from daybook.requests import Request, decode, fingerprint_of
from daybook.requests.base import iso
from daybook.requests.bounds import EPOCH
from daybook.store.batch.balances import KnownBalances
from daybook.store.batch.loading import load_book
from daybook.store.read.queries import reading


class DryRun(Calls[Preview]):
    """Returns what each request would do, with the methods that a client has.

    engine: of a database role that may read. clock: seconds since the epoch.

    >>> dry_run = DryRun(engine)  # doctest: +SKIP
    >>> dry_run.refund(transaction_id).would_apply  # doctest: +SKIP
    True
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    def _submit(self, request: Request | Mapping[str, Any]) -> Preview:
        """What the request would do now; nothing is enqueued.

        Raises MalformedRequest, StoreUnavailable, SchemaOutdated.
        """
        made = draft(request, self._clock)
        return self.look_ahead(made.entry.request_id, made.entry.body)

    def look_ahead(self, request_id: str, body: bytes) -> Preview:
        """What the request with this body would do. Raises StoreUnavailable, SchemaOutdated."""
        entry = _entry_of(request_id, body, int(self._clock() * 1000))
        if isinstance(entry, Rejected):
            return _refused_at_the_door(entry)
        return _preview(_book_for(self._engine, entry), entry)


def _entry_of(request_id: str, body: bytes, now_ms: int) -> LogEntry | Rejected:
    """The entry that it would be, were it accepted now."""
    decoded = decode(body, request_id, now_ms)
    if isinstance(decoded, Rejected):
        return decoded
    return LogEntry(
        now_ms << POSITION_COUNTER_BITS,
        decoded.slot,
        request_id,
        decoded.instruction,
        fingerprint_of(body),
        body,
        decoded.slots,
    )


def _book_for(engine: Engine, entry: LogEntry) -> Book:
    with reading(engine) as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        with raw.cursor() as cursor:
            return load_book(cursor, [entry], KnownBalances(), check_taken=True)


def _refused_at_the_door(rejected: Rejected) -> Preview:
    return Preview(
        False,
        Status.REJECTED.value,
        False,
        rejected.reason.value,
        rejected.detail,
        (),
        (),
    )


def _preview(book: Book, entry: LogEntry) -> Preview:
    before = {name: figures_of(balance) for name, balance in book.balances.items()}
    outcome = post(book, entry)
    if isinstance(outcome, Rejected):
        outcome = reject(book, entry, outcome)
    nothing = Figures(0, 0, 0, 0, 0, 0)
    named = [
        BalancePreview(
            balance.balance_id,
            balance.indicator,
            balance.currency,
            balance.precision,
            name in before,
            before.get(name, nothing),
            figures_of(balance),
        )
        for name, balance in _named(book, entry).items()
    ]
    return Preview(
        outcome.status != Status.REJECTED and not outcome.duplicate,
        str(outcome.status),
        outcome.duplicate,
        None if outcome.reason is None else str(outcome.reason),
        outcome.detail,
        tuple(named),
        tuple(_record(record) for record in book.records),
    )


def figures_of(balance: Balance) -> Figures:
    """The present figures of a working balance."""
    return Figures(
        balance.balance,
        balance.available,
        balance.credit,
        balance.debit,
        balance.inflight_credit,
        balance.inflight_debit,
    )


def _named(book: Book, entry: LogEntry) -> dict[str, Balance]:
    """The balances that the request names, in its order, then those that it touches otherwise."""
    found: dict[str, Balance] = {}
    wanted = entry.instruction
    if isinstance(wanted, Transaction | MultiLeg | Bulk):
        for whole, leg in movements(wanted):
            for balance_id, indicator in (
                (leg.source_id, leg.source_indicator),
                (leg.destination_id, leg.destination_indicator),
            ):
                balance = book.balances.get(balance_id)
                if balance is None and indicator is not None:
                    balance = book.internal_balance(balance_id, indicator, whole.currency)
                if balance is not None:
                    found.setdefault(balance_id, balance)
    for balance in book.touched_balances():
        found.setdefault(balance.balance_id, balance)
    return found


def _record(record: Record) -> RecordPreview:
    amount, precision = record.precise_amount, record.precision
    return RecordPreview(
        str(record.kind),
        record.reference,
        record.part,
        str(record.status),
        None if record.reason is None else str(record.reason),
        record.detail,
        record.source_id,
        record.destination_id,
        record.currency,
        precision,
        amount,
        None if amount is None or precision is None else amount_text(amount, precision),
        iso(EPOCH + timedelta(microseconds=record.effective_micros)),
        record.description,
    )
