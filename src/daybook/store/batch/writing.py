"""Writing a batch: the tables in one order, the same for all, so that nothing deadlocks.

::

    what is created        before anything refers to it
    references             the first unit that takes one has it
    journal rows           of each partition that the batch moves
    holds, schedules
    deferred, rejected     between two halves of what is resolved
    things, balances       locked as late as can be: all partitions add to the same ones
    marks of partitions    cursor, sequence and head: what makes the rest count
"""

from __future__ import annotations

from typing import Any

import psycopg

from daybook.steps import Point, reach
from daybook.store.batch.balances import write_balances
from daybook.store.batch.changes import Changes
from daybook.store.batch.creations import write_creations
from daybook.store.batch.deferred import write_deferred
from daybook.store.batch.holds import write_holds
from daybook.store.batch.journal import write_records
from daybook.store.batch.partitions import save_partition
from daybook.store.batch.quarantine import resolve, resolved_around
from daybook.store.batch.references import take_references
from daybook.store.batch.rejections import write_rejections
from daybook.store.batch.rows import PartitionRow
from daybook.store.batch.schedules import write_schedules
from daybook.store.batch.subjects import write_subjects


def write_batch(cursor: psycopg.Cursor[Any], changes: Changes) -> list[PartitionRow]:
    """Write what a batch changes; returns its partitions as they stand afterwards.

    Raises Stale, ReferenceTaken, and psycopg's own when Postgres refuses something.
    """
    book = changes.book
    write_creations(cursor, book)
    take_references(cursor, changes.claims)
    rows = [
        part.row_after(write_records(cursor, part.row, part.records)) for part in changes.partitions
    ]
    reach(Point.RECORDS_WRITTEN)
    write_holds(cursor, book.changed_holds())
    write_schedules(cursor, book, changes.flags)
    reach(Point.HOLDS_WRITTEN)
    _write_beside(cursor, changes)
    write_subjects(cursor, book)
    write_balances(cursor, book.touched_balances())
    reach(Point.BALANCES_WRITTEN)
    for row in rows:
        save_partition(cursor, row)
    return rows


def _write_beside(cursor: psycopg.Cursor[Any], changes: Changes) -> None:
    """What waits, what is rejected, and what is resolved of what was quarantined."""
    rejected = [rejection for part in changes.partitions for rejection in part.rejected]
    before, after = resolved_around(changes.book.resolutions, rejected)
    resolve(cursor, before)
    for part in changes.partitions:
        write_deferred(cursor, part.row.partition, part.released, part.deferred)
        write_rejections(cursor, part.row.partition, part.rejected)
    resolve(cursor, after)
