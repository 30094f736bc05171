"""A comparison of a table with the journal that it is derived from, as SQL.

One description serves the proof, which shows what differs, and ``rebuild``, which mends it.
"""

# ruff: noqa: S608 - every part of these statements stands in this program

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class SumCheck(NamedTuple):
    """One check: its title, the code of its violations, its query, and how a row is explained.

    The query returns only what is wrong: ``found``, how many there are in all, ``place``, and
    what ``explain`` needs; at most ``:shown`` rows.
    """

    title: str
    code: str
    query: str
    explain: Callable[[Mapping[Any, Any]], str]


class Column(NamedTuple):
    """What is compared: the value that is kept, and the journal's.

    kept, journal: SQL over the rows ``kept`` and ``journal``. cast: SQL that makes the column's
    type of the journal's value. is_claim: name is not that of a column, but of something that
    follows from one, and the column can't be made from the journal.
    """

    name: str
    kept: str
    journal: str
    cast: str = ""
    is_claim: bool = False


def column(name: str, journal: str = "") -> Column:
    """A column that is compared as it stands. journal: SQL, if it is not the same column there."""
    return Column(name, f"kept.{name}", journal or f"journal.{name}")


class Comparison(NamedTuple):
    """A table beside what the journal says of it.

    ctes: SQL of common table expressions, the last of which is ``journal``.
    place: SQL over ``kept`` and ``journal``: which row, as people name it.
    key: the table's primary key, and the SQL over ``journal`` of each of its columns.
    join: SQL: which rows belong together.
    is_known: SQL: whether the journal has the row. absent: what is wrong when the table lacks
    what the journal has. surplus: when it has what the journal lacks; empty when it may.
    can_insert: whether the journal says everything about a row that is absent. is_referenced:
    whether rows of other tables name rows of this one.
    """

    title: str
    code: str
    table: str
    ctes: str
    place: str
    key: Mapping[str, str]
    join: str
    is_known: str
    columns: tuple[Column, ...]
    absent: str
    surplus: str = ""
    can_insert: bool = True
    is_referenced: bool = False

    @property
    def _sides(self) -> str:
        return ", ".join(
            f"{column.kept} AS {column.name}, {column.journal} AS journal_{column.name}"
            for column in self.columns
        )

    @property
    def _is_absent(self) -> str:
        return f"kept.{next(iter(self.key))} IS NULL"

    @property
    def _missing(self) -> str:
        surplus = f"WHEN NOT ({self.is_known}) THEN '{self.surplus}'" if self.surplus else ""
        return f"CASE WHEN {self._is_absent} THEN '{self.absent}' {surplus} END"

    @property
    def _differs(self) -> str:
        return " OR ".join(
            f"{column.name} IS DISTINCT FROM journal_{column.name}" for column in self.columns
        )

    @property
    def differing(self) -> str:
        """The query of all rows that differ."""
        keys = ", ".join(
            f"coalesce(kept.{name}, {journal}) AS key_{name}" for name, journal in self.key.items()
        )
        return (
            f"{self.ctes}, compared AS (SELECT {self.place} AS place, {self._missing} AS missing, "
            f"{self._is_absent} AS is_absent, ({self.is_known}) AS is_known, {keys}, "
            f"{self._sides} FROM {self.table} kept FULL JOIN journal ON {self.join})\n"
            f"SELECT * FROM compared WHERE missing IS NOT NULL OR {self._differs}"
        )

    def texts_of(self, rows: str) -> str:
        """A query over rows that differ: everything as text, since what was tampered with may be
        no number or no date any more."""
        texts = ", ".join(
            f"{column.name}::text AS {column.name}, "
            f"journal_{column.name}::text AS journal_{column.name}"
            for column in self.columns
        )
        return f"SELECT place, missing, {texts} FROM {rows} ORDER BY place"

    @property
    def check(self) -> SumCheck:
        """The comparison as a check of the proof."""
        query = (
            f"WITH differing AS ({self.differing}), texts AS ({self.texts_of('differing')})\n"
            "SELECT count(*) OVER () AS found, * FROM texts ORDER BY place LIMIT :shown"
        )
        return SumCheck(self.title, self.code, query, explain_difference)


def differences_of(row: Mapping[Any, Any]) -> list[tuple[str, str | None, str | None]]:
    """Name, kept value and the journal's, of each column in which a row differs."""
    return [
        (name, row[name], row[f"journal_{name}"])
        for name in row
        if f"journal_{name}" in row and row[name] != row[f"journal_{name}"]
    ]


def explain_difference(row: Mapping[Any, Any]) -> str:
    """``x is 5, the journal says 7`` for each column x that differs."""
    if row["missing"]:
        return str(row["missing"])
    return "; ".join(
        f"{name} is {_shown(kept)}, the journal says {_shown(journal)}"
        for name, kept, journal in differences_of(row)
    )


def _shown(value: str | None) -> str:
    return "not set" if value is None else value
