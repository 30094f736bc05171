"""Creations of ledgers, balances and identities, and changes of what is not money about them."""

from __future__ import annotations

import json
from typing import Any

from daybook.ledger.book import Book, Subject, balance_of
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.instructions import Change, Kind, NewBalance, NewIdentity, NewLedger
from daybook.ledger.meta import merge
from daybook.ledger.posting.kinds import KindOfInstruction, Reads, add_kind
from daybook.ledger.posting.recording import decision_of
from daybook.ledger.record import Record, Status
from daybook.ledger.rejection import Reason, Rejected

META_DATA_CHARACTERS_MAX = 64 * 1024
"""Longest meta_data, as canonical JSON, that changes may add up to."""


def post_ledger(book: Book, entry: LogEntry, wanted: NewLedger) -> Decision | Rejected:
    """Create a ledger."""
    if wanted.ledger_id in book.ledgers:
        return _created_again(entry, "ledger_id", book.ledgers[wanted.ledger_id])
    taken = _taken(book, entry, "ledger_id")
    if taken is not None:
        return taken
    book.add_ledger(wanted, entry.fingerprint, entry.position)
    given = {"name": _text(wanted.name), "meta_data": wanted.meta_data}
    return _created(book, entry, Kind.LEDGER, given)


def post_balance(book: Book, entry: LogEntry, wanted: NewBalance) -> Decision | Rejected:
    """Create a balance in a ledger."""
    known = book.balances.get(wanted.balance_id)
    if known is not None:
        # An internal balance that was created on first use carries no fingerprint: a request for
        # the very same, with nothing of its own, is one for what is there.
        plain = wanted.meta_data is None and wanted.identity_id is None
        untouched = known.fingerprint is None and plain
        return _created_again(
            entry, "balance_id", entry.fingerprint if untouched else known.fingerprint
        )
    taken = _taken(book, entry, "balance_id")
    if taken is not None:
        return taken
    if wanted.ledger_id not in book.ledgers:
        return _unknown(Reason.UNKNOWN_LEDGER, "ledger_id", wanted.ledger_id)
    if wanted.identity_id is not None and wanted.identity_id not in book.identities:
        return _unknown(Reason.UNKNOWN_IDENTITY, "identity_id", wanted.identity_id)
    book.add_balance(balance_of(wanted, entry.fingerprint), entry.position)
    given = {
        "ledger_id": _text(wanted.ledger_id),
        "currency": _text(wanted.currency),
        "indicator": _text(wanted.indicator),
        "identity_id": _text(wanted.identity_id),
        "meta_data": wanted.meta_data,
    }
    return _created(book, entry, Kind.BALANCE, given, wanted.currency)


def post_identity(book: Book, entry: LogEntry, wanted: NewIdentity) -> Decision | Rejected:
    """Create an identity."""
    if wanted.identity_id in book.identities:
        return _created_again(entry, "identity_id", book.identities[wanted.identity_id])
    taken = _taken(book, entry, "identity_id")
    if taken is not None:
        return taken
    book.add_identity(wanted, entry.fingerprint, entry.position)
    given = {"fields": wanted.fields, "meta_data": wanted.meta_data}
    return _created(book, entry, Kind.IDENTITY, given)


_UNKNOWN_SUBJECT = {
    "ldg": Reason.UNKNOWN_LEDGER,
    "gen": Reason.UNKNOWN_LEDGER,
    "bln": Reason.UNKNOWN_BALANCE,
    "idt": Reason.UNKNOWN_IDENTITY,
}


def post_change(book: Book, entry: LogEntry, wanted: Change) -> Decision | Rejected:
    """Set fields of a ledger, balance or identity, and merge meta_data by key."""
    fields: dict[str, str] = json.loads(wanted.fields)
    owner = fields.get("identity_id")
    if owner is not None and owner not in book.identities:
        return _unknown(Reason.UNKNOWN_IDENTITY, "identity_id", owner)
    subject = _subject(book, wanted.subject_id)
    if subject is None:
        reason = _UNKNOWN_SUBJECT.get(wanted.subject_id[:3], Reason.UNKNOWN_TRANSACTION)
        return _unknown(reason, "subject_id", wanted.subject_id)
    if wanted.meta_data is not None:
        merged = merge(subject.meta_data, wanted.meta_data)
        if merged is not None and len(merged) > META_DATA_CHARACTERS_MAX:
            return Rejected(
                Reason.MALFORMED,
                f"meta_data: with it {wanted.subject_id} would have more than "
                f"{META_DATA_CHARACTERS_MAX} characters; merge less",
            )
        subject.meta_data = merged
        subject.is_merged = True
    subject.fields |= fields
    record = change_record(entry, wanted, Status.APPLIED)
    book.record(record)
    return decision_of(entry, record.reference, Status.APPLIED)


