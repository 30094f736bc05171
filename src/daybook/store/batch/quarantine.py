"""Requests that were set aside: which are open, and how they are settled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from daybook.ledger.book import Book, Recorded
from daybook.ledger.entry import Entry
from daybook.ledger.instructions import Settle
from daybook.ledger.record import Status
from daybook.store.batch.again import DecideAgain
from daybook.store.batch.rows import Refusal

_OPEN = """
SELECT position, request_id, CASE WHEN uses_reference THEN reference END, reason, detail,
    sha256(body) FROM refusals
WHERE request_id = ANY(%s::text[]) AND position = ANY(%s::bigint[])
    AND reason = 'quarantined' AND settled IS NULL
"""
_SETTLE = """
UPDATE refusals SET settled = %s, settled_by = %s, settled_why = %s,
    settled_at = to_timestamp(%s::double precision / 1000)
WHERE position = %s AND request_id = %s AND reason = 'quarantined' AND settled IS NULL
"""


def load_set_aside(cursor: psycopg.Cursor[Any], book: Book, entries: Iterable[Entry]) -> None:
    """Read which of the entries that are to be settled are open."""
    named = [
        (wanted.request_id, wanted.position)
        for wanted in (entry.instruction for entry in entries)
        if isinstance(wanted, Settle)
    ]
    if not named:
        return
    ids, positions = zip(*named, strict=True)
    cursor.execute(_OPEN, (list(ids), list(positions)))
    for position, request_id, reference, reason, detail, fingerprint in cursor:
        recorded = Recorded(request_id, Status.REJECTED, fingerprint, reason, detail)
        book.set_aside[position, request_id] = reference, recorded
        if reference is not None:
            book.references[reference] = recorded
            book.taken[reference] = request_id


Settlements = Mapping[tuple[int, str], tuple[Settle, int]]


def settled_around(
    settlements: Settlements, refused: Iterable[Refusal]
) -> tuple[Settlements, Settlements]:
    """What is settled before the refusals of the batch are written, and what after.

    Before, for one of them may use up a reference that is free again; after, for a replay may find
    in one batch what is set aside and what settles it.
    """
    new = {(refusal.position, refusal.request_id) for refusal in refused}
    return (
        {place: found for place, found in settlements.items() if place not in new},
        {place: found for place, found in settlements.items() if place in new},
    )


def settle(cursor: psycopg.Cursor[Any], settlements: Settlements) -> None:
    """Mark what was settled. Raises DecideAgain when somebody else has settled one of them."""
    for wanted, accepted_ms in settlements.values():
        cursor.execute(
            _SETTLE,
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
            raise DecideAgain("somebody else has settled what was set aside")
