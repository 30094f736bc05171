"""From a row of an export to a line of ``COPY``: every value is checked on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Uuid,
)

from daybook.ledger.ids import bare
from daybook.store.arrays import copy_text
from daybook.store.transfer.exporting import TABLES, stored_columns

TABLE = "table"
"""The member of a line that names its table."""

_ID = re.compile(r"(?:txn|bulk|bln|ldg|idt|acc)_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_NULL = "\\N"


class Intake(NamedTuple):
    """How rows of one table are read.

    rank: its place among the tables. converters: of each column, with its place in a line of COPY.
    """

    rank: int
    table: Table
    converters: dict[str, tuple[int, Callable[[Any], str]]]

    @property
    def statement(self) -> str:
        return f"COPY {self.table.name} ({', '.join(self.converters)}) FROM STDIN"

    def line(self, row: dict[str, Any]) -> str:
        """The row as a line of COPY. Raises ValueError that names the field."""
        fields = [_NULL] * len(self.converters)
        for name, value in row.items():
            known = self.converters.get(name)
            if known is None:
                if name != TABLE:
                    raise ValueError(f"has a field that is not known: {name}")
            elif value is not None:
                place, convert = known
                try:
                    fields[place] = convert(value)
                except ValueError as fault:
                    raise ValueError(f"{name}: {fault}") from None
        return "\t".join(fields) + "\n"


def intakes() -> dict[str, Intake]:
    """The intake of each table, by its name."""
    found = {}
    for rank, table in enumerate(TABLES):
        columns = enumerate(stored_columns(table))
        converters = {column.name: (place, _converter(column)) for place, column in columns}
        found[table.name] = Intake(rank, table, converters)
    return found


# Values


def _require(is_right: bool, what: str) -> None:
    if not is_right:
        raise ValueError(f"must be {what}")


def _text(value: Any) -> str:
    _require(isinstance(value, str) and "\0" not in value, "a text")
    return copy_text(str(value))


def _integer(value: Any) -> str:
    _require(isinstance(value, int) and not isinstance(value, bool), "a whole number")
    return str(value)


def _number(value: Any) -> str:
    _require(isinstance(value, str) and _NUMBER.fullmatch(value) is not None, "a number as text")
    return str(value)


def _boolean(value: Any) -> str:
    _require(isinstance(value, bool), "true or false")
    return "t" if value else "f"


def _bytes(value: Any) -> str:
    _require(isinstance(value, str) and _HEX.fullmatch(value) is not None, "hexadecimal")
    return f"\\\\x{value}"


def _uuid(value: Any) -> str:
    _require(isinstance(value, str) and _ID.fullmatch(value) is not None, "an id")
    return bare(str(value))


def _moment(value: Any) -> str:
    _require(isinstance(value, str) and value.endswith("Z"), "a moment in UTC")
    datetime.fromisoformat(value)
    return str(value)


def _texts(value: Any) -> str:
    """An array of texts, as Postgres reads it."""
    _require(isinstance(value, list) and all(isinstance(item, str) for item in value), "texts")
    quoted = (item.replace("\\", "\\\\").replace('"', '\\"') for item in value)
    return _text("{" + ",".join(f'"{item}"' for item in quoted) + "}")


def _converter(column: Column[Any]) -> Callable[[Any], str]:
    """What makes a field for COPY of a value, or raises ValueError."""
    kind = column.type
    if isinstance(kind, Uuid):
        return _uuid
    if isinstance(kind, LargeBinary):
        return _bytes
    if isinstance(kind, DateTime):
        return _moment
    if isinstance(kind, Boolean):
        return _boolean
    if isinstance(kind, ARRAY):
        return _texts
    if isinstance(kind, Numeric):
        return _number if kind.scale is None else _integer
    if isinstance(kind, Integer):
        return _integer
    return _text
