"""The schedules that are open, from the journal: accepted for later, and without an outcome yet."""

from __future__ import annotations

from daybook.store.proof.comparing import Column, Comparison, column
from daybook.store.scan import request_id_sql

_FLAGS = "cir"
"""What a producer's entry may carry (``queue.entries``): it tells whom to tell, and changes nothing
of what is posted. Another letter could make something else of the entry that is due."""

_OPEN = """
WITH journal AS (
    SELECT parent_transaction AS transaction_id, regexp_replace(reference, '_scheduled$', '')
            AS reference, scheduled_for, position, fingerprint
    FROM transactions scheduled
    WHERE kind = 'schedule' AND status = 'SCHEDULED'
        AND NOT EXISTS (
            SELECT FROM transactions own WHERE own.transaction_id = scheduled.parent_transaction
        ) AND NOT EXISTS (
            SELECT FROM rejected_requests WHERE request_id = 'txn_' || scheduled.parent_transaction
                AND sha256(body) = scheduled.fingerprint
        )
)"""

SCHEDULES = Comparison(
    "schedules",
    "schedule_mismatch",
    "schedules",
    _OPEN,
    request_id_sql("coalesce(kept.transaction_id, journal.transaction_id)"),
    {"transaction_id": "journal.transaction_id"},
    "kept.transaction_id = journal.transaction_id",
    "journal.transaction_id IS NOT NULL",
    (
        column("reference"),
        column("scheduled_for"),
        column("position"),
        column("fingerprint"),
        column("flags", f"CASE WHEN kept.flags ~ '^[{_FLAGS}]*$' THEN kept.flags ELSE '' END"),
        Column("body_fingerprint", "sha256(kept.body)", "journal.fingerprint", is_claim=True),
    ),
    "is scheduled, but its request is missing",
    "the journal has no such schedule that is open",
    can_insert=False,
)
