"""The rejects file: the lines that moved nothing as they were, with the reason."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any, TextIO

from daybook.backfill.lines import Reject
from daybook.backfill.source import Source
from daybook.errors import ConfigError

FIELDS = ("rejected_line", "rejected_code", "rejected_reason", "rejected_reference")
"""Of a CSV, before the columns of the file."""

_MEMBERS = ("line", "code", "reason", "reference")
"""Of NDJSON, beside ``columns``: those of the file, or its line where it has none."""


class RejectsFile:
    """Written from the first reject on; a rejects file of an earlier run is replaced.

    A CSV has the dialect of the file: corrected, it can be read by the same mapping.
    Rows come in the order in which the rejections became known: those found before the log may
    precede those of the ledger for earlier lines.
    """

    def __init__(self, path: Path, name: str, source: Source) -> None:
        """Raises ConfigError when the path holds anything but an earlier rejects file.

        name: of the file that is read.
        """
        self.path = path
        self.count = 0
        self._source = source
        self._is_json = path.suffix.lower() in {".ndjson", ".jsonl"}
        self._file: TextIO | None = None
        self._writer: Any = None
        if path.exists() and not _is_rejects_file(path):
            raise ConfigError(
                f"{path} exists and is not a rejects file of {name}: name another --rejects"
            )
        if not path.parent.is_dir():
            raise ConfigError(f"{path.parent} is not a folder: name another --rejects")
        if not os.access(path.parent, os.W_OK):
            raise ConfigError(f"{path.parent} cannot be written: name another --rejects")
        try:
            path.unlink(missing_ok=True)
        except OSError as fault:
            raise ConfigError(f"{path} cannot be replaced: {fault.strerror}") from None

    def add(self, reject: Reject) -> None:
        """Write one reject. Raises OSError when the disk is full."""
        if self._file is None:
            self._file = self._open()
        values = (reject.number, str(reject.code), reject.reason, reject.reference or "")
        if self._is_json:
            beside = json.dumps(dict(zip(_MEMBERS, values, strict=True)))[:-1]
            self._file.write(f'{beside}, "columns": {self._as_json(reject)}}}\n')
        else:
            content = reject.row.content
            cells = [content.rstrip("\r\n")] if isinstance(content, str) else content
            self._writer.writerow([*values, *cells])
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()

    def _as_json(self, reject: Reject) -> str:
        content = reject.row.content
        if isinstance(content, str):  # a line of JSON stays as it is, its numbers included
            return json.dumps(content) if reject.row.fault else content.strip("\ufeff \t\r\n")
        if reject.row.fault:
            return json.dumps(content)
        return json.dumps(dict(reject.row.columns))

    def _open(self) -> TextIO:
        csv_table = self._source.mapping.csv if self._source.mapping else None
        encoding = "utf-8" if self._is_json or csv_table is None else csv_table.encoding
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        file = open(  # noqa: SIM115 - closed by close()
            descriptor, "w", encoding=encoding, errors="backslashreplace", newline=""
        )
        if not self._is_json:
            self._writer = csv.writer(
                file,
                delimiter=self._source.delimiter,
                quotechar=csv_table.quote if csv_table else '"',
                lineterminator="\n",
            )
            self._writer.writerow([*FIELDS, *(self._source.header or ["text"])])
        return file


def default_rejects_path(name: str, data_format: str) -> Path:
    """``<file>.rejects.csv`` or ``.ndjson`` beside the file; of a pipe, in the current folder."""
    path = Path("stdin" if name == "-" else name)
    return path.with_name(f"{path.name}.rejects.{data_format}")


def _is_rejects_file(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            first = file.readline(4096)
    except OSError:
        return False
    plain = first.replace(b"\x00", b"").lstrip(b"\xff\xfe\xef\xbb\xbf")  # of any encoding
    return not plain or FIELDS[0].encode() in plain[:20] or plain.startswith(b'{"line": ')
