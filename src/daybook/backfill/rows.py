"""The records of a CSV or NDJSON text, one by one, in bounded memory."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, Protocol

from daybook.backfill.mapping import CsvTable
from daybook.backfill.spans import Spans
from daybook.backfill.template import Columns, cell
from daybook.counting import counted
from daybook.errors import ConfigError, MalformedRequest
from daybook.requests import load_json
from daybook.requests.bounds import BULK_BODY_BYTES_MAX
from daybook.requests.naming import normalised

LINE_CHARACTERS_MAX = 1 << 20
"""Longest line of a file: a file without line ends must not fill the memory."""

REQUEST_CHARACTERS_MAX = 2 * BULK_BODY_BYTES_MAX
"""The same for a file of requests: the longest bulk, written with room to spare."""

BROKEN = re.compile("[\ud800-\udfff]")
"""What stands for bytes that could not be decoded."""

OTHER_ENCODING = (
    'write that of the file, such as encoding = "cp1252" or "cp1250", into [csv] of the mapping'
)
"""What is said of such bytes."""

REJECTED_CONTENT = "rejected_content"
"""The member of a rejects file for a line that has none of its own: its text, or its cells."""

_SEPARATOR_LENGTH = len("sep=;")


@dataclass(frozen=True, slots=True)
class Row:
    """One record of the file.

    number: of its first line, from 1. fault: why it has no columns. content: the record as it was
    read: the cells of a CSV, the line of an NDJSON file. parted: two lines in which its group
    begins, if its rows don't follow one another.
    """

    number: int
    columns: Columns
    fault: str | None = None
    content: Sequence[str] | str = ""
    parted: tuple[int, int] | None = None

    @property
    def line(self) -> str | None:
        """The line of an NDJSON file; None of cells."""
        return self.content if isinstance(self.content, str) and self.content else None

    @property
    def characters(self) -> int:
        """How long it is."""
        content = self.content
        return len(content) if isinstance(content, str) else sum(map(len, content))


class Records(Protocol):
    """What reads a text record by record.

    header, delimiter: of a CSV. spans: its records that take several lines. unseen: columns of the
    mapping that no record had.
    """

    header: Sequence[str]
    spans: Spans
    delimiter: str
    unseen: set[str]

    def __iter__(self) -> Iterator[Row]: ...

    def row_of(self, number: int, fault: str | None, content: Any) -> Row:
        """A row again from what it was read from."""
        ...


_TOO_LONG = "field larger than field limit"
"""What the reader says of such a cell: it may go on over any number of lines."""


class Lines:
    """The lines of a text, counted. One that is too long is cut and not kept.

    is_too_long: whether there was one since this was last set to False.
    """

    def __init__(self, text: io.TextIOBase, longest: int = LINE_CHARACTERS_MAX) -> None:
        self._text = text
        self.longest = longest
        self.number = 0
        self.is_too_long = False

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(self.longest):
            self.number += 1
            if len(line) == self.longest and not line.endswith("\n"):
                self.is_too_long = True
                self._skip_rest()
                line = "\n"
            yield line

    def _skip_rest(self) -> None:
        while (rest := self._text.readline(LINE_CHARACTERS_MAX)) and not rest.endswith("\n"):
            pass

    @property
    def too_long(self) -> str:
        """What is said of such a line."""
        return f"the line is longer than {self.longest} characters"


class CsvRecords:
    """The records of a CSV, below its header. Raises ConfigError for a header that can't be used.

    wanted: the columns that the mapping names.
    """

    def __init__(self, text: io.TextIOBase, dialect: CsvTable, wanted: set[str]) -> None:
        self._lines = Lines(text)
        self.unseen: set[str] = set()
        lines, self.delimiter = _below_what_is_skipped(iter(self._lines), dialect)
        self._reader = csv.reader(
            lines, delimiter=self.delimiter, quotechar=dialect.quote, strict=True
        )
        self.spans = Spans()
        self._may_span = dialect.line_feeds
        first = self._lines.number
        self.header: Sequence[str] = dialect.columns or _header(self._reader)
        self._note_span(first)
        _check_header(self.header, wanted, dialect.encoding)

    def __iter__(self) -> Iterator[Row]:
        lines = self._lines
        while True:
            first, lines.is_too_long = lines.number + 1, False
            try:
                fields = next(self._reader, None)
            except csv.Error as fault:
                if _TOO_LONG in str(fault):
                    raise ConfigError(
                        f"a cell is longer than {csv.field_size_limit():,} characters"
                        f"{_range(first, lines.number)}: is a quote missing there? What stands "
                        "behind it is not read: correct it, and run this again"
                    ) from None
                yield Row(first, {}, f"not CSV: {fault}{_range(first, lines.number)}")
                continue
            if fields is None:
                return
            if lines.is_too_long:
                yield Row(first, {}, lines.too_long)
            elif fields:  # an empty line is no record
                self._note_span(first)
                row = self.row_of(first, None, fields)
                yield (
                    replace(row, fault=row.fault + _range(first, lines.number))
                    if row.fault
                    else row
                )

    def _note_span(self, first: int) -> None:
        if not self._may_span:
            self.spans.add(first, self._lines.number)

    def row_of(self, number: int, fault: str | None, content: Any) -> Row:
        """A row again from its cells."""
        if fault is None and len(content) != len(self.header):
            fault = f"has {counted(len(content), 'column')}, the header has {len(self.header)}"
        columns = {} if fault else dict(zip(self.header, content, strict=True))
        return Row(number, columns, fault, content)


def _range(first: int, last: int) -> str:
    return f" (lines {first} to {last})" if last > first else ""


def _below_what_is_skipped(lines: Iterator[str], dialect: CsvTable) -> tuple[Iterable[str], str]:
    """The lines from the header on, and the delimiter.

    A line ``sep=;``, as Excel writes one, says it, unless the mapping does.
    """
    said = None
    for line in islice(lines, dialect.skip):
        said = _separator(line) or said
    first = next(lines, "")
    if separator := _separator(first):
        said, first = separator, next(lines, "")
    if said is None or "delimiter" in dialect.model_fields_set:
        said = dialect.delimiter
    return chain([first] if first else [], lines), said


def _separator(line: str) -> str | None:
    text = line.rstrip("\r\n").strip('"')
    if text[:4].lower() == "sep=" and len(text) == _SEPARATOR_LENGTH:
        return text[4]
    return None


def _header(reader: Any) -> list[str]:
    try:
        return [normalised(name) for name in next(reader, None) or []]
    except csv.Error as fault:
        raise ConfigError(f"the header line is not CSV: {fault}") from None


def _check_header(header: Sequence[str], wanted: set[str], encoding: str) -> None:
    """What the mapping names is there, once; other columns may be called as they like."""
    if not any(header):
        raise ConfigError(
            "there is no header line with the names of the columns: add one, or write them as "
            "columns = [...] into [csv] of the mapping; skip = 1 leaves a line above it out"
        )
    if twice := sorted(name for name in wanted if list(header).count(name) > 1):
        raise ConfigError(
            f"the header has {', '.join(twice)} more than once: rename one, or write the names as "
            "columns = [...] into [csv] of the mapping, with skip = 1"
        )
    missing = sorted(wanted - set(header))
    if missing and (broken := next(filter(BROKEN.search, header), None)):
        read = broken.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise ConfigError(
            f"the header lacks {', '.join(missing)}, which the mapping names; it has "
            f'"{read}", which is no text in {encoding}: {OTHER_ENCODING}'
        )
    if missing:
        raise ConfigError(
            f"the header lacks {', '.join(f'{name}{_hint(name, header)}' for name in missing)}, "
            f"which the mapping names; it has {', '.join(name for name in header if name)}. "
            "Correct the mapping, or delimiter and skip of [csv] in it"
        )


def _hint(name: str, header: Sequence[str]) -> str:
    folded = {known.casefold(): known for known in header if known}
    similar = difflib.get_close_matches(name.casefold(), folded, n=2)
    return f" (did you mean {' or '.join(folded[found] for found in similar)}?)" if similar else ""


class JsonRecords:
    """The objects of an NDJSON text. wanted: the columns that the mapping names."""

    header: Sequence[str] = ()
    delimiter = ","

    def __init__(self, text: io.TextIOBase, longest: int, wanted: set[str]) -> None:
        self.spans = Spans()
        self._lines = Lines(text, longest)
        self.unseen = set(wanted)

    def __iter__(self) -> Iterator[Row]:
        for line in self._lines:
            if self._lines.is_too_long:
                self._lines.is_too_long = False
                yield Row(self._lines.number, {}, self._lines.too_long)
            elif line.strip():
                row = self.row_of(self._lines.number, None, line)
                seen = [name for name in self.unseen if cell(row.columns, name) is not None]
                self.unseen.difference_update(seen)
                yield row

    def row_of(self, number: int, fault: str | None, content: Any) -> Row:
        """A row again from its line."""
        columns: Any = {}
        if fault is None:
            try:
                columns = load_json(content)
            except MalformedRequest as invalid:
                fault = invalid.errors[0].message
        if fault is None and not isinstance(columns, dict):
            fault = "is not a JSON object"
        elif fault is not None and content.strip() in ("{", "[", "[{"):
            fault = f"{fault}; an object is written in one line, as `jq -c` does"
        elif fault is None and REJECTED_CONTENT in columns:
            fault = f"still stands in {REJECTED_CONTENT}: write its members out in place of that"
        if fault is not None:
            columns = {}
        return Row(number, columns, fault, content)
