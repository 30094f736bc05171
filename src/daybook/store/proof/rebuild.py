# ruff: noqa: S608 - every part of these statements stands in this program
"""Derive what is kept beside the journal from it again, into place.

The journal is the truth; balances, holds and the rest follow from it. Rebuilding locks all
partitions, so that workers wait, finds every row that differs, mends it, proves the result, and
commits all of it at once. A journal whose chain is broken is no truth to derive anything from:
then nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg import errors as pg
from psycopg.rows import dict_row
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from daybook.errors import StoreUnavailable
from daybook.store.engine import translated_faults
from daybook.store.proof.comparing import Comparison, differences_of
from daybook.store.proof.sums import COMPARISONS
from daybook.store.proof.verify import Progress, VerifyReport, check_chains, check_sums
from daybook.store.scan import be_patient, one_instant, stream

PATIENCE_SECONDS = 30.0
"""How long to wait for the unit of work that each worker is in."""

_LOCK_PARTITIONS = "SELECT FROM partitions ORDER BY partition FOR UPDATE"
_LOCK_TABLES = "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE"


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not what the journal says.

    place: the row, as people name it. column: empty when the row as a whole is missing, or should
    not be there; then ``kept`` says so. kept, journal: texts; None: not set.
    """

    table: str
    place: str
    column: str
    kept: str | None
    journal: str | None


Found = Callable[[Difference], None]
"""Called with each difference, so that none of them has to stay in memory."""


@dataclass(slots=True)
class RebuildReport:
    """What was found, and what has become of it.

    records: of the journal. differences: how many there were, by table. changed: whether anything
    was changed. remaining: what the proof finds wrong after all, for the journal cannot tell how
    it was; after a mere comparison, only what is wrong with the journal itself.
    """

    records: int = 0
    differences: dict[str, int] = field(default_factory=dict)
    changed: bool = False
    remaining: VerifyReport = field(default_factory=VerifyReport)

    @property
    def ok(self) -> bool:
        """Whether the ledger is right now."""
        return self.remaining.ok and (self.changed or not self.differences)


def compare(engine: Engine, found: Found, progress: Progress | None = None) -> RebuildReport:
    """Find what ``rebuild`` would change, at one instant, beside live traffic.

    Raises StoreUnavailable, SchemaOutdated.
    """
    report, tell = RebuildReport(), progress or _tell_nobody
    with one_instant(engine) as connection:
        check_chains(connection, report.remaining, tell)
        report.records = report.remaining.records
        for comparison in COMPARISONS:
            with _told(tell, comparison.title):
                rows = f"WITH differing AS ({comparison.differing}) "
                rows += comparison.texts_of("differing")
                _report(connection, rows, comparison, report, found)
    return report


