"""Rejected requests that are kept with their raw bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from daybook.store.batch.rows import RejectedRequest

_REJECT = """
INSERT INTO rejected_requests (partition, position, request_id, reference, uses_reference, reason,
    detail, body, traceback) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def write_rejections(
    cursor: psycopg.Cursor[Any], partition: int, rejections: Sequence[RejectedRequest]
) -> None:
    """Keep rejected requests."""
    if rejections:
        cursor.executemany(
            _REJECT,
            [
                (
                    partition,
                    r.position,
                    r.request_id,
                    r.reference,
                    r.uses_reference,
                    r.reason,
                    r.detail,
                    r.body,
                    r.traceback,
                )
                for r in rejections
            ],
        )
