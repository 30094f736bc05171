"""The posting of transactions: of one movement, or of one with several legs."""

from __future__ import annotations

from collections.abc import Sequence

from daybook.ledger.balance import Balance, may_be_internal
from daybook.ledger.book import Book, Recorded
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.hold import Hold
from daybook.ledger.ids import part_id, part_ids
from daybook.ledger.instructions import Bulk, Kind, Leg, MultiLeg, Transaction, movements
from daybook.ledger.posting.kinds import KindOfInstruction, add_kind
from daybook.ledger.posting.recording import (
    decision_of,
    leg_records,
    legs_record,
    request_record,
    sent_again,
    transaction_record,
)
from daybook.ledger.record import Record, Status
from daybook.ledger.rejection import PRECEDENCE, Reason, Rejected


def post_transaction(
    book: Book,
    entry: LogEntry,
    wanted: Transaction,
    parent_id: str | None = None,
    part: int | None = None,
) -> Decision | Rejected:
    """Post a transaction with one movement.

    parent_id, part: of an item of a bulk, the bulk and the number of the item.
    """
    recorded = book.recorded(wanted.reference, entry.request_id)
    if recorded is not None and not _is_due(book, entry, recorded):
        return sent_again(entry, wanted.reference, recorded)
    if wanted.scheduled_micros is not None and _is_early(entry, wanted.scheduled_micros):
        return _schedule(book, entry, wanted)
    source = _side(book, wanted.source_id, wanted.source_indicator, wanted.currency)
    destination = _side(book, wanted.destination_id, wanted.destination_indicator, wanted.currency)
    if source is None or destination is None:
        return _unknown_balance(wanted, source, destination)
    amount = wanted.precise_amount
    rejection = _mismatch(wanted, source, destination) or _lacks_funds(
        wanted, source, amount, destination.indicator
    )
    if rejection is not None:
        return rejection
    if not (source.debit_fits(amount) and destination.credit_fits(amount)):
        return _overflow(amount)
    _fix_sides(book, entry, wanted, source, destination)
    if wanted.inflight:
        status = Status.INFLIGHT
        source.add(inflight_debit=amount)
        destination.add(inflight_credit=amount)
        book.add_hold(_hold(entry.request_id, wanted, wanted, None, parent_id))
    else:
        status = Status.APPLIED
        source.add(debit=amount)
        destination.add(credit=amount)
    if wanted.scheduled_micros is not None:
        book.close_schedule(entry.request_id)
    book.record(transaction_record(entry, wanted, status, parent_id=parent_id, part=part))
    return Decision(entry.position, entry.request_id, entry.request_id, wanted.reference, status)


def post_legs(
    book: Book,
    entry: LogEntry,
    wanted: MultiLeg,
    parent_id: str | None = None,
    part: int | None = None,
) -> Decision | Rejected:
    """Post all legs of a request, or none (ledger semantics, section 8).

    Everything is looked at before anything is changed.
    """
    whole = wanted.whole
    recorded = book.recorded(whole.reference, entry.request_id)
    if recorded is not None and not _is_due(book, entry, recorded):
        return sent_again(entry, whole.reference, recorded)
    if whole.scheduled_micros is not None and _is_early(entry, whole.scheduled_micros):
        return _schedule(book, entry, wanted)
    sides = _sides(book, wanted)
    if isinstance(sides, Rejected):
        return sides
    rejection = _rejection_of_legs(wanted, sides)
    if rejection is not None:
        return rejection
    status = Status.INFLIGHT if whole.inflight else Status.APPLIED
    root = legs_record(entry, wanted, status, parent_id=parent_id, part=part)
    if whole.scheduled_micros is not None:
        book.close_schedule(entry.request_id)
    book.record(root)
    leg_ids = part_ids(entry.request_id, 1, len(sides))
    make_record = leg_records(root)
    records = book.records
    for number, (leg, leg_id, (source, destination)) in enumerate(
        zip(wanted.legs, leg_ids, sides, strict=True), 1
    ):
        amount = leg.precise_amount
        if source.precision is None or destination.precision is None:
            _fix_sides(book, entry, whole, source, destination)
        if whole.inflight:
            source.add(0, 0, 0, amount)
            destination.add(0, 0, amount)
            book.add_hold(_hold(leg_id, whole, leg, entry.request_id, parent_id))
        else:
            source.add(0, amount)
            destination.add(amount)
        records.append(make_record(leg, leg_id, number))
    return decision_of(entry, whole.reference, status)


