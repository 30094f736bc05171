"""Another order than the file's, and what was seen in it before: on disk, in bounded memory."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from hashlib import blake2b
from typing import Any

from daybook.backfill.rows import Row
from daybook.errors import ConfigError

CACHE_KIB = 64 * 1024
"""Memory for each of the two; what is beyond lies in a temporary file that nobody else can open.

A reference costs some 30 bytes; a file in another order lies there whole.
"""

PAGES_MAX = (1 << 32) - 2
"""Of 4 KiB, of a temporary file: some 16 TiB, more than any disk of such a run has."""

_DIGEST_BYTES = 16
_DIGITS = re.compile("[0-9]+")

LINES_NAMED_MAX = 10
"""Lines that a message names."""

OrderKey = Callable[[Row], int | bytes | None]
"""What a row is ordered by; None comes first: such a row can't tell, and is refused for it."""


class SeenReferences:
    """The references of a file by the first line that has them, as digests of 16 bytes."""

    def __init__(self) -> None:
        self._seen = _database("CREATE TABLE seen (digest BLOB PRIMARY KEY, line) WITHOUT ROWID")

    def add(self, reference: str, line: int) -> int | None:
        """The earlier line with this reference; None, and it is kept, when it is the first."""
        digest = blake2b(
            reference.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES
        ).digest()
        try:
            added = self._seen.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (digest, line))
            if added.rowcount:
                return None
            found = self._seen.execute("SELECT line FROM seen WHERE digest = ?", (digest,))
            return int(found.fetchone()[0])
        except sqlite3.OperationalError as fault:
            raise _no_room(fault) from None

    def close(self) -> None:
        """Give the memory and the file back."""
        self._seen.close()


def reordered(
    rows: Iterable[Row],
    row_of: Callable[[int, str | None, Any], Row],
    key: OrderKey | None,
    *,
    is_reversed: bool,
    must_tell: bool = False,
) -> Iterator[Row]:
    """The rows by ``key``, those of equal keys as they stand; backwards when ``is_reversed``.

    row_of: makes a row again of its number, its fault and its content. must_tell: raise ConfigError
    for rows without a key: nobody knows which group they are missing in.
    """
    lost: list[int] = []

    def key_of(row: Row) -> int | bytes | None:
        found = key(row) if key else None
        if key and found is None and len(lost) <= LINES_NAMED_MAX:
            lost.append(row.number)
        return found

    how = "DESC" if is_reversed else "ASC"
    by = f"key {how}, place {how}" if key else f"place {how}"
    with closing(_database("CREATE TABLE rows (place INTEGER PRIMARY KEY, key, said)")) as kept:
        said = ((key_of(row), _said(row)) for row in rows)
        with _disk():
            kept.executemany("INSERT INTO rows (key, said) VALUES (?, ?)", said)
            if lost and must_tell:
                raise _no_order(lost)
            found = kept.execute(f"SELECT said FROM rows ORDER BY {by}")  # noqa: S608 - of two words
            for (text,) in found:
                yield row_of(*json.loads(text))


def _no_order(lines: list[int]) -> ConfigError:
    named = ", ".join(map(str, lines[:LINES_NAMED_MAX]))
    more = ", and more" if len(lines) > LINES_NAMED_MAX else ""
    return ConfigError(
        f"order_by can't tell the place of line {named}{more}: it is broken, or its cell is empty "
        "or no date. Any group may lack it, so no line was posted: correct it"
    )


def _said(row: Row) -> str:
    return json.dumps([row.number, row.fault, row.content])


def _database(table: str) -> sqlite3.Connection:
    """A database of its own, which is gone when it is closed. Nothing of it outlives the run."""
    with _disk():
        made = sqlite3.connect("", isolation_level=None)
        for pragma in (
            "journal_mode=OFF",
            "synchronous=OFF",
            f"cache_size=-{CACHE_KIB}",
            f"max_page_count={PAGES_MAX}",
        ):
            made.execute(f"PRAGMA {pragma}")
        made.execute(table)
        made.execute("BEGIN")  # never ended: a transaction for each row would be written each time
    return made


@contextmanager
def _disk() -> Iterator[None]:
    """Raises ConfigError when the temporary file can't be written."""
    try:
        yield
    except sqlite3.OperationalError as fault:
        raise _no_room(fault) from None


def _no_room(fault: sqlite3.OperationalError) -> ConfigError:
    return ConfigError(
        f"the temporary file of the run cannot be written ({fault}): set SQLITE_TMPDIR to a "
        "folder with room"
    )


def natural_key(text: str) -> str:
    """A text that sorts as people would: runs of digits count as numbers, 9 before 10."""
    return _DIGITS.sub(lambda run: _counted(run[0].lstrip("0")), text)


def _counted(digits: str) -> str:
    return f"{len(digits):07d}{digits}"
