"""Which references are taken: one table with one unique index, whatever has them.

The journal, schedules, and rejected and quarantined requests take theirs here, each in its own unit
of work, so that two partitions can't take the same one. What is recorded first has it
permanently: a schedule that comes due and a quarantined request that is tried again have it
already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import errors as pg

from daybook.ledger.book import Book, Recorded
from daybook.ledger.ids import ID_LENGTH, public_id
from daybook.ledger.record import Status
from daybook.store.arrays import copy_text

Claims = Mapping[str, str | None]
"""References to take, and the id of the request that takes each; None for one whose id is none."""

PRIMARY_KEY = "taken_references_pkey"

_NULL = "\\N"
_TAKE = "COPY taken_references (reference, owner) FROM STDIN"
OWNER_ID = re.compile(r"[a-z]+_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ReferenceTaken(Exception):  # noqa: N818 - an order to the caller, not an error
    """Another unit of work took one of the references first: roll back, look, and decide again."""


def owner_in(request_id: str) -> str | None:
    """The id under which a rejected request has its reference: anything may stand in the log."""
    return request_id if OWNER_ID.fullmatch(request_id) else None


def take_references(cursor: psycopg.Cursor[object], claims: Claims) -> None:
    """Take references permanently, once this unit of work commits.

    A unit that takes one which another has taken and not committed waits for its end. All of a
    unit are taken at once and in one order, so that no two units wait for each other. Raises
    ReferenceTaken.
    """
    if not claims:
        return
    lines = [
        f"{copy_text(reference)}\t{owner[-ID_LENGTH:] if owner else _NULL}\n"
        for reference, owner in claims.items()
    ]
    lines.sort()
    try:
        with cursor.copy(_TAKE) as copy:
            copy.write("".join(lines).encode())
    except pg.UniqueViolation as fault:
        if fault.diag.constraint_name == PRIMARY_KEY:
            raise ReferenceTaken(fault.diag.message_detail) from fault
        raise


_TAKEN = """
SELECT taken.reference, taken.owner::text,
    own.status, own.fingerprint, own.reason, own.detail, own.precise_amount::text,
    own.precision::text, own.currency,
    later.fingerprint AS scheduled,
    rejected.request_id, sha256(rejected.body) AS rejected, rejected.reason, rejected.detail,
    rejected.resolved IS NOT DISTINCT FROM 'retried'
FROM taken_references taken
LEFT JOIN transactions own ON own.transaction_id = taken.owner AND own.reference = taken.reference
LEFT JOIN schedules later ON later.transaction_id = taken.owner
LEFT JOIN rejected_requests rejected ON rejected.reference = taken.reference
    AND rejected.uses_reference
WHERE taken.reference = ANY(%s::text[]) ORDER BY rejected.position
"""
"""In one statement: what has taken a reference may pass from one table to another meanwhile."""


def load_taken(cursor: psycopg.Cursor[Any], book: Book, references: list[str]) -> None:
    """Who has taken these references, and how that is recorded.

    One whose owner is not found (somebody has tampered with it) waits for it all the same.
    """
    cursor.execute(_TAKEN, (references,))
    for reference, bare_id, status, fingerprint, reason, detail, *more in cursor:
        amount, precision, currency, scheduled, request_id, rejected, why, said, is_retried = more
        owner = "" if bare_id is None else public_id(bare_id)
        if status is not None:
            found = Recorded(owner, status, fingerprint, reason, detail)
            book.references[reference] = found._replace(
                precise_amount=None if amount is None else int(amount),
                precision=None if precision is None else int(precision),
                currency=currency or None,
            )
            continue
        book.taken[reference] = owner
        if scheduled is not None:
            found = Recorded(owner, Status.SCHEDULED, scheduled)
        elif request_id is not None:
            found = Recorded(request_id, Status.REJECTED, rejected, why, said, is_retried)
        else:
            found = Recorded(owner, Status.REJECTED, b"", is_retried=True)
        book.references[reference] = found
