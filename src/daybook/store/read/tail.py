"""The journal from a place on: what was recorded behind a cursor, of which nothing is ever skipped.

A cursor is a sequence for each partition. Records of one partition are committed one after the
other, numbered without a gap, so behind its sequence there is nothing older to come; between
partitions there is no such order, and so no single number could be a cursor.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from daybook.errors import MalformedRequest
from daybook.store.read.records import views_of
from daybook.store.read.rows import bad_value, bounded, columns_of
from daybook.store.read.views import TransactionView
from daybook.store.schema import partitions, transactions

START = "start"
_PLACE = re.compile(r"(\d{1,4}):(\d{1,18})")

Cursor = Mapping[int, int]
"""The sequence of the last record that was seen, by partition; 0 where there is none."""


def present_end(connection: Connection) -> dict[int, int]:
    """The cursor behind everything that is recorded."""
    rows = connection.execute(select(partitions.c.partition, partitions.c.sequence))
    return {row.partition: row.sequence for row in rows}


def records_after(
    connection: Connection, cursor: Cursor, *, limit: int = 100
) -> list[TransactionView]:
    """The next records behind a cursor, those of each partition in their order.

    A partition that the cursor does not name is read from its beginning. Raises MalformedRequest
    for a cursor that lies ahead of the journal: what is recorded next would be passed over.
    """
    limit = bounded(limit)
    found = []
    ends = present_end(connection)
    for partition, seen in cursor.items():
        if type(partition) is not int or type(seen) is not int or seen < 0:
            raise bad_value("after", f"{partition!r}: {seen!r} are no partition and sequence in it")
        if seen > ends.get(partition, 0):
            raise _ahead(partition, seen, ends)
    for partition, end in ends.items():
        seen = cursor.get(partition, 0)
        if end > seen:
            query = columns_of(transactions).where(
                transactions.c.partition == partition, transactions.c.sequence > seen
            )
            ordered = query.order_by(transactions.c.sequence).limit(limit)
            found.append(connection.execute(ordered).all())
    # About by acceptance; within a partition as it was recorded, which may be otherwise.
    merged = heapq.merge(*found, key=lambda row: row.position)
    return views_of(connection, [row for row, _ in zip(merged, range(limit), strict=False)])


def _ahead(partition: int, seen: int, ends: Cursor) -> MalformedRequest:
    if partition in ends:
        wrong = f"ahead of the journal of partition {partition}, which ends at {ends[partition]}"
    else:
        wrong = f"in partition {partition}, and there are 0 to {max(ends)} only"
    return bad_value(
        "after",
        f"{partition}:{seen} lies {wrong}: the database was restored, or is another one; begin at "
        f"{START} or at the present end, {cursor_text(ends)}",
    )


def moved_on(cursor: Cursor, records: Iterable[TransactionView]) -> dict[int, int]:
    """The cursor behind ``records``, which follow it."""
    return {**cursor, **{record.partition: record.sequence for record in records}}


def cursor_text(cursor: Cursor) -> str:
    """A cursor as text: ``0:12,1:7``."""
    places = [f"{partition}:{cursor[partition]}" for partition in sorted(cursor)]
    return ",".join(places) or START


def read_cursor(text: str) -> dict[int, int]:
    """A cursor from text; ``start`` is that before everything. Raises MalformedRequest."""
    if text == START:
        return {}
    places = [_PLACE.fullmatch(part) for part in text.split(",")]
    if None in places:
        raise bad_value("after", f"{text[:60]} is no cursor like 0:12,1:7, nor {START}")
    cursor = {int(place[1]): int(place[2]) for place in places if place is not None}
    if len(cursor) < len(places):
        raise bad_value("after", f"{text[:60]} names a partition twice: give each once")
    return cursor