def _is_early(entry: LogEntry, scheduled_micros: int) -> bool:
    return scheduled_micros > entry.accepted_ms * 1000


def _is_due(book: Book, entry: LogEntry, recorded: Recorded) -> bool:
    """Whether the entry is a scheduled transaction, sent again because its time has come."""
    schedule = book.schedules.get(entry.request_id)
    if schedule is None or recorded.transaction_id != entry.request_id:
        return False
    if schedule.fingerprint != entry.fingerprint:
        return False
    scheduled_micros = schedule.instruction.whole.scheduled_micros
    return scheduled_micros is None or not _is_early(entry, scheduled_micros)


def _schedule(book: Book, entry: LogEntry, wanted: Transaction | MultiLeg) -> Decision:
    """Keep the transaction until its time. Balances and funds are looked at then."""
    book.record(
        request_record(entry, wanted, Status.SCHEDULED)._replace(
            transaction_id=part_id(entry.request_id, "scheduled"),
            kind=Kind.SCHEDULE,
            reference=f"{wanted.reference}_scheduled",
            derived=True,
            parent_id=entry.request_id,
        )
    )
    book.add_schedule(entry, wanted)
    return decision_of(entry, wanted.reference, Status.SCHEDULED)


def _side(book: Book, balance_id: str, indicator: str | None, currency: str) -> Balance | None:
    balance = book.balances.get(balance_id)
    if balance is None and indicator is not None:
        return book.internal_balance(balance_id, indicator, currency)
    return balance


def _sides(book: Book, wanted: MultiLeg) -> list[tuple[Balance, Balance]] | Rejected:
    """Source and destination of each leg; the same internal balance is one, also when it is new."""
    currency = wanted.whole.currency
    known = book.balances
    fresh: dict[str, Balance] = {}
    sides: list[tuple[Balance, Balance]] = []
    for leg in wanted.legs:
        source = known.get(leg.source_id) or fresh.get(leg.source_id)
        if source is None and leg.source_indicator is not None:
            source = book.internal_balance(leg.source_id, leg.source_indicator, currency)
            fresh[leg.source_id] = source
        destination = known.get(leg.destination_id) or fresh.get(leg.destination_id)
        if destination is None and leg.destination_indicator is not None:
            destination = book.internal_balance(
                leg.destination_id, leg.destination_indicator, currency
            )
            fresh[leg.destination_id] = destination
        if source is None or destination is None:
            return _unknown_balance(leg, source, destination)
        sides.append((source, destination))
    return sides


def _rejection_of_legs(
    wanted: MultiLeg, sides: Sequence[tuple[Balance, Balance]]
) -> Rejected | None:
    """The rejection that takes precedence, over all legs; each balance is looked at once."""
    whole = wanted.whole
    taken: dict[Balance, int] = {}
    given: dict[Balance, int] = {}
    for leg, (source, destination) in zip(wanted.legs, sides, strict=True):
        taken[source] = taken.get(source, 0) + leg.precise_amount
        given[destination] = given.get(destination, 0) + leg.precise_amount
    debits, credits = taken.items(), given.items()
    mismatches = [
        mismatch
        for side, moves in (("source", debits), ("destination", credits))
        for balance, _ in moves
        if balance.currency != whole.currency or balance.precision != whole.precision
        if (mismatch := _mismatch_of(whole, side, balance)) is not None
    ]
    if mismatches:
        return min(mismatches, key=lambda each: PRECEDENCE[each.reason])
    for balance, amount in debits:
        lacking = _lacks_funds(whole, balance, amount)
        if lacking is not None:
            return lacking
    fits = all(balance.debit_fits(amount) for balance, amount in debits) and all(
        balance.credit_fits(amount) for balance, amount in credits
    )
    return None if fits else _overflow(whole.precise_amount)


def _fix_sides(
    book: Book, entry: LogEntry, wanted: Transaction, source: Balance, destination: Balance
) -> None:
    """What a first transaction fixes about its balances: that they exist, their precision."""
    if source.is_new:
        book.add_balance(source, entry.position)
    if destination.is_new:
        book.add_balance(destination, entry.position)
    if source.precision is None:
        source.precision = wanted.precision
    if destination.precision is None:
        destination.precision = wanted.precision


