"""The checks of the table of references: each is there that is used, and used by one owner only."""

# ruff: noqa: S608 - every part of these statements stands in this program

from __future__ import annotations

from daybook.store.batch.references import OWNER_ID
from daybook.store.proof.comparing import Comparison, SumCheck, column

_REJECTED_OWNER = (
    f"CASE WHEN request_id ~ '^{OWNER_ID.pattern}$' THEN right(request_id, 36)::uuid END"
)

USED = f"""
SELECT reference, transaction_id AS owner, position FROM transactions WHERE NOT derived
UNION ALL
SELECT regexp_replace(reference, '_scheduled$', ''), parent_transaction, position
    FROM transactions WHERE kind = 'schedule' AND status = 'SCHEDULED'
UNION ALL
SELECT reference, {_REJECTED_OWNER}, position FROM rejected_requests WHERE uses_reference
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
