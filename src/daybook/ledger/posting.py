"""The posting of one entry: every rule of the ledger, in the order of precedence.

Each rule looks only at the book and the entry. An entry is either posted, and the book has
changed, or ``Rejected`` comes back and the book is as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from daybook.ledger.balance import Balance, may_be_internal
from daybook.ledger.book import Book, Recorded, balance_of
from daybook.ledger.inflight import Hold
from daybook.ledger.money import to_minor
from daybook.ledger.rejection import Reason, Rejected
from daybook.ledger.transaction import (
    Commit,
    Entry,
    Kind,
    NewBalance,
    NewLedger,
    Outcome,
    Record,
    Status,
    Transaction,
    Void,
)

ANYTHING = "*"
"""Stands for every balance, where what an entry would bring cannot be known."""


def post(book: Book, entry: Entry) -> Outcome | Rejected:
    """Decide ``entry`` and, unless it is refused, post it to ``book``."""
    return _POST[type(entry.instruction)](book, entry, entry.instruction)


def reject(book: Book, entry: Entry, rejected: Rejected) -> Outcome:
    """Record the final refusal of ``entry``.

    A conflict of references leaves no record of its own: the reference belongs to the original.
    """
    instruction = entry.instruction
    reference = getattr(instruction, "reference", None)
    if isinstance(instruction, Transaction | Commit | Void) and (
        rejected.reason is not Reason.REFERENCE_CONFLICT
    ):
        book.record(_rejected_record(book, entry, rejected))
    return Outcome(
        entry.position,
        entry.request_id,
        entry.request_id,
        reference,
        Status.REJECTED,
        rejected.reason,
        rejected.detail,
    )


def brings(book: Book, entry: Entry) -> tuple[str, ...]:
    """Ids of the balances and ledgers that ``entry`` would credit or create, were it posted.

    Also its source, when that is an internal balance: the entry may create it, and younger debits
    of it, in whatever slot, must not come first. ``("*",)`` when that cannot be known: the hold
    that it names is not in the book.
    """
    instruction = entry.instruction
    if isinstance(instruction, Transaction):
        if may_be_internal(instruction.source_id):
            return (instruction.destination_id, instruction.source_id)
        return (instruction.destination_id,)
    if isinstance(instruction, NewLedger):
        return (instruction.ledger_id,)
    if isinstance(instruction, NewBalance):
        return (instruction.balance_id,)
    hold = book.holds.get(instruction.transaction_id)
    return (hold.source_id, hold.destination_id) if hold else (ANYTHING,)


def _post_transaction(book: Book, entry: Entry, wanted: Transaction) -> Outcome | Rejected:
    recorded = book.recorded(wanted.reference, entry.request_id)
    if recorded is not None:
        return _sent_again(entry, wanted.reference, recorded)
    source = _side(book, wanted.source_id, wanted.source_indicator, wanted.currency)
    destination = _side(book, wanted.destination_id, wanted.destination_indicator, wanted.currency)
    if source is None or destination is None:
        return _unknown_balance(wanted, source, destination)
    refusal = _mismatch(book, wanted, source, destination) or _lacks_funds(wanted, source)
    if refusal is not None:
        return refusal
    amount = wanted.precise_amount
    if not (source.debit_fits(amount) and destination.credit_fits(amount)):
        return _overflow(amount)
    if source.is_new:
        book.add_balance(source, entry.position)
    if destination.is_new:
        book.add_balance(destination, entry.position)
    if source.precision is None:
        source.precision = wanted.precision
    if destination.precision is None:
        destination.precision = wanted.precision
    if wanted.inflight:
        status = Status.INFLIGHT
        source.add(inflight_debit=amount)
        destination.add(inflight_credit=amount)
        book.holds[entry.request_id] = Hold(
            entry.request_id,
            source.balance_id,
            destination.balance_id,
            wanted.currency,
            wanted.precision,
            amount,
            is_new=True,
        )
    else:
        status = Status.APPLIED
        source.add(debit=amount)
        destination.add(credit=amount)
    book.record(_transaction_record(entry, wanted, status, None))
    return Outcome(entry.position, entry.request_id, entry.request_id, wanted.reference, status)


def _side(book: Book, balance_id: str, indicator: str | None, currency: str) -> Balance | None:
    balance = book.balances.get(balance_id)
    if balance is None and indicator is not None:
        return book.internal_balance(balance_id, indicator, currency)
    return balance


def _unknown_balance(
    wanted: Transaction, source: Balance | None, destination: Balance | None
) -> Rejected:
    missing = tuple(
        balance_id
        for balance_id, balance in (
            (wanted.source_id, source),
            (wanted.destination_id, destination),
        )
        if balance is None
    )
    side = "source" if source is None else "destination"
    return Rejected(
        Reason.UNKNOWN_BALANCE,
        f"{side}: balance {missing[0]} does not exist; create it first",
        missing,
    )


def _mismatch(
    book: Book, wanted: Transaction, source: Balance, destination: Balance
) -> Rejected | None:
    for side, balance in (("source", source), ("destination", destination)):
        if balance.currency != wanted.currency:
            return Rejected(
                Reason.CURRENCY_MISMATCH,
                f"currency: {side} {balance.balance_id} is in {balance.currency}, "
                f"not {wanted.currency}",
            )
    if book.mixed_precision:
        return None
    for side, balance in (("source", source), ("destination", destination)):
        if balance.precision not in (None, wanted.precision):
            return Rejected(
                Reason.PRECISION_MISMATCH,
                f"precision: {side} {balance.balance_id} has precision {balance.precision}, "
                f"not {wanted.precision}; send that, under a new reference",
            )
    return None


def _lacks_funds(wanted: Transaction, source: Balance) -> Rejected | None:
    if not wanted.checks_funds:
        return None
    shortfall = wanted.precise_amount - source.available
    if shortfall <= 0:
        return None
    if wanted.overdraft_limit is None:
        return Rejected(
            Reason.INSUFFICIENT_FUNDS,
            f"source: {source.balance_id} has {source.available} available, "
            f"{wanted.precise_amount} needed (minor units)",
            (source.balance_id,),
        )
    if shortfall > wanted.overdraft_limit_minor:
        return Rejected(
            Reason.OVERDRAFT_LIMIT_EXCEEDED,
            f"source: {source.balance_id} would stand at {-shortfall}, "
            f"its limit is {-wanted.overdraft_limit_minor} (minor units)",
            (source.balance_id,),
        )
    return None


def _post_commit(book: Book, entry: Entry, wanted: Commit) -> Outcome | Rejected:
    recorded = book.recorded(wanted.reference, entry.request_id)
    if recorded is not None:
        return _sent_again(entry, wanted.reference, recorded)
    hold = book.holds.get(wanted.transaction_id)
    if hold is None:
        return _no_hold(book, wanted.transaction_id)
    amount = _commit_amount(wanted, hold)
    if isinstance(amount, Rejected):
        return amount
    source, destination = book.balances[hold.source_id], book.balances[hold.destination_id]
    hold.commit(amount)
    source.add(inflight_debit=-amount, debit=amount)
    destination.add(inflight_credit=-amount, credit=amount)
    reference = wanted.reference or f"{hold.transaction_id}_commit_{hold.commits}"
    return _record_action(book, entry, wanted, hold, Kind.COMMIT, Status.APPLIED, amount, reference)


def _commit_amount(wanted: Commit, hold: Hold) -> int | Rejected:
    """How much to commit (minor units), or why not."""
    amount = wanted.precise_amount
    if wanted.amount is not None:
        amount = to_minor(Decimal(wanted.amount), hold.precision)
        if amount == 0:
            return Rejected(
                Reason.INVALID_AMOUNT,
                f"amount: {wanted.amount} is zero at the hold's precision {hold.precision}",
            )
    if hold.remainder == 0:
        return _closed(hold)
    if amount is None:
        return hold.remainder
    if amount > hold.remainder:
        return Rejected(
            Reason.COMMIT_EXCEEDS_HOLD,
            f"amount: {amount} asked, {hold.remainder} left of the hold "
            f"{hold.transaction_id} (minor units)",
        )
    return amount


def _post_void(book: Book, entry: Entry, wanted: Void) -> Outcome | Rejected:
    recorded = book.recorded(wanted.reference, entry.request_id)
    if recorded is not None:
        return _sent_again(entry, wanted.reference, recorded)
    hold = book.holds.get(wanted.transaction_id)
    if hold is None:
        return _no_hold(book, wanted.transaction_id)
    amount = hold.remainder
    if amount == 0:
        return _closed(hold)
    hold.void(amount)
    book.balances[hold.source_id].add(inflight_debit=-amount)
    book.balances[hold.destination_id].add(inflight_credit=-amount)
    reference = wanted.reference or f"{hold.transaction_id}_void"
    return _record_action(book, entry, wanted, hold, Kind.VOID, Status.VOID, amount, reference)


def _record_action(
    book: Book,
    entry: Entry,
    wanted: Commit | Void,
    hold: Hold,
    kind: Kind,
    status: Status,
    amount: int,
    reference: str,
) -> Outcome:
    book.record(
        Record(
            entry.request_id,
            kind,
            reference,
            wanted.reference is None,
            hold.transaction_id,
            hold.source_id,
            hold.destination_id,
            hold.currency,
            hold.precision,
            amount,
            status,
            None,
            None,
            wanted.description,
            False,
            None,
            entry.position,
            entry.accepted_ms * 1000,
            wanted.meta_data,
            entry.fingerprint,
        )
    )
    return Outcome(entry.position, entry.request_id, entry.request_id, reference, status)


def _no_hold(book: Book, transaction_id: str) -> Rejected:
    recorded = book.taken_ids.get(transaction_id)
    status = recorded.status if recorded else book.transactions.get(transaction_id)
    if status is None:
        return Rejected(
            Reason.UNKNOWN_TRANSACTION, f"transaction_id: {transaction_id} does not exist"
        )
    return Rejected(
        Reason.NOT_INFLIGHT, f"transaction_id: {transaction_id} is {status}, it holds nothing"
    )


def _closed(hold: Hold) -> Rejected:
    if hold.voided:
        return Rejected(
            Reason.ALREADY_VOIDED, f"transaction_id: {hold.transaction_id} has been voided"
        )
    return Rejected(
        Reason.ALREADY_COMMITTED,
        f"transaction_id: {hold.transaction_id} has been committed in full",
    )


def _post_ledger(book: Book, entry: Entry, wanted: NewLedger) -> Outcome | Rejected:
    if wanted.ledger_id in book.ledgers:
        return _created_again(entry, "ledger_id", book.ledgers[wanted.ledger_id])
    book.add_ledger(wanted, entry.fingerprint, entry.position)
    return Outcome(entry.position, entry.request_id, entry.request_id, None, Status.APPLIED)


def _post_balance(book: Book, entry: Entry, wanted: NewBalance) -> Outcome | Rejected:
    known = book.balances.get(wanted.balance_id)
    if known is not None:
        # An internal balance that was created on first use carries no fingerprint: asking for
        # the very same, without meta_data of its own, is asking for what is there.
        untouched = known.fingerprint is None and wanted.meta_data is None
        return _created_again(
            entry, "balance_id", entry.fingerprint if untouched else known.fingerprint
        )
    if wanted.ledger_id not in book.ledgers:
        return Rejected(
            Reason.UNKNOWN_LEDGER,
            f"ledger_id: ledger {wanted.ledger_id} does not exist; create it first",
            (wanted.ledger_id,),
        )
    book.add_balance(balance_of(wanted, entry.fingerprint), entry.position)
    return Outcome(entry.position, entry.request_id, entry.request_id, None, Status.APPLIED)


def _created_again(entry: Entry, field: str, fingerprint: bytes | None) -> Outcome | Rejected:
    if fingerprint == entry.fingerprint:
        return Outcome(
            entry.position,
            entry.request_id,
            entry.request_id,
            None,
            Status.APPLIED,
            duplicate=True,
        )
    return Rejected(
        Reason.REFERENCE_CONFLICT,
        f"{field}: {entry.request_id} exists with other content; choose another id",
    )


def _sent_again(entry: Entry, reference: str | None, recorded: Recorded) -> Outcome | Rejected:
    if recorded.fingerprint != entry.fingerprint:
        field = "transaction_id" if recorded.transaction_id == entry.request_id else "reference"
        return Rejected(
            Reason.REFERENCE_CONFLICT,
            f"{field}: {reference or entry.request_id} belongs to another request, "
            f"{recorded.transaction_id}",
        )
    return Outcome(
        entry.position,
        entry.request_id,
        recorded.transaction_id,
        reference,
        recorded.status,
        recorded.reason,
        recorded.detail,
        duplicate=True,
    )


def _overflow(amount: int) -> Rejected:
    return Rejected(
        Reason.FIGURE_OVERFLOW,
        f"amount: adding {amount} makes a figure longer than the ledger keeps",
    )


def _transaction_record(
    entry: Entry, wanted: Transaction, status: str, rejected: Rejected | None
) -> Record:
    effective = wanted.effective_micros
    return Record(
        entry.request_id,
        Kind.TRANSACTION,
        wanted.reference,
        False,
        None,
        wanted.source_id,
        wanted.destination_id,
        wanted.currency,
        wanted.precision,
        wanted.precise_amount,
        status,
        rejected.reason if rejected else None,
        rejected.detail if rejected else None,
        wanted.description,
        wanted.allow_overdraft,
        wanted.overdraft_limit,
        entry.position,
        entry.accepted_ms * 1000 if effective is None else effective,
        wanted.meta_data,
        entry.fingerprint,
    )


def _rejected_record(book: Book, entry: Entry, rejected: Rejected) -> Record:
    wanted = entry.instruction
    if isinstance(wanted, Transaction):
        return _transaction_record(entry, wanted, Status.REJECTED, rejected)
    assert isinstance(wanted, Commit | Void)
    hold = book.holds.get(wanted.transaction_id)
    return Record(
        entry.request_id,
        Kind.COMMIT if isinstance(wanted, Commit) else Kind.VOID,
        wanted.reference or f"{entry.request_id}_rejected",
        wanted.reference is None,
        wanted.transaction_id,
        hold.source_id if hold else None,
        hold.destination_id if hold else None,
        hold.currency if hold else "",
        hold.precision if hold else None,
        wanted.precise_amount if isinstance(wanted, Commit) else None,
        Status.REJECTED,
        rejected.reason,
        rejected.detail,
        wanted.description,
        False,
        None,
        entry.position,
        entry.accepted_ms * 1000,
        wanted.meta_data,
        entry.fingerprint,
    )


_POST: dict[type, Callable[[Book, Entry, Any], Outcome | Rejected]] = {
    Transaction: _post_transaction,
    Commit: _post_commit,
    Void: _post_void,
    NewLedger: _post_ledger,
    NewBalance: _post_balance,
}
