"""The file of a run: opened, unpacked, decoded, and read in the order that is asked for."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from daybook.backfill.mapping import Mapping
from daybook.backfill.ordering import GroupKey, OrderKey, reordered
from daybook.backfill.rows import (
    LINE_CHARACTERS_MAX,
    REQUEST_CHARACTERS_MAX,
    CsvRecords,
    JsonRecords,
    Records,
    Row,
)
from daybook.backfill.spans import Spans
from daybook.errors import ConfigError

_ENDINGS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson",
}  # fmt: skip
_GZIP = b"\x1f\x8b"
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""What a file begins with that says its own encoding."""

_MARK_BYTES = max(map(len, _MARKS))


class Source:
    """An open file of rows; iterate over it once.

    mapping: None for a file of requests, which is NDJSON. order_key, group_key, is_reversed: see
    ``reordered``; without them rows are read one by one. With one of them the file is read whole
    before its first row is given: an entry must not be posted when a part of it comes later.
    bytes_total: size of the file, None when unknown (a pipe). bytes_read: how far it was read,
    ahead of the rows by at most a buffer. lines_read: the records so far.
    """

    def __init__(
        self,
        binary: BinaryIO,
        mapping: Mapping | None,
        data_format: str,
        *,
        order_key: OrderKey | None = None,
        group_key: GroupKey | None = None,
        is_reversed: bool = False,
    ) -> None:
        self.data_format = data_format
        self.mapping = mapping
        self.bytes_total = _size(binary)
        self.lines_read = 0
        self._order_key = order_key
        self._group_key = group_key
        self._is_reversed = is_reversed
        self._raw = _Counted(binary)
        self._records = _records(self._raw, mapping, data_format)

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the file so far."""
        return self._raw.count

    @property
    def header(self) -> list[str]:
        """The names of the columns of a CSV."""
        return list(self._records.header)

    @property
    def delimiter(self) -> str:
        """What stands between the cells of a CSV."""
        return self._records.delimiter

    @property
    def spans(self) -> Spans:
        """The rows of a CSV so far that take several lines."""
        return self._records.spans

    @property
    def unseen(self) -> set[str]:
        """Columns of the mapping that no row of an NDJSON file had so far."""
        return self._records.unseen

    def __iter__(self) -> Iterator[Row]:
        """Raises ConfigError when the file can't be unpacked or decoded any further, or when rows
        of groups can't be told where they belong."""
        rows = self._in_file_order()
        if self._order_key or self._group_key or self._is_reversed:
            row_of, key, group = self._records.row_of, self._order_key, self._group_key
            rows = reordered(rows, row_of, key, group, is_reversed=self._is_reversed)
        for row in rows:
            self.lines_read += 1
            yield row

    def _in_file_order(self) -> Iterator[Row]:
        number = 0
        try:
            for row in self._records:
                number = row.number
                yield row
        except UnicodeError as fault:  # an encoding that cannot go on behind a broken byte
            raise ConfigError(f"what follows line {number} cannot be decoded: {fault}") from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
            raise ConfigError(f"what follows line {number} cannot be unpacked: {fault}") from None


@contextmanager
def open_source(
    name: str,
    mapping: Mapping | None,
    data_format: str | None = None,
    *,
    order_key: OrderKey | None = None,
    group_key: GroupKey | None = None,
    is_reversed: bool = False,
) -> Iterator[Source]:
    """The rows of the file ``name``, or of standard input for ``-``; packed by gzip or not.

    mapping: None for a file of requests. order_key, group_key, is_reversed: see ``Source``.
    Raises ConfigError, before any row, when the file cannot be opened, its format is not known,
    or its header lacks a column that the mapping names.
    """
    known = _format(name, mapping, data_format)
    try:
        file = None if name == "-" else Path(name).open("rb")  # noqa: SIM115 - closed below
    except OSError as fault:
        raise ConfigError(f"{name} cannot be read: {fault.strerror}") from None
    try:
        shown = "standard input" if file is None else name
        opened = file or sys.stdin.buffer
        try:
            source = Source(
                opened,
                mapping,
                known,
                order_key=order_key,
                group_key=group_key,
                is_reversed=is_reversed,
            )
        except (ConfigError, UnicodeError, LookupError, EOFError, zlib.error, OSError) as fault:
            raise ConfigError(f"{shown}: {fault}") from None
        yield source
    finally:
        if file is not None:
            file.close()


def _format(name: str, mapping: Mapping | None, data_format: str | None) -> str:
    path = Path(name)
    ending = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    known = data_format or (mapping.format if mapping else None) or _ENDINGS.get(ending.lower())
    if mapping is None and known != "ndjson":
        raise ConfigError(
            f"without --mapping each line is a request as JSON, and {name} is not known to be "
            "NDJSON: give --mapping, or --format ndjson"
        )
    if known is None:
        raise ConfigError(
            f"the format of {name} is not known from its ending: give --format csv or ndjson, "
            'or write format = "csv" into the mapping'
        )
    return known


def _records(raw: io.RawIOBase, mapping: Mapping | None, data_format: str) -> Records:
    encoding = mapping.csv.encoding if mapping else "utf-8"
    text = _decoded(_unpacked(io.BufferedReader(raw)), encoding)
    wanted = mapping.columns() if mapping else set()
    if mapping and data_format == "csv":
        return CsvRecords(text, mapping.csv, wanted)
    longest = LINE_CHARACTERS_MAX if mapping else REQUEST_CHARACTERS_MAX
    return JsonRecords(text, longest, wanted)


def _unpacked(binary: io.BufferedReader) -> io.BufferedReader:
    """What gzip has packed, told by its first bytes."""
    if binary.peek(2)[:2] != _GZIP:
        return binary
    return io.BufferedReader(gzip.GzipFile(fileobj=binary))


def _decoded(binary: io.BufferedReader, encoding: str) -> io.TextIOWrapper:
    """The text. Bytes that are none become surrogates, and a row that uses them is refused."""
    known = codecs.lookup(encoding).name
    begun = binary.peek(_MARK_BYTES)[:_MARK_BYTES]
    said = next((name for mark, name in _MARKS.items() if begun.startswith(mark)), None)
    if said is not None and not known.startswith((said, "utf-32")):
        raise ConfigError(f'it begins as {said.upper()} does: write encoding = "{said}" into [csv]')
    if known == "utf-8":
        encoding = "utf-8-sig"  # spreadsheets begin a file with a byte order mark
    return io.TextIOWrapper(binary, encoding, errors="surrogateescape", newline="")


class _Counted(io.RawIOBase):
    """Counts what is read, for the progress bar."""

    def __init__(self, binary: BinaryIO) -> None:
        self._binary = binary
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._binary.read1(len(buffer))  # type: ignore[attr-defined]  # both kinds have it
        buffer[: len(chunk)] = chunk
        self.count += len(chunk)
        return len(chunk)


def _size(binary: BinaryIO) -> int | None:
    try:
        status = os.fstat(binary.fileno())
    except OSError:  # not a real file
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
