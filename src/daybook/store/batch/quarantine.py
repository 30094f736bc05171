"""Requests that were quarantined: which are open, and how they are resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg

from daybook.ledger.book import Book, Recorded
from daybook.ledger.instructions import Resolve
from daybook.ledger.record import Status
from daybook.store.batch.again import Stale
from daybook.store.batch.rows import RejectedRequest

_OPEN = """
SELECT position, request_id, CASE WHEN uses_reference THEN reference END, reason, detail,
    sha256(body) FROM rejected_requests
WHERE request_id = ANY(%s::text[]) AND position = ANY(%s::bigint[])
    AND reason = 'quarantined' AND resolved IS NULL
"""
_RESOLVE = """
UPDATE rejected_requests SET resolved = %s, resolved_by = %s, resolved_why = %s,
    resolved_at = to_timestamp(%s::double precision / 1000)
WHERE position = %s AND request_id = %s AND reason = 'quarantined' AND resolved IS NULL
"""


def load_quarantined(
    cursor: psycopg.Cursor[Any], book: Book, named: Sequence[tuple[str, int]]
) -> None:
    """Read which of these requests, by id and position, are quarantined and open."""
    if not named:
        return
    ids, positions = zip(*named, strict=True)
    cursor.execute(_OPEN, (list(ids), list(positions)))
    for position, request_id, reference, reason, detail, fingerprint in cursor:
        recorded = Recorded(request_id, Status.REJECTED, fingerprint, reason, detail)
        book.quarantined[position, request_id] = reference, recorded
        if reference is not None:
            book.references[reference] = recorded
            book.taken[reference] = request_id


Resolutions = Mapping[tuple[int, str], tuple[Resolve, int]]


def resolved_around(
    resolutions: Resolutions, refused: Iterable[RejectedRequest]
) -> tuple[Resolutions, Resolutions]:
    """What is resolved before the rejections of the batch are written, and what after.

    Before, for one of them may use up a reference that is free again; after, for a replay may find
    in one batch what is quarantined and what resolves it.
    """
    new = {(rejection.position, rejection.request_id) for rejection in refused}
    return (
        {place: found for place, found in resolutions.items() if place not in new},
        {place: found for place, found in resolutions.items() if place in new},
    )


def resolve(cursor: psycopg.Cursor[Any], resolutions: Resolutions) -> None:
    """Mark what was resolved. Raises Stale when somebody else has resolved one of them."""
    for wanted, accepted_ms in resolutions.values():
        cursor.execute(
            _RESOLVE,
            (
                wanted.how,
                wanted.made_by,
                wanted.why,
                accepted_ms,
                wanted.position,
                wanted.request_id,
            ),
        )
        if cursor.rowcount != 1:
            raise Stale("somebody else has resolved what was quarantined")