def _hold(
    transaction_id: str,
    whole: Transaction,
    leg: Transaction | Leg,
    leg_of: str | None,
    bulk_id: str | None,
) -> Hold:
    return Hold(
        transaction_id,
        leg.source_id,
        leg.destination_id,
        whole.currency,
        whole.precision,
        leg.precise_amount,
        leg_of=leg_of,
        bulk_id=bulk_id,
        expires_micros=whole.expires_micros,
        commits_micros=whole.commits_micros,
        is_new=True,
    )


def _unknown_balance(
    leg: Transaction | Leg, source: Balance | None, destination: Balance | None
) -> Rejected:
    missing = tuple(
        balance_id
        for balance_id, balance in ((leg.source_id, source), (leg.destination_id, destination))
        if balance is None
    )
    side = "source" if source is None else "destination"
    return Rejected(
        Reason.UNKNOWN_BALANCE,
        f"{side}: balance {missing[0]} does not exist; create it first",
        missing,
    )


def _mismatch(wanted: Transaction, source: Balance, destination: Balance) -> Rejected | None:
    currency, precision = wanted.currency, wanted.precision
    if source.currency == destination.currency == currency and (
        source.precision == destination.precision == precision
    ):
        return None
    found = [
        mismatch
        for side, balance in (("source", source), ("destination", destination))
        if (mismatch := _mismatch_of(wanted, side, balance)) is not None
    ]
    return min(found, key=lambda each: PRECEDENCE[each.reason], default=None)


def _mismatch_of(wanted: Transaction, side: str, balance: Balance) -> Rejected | None:
    if balance.currency != wanted.currency:
        return Rejected(
            Reason.CURRENCY_MISMATCH,
            f"currency: {side} {balance.name} is in {balance.currency}, not {wanted.currency}",
        )
    if balance.precision not in (None, wanted.precision):
        return Rejected(
            Reason.PRECISION_MISMATCH,
            f"precision: {side} {balance.name} has precision {balance.precision}, "
            f"not {wanted.precision}; send that, under a new reference",
        )
    return None


def _lacks_funds(
    wanted: Transaction, source: Balance, amount: int, receiver: str | None = None
) -> Rejected | None:
    """receiver: the ``@Name`` of the destination: the record alone can't tell that of a balance
    which this rejection keeps from being created."""
    if not wanted.checks_funds:
        return None
    shortfall = amount - source.available
    if shortfall <= 0:
        return None
    if wanted.overdraft_limit is None:
        return Rejected(
            Reason.INSUFFICIENT_FUNDS,
            f"source: {source.name} has {source.available} available, "
            f"{amount} needed{_words(' for', receiver)} (minor units)",
            (source.balance_id,),
        )
    limit = wanted.overdraft_limit_minor
    if shortfall > limit:
        remark = "" if limit else f": {wanted.overdraft_limit} is less than one of them"
        return Rejected(
            Reason.OVERDRAFT_LIMIT_EXCEEDED,
            f"source: {source.name} would stand at {-shortfall}{_words(' if it paid', receiver)}, "
            f"its limit is {-limit} (minor units){remark}",
            (source.balance_id,),
        )
    return None


def _words(before: str, receiver: str | None) -> str:
    return f"{before} {receiver}" if receiver else ""


def _overflow(amount: int) -> Rejected:
    return Rejected(
        Reason.FIGURE_OVERFLOW,
        f"amount: adding {amount} makes a figure longer than the ledger keeps",
    )


def credited(book: Book, entry: LogEntry, wanted: Transaction | MultiLeg | Bulk) -> tuple[str, ...]:
    """The balances that movements would credit.

    Also a source that is internal: the entry may create it, and younger debits of it, in whatever
    slot, must not come first.
    """
    del book, entry
    names: list[str] = []
    for _, leg in movements(wanted):
        names.append(leg.destination_id)
        if may_be_internal(leg.source_id):
            names.append(leg.source_id)
    return tuple(dict.fromkeys(names))


def _rejection_records(
    book: Book, entry: LogEntry, wanted: Transaction | MultiLeg, rejected: Rejected
) -> list[Record]:
    del book
    return [request_record(entry, wanted, Status.REJECTED, rejected)]


# They see themselves whether they are recorded: one that was scheduled is, and posted all the same.
add_kind(
    Transaction,
    KindOfInstruction(
        post=post_transaction, may_credit=credited, rejection_records=_rejection_records
    ),
)
add_kind(
    MultiLeg,
    KindOfInstruction(post=post_legs, may_credit=credited, rejection_records=_rejection_records),
)
