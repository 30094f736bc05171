"""Entries that wait behind their cursor: which there are, what a batch adds, what it releases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from daybook.ledger.batch import Parked
from daybook.store.batch.rows import Deferral, DeferredEntry

_RELEASE = "DELETE FROM deferred_entries WHERE partition = %s AND position = ANY(%s::bigint[])"
_DEFER = """
INSERT INTO deferred_entries (partition, position, slot, request_id, may_credit, flags, body)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


def write_deferred(
    cursor: psycopg.Cursor[Any],
    partition: int,
    released: Sequence[int],
    added: Sequence[Deferral],
) -> None:
    """Release entries by position, and defer others."""
    if released:
        cursor.execute(_RELEASE, (partition, list(released)))
    if added:
        cursor.executemany(
            _DEFER,
            [
                (partition, e.position, slot, e.request_id, list(may_credit), e.flags, e.body)
                for e, slot, may_credit in added
            ],
        )


_DEFERRED = """
SELECT position, request_id, flags, body FROM deferred_entries
WHERE partition = %s AND position < %s ORDER BY position
"""
_PARKED = """
SELECT position, slot, may_credit FROM deferred_entries WHERE partition = %s AND position >= %s
ORDER BY position
"""
_DEFERRED_ELSEWHERE = """
SELECT name, min(position) FROM deferred_entries, unnest(may_credit) AS name
WHERE partition <> ALL(%s::smallint[]) GROUP BY name
"""
_OLDEST_DEFERRED = "SELECT partition, min(position) FROM deferred_entries GROUP BY partition"


def load_deferred(cursor: psycopg.Cursor[Any], partition: int, before: int) -> list[DeferredEntry]:
    """The deferred entries of the partition before the position ``before``, oldest first."""
    cursor.execute(_DEFERRED, (partition, before))
    return [DeferredEntry(*row) for row in cursor]


def load_parked(cursor: psycopg.Cursor[Any], partition: int, start: int) -> list[Parked]:
    """The deferred entries of the partition from the position ``start`` on, oldest first."""
    cursor.execute(_PARKED, (partition, start))
    return [Parked(*row) for row in cursor]


def load_deferred_elsewhere(
    cursor: psycopg.Cursor[Any], partitions: Iterable[int]
) -> dict[str, int]:
    """What the deferred entries of all other partitions may credit, and the oldest of each."""
    cursor.execute(_DEFERRED_ELSEWHERE, (list(partitions),))
    return dict(cursor.fetchall())


def load_oldest_deferred(cursor: psycopg.Cursor[Any]) -> dict[int, int]:
    """The position of the oldest deferred entry of each partition that has one."""
    cursor.execute(_OLDEST_DEFERRED)
    return dict(cursor.fetchall())
