"""Which refusals are kept with their raw bytes, beside or instead of a journal row."""

from __future__ import annotations

from collections.abc import Sequence

from daybook.ledger.batch import BatchDecision, Quarantined
from daybook.ledger.book import Book
from daybook.ledger.rejection import Reason
from daybook.ledger.transaction import RETRIED, NewBalance, NewIdentity, NewLedger
from daybook.requests import reference_in
from daybook.store.unit_of_work import Refusal
from daybook.worker.reading import Undecodable, storable

_RAW_BYTES_TOO = frozenset(
    {
        Reason.UNKNOWN_BALANCE,
        Reason.UNKNOWN_LEDGER,
        Reason.UNKNOWN_IDENTITY,
        Reason.UNKNOWN_TRANSACTION,
        Reason.REFERENCE_CONFLICT,
    }
)
"""Refusals whose journal row, if any, cannot show both sides."""


def refusals_of(
    book: Book, decision: BatchDecision, undecodable: Sequence[Undecodable]
) -> list[Refusal]:
    refusals = [
        Refusal(
            entry.position,
            entry.request_id,
            getattr(entry.instruction, "reference", None),
            False,
            rejected.reason,
            rejected.detail,
            entry.body,
        )
        for entry, rejected in decision.refused
        if rejected.reason in _RAW_BYTES_TOO
        or isinstance(entry.instruction, NewLedger | NewBalance | NewIdentity)
    ]
    refusals += [_set_aside(book, item) for item in decision.quarantined]
    used = set(book.references)
    for raw, rejected, trace in undecodable:
        reference = reference_in(raw.body)
        uses = reference is not None and reference not in used
        if reference is not None:
            used.add(reference)
        refusals.append(
            Refusal(
                raw.position,
                storable(raw.request_id),
                reference,
                uses,
                rejected.reason,
                rejected.detail,
                raw.body,
                trace,
            )
        )
    return refusals


def _set_aside(book: Book, item: Quarantined) -> Refusal:
    """What raised. A replay may find it in one batch with what settles it."""
    entry = item.entry
    reference = getattr(entry.instruction, "reference", None)
    settled = book.settlements.get((entry.position, entry.request_id))
    is_free = settled is not None and settled[0].how == RETRIED
    return Refusal(
        entry.position,
        entry.request_id,
        reference,
        reference is not None and not is_free,
        Reason.QUARANTINED,
        f"deciding it raised {item.fault}",
        entry.body,
        item.traceback,
    )
