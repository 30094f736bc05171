"""The lines of a CSV or NDJSON file, one by one, in bounded memory."""

from __future__ import annotations

import csv
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from daybook.backfill.mapping import CsvTable, Mapping
from daybook.backfill.template import Columns, cell
from daybook.errors import ConfigError, MalformedRequest
from daybook.requests import load_json
from daybook.requests.bounds import BULK_BODY_BYTES_MAX

LINE_CHARACTERS_MAX = 1 << 20
"""Longest line of a file: a file without line ends must not fill the memory."""

REQUEST_CHARACTERS_MAX = 2 * BULK_BODY_BYTES_MAX
"""The same for a file of requests: the longest bulk, written with room to spare."""

_ENDINGS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One record of the file.

    number: of its first line, from 1. fault: why it has no columns. characters: of a JSON line.
    """

    number: int
    columns: Columns
    fault: str | None = None
    characters: int = 0


class Source:
    """An open file of rows; iterate over it once.

    mapping: None for a file of requests, which is NDJSON.
    bytes_total: size of the file, None when unknown (a pipe). bytes_read: how far it was read,
    ahead of the rows by at most a buffer. lines_read: the records so far. unseen: columns of the
    mapping that no row of an NDJSON file had so far.
    """

    def __init__(self, binary: BinaryIO, mapping: Mapping | None, data_format: str) -> None:
        self.data_format = data_format
        self.bytes_total = _size(binary)
        self.lines_read = 0
        self._raw = _Counted(binary)
        encoding = mapping.csv.encoding if mapping and data_format == "csv" else "utf-8"
        if encoding.lower().replace("_", "-") in {"utf-8", "utf8"}:
            encoding = "utf-8-sig"  # spreadsheets begin a file with a byte order mark
        # Bytes that are no text become surrogates, which a request that uses them is refused for:
        # one broken line does not end the run.
        self._text = io.TextIOWrapper(
            io.BufferedReader(self._raw), encoding, errors="surrogateescape", newline=""
        )
        wanted = mapping.columns() if mapping else set()
        if mapping and data_format == "csv":
            self._rows = _csv_rows(self._text, mapping.csv, wanted)
            self.unseen: set[str] = set()
        else:
            self.unseen = set(wanted)
            longest = LINE_CHARACTERS_MAX if mapping else REQUEST_CHARACTERS_MAX
            self._rows = _ndjson_rows(_Lines(self._text, longest), self.unseen)

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the file so far."""
        return self._raw.count

    def __iter__(self) -> Iterator[Row]:
        number = 0
        try:
            for row in self._rows:
                number = row.number
                self.lines_read += 1
                yield row
        except UnicodeError as fault:  # an encoding that cannot go on behind a broken byte
            raise ConfigError(f"what follows line {number} cannot be decoded: {fault}") from None


@contextmanager
def open_source(
    name: str, mapping: Mapping | None, data_format: str | None = None
) -> Iterator[Source]:
    """The rows of the file ``name``, or of standard input for ``-``.

    mapping: None for a file of requests.
    Raises ConfigError, before any row, when the file cannot be opened, its format is not known,
    or its header lacks a column that the mapping names.
    """
    ending = _ENDINGS.get(Path(name).suffix.lower())
    known = data_format or (mapping.format if mapping else None) or ending
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
    if name == "-":
        yield _opened(sys.stdin.buffer, mapping, known, "standard input")
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - closed below
    except OSError as fault:
        raise ConfigError(f"{name} cannot be read: {fault.strerror}") from None
    with file:
        yield _opened(file, mapping, known, name)


def _opened(binary: BinaryIO, mapping: Mapping | None, data_format: str, name: str) -> Source:
    try:
        return Source(binary, mapping, data_format)
    except (ConfigError, UnicodeError, LookupError) as fault:
        raise ConfigError(f"{name}: {fault}") from None


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


class _Lines:
    """The lines of a text, counted. One that is too long is cut and marked, not kept."""

    def __init__(self, text: io.TextIOBase, longest: int = LINE_CHARACTERS_MAX) -> None:
        self._text = text
        self.longest = longest
        self.number = 0
        self.is_too_long = False

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(self.longest):
            self.number += 1
            self.is_too_long = len(line) == self.longest and not line.endswith("\n")
            if self.is_too_long:
                self._skip_rest()
                line = "\n"
            yield line

    def _skip_rest(self) -> None:
        while (rest := self._text.readline(LINE_CHARACTERS_MAX)) and not rest.endswith("\n"):
            pass


def _too_long(lines: _Lines) -> str:
    return f"the line is longer than {lines.longest} characters"


def _csv_rows(text: io.TextIOBase, dialect: CsvTable, wanted: set[str]) -> Iterator[Row]:
    lines = _Lines(text)
    reader = csv.reader(
        iter(lines), delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True
    )
    header = dialect.columns or _header(reader)
    _check_header(header, wanted)
    return _records(reader, lines, header)


def _header(reader: Any) -> list[str]:
    try:
        return next(reader, None) or []
    except csv.Error as fault:
        raise ConfigError(f"the header line is not CSV: {fault}") from None


def _check_header(header: list[str], wanted: set[str]) -> None:
    if not header:
        raise ConfigError(
            "there is no header line with the names of the columns: add one, or write them as "
            "columns = [...] into [csv] of the mapping"
        )
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ConfigError(f"the header names {', '.join(twice)} more than once: rename one")
    if missing := sorted(wanted - set(header)):
        raise ConfigError(
            f"the header lacks {', '.join(missing)}, which the mapping names; it has "
            f"{', '.join(header)}. Correct the mapping, or [csv] delimiter in it"
        )


def _records(reader: Any, lines: _Lines, header: list[str]) -> Iterator[Row]:
    while True:
        first = lines.number + 1
        try:
            fields = next(reader, None)
        except csv.Error as fault:
            fault_text = f"not CSV: {fault}"
            if lines.number > first:
                fault_text += f" (lines {first} to {lines.number})"
            yield Row(first, {}, fault_text)
            continue
        if fields is None:
            return
        if lines.is_too_long:
            yield Row(first, {}, _too_long(lines))
        elif len(fields) == len(header):
            yield Row(first, dict(zip(header, fields, strict=True)))
        elif fields:  # an empty line is no record
            yield Row(first, {}, f"has {len(fields)} columns, the header has {len(header)}")


def _ndjson_rows(lines: _Lines, unseen: set[str]) -> Iterator[Row]:
    for line in lines:
        if lines.is_too_long:
            yield Row(lines.number, {}, _too_long(lines))
        elif line.strip():
            row = _json_row(lines.number, line)
            if unseen:
                unseen.difference_update(
                    [name for name in unseen if cell(row.columns, name) is not None]
                )
            yield row


def _json_row(number: int, line: str) -> Row:
    try:
        value = load_json(line)
    except MalformedRequest as fault:
        return Row(number, {}, fault.errors[0].message)
    if not isinstance(value, dict):
        return Row(number, {}, "is not a JSON object")
    return Row(number, value, characters=len(line))