def change_record(
    entry: LogEntry, wanted: Change, status: Status, rejected: Rejected | None = None
) -> Record:
    """The record of a change: what was asked for, by whom."""
    given = {
        "fields": wanted.fields if wanted.fields != "{}" else None,
        "meta_data": wanted.meta_data,
        "made_by": _text(wanted.made_by or None),
    }
    record = _about(entry, Kind.CHANGE, wanted.subject_id, given)
    return record._replace(
        reference=wanted.reference or f"{wanted.subject_id}_change",
        derived=wanted.reference is None,
        status=status,
        reason=rejected.reason if rejected else None,
        detail=rejected.detail if rejected else None,
    )


def _subject(book: Book, subject_id: str) -> Subject | None:
    known = book.subjects.get(subject_id)
    if known is None and (subject_id in book.schedules or book.original(subject_id) is not None):
        known = book.subjects[subject_id] = Subject(None)
    return known


def _taken(book: Book, entry: LogEntry, field: str) -> Rejected | None:
    """The rejection of an id whose UUID something else has: the journal knows things by it."""
    recorded = book.recorded(None, entry.request_id)
    if recorded is None:
        return None
    return Rejected(
        Reason.REFERENCE_CONFLICT,
        f"{field}: the UUID of {entry.request_id} is taken, by a thing of another kind; "
        "choose another",
    )


def _created(
    book: Book, entry: LogEntry, kind: Kind, given: dict[str, str | None], currency: str = ""
) -> Decision:
    book.record(_about(entry, kind, entry.request_id, given)._replace(currency=currency))
    return decision_of(entry, None, Status.APPLIED)


def _about(entry: LogEntry, kind: Kind, subject_id: str, given: dict[str, str | None]) -> Record:
    """The record of what was said about a thing. given: JSON texts; None: not said."""
    members = [f"{json.dumps(name)}:{given[name]}" for name in sorted(given) if given[name]]
    return Record(
        entry.request_id,
        kind,
        entry.request_id,
        True,
        None,
        None,
        None,
        "",
        None,
        None,
        Status.APPLIED,
        None,
        None,
        "",
        False,
        None,
        entry.position,
        entry.accepted_ms * 1000,
        None,
        entry.fingerprint,
        subject_id=subject_id,
        change=f"{{{','.join(members)}}}",
    )


def _text(value: str | None) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _unknown(reason: Reason, field: str, name: str) -> Rejected:
    thing = field.removesuffix("_id") if field != "subject_id" else "it"
    what = f"{thing} {name}" if thing != "it" else name
    return Rejected(reason, f"{field}: {what} does not exist; create it first", (name,))


def _created_again(entry: LogEntry, field: str, fingerprint: bytes | None) -> Decision | Rejected:
    if fingerprint != entry.fingerprint:
        return _conflict(entry, field)
    return Decision(
        entry.position,
        entry.request_id,
        entry.request_id,
        None,
        Status.APPLIED,
        duplicate=True,
    )


def _conflict(entry: LogEntry, field: str) -> Rejected:
    return Rejected(
        Reason.REFERENCE_CONFLICT,
        f"{field}: {entry.request_id} exists with other content; choose another id",
    )


def _itself(book: Book, entry: LogEntry, wanted: Any) -> tuple[str, ...]:
    del book, wanted
    return (entry.request_id,)


def _rejected_change(
    book: Book, entry: LogEntry, wanted: Change, rejected: Rejected
) -> list[Record]:
    del book
    return [change_record(entry, wanted, Status.REJECTED, rejected)]


def _reads_of_balance(wanted: NewBalance) -> Reads:
    owners = () if wanted.identity_id is None else (wanted.identity_id,)
    return Reads(balances=(wanted.balance_id,), ledgers=(wanted.ledger_id,), identities=owners)


def _reads_of_change(wanted: Change) -> Reads:
    owner = json.loads(wanted.fields).get("identity_id")
    return Reads(subjects=(wanted.subject_id,), identities=(owner,) if owner else ())


add_kind(
    NewLedger,
    KindOfInstruction(
        post=post_ledger,
        reads=lambda wanted: Reads(ledgers=(wanted.ledger_id,)),
        may_credit=_itself,
        is_creation=True,
    ),
)
add_kind(
    NewBalance,
    KindOfInstruction(
        post=post_balance, reads=_reads_of_balance, may_credit=_itself, is_creation=True
    ),
)
add_kind(
    NewIdentity,
    KindOfInstruction(
        post=post_identity,
        reads=lambda wanted: Reads(identities=(wanted.identity_id,)),
        may_credit=_itself,
        is_creation=True,
    ),
)
add_kind(
    Change,
    KindOfInstruction(
        post=post_change,
        once=True,
        reads=_reads_of_change,
        may_credit=_itself,
        rejection_records=_rejected_change,
        by_id=True,
    ),
)
