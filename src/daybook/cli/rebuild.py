"""``daybook rebuild``: derive balances, holds and the rest from the journal again."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daybook.cli.exits import Exit
from daybook.cli.numbers import PATIENCE_SECONDS_MAX
from daybook.cli.output import AsJson, print_table, printable, to_json
from daybook.cli.verify import print_violations, progress_bar
from daybook.cli.wiring import open_engine, open_owner
from daybook.counting import counted

if TYPE_CHECKING:
    from daybook.store.proof.rebuild import Difference, RebuildReport

DIFFERENCES_IN_TABLE_MAX = 200
COLUMNS = ("table", "row", "column", "kept", "journal")


def rebuild(
    check: Annotated[
        bool, typer.Option("--check", help="Only report what differs; exit 1 if anything does.")
    ] = False,
    patience: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=PATIENCE_SECONDS_MAX,
            help="Seconds to wait for the workers' units of work.",
        ),
    ] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Derive balances, holds, metadata and snapshots from the journal again, into place.

    Workers wait meanwhile. Every difference is shown, and nothing is written when there is none.
    It needs the owner of the schema: DAYBOOK_MIGRATION_DATABASE_URL; with --check it does not.
    Exit code 1: a difference was found with --check, or remains.
    """
    from daybook.store.proof import rebuild as rebuilding

    shown = _Lines() if as_json else _Table()
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine() if check else open_owner())
        progress = stack.enter_context(progress_bar())
        if check:
            report = rebuilding.compare(engine, shown.add, progress)
        else:
            report = rebuilding.rebuild(engine, shown.add, progress, patience)
    shown.end(report, check=check)
    if not report.ok:
        raise typer.Exit(Exit.BAD_ANSWER)


class _Lines:
    """JSON, as it comes: one object in all, a difference on each line."""

    def __init__(self) -> None:
        self._separator = '{"differences": [\n'

    def add(self, difference: Difference) -> None:
        fields = dict(zip(COLUMNS, _values(difference), strict=True))
        typer.echo(self._separator + to_json(fields), nl=False)
        self._separator = ",\n"

    def end(self, report: RebuildReport, *, check: bool) -> None:
        del check
        remaining = [
            {"code": each.code, "where": each.where, "message": each.message}
            for each in report.remaining.violations
        ]
        start = '{"differences": [' if self._separator.startswith("{") else "\n"
        rest: dict[str, Any] = {
            "ok": report.ok,
            "changed": report.changed,
            "records": report.records,
            "rows_by_table": report.differences,
            "remaining_total": report.remaining.violations_total,
            "remaining": remaining,
        }
        typer.echo(f"{start}], {to_json(rest)[1:]}")


class _Table:
    """A table for people, of the first differences."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._more = 0

    def add(self, difference: Difference) -> None:
        if len(self._rows) < DIFFERENCES_IN_TABLE_MAX:
            self._rows.append(tuple(map(_shown, _values(difference))))
        else:
            self._more += 1

    def end(self, report: RebuildReport, *, check: bool) -> None:
        if self._rows:
            print_table(COLUMNS, self._rows)
        if self._more:
            typer.echo(f"… and {self._more} more (--json shows all)")
        typer.echo(_summary(report, check=check))
        print_violations(report.remaining)


def _values(difference: Difference) -> tuple[Any, ...]:
    return (
        difference.table,
        difference.place,
        difference.column or None,
        difference.kept,
        difference.journal,
    )


def _shown(value: str | None) -> str:
    return "" if value is None else printable(value)


def _summary(report: RebuildReport, *, check: bool) -> str:
    scope = counted(report.records, "record")
    if not report.remaining.ok and not report.changed:
        return f"NOT rebuilt from {scope}: the journal itself is not right. Restore a backup."
    if not report.differences:
        return f"Nothing differs from the journal: {scope}."
    rows = ", ".join(f"{count} of {table}" for table, count in report.differences.items())
    if check:
        return f"Rows that differ from the journal of {scope}: {rows}."
    end = "All is right now." if report.ok else "The journal cannot tell how the rest was:"
    return f"Rebuilt from {scope}: {rows}. {end}"
