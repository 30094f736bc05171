"""Which refusals are kept with their raw bytes, beside or instead of a journal row."""

from __future__ import annotations

from collections.abc import Sequence

from daybook.apply.reading import Undecodable, storable
from daybook.ledger.batch import BatchDecision, Quarantined
from daybook.ledger.book import Book
from daybook.ledger.instructions import NewBalance, NewIdentity, NewLedger
from daybook.ledger.rejection import Reason
from daybook.requests import reference_in
from daybook.store.batch.references import Claims, owner_in
from daybook.store.batch.rows import Refusal

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


def claims_of(book: Book, refusals: Sequence[Refusal]) -> Claims:
    """The references that a batch takes: all that it uses and that are not its own already."""
    claims: dict[str, str | None] = {
        refusal.reference: owner_in(refusal.request_id)
        for refusal in refusals
        if refusal.uses_reference and refusal.reference is not None
    }
    claims |= book.claims()
    for reference, owner in book.taken.items():
        if claims.get(reference) == owner:
            del claims[reference]
    return claims


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
    refusals += [_set_aside(item) for item in decision.quarantined]
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


def _set_aside(item: Quarantined) -> Refusal:
    """What raised. Its reference is its own also when the batch tries it again, as a replay may."""
    entry = item.entry
    reference = getattr(entry.instruction, "reference", None)
    return Refusal(
        entry.position,
        entry.request_id,
        reference,
        reference is not None,
        Reason.QUARANTINED,
        f"deciding it raised {item.fault}",
        entry.body,
        item.traceback,
    )
