"""Which rejections are kept with their raw bytes, beside or instead of a journal row."""

from __future__ import annotations

from collections.abc import Sequence

from daybook.apply.batch import Undecodable
from daybook.apply.decoding import storable
from daybook.ledger.batch import BatchDecision, Quarantined
from daybook.ledger.book import Book
from daybook.ledger.posting.kinds import kind_of
from daybook.ledger.rejection import Reason
from daybook.requests import reference_in
from daybook.store.batch.references import Claims, owner_in
from daybook.store.batch.rows import RejectedRequest

_RAW_BYTES_TOO = frozenset(
    {
        Reason.UNKNOWN_BALANCE,
        Reason.UNKNOWN_LEDGER,
        Reason.UNKNOWN_IDENTITY,
        Reason.UNKNOWN_TRANSACTION,
        Reason.REFERENCE_CONFLICT,
    }
)
"""Rejections whose journal row, if any, cannot show both sides."""


def claims_of(book: Book, rejections: Sequence[RejectedRequest]) -> Claims:
    """The references that a batch takes: all that it uses and that are not its own already."""
    claims: dict[str, str | None] = {
        rejection.reference: owner_in(rejection.request_id)
        for rejection in rejections
        if rejection.uses_reference and rejection.reference is not None
    }
    claims |= book.claims()
    for reference, owner in book.taken.items():
        if claims.get(reference) == owner:
            del claims[reference]
    return claims


def rejections_of(
    book: Book, decision: BatchDecision, undecodable: Sequence[Undecodable]
) -> list[RejectedRequest]:
    rejections = [
        RejectedRequest(
            entry.position,
            entry.request_id,
            entry.instruction.reference,
            False,
            rejected.reason,
            rejected.detail,
            entry.body,
        )
        for entry, rejected in decision.rejected
        if rejected.reason in _RAW_BYTES_TOO or kind_of(entry).is_creation
    ]
    rejections += [_quarantined(item) for item in decision.quarantined]
    used = set(book.references)
    for raw, rejected, trace in undecodable:
        reference = reference_in(raw.body)
        uses = reference is not None and reference not in used
        if reference is not None:
            used.add(reference)
        rejections.append(
            RejectedRequest(
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
    return rejections


def _quarantined(item: Quarantined) -> RejectedRequest:
    """What raised. Its reference is its own also when the batch tries it again, as a replay may."""
    entry = item.entry
    reference = entry.instruction.reference
    return RejectedRequest(
        entry.position,
        entry.request_id,
        reference,
        reference is not None,
        Reason.QUARANTINED,
        f"deciding it raised {item.fault}",
        entry.body,
        item.traceback,
    )
