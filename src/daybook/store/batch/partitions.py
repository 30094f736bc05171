"""Rows of partitions: their locks, their cursors, and how a batch moves them on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from daybook.store.batch.rows import PartitionRow

_LOCK = """
SELECT partition, cursor, sequence, head, batch, batch_sequence, batch_outcomes,
    total, epoch
FROM partitions WHERE partition = ANY(%s::smallint[]) AND partition < total
ORDER BY partition FOR NO KEY UPDATE
"""
"""How many partitions there are stands in the locked row itself: after a wait for the lock it is
read as it is now, while other tables are read as they were when the statement began."""
_LOCK_IF_FREE = _LOCK + " SKIP LOCKED"
_LOCK_CLOSED = _LOCK_IF_FREE.replace("partition < total", "partition >= total")
_CURSORS = "SELECT partition, cursor FROM partitions WHERE partition < total"
_SAVE = """
UPDATE partitions SET cursor = %s, sequence = %s, head = %s, batch = batch + 1,
    batch_sequence = %s, batch_outcomes = %s, applied_at = now()
WHERE partition = %s
"""


def lock_partitions(
    cursor: psycopg.Cursor[Any], partitions: Sequence[int]
) -> dict[int, PartitionRow]:
    """Lock partitions in ascending order, waiting for each; closed ones are left out."""
    cursor.execute(_LOCK, (list(partitions),))
    return {row[0]: PartitionRow(*row) for row in cursor}


def lock_if_free(
    cursor: psycopg.Cursor[Any], partition: int, *, closed: bool = False
) -> PartitionRow | None:
    """Lock one partition, unless somebody else has it. closed: one that is closed, or none."""
    cursor.execute(_LOCK_CLOSED if closed else _LOCK_IF_FREE, ([partition],))
    row = cursor.fetchone()
    return None if row is None else PartitionRow(*row)


def load_cursors(cursor: psycopg.Cursor[Any]) -> dict[int, int]:
    """The cursors of all partitions that are not closed, as last committed."""
    cursor.execute(_CURSORS)
    return dict(cursor.fetchall())


def save_partition(cursor: psycopg.Cursor[Any], row: PartitionRow) -> None:
    """Move a partition's marks to those of ``row``."""
    cursor.execute(
        _SAVE,
        (
            row.cursor,
            row.sequence,
            row.head,
            row.batch_sequence,
            row.batch_outcomes,
            row.partition,
        ),
    )
