"""The rejects file: the lines that moved nothing as they were, with the reason."""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TextIO

from daybook.backfill.lines import REJECTED, Reject
from daybook.backfill.mapping import CsvTable
from daybook.backfill.rows import REJECTED_CONTENT
from daybook.backfill.source import Source
from daybook.backfill.spool import database, disk
from daybook.backfill.template import Columns
from daybook.errors import ConfigError
from daybook.requests.fields import canonical_meta_data

_TEXT = r'"(?:[^"\\]|\\.)*"'
_OWN_MEMBER = re.compile(rf'\{{\s*"(?:{"|".join(REJECTED)})"\s*:\s*(?:[0-9]+|{_TEXT})\s*,?\s*')
"""The first member of an object, if a rejects file has added it."""

_ORIGINAL_BYTES = "daybook-original-bytes"


class RejectsFile:
    """The rejects of a run, in the order of the file; those of an earlier run are replaced.

    A CSV has the dialect of the file. Corrected, CSV and NDJSON can be posted as the file was.
    Rejections become known in another order, so they wait on disk, and ``close`` writes the file.
    """

    def __init__(self, path: Path, name: str, source: Source) -> None:
        """Raises ConfigError when the path holds anything but an earlier rejects file, or can't be
        written.

        name: of the file that is read.
        """
        self.path = path
        self.count = 0
        self._source = source
        self._is_json = path.suffix.lower() in {".ndjson", ".jsonl"}
        try:
            self._check(name)
            path.unlink(missing_ok=True)
            os.close(self._created(os.O_EXCL))  # known before anything is posted
            path.unlink()
        except OSError as fault:
            raise ConfigError(
                f"{path} cannot be written: {fault.strerror}; name another --rejects"
            ) from None
        self._kept = database("CREATE TABLE rejects (line, place INTEGER PRIMARY KEY, said)")
        self._header = list(source.header or ["text"])
        self._own_columns = 0
        if tuple(self._header[: len(REJECTED)]) == REJECTED:  # it is itself a rejects file
            self._own_columns = len(REJECTED)

    def _check(self, name: str) -> None:
        """Raises ConfigError when there is anything else, or no folder."""
        path = self.path
        if path.exists() and not (path.is_file() and _is_rejects_file(path)):
            raise ConfigError(
                f"{path} exists and is not a rejects file of {name}: name another --rejects"
            )
        if path.exists() and Path(name).exists() and path.samefile(name):
            raise ConfigError(f"{path} is the file that is read: name another --rejects")
        if not path.parent.is_dir():
            raise ConfigError(f"{path.parent} is not a folder: name another --rejects")

    def add(self, reject: Reject) -> None:
        """Keep one reject. Raises ConfigError when the disk is full."""
        values = (reject.number, str(reject.code), reject.reason, reject.reference or "")
        said: Any
        if self._is_json:
            beside = json.dumps(dict(zip(REJECTED, values, strict=True)))[:-1]
            members = self._members(reject)
            said = f"{beside}{', ' if members else ''}{members}}}\n"
        else:
            content = reject.row.content
            cells = [content.rstrip("\r\n")] if isinstance(content, str) else list(content)
            said = [*values, *cells[self._own_columns :]]
        with disk():
            self._kept.execute(
                "INSERT INTO rejects (line, said) VALUES (?, ?)", (reject.number, json.dumps(said))
            )
        self.count += 1

    def close(self) -> None:
        """Write the file. Raises OSError or ConfigError when it can't, or the disk is full."""
        with closing(self._kept), disk():
            if not self.count:
                return
            found = self._kept.execute("SELECT said FROM rejects ORDER BY line, place")
            with self._opened() as file:
                self._write(file, (json.loads(said) for (said,) in found))

    def _write(self, file: TextIO, rejects: Iterator[Any]) -> None:
        if self._is_json:
            file.writelines(rejects)
            return
        delimiter, quote = self._source.delimiter, self._csv.quote if self._csv else '"'
        if self._csv and delimiter != self._csv.delimiter:
            file.write(f"sep={delimiter}\n")  # as the file itself says it
        plain, quoted = (
            csv.writer(file, quoting=how, delimiter=delimiter, quotechar=quote, lineterminator="\n")
            for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
        )
        plain.writerow([*REJECTED, *self._header[self._own_columns :]])
        for cells in rejects:  # the writer itself quotes for "\n" only
            is_plain = not any(isinstance(cell, str) and "\r" in cell for cell in cells)
            (plain if is_plain else quoted).writerow(cells)

    def _members(self, reject: Reject) -> str:
        """The members of the file's object, or what stands there in its place."""
        content = reject.row.content
        if reject.row.fault:
            said = content[self._own_columns :] if not isinstance(content, str) else _said(content)
            return json.dumps({REJECTED_CONTENT: said})[1:-1]
        if isinstance(content, str):  # a line of JSON stays as it is, its numbers included
            text = content.strip("\ufeff \t\r\n")
            return _without_own(text, reject.row.columns)[1:-1].strip()
        own = set(self._header[: self._own_columns])
        columns = reject.row.columns.items()
        return json.dumps({name: value for name, value in columns if name not in own})[1:-1]

    @property
    def _csv(self) -> CsvTable | None:
        return self._source.mapping.csv if self._source.mapping else None

    def _opened(self) -> TextIO:
        encoding = "utf-8" if self._is_json or self._csv is None else self._csv.encoding
        descriptor = self._created(os.O_TRUNC)
        return open(descriptor, "w", encoding=encoding, errors=_ORIGINAL_BYTES, newline="")

    def _created(self, how: int) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | how, 0o600)


def _said(line: str) -> Any:
    """What stands for a line that could not be read: it, or what stood for it before."""
    try:
        members = json.loads(line)
    except ValueError:
        return line.rstrip("\r\n")
    found = members.get(REJECTED_CONTENT) if isinstance(members, dict) else None
    return found if isinstance(found, (str, list)) else line.rstrip("\r\n")


def _without_own(text: str, members: Columns) -> str:
    """The text of an object, which has these members, without those of a rejects file."""
    others = {name: value for name, value in members.items() if name not in REJECTED}
    left = len(members) - len(others)
    while own := _OWN_MEMBER.match(text):
        text, left = "{" + text[own.end() :], left - 1
    if left:  # somewhere among the others: another program wrote it
        with suppress(ValueError):  # of what is too long or too deep for that
            return canonical_meta_data(others)
    return text


def _original_bytes(fault: UnicodeError) -> tuple[str | bytes, int]:
    """The bytes that could not be decoded as they were; what the encoding lacks, escaped.

    Written as text they would be taken for it when the file is read again.
    """
    assert isinstance(fault, UnicodeEncodeError)
    is_wide = fault.encoding.startswith(("utf-16", "utf-32"))  # no single byte stands there
    try:
        return codecs.lookup_error("backslashreplace" if is_wide else "surrogateescape")(fault)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(fault)


codecs.register_error(_ORIGINAL_BYTES, _original_bytes)


def default_rejects_path(name: str, data_format: str) -> Path:
    """``<file>.rejects.csv`` or ``.ndjson`` beside the file; of a pipe, in the current folder."""
    path = Path("stdin" if name == "-" else name)
    return path.with_name(f"{path.name}.rejects.{data_format}")


def _is_rejects_file(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            first = file.read(4096)
    except OSError:
        return False
    plain = first.replace(b"\x00", b"").lstrip(b"\xff\xfe\xef\xbb\xbf")  # of any encoding
    return not plain or REJECTED[0].encode() in plain[:30]
