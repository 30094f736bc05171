# ruff: noqa: S608 - every part of these statements stands in this program
"""The whole ledger as lines of JSON, written at one instant, and read into an empty ledger.

The first line says what is to come: the version of the format, the ends of the chains, and how
many rows each table has. Then each row is a line, table by table, each table by its key. The last
line has the SHA-256 of all lines before it, so that a file that was cut off is known as such. All
numbers are integers or texts, moments are UTC, bytes are hexadecimal, and JSON columns are texts,
since their text is part of the chain. Two exports of the same ledger are the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    DateTime,
    Engine,
    LargeBinary,
    Numeric,
    Table,
    Uuid,
    text,
)

from daybook.store import schema
from daybook.store.proof.verify import PROGRESS_EVERY_RECORDS, Head, Progress
from daybook.store.scan import MOMENT_FORMAT_SQL, RECORD_ID_SQL, one_instant, request_id_sql, stream

FORMAT_VERSION = 2
"""Changes when a file of an older version could not be read any more."""

TABLES: tuple[Table, ...] = (
    schema.installation,
    schema.epochs,
    schema.partitions,
    schema.identities,
    schema.ledgers,
    schema.balances,
    schema.transactions,
    schema.transaction_metadata,
    schema.holds,
    schema.schedules,
    schema.deferred_entries,
    schema.rejected_requests,
    schema.snapshots,
    schema.balance_snapshots,
    schema.accounts,
)
"""Everything that makes up the ledger; what is referred to comes first. Keys of the API are none of
it: who may come in is the matter of each installation."""

DERIVED_TABLES: tuple[Table, ...] = (schema.taken_references,)
"""What an import derives from the rest, so that a file can't say otherwise."""

_HEADS = "SELECT partition, sequence, encode(head, 'hex') FROM partitions ORDER BY partition"


@dataclass(slots=True)
class TransferReport:
    """What an export or an import has moved.

    heads: the ends of the chains. counts: rows of each table. lines: of the file.
    """

    heads: list[Head] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    lines: int = 0


_PREFIXES = {
    **dict.fromkeys(("source", "destination", "balance_id"), "bln_"),
    "identity_id": "idt_",
    "account_id": "acc_",
}
"""Of the ids in a column, where they are all of one kind."""

OWN_COLUMNS = frozenset({schema.installation.c.installation_id})
"""What every installation has of its own: a copy of a ledger is another installation."""


def stored_columns(table: Table) -> list[Column[Any]]:
    """The columns of a table that travel: not what is computed from others."""
    return [
        column for column in table.columns if column.computed is None and column not in OWN_COLUMNS
    ]


def export_ledger(
    engine: Engine, write: Callable[[bytes], object], progress: Progress | None = None
) -> TransferReport:
    """Hand the ledger to ``write`` line by line, as it is at one instant, beside live traffic.

    Raises StoreUnavailable, SchemaOutdated.
    """
    report, digest = TransferReport(), sha256()
    tell = progress or (lambda check, done, end: None)

    def put(line: bytes) -> None:
        digest.update(line)
        write(line)
        report.lines += 1

    with one_instant(engine) as connection:
        report.heads = [Head(*row) for row in connection.execute(text(_HEADS))]
        report.counts = {table.name: _count(connection, table) for table in TABLES}
        put(_line(_header(report)))
        connection.execute(text("SET LOCAL enable_sort = off"))  # keys have indexes
        for table in TABLES:
            for row in _told(_rows(connection, table), table.name, report, tell):
                put(row)
    write(_line({"daybook": "end", "lines": report.lines, "sha256": digest.hexdigest()}))
    report.lines += 1
    return report


def _told(
    rows: Iterator[bytes], name: str, report: TransferReport, tell: Progress
) -> Iterator[bytes]:
    """The rows, and a word on the way now and then."""
    end = report.counts[name]
    for number, row in enumerate(rows):
        if number % PROGRESS_EVERY_RECORDS == 0:
            tell(name, number, end)
        yield row
    tell(name, end, end)


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table.name}")).scalar_one())


def _header(report: TransferReport) -> dict[str, Any]:
    return {
        "daybook": "export",
        "version": FORMAT_VERSION,
        "heads": [
            {"partition": head.partition, "sequence": head.sequence, "head": head.hash}
            for head in report.heads
        ],
        "counts": report.counts,
    }


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _rows(connection: Connection, table: Table) -> Iterator[bytes]:
    columns = ", ".join(
        f"{_as_shown(table, column)} AS {column.name}" for column in stored_columns(table)
    )
    keys = ", ".join(f"stored.{column.name}" for column in table.primary_key)
    query = (
        f"SELECT json_strip_nulls(row_to_json(shown))::text FROM {table.name} stored, "
        f"LATERAL (SELECT '{table.name}' AS \"table\", {columns}) shown ORDER BY {keys}"
    )
    for (line,) in stream(connection, query):
        yield line.encode() + b"\n"


def _as_shown(table: Table, column: Column[Any]) -> str:
    """SQL of a column as it stands in the file."""
    name, kind = f"stored.{column.name}", column.type
    if isinstance(kind, Uuid):
        return _id_as_shown(table, column.name, name)
    if isinstance(kind, LargeBinary):
        return f"encode({name}, 'hex')"
    if isinstance(kind, DateTime):
        return f"to_char({name} AT TIME ZONE 'UTC', {MOMENT_FORMAT_SQL})"
    if isinstance(kind, JSON) or (isinstance(kind, Numeric) and kind.scale is None):
        return f"{name}::text"
    return name


def _id_as_shown(table: Table, column: str, name: str) -> str:
    if column in _PREFIXES:
        return f"'{_PREFIXES[column]}' || {name}"
    if table is schema.transactions and column == "transaction_id":
        return RECORD_ID_SQL.replace("kind", "stored.kind").replace("transaction_id", name)
    return request_id_sql(name)