def rebuild(
    engine: Engine,
    found: Found,
    progress: Progress | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> RebuildReport:
    """Make every derived table what the journal says, in one unit of work.

    engine: as the owner of the schema. patience_seconds: how long to wait for each worker's unit
    of work. Nothing is changed when nothing differs, or when the chain is broken. Raises
    StoreUnavailable, also when the workers keep their locks for longer; SchemaOutdated.
    """
    report, tell = RebuildReport(), progress or _tell_nobody
    with one_instant(engine) as connection:
        check_chains(connection, report.remaining, tell)
    report.records = report.remaining.records
    if not report.remaining.ok:
        return report
    report.remaining = VerifyReport()
    with translated_faults(), engine.connect() as connection:
        be_patient(connection)
        _lock(connection, patience_seconds)
        for comparison in COMPARISONS:
            with _told(tell, comparison.title):
                _mend(connection, comparison, report, found)
        for comparison in COMPARISONS:
            if comparison.is_referenced and comparison.table in report.differences:
                connection.execute(text(_removal(comparison)))
        if report.differences:
            check_sums(connection, report.remaining, tell)
            connection.commit()
            report.changed = True
    return report


def _tell_nobody(check: str, done: int, end: int) -> None:
    pass


@contextmanager
def _told(tell: Progress, title: str) -> Iterator[None]:
    tell(title, 0, 1)
    yield
    tell(title, 1, 1)


def _lock(connection: Connection, patience_seconds: float) -> None:
    """Keep workers, and anyone who takes snapshots, from writing until the unit of work ends.

    The rows of the partitions come first and in their order, as workers take them, so that
    nothing deadlocks; who holds none of these holds no balance either.
    """
    milliseconds = int(patience_seconds * 1000)
    tables = ", ".join(dict.fromkeys(["snapshots", *(each.table for each in COMPARISONS)]))
    try:
        connection.execute(text(f"SET LOCAL lock_timeout = {milliseconds}"))
        connection.execute(text(_LOCK_PARTITIONS))
        connection.execute(text(_LOCK_TABLES.format(tables)))
    except DBAPIError as fault:
        if isinstance(fault.orig, pg.LockNotAvailable):
            raise StoreUnavailable(
                f"a unit of work was not over after {patience_seconds:g} s: nothing was changed; "
                "try again, or stop the workers first"
            ) from fault
        raise


def _mend(
    connection: Connection, comparison: Comparison, report: RebuildReport, found: Found
) -> None:
    """Bring one table in line with the journal."""
    kept = _differing(comparison)
    connection.execute(
        text(f"CREATE TEMPORARY TABLE {kept} ON COMMIT DROP AS {comparison.differing}")
    )
    rows = comparison.texts_of(kept)
    if not _report(connection, rows, comparison, report, found):
        return
    for statement in _statements(comparison):
        connection.execute(text(statement))


def _report(
    connection: Connection, rows: str, comparison: Comparison, report: RebuildReport, found: Found
) -> int:
    """Hand on what differs; returns how many rows do."""
    count = 0
    for row in stream(connection, rows, dict_row):
        count += 1
        if row["missing"]:
            found(Difference(comparison.table, row["place"], "", row["missing"], None))
            continue
        for name, kept, journal in differences_of(row):
            found(Difference(comparison.table, row["place"], name, kept, journal))
    if count:
        table = comparison.table
        report.differences[table] = report.differences.get(table, 0) + count
    return count


def _differing(comparison: Comparison) -> str:
    """The temporary table of the rows that differ."""
    return f"differing_{COMPARISONS.index(comparison)}"


def _statements(comparison: Comparison) -> Iterator[str]:
    """What makes the table right, given the rows that differ.

    Rows that others refer to, and that should not be there, are left for the end: until then a row
    that was changed may still name one of them.
    """
    table, keys, differing = comparison.table, comparison.key, _differing(comparison)
    columns = {
        column.name: f"differing.journal_{column.name}{column.cast}"
        for column in comparison.columns
        if not column.is_claim
    }
    changes = ", ".join(f"{name} = {journal}" for name, journal in columns.items())
    yield (
        f"UPDATE {table} kept SET {changes} FROM {differing} differing "
        f"WHERE {_same(comparison)} AND missing IS NULL AND NOT is_absent"
    )
    if comparison.can_insert:
        yield (
            f"INSERT INTO {table} ({', '.join([*keys, *columns])}) "
            f"SELECT {', '.join([*(f'key_{key}' for key in keys), *columns.values()])} "
            f"FROM {differing} differing WHERE is_absent AND is_known"
        )
    if comparison.surplus and not comparison.is_referenced:
        yield _removal(comparison)


def _same(comparison: Comparison) -> str:
    return " AND ".join(f"kept.{key} = differing.key_{key}" for key in comparison.key)


def _removal(comparison: Comparison) -> str:
    return (
        f"DELETE FROM {comparison.table} kept USING {_differing(comparison)} differing "
        f"WHERE {_same(comparison)} AND NOT is_absent AND NOT is_known"
    )
