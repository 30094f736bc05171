"""The rejects file: the lines that moved nothing, with the reason, as CSV or NDJSON."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import TextIO

from daybook.backfill.lines import Reject
from daybook.errors import ConfigError

FIELDS = ("line", "code", "reason", "reference")


class RejectsFile:
    """Written from the first reject on; a rejects file of an earlier run is replaced.

    Rows come in the order in which the rejections became known: those found before the log may
    precede those of the ledger for earlier lines.
    """

    def __init__(self, path: Path, source: str) -> None:
        """Raises ConfigError when the path holds anything but an earlier rejects file."""
        self.path = path
        self.count = 0
        self._is_json = path.suffix.lower() in {".ndjson", ".jsonl"}
        self._file: TextIO | None = None
        if path.exists() and not _is_rejects_file(path):
            raise ConfigError(
                f"{path} exists and is not a rejects file of {source}: name another --rejects"
            )
        try:
            path.unlink(missing_ok=True)
        except OSError as fault:
            raise ConfigError(f"{path} cannot be replaced: {fault.strerror}") from None
        if not path.parent.is_dir():
            raise ConfigError(f"{path.parent} is not a folder: name another --rejects")

    def add(self, reject: Reject) -> None:
        """Write one reject. Raises OSError when the disk is full."""
        if self._file is None:
            self._file = self._open()
        values = (reject.number, str(reject.code), reject.reason, reject.reference or "")
        if self._is_json:
            members = dict(zip(FIELDS, values, strict=True))
            self._file.write(json.dumps(members) + "\n")
        else:
            csv.writer(self._file, lineterminator="\n").writerow(values)
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> TextIO:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        file = open(  # noqa: SIM115 - closed by close()
            descriptor, "w", encoding="utf-8", errors="backslashreplace", newline=""
        )
        if not self._is_json:
            file.write(",".join(FIELDS) + "\n")
        return file


def default_rejects_path(source: str, data_format: str) -> Path:
    """``<file>.rejects.csv`` or ``.ndjson`` in the current folder, not beside the file."""
    name = "stdin" if source == "-" else Path(source).name
    return Path(f"{name}.rejects.{data_format}")


def _is_rejects_file(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline(4096)
    except OSError:
        return False
    return not first or first.strip() == ",".join(FIELDS) or first.startswith('{"line": ')
