"""Another order than the file's, and what was seen in it before: on disk, in bounded memory."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from daybook.backfill.rows import Row
from daybook.backfill.spool import database, digest, disk
from daybook.errors import ConfigError

_DIGITS = re.compile("[0-9]+")
_DAY_FIRST = re.compile(
    r"\s*[0-9]{1,2}(?P<sign>[./\- ])\s?([0-9]{1,2}|[^\W\d]{3,9}\.?)(?P=sign)\s?[0-9]{2,4}\b"
)

LINES_NAMED_MAX = 10
"""Lines that a message names."""

OrderKey = Callable[[Row], int | bytes | None]
"""What a row is ordered by; None comes first: such a row can't tell, and is refused for it."""

GroupKey = Callable[[Row], str | None]
"""The text that the rows of one group have in common; None of a row that can't tell."""


class SeenReferences:
    """The references of a file by the first line that has them, as digests of 16 bytes."""

    def __init__(self) -> None:
        self._seen = database("CREATE TABLE seen (digest BLOB PRIMARY KEY, line) WITHOUT ROWID")

    def add(self, reference: str, line: int) -> int | None:
        """The earlier line with this reference; None, and it is kept, when it is the first."""
        named = digest(reference)
        with disk():
            added = self._seen.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (named, line))
            if added.rowcount:
                return None
            found = self._seen.execute("SELECT line FROM seen WHERE digest = ?", (named,))
            return int(found.fetchone()[0])

    def close(self) -> None:
        """Give the memory and the file back."""
        self._seen.close()


_ROWS = "CREATE TABLE rows (place INTEGER PRIMARY KEY, key, own_group, number, said)"
_PLACED = "(SELECT *, min(place) OVER (PARTITION BY key, own_group) AS first FROM rows)"
"""The rows, each with the place of the first of its group among those of its key."""


def reordered(
    rows: Iterable[Row],
    row_of: Callable[[int, str | None, Any], Row],
    key: OrderKey | None,
    group: GroupKey | None = None,
    *,
    is_reversed: bool,
) -> Iterator[Row]:
    """The rows by ``key``, those of equal keys as they stand; backwards when ``is_reversed``.

    row_of: makes a row again of its number, its fault and its content. group: rows of equal keys
    are together with those of their group; a group that is in several places nevertheless is
    marked as ``parted``. Raises ConfigError for rows without a key, if there are groups: nobody
    knows which group they are missing in.
    """
    lost: list[int] = []

    def kept_of(row: Row) -> tuple[int | bytes | None, bytes | None, int, str]:
        own = group(row) if group else None
        found = key(row) if key and (own is not None or not group) else None
        if key and group and found is None and len(lost) <= LINES_NAMED_MAX:
            lost.append(row.number)
        return found, None if own is None else digest(own), row.number, _said(row)

    how = "DESC" if is_reversed else "ASC"
    placed, columns = "rows", ["key", "place"] if key else ["place"]
    if key and group:
        placed, columns = _PLACED, ["key", "first", "place"]
    by = ", ".join(f"{column} {how}" for column in columns)
    with closing(database(_ROWS)) as kept, disk():
        kept.executemany(
            "INSERT INTO rows (key, own_group, number, said) VALUES (?, ?, ?, ?)",
            map(kept_of, rows),
        )
        if lost:
            raise _no_order(lost)
        _find_parted(kept, placed, by)
        found = kept.execute(
            f"SELECT said, begun, again FROM {placed} LEFT JOIN parted USING (own_group) "  # noqa: S608 - of words of this module
            f"ORDER BY {by}"
        )
        for text, begun, again in found:
            row = row_of(*json.loads(text))
            yield row if begun is None else replace(row, parted=(begun, again))


def _find_parted(kept: sqlite3.Connection, placed: str, by: str) -> None:
    """Fill ``parted``: the groups that begin more than once, with two of the lines."""
    kept.execute("CREATE TABLE parted (own_group BLOB PRIMARY KEY, begun, again) WITHOUT ROWID")
    before = f"lag(own_group) OVER (ORDER BY {by})"
    kept.execute(
        "INSERT INTO parted SELECT own_group, min(number), max(number) "  # noqa: S608 - the same
        f"FROM (SELECT own_group, number, {before} AS before FROM {placed} "
        "WHERE own_group IS NOT NULL) "
        "WHERE before IS NOT own_group GROUP BY own_group HAVING count(*) > 1"
    )


def _no_order(lines: list[int]) -> ConfigError:
    named = ", ".join(map(str, lines[:LINES_NAMED_MAX]))
    more = ", and more" if len(lines) > LINES_NAMED_MAX else ""
    return ConfigError(
        f"order_by can't tell the place of line {named}{more}: it is broken, its cell is empty or "
        "no date, or its group can't be told. Any group may lack it, so no line was posted: "
        "correct it"
    )


def _said(row: Row) -> str:
    return json.dumps([row.number, row.fault, row.content])


def natural_key(text: str) -> str:
    """A text that sorts as people would: runs of digits count as numbers, 9 before 10."""
    return _DIGITS.sub(lambda run: _counted(run[0].lstrip("0")), text)


def begins_with_day(text: str) -> bool:
    """Whether a text looks like a date whose year comes last.

    >>> [begins_with_day(text) for text in ("03.02.2026", "2/3/26", "3 Feb 2026", "2026-02-03")]
    [True, True, True, False]
    """
    return _DAY_FIRST.match(text) is not None


def _counted(digits: str) -> str:
    return f"{len(digits):07d}{digits}"
