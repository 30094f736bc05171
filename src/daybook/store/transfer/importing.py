# ruff: noqa: S608 - every part of these statements stands in this program
"""Reading what ``exporting`` wrote into an empty ledger: all of it, or nothing.

Every line is checked before it goes on, and every record against the chain, so that a file that
was edited, cut or put together is refused with the number of the line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import groupby
from typing import Any, BinaryIO, NoReturn

import psycopg
from psycopg import errors as pg
from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.exc import DBAPIError

from daybook.errors import ConfigError, StoreUnavailable
from daybook.ledger.balance import GENERAL_LEDGER_ID
from daybook.ledger.chain import GENESIS, link
from daybook.ledger.record import Record
from daybook.store import schema
from daybook.store.engine import translated_faults
from daybook.store.epochs import StoredEpoch
from daybook.store.proof.references import FILL
from daybook.store.proof.verify import PROGRESS_EVERY_RECORDS, Head, Progress
from daybook.store.scan import be_patient, driver_of
from daybook.store.transfer.exporting import (
    DERIVED_TABLES,
    FORMAT_VERSION,
    TABLES,
    TransferReport,
    stored_columns,
)
from daybook.store.transfer.intake import TABLE, Intake, intakes

LINE_BYTES_MAX = 64 << 20
"""Longest line: the largest request in hexadecimal, and room for the rest of its row."""

PATIENCE_SECONDS = 30.0

Install = Callable[[StoredEpoch, int], None]
"""Called with the epoch and the newest cursor just before all is committed."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def import_ledger(
    engine: Engine, lines: BinaryIO, install: Install, progress: Progress | None = None
) -> TransferReport:
    """Fill an empty ledger from the lines of an export, in one unit of work.

    engine: as the owner of the schema. install: makes the log go on behind what was imported.
    Raises ConfigError when the ledger is not empty, and with the number of the line when the file
    is not what was exported; StoreUnavailable, SchemaOutdated. Then nothing was written.
    """
    tell = progress or (lambda check, done, end: None)
    with translated_faults(), engine.connect() as connection:
        be_patient(connection)
        _lock(connection)
        _require_empty(connection)
        reader = _Reader(lines)
        report = reader.header()
        _clear(connection)
        loading = _Loading(connection, reader, report, tell)
        loading.run()
        _compare_heads(report, loading.chain, reader.number)
        _take_references(connection, reader.number)
        install(loading.epoch, loading.newest)
        connection.commit()
    report.lines = reader.number
    return report


def _lock(connection: Connection) -> None:
    """Keep everybody else from writing."""
    names = ", ".join(table.name for table in (*TABLES, *DERIVED_TABLES))
    try:
        connection.execute(text(f"SET LOCAL lock_timeout = {int(PATIENCE_SECONDS * 1000)}"))
        connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))
    except DBAPIError as fault:
        if isinstance(fault.orig, pg.LockNotAvailable):
            raise StoreUnavailable(
                f"somebody was still writing after {PATIENCE_SECONDS:g} s: stop the workers first"
            ) from fault
        raise


def _require_empty(connection: Connection) -> None:
    fresh = {
        schema.installation: "true",
        schema.epochs: "epoch = 1",
        schema.partitions: "cursor = 0 AND sequence = 0",
        schema.ledgers: f"ledger_id = '{GENERAL_LEDGER_ID}'",
    }
    for table in (*TABLES, *DERIVED_TABLES):
        query = f"SELECT EXISTS (SELECT FROM {table.name} WHERE NOT ({fresh.get(table, 'false')}))"
        if connection.execute(text(query)).scalar_one():
            raise ConfigError(
                f"this ledger is not empty ({table.name} has rows): import into a new database "
                "after `daybook migrate`, before anything else"
            )


def _clear(connection: Connection) -> None:
    """Take out the rows that every new ledger has."""
    for table in (schema.installation, schema.epochs, schema.partitions, schema.ledgers):
        connection.execute(text(f"DELETE FROM {table.name}"))


