"""Which references are taken: one table with one unique index, whoever has them.

The journal, schedules, and rejected and quarantined requests take theirs here, each in its own unit
of work, so that two partitions can't take the same one. Whoever is recorded first has it for good:
a schedule that comes due and a quarantined request that is tried again have it already.
"""

# ruff: noqa: S608 - every part of these statements stands in this program

from __future__ import annotations

import re
from collections.abc import Mapping

import psycopg
from psycopg import errors as pg

from daybook.ledger.transaction import ID_LENGTH
from daybook.store.arrays import copy_text
from daybook.store.comparing import Comparison, SumCheck, column

Claims = Mapping[str, str | None]
"""References to take, and the id of the request that takes each; None for one whose id is none."""

PRIMARY_KEY = "taken_references_pkey"

_TAKE = "COPY taken_references (reference, owner) FROM STDIN"
_ID = re.compile(r"[a-z]+_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ReferenceTaken(Exception):  # noqa: N818 - an order to the caller, not an error
    """Another unit of work took one of the references first: roll back, look, and decide again."""


def owner_in(request_id: str) -> str | None:
    """The id under which a rejected request has its reference: anything may stand in the log."""
    return request_id if _ID.fullmatch(request_id) else None


def take_references(cursor: psycopg.Cursor[object], claims: Claims) -> None:
    """Take references for good, once this unit of work commits.

    Whoever takes one that another unit has taken and not committed waits for its end. All of a unit
    are taken at once and in one order, so that no two units wait for each other.
    Raises ReferenceTaken.
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


_NULL = "\\N"

# The proof

_REJECTED_OWNER = f"CASE WHEN request_id ~ '^{_ID.pattern}$' THEN right(request_id, 36)::uuid END"

USED = f"""
SELECT reference, transaction_id AS owner, position FROM transactions WHERE NOT derived
UNION ALL
SELECT regexp_replace(reference, '_scheduled$', ''), parent_transaction, position
    FROM transactions WHERE kind = 'schedule' AND status = 'SCHEDULED'
UNION ALL
SELECT reference, {_REJECTED_OWNER}, position FROM refusals WHERE uses_reference
"""
"""Every use of a reference that is recorded: by whom, and when. What is scheduled uses its own from
its acceptance on, which the journal records, and comes to be under the same id."""

REFERENCES = Comparison(
    "taken references",
    "reference_mismatch",
    "taken_references",
    f"""
WITH used AS ({USED}), journal AS (
    SELECT DISTINCT ON (reference) reference, owner FROM used ORDER BY reference, position
)""",
    "coalesce(kept.reference, journal.reference)",
    {"reference": "journal.reference"},
    "kept.reference = journal.reference",
    "journal.reference IS NOT NULL",
    (column("owner"),),
    "is used, but it is not taken",
    "is taken, but nothing uses it",
)
"""Where two use the same, the first is the owner; ``reference_twice`` tells of the other."""

_TWICE = f"""
WITH used AS (SELECT DISTINCT reference, owner FROM ({USED}) every_use), twice AS (
    SELECT reference AS place, count(*) AS times FROM used GROUP BY reference HAVING count(*) > 1
    UNION
    SELECT reference, count(*) FROM taken_references GROUP BY reference HAVING count(*) > 1
)
SELECT count(*) OVER () AS found, place, times FROM twice ORDER BY place LIMIT :shown
"""

REFERENCE_TWICE = SumCheck(
    "references", "reference_twice", _TWICE, lambda row: f"is used {row['times']} times"
)

FILL = f"""
INSERT INTO taken_references (reference, owner)
SELECT DISTINCT reference, owner FROM ({USED}) used
"""
"""Fills the empty table. When two use the same, it violates the primary key."""