def _take_references(connection: Connection, line: int) -> None:
    """Take what the file's records use, as they were taken where it comes from."""
    try:
        connection.execute(text(FILL))
    except DBAPIError as fault:
        if isinstance(fault.orig, pg.IntegrityError):
            _refuse(
                line, f"a reference is used twice in the file: {fault.orig.diag.message_detail}"
            )
        raise


def _compare_heads(report: TransferReport, chain: _Chain, line: int) -> None:
    claimed = {head.partition: (head.sequence, head.hash) for head in report.heads}
    for partition in sorted(claimed.keys() | chain.ends.keys()):
        sequence, head = chain.ends.get(partition, (0, GENESIS))
        if claimed.get(partition) != (sequence, head.hex()):
            _refuse(line, f"the chain of partition {partition} ends elsewhere than line 1 says")


def _refuse(line: int, why: str) -> NoReturn:
    raise ConfigError(f"line {line}: {why}; nothing was imported")


# Lines


class _Reader:
    """The lines of the file, parsed and counted; the last one proves all the others."""

    def __init__(self, lines: BinaryIO) -> None:
        self._lines = lines
        self._before = sha256()
        self._line = b""
        self.number = 0

    def header(self) -> TransferReport:
        """What the first line says."""
        first = self._next() or {}
        if first.get("daybook") != "export":
            _refuse(1, "is not the first line of a Daybook export")
        if first.get("version") != FORMAT_VERSION:
            _refuse(1, f"has format {first.get('version')}, this version reads {FORMAT_VERSION}")
        try:
            heads = [
                Head(int(each["partition"]), int(each["sequence"]), str(each["head"]))
                for each in first["heads"]
            ]
            counts = {table.name: int(first["counts"][table.name]) for table in TABLES}
        except (KeyError, TypeError, ValueError):
            _refuse(1, "does not say what the file holds")
        return TransferReport(heads, counts)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, up to the last line, which must be right."""
        while (row := self._next()) is not None:
            if row.get("daybook") != "end":
                yield row
                continue
            if (row.get("lines"), row.get("sha256")) != (
                self.number - 1,
                self._before.hexdigest(),
            ):
                _refuse(self.number, "a line before this one is not what was exported")
            if self._lines.read(1):
                _refuse(self.number + 1, "comes after the last line")
            return
        _refuse(self.number + 1, "is missing: the file was cut off")

    def _next(self) -> dict[str, Any] | None:
        self._before.update(self._line)
        self._line = self._lines.readline(LINE_BYTES_MAX + 1)
        if not self._line:
            return None
        self.number += 1
        if len(self._line) > LINE_BYTES_MAX:
            _refuse(self.number, f"is longer than {LINE_BYTES_MAX} bytes")
        if not self._line.endswith(b"\n"):
            _refuse(self.number, "ends early: the file was cut off")
        try:
            row = json.loads(self._line, parse_float=_no_number, parse_constant=_no_number)
        except (ValueError, RecursionError):
            _refuse(self.number, "is not JSON with whole numbers")
        if not isinstance(row, dict):
            _refuse(self.number, "is not a JSON object")
        return row


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


# Tables


class _Loading:
    """Rows on their way into the tables, one COPY for each table, in the order of the tables."""

    def __init__(
        self, connection: Connection, reader: _Reader, report: TransferReport, tell: Progress
    ) -> None:
        self._cursor = driver_of(connection).cursor()
        self._reader = reader
        self._report = report
        self._tell = tell
        self._intakes = intakes()
        self._counts = dict.fromkeys(self._intakes, 0)
        self.chain = _Chain()
        self.epoch = StoredEpoch(0, 0, 0)
        self._open = 0
        self.newest = 0

    def run(self) -> None:
        """Load all rows. Raises ConfigError."""
        rank, first = -1, 2
        for name, rows in groupby(self._reader.rows(), key=lambda row: row.get(TABLE)):
            intake = self._intakes.get(name) if isinstance(name, str) else None
            if intake is None or intake.rank <= rank:
                _refuse(self._reader.number, "names a table that is not expected here")
            rank, first = intake.rank, self._reader.number
            try:
                with self._cursor.copy(intake.statement.encode()) as copy:
                    self._load(intake, rows, copy)
            except (pg.DataError, pg.IntegrityError) as fault:
                _refuse(first, f"one of the {name} from here on does not fit: {_first(fault)}")
        if self._counts != self._report.counts:
            _refuse(self._reader.number, "there are not as many rows as line 1 says")
        if self.epoch.partitions != self._open:
            _refuse(self._reader.number, "the partitions are not as many as the newest epoch's")

    def _load(self, intake: Intake, rows: Iterable[dict[str, Any]], copy: psycopg.Copy) -> None:
        name, end = intake.table.name, self._report.counts[intake.table.name]
        for row in rows:
            count = self._counts[name] = self._counts[name] + 1
            try:
                copy.write(intake.line(row))
                self._look_at(intake.table, row)
            except KeyError as fault:
                _refuse(self._reader.number, f"has no {fault.args[0]}")
            except ValueError as fault:
                _refuse(self._reader.number, str(fault))
            if count % PROGRESS_EVERY_RECORDS == 0:
                self._tell(name, count, max(end, count))
        self._tell(name, self._counts[name], self._counts[name])

    def _look_at(self, table: Table, row: dict[str, Any]) -> None:
        if table is schema.transactions:
            self.chain.step(row)
        elif table is schema.epochs:
            self.epoch = StoredEpoch(row["epoch"], row["partitions"], row["fence"])
        elif table is schema.partitions:
            self.newest = max(self.newest, row["cursor"])
            self._open += row["partition"] < self.epoch.partitions


def _first(fault: psycopg.Error) -> str:
    return str(fault).strip().splitlines()[0]


class _Chain:
    """The walk along the chains; where each has ended so far."""

    def __init__(self) -> None:
        self.ends: dict[int, tuple[int, bytes]] = {}

    def step(self, row: dict[str, Any]) -> None:
        """Check that a record is the next of its partition. Raises ValueError."""
        partition, sequence = row["partition"], row["sequence"]
        last, previous = self.ends.get(partition, (0, GENESIS))
        where = f"partition {partition}, sequence {sequence}"
        if sequence != last + 1:
            raise ValueError(f"{where} follows {last}: records between are missing")
        found = link(previous, partition, sequence, _record(row))
        if found.hex() != row["hash"]:
            raise ValueError(f"{where} is not what was recorded: its hash does not fit")
        self.ends[partition] = sequence, found


_FIELDS = tuple(
    column.name
    for column in stored_columns(schema.transactions)
    if column.name not in ("partition", "sequence", "hash")
)
"""The columns are in the order of the fields of a ``Record``; a test holds that."""

_MOMENTS = ("inflight_expiry_date", "inflight_commit_date", "scheduled_for")


def _record(row: dict[str, Any]) -> Record:
    record = [row.get(name) for name in _FIELDS]
    record[_EFFECTIVE] = _micros(row["effective_date"])
    record[_FINGERPRINT] = bytes.fromhex(row["fingerprint"])
    for name, place in _MOMENT_PLACES:
        if record[place] is not None:
            record[place] = _micros(row[name])
    return Record._make(record)


_EFFECTIVE, _FINGERPRINT = _FIELDS.index("effective_date"), _FIELDS.index("fingerprint")
_MOMENT_PLACES = tuple((name, _FIELDS.index(name)) for name in _MOMENTS)


def _micros(moment: str) -> int:
    """Microseconds since the epoch."""
    return (datetime.fromisoformat(moment) - _EPOCH) // _MICROSECOND
