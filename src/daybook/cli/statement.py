"""``daybook statement`` and ``daybook snapshot``: a balance over time."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daybook.cli.inspect import named_balance
from daybook.cli.output import AsJson, moment_text, print_fields, print_json, print_table, to_json
from daybook.cli.showing import LIMIT_MAX, end_of, major, moment_of, side_of
from daybook.cli.wiring import open_engine, open_log, open_reading
from daybook.counting import counted

if TYPE_CHECKING:
    from daybook.store.read.statements import Statement

LAST_BY_DEFAULT = 100
CSV_COLUMNS = (
    "effective_date",
    "transaction_id",
    "kind",
    "reference",
    "description",
    "other",
    "other_indicator",
    "other_external_id",
    "debit",
    "credit",
    "balance",
    "balance_string",
)


def statement(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="BALANCE",
            help="A balance id (bln_…), an external_id, or @Indicator with --currency.",
        ),
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="Currency of the internal balance, or of --external-id.")
    ] = None,
    external_id: Annotated[
        str | None, typer.Option(help="Find it by its meta_data.external_id instead.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="From this day or moment on (UTC)."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", metavar="DATE", help="Up to this moment, or the end of this day."),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            min=1, max=LIMIT_MAX, help="Only the last lines; 100 unless --from says otherwise."
        ),
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, of any length, with amounts in minor units.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what moved a balance, by effective date, with the balance after each line.

    Tables show amounts in major units, CSV and JSON in minor units.
    """
    from daybook.store.read.statements import open_statement

    if as_csv and as_json:
        raise typer.BadParameter("give either --csv or --json")
    first, end = moment_of(since, "--from"), end_of(until, "--to")
    if first is not None and end is not None and end < first:
        raise typer.BadParameter(f"--to: {until} lies before --from, {since}: turn the two around")
    if last is None and first is None:
        last = LAST_BY_DEFAULT
    balance_id = named_balance(name, currency, external_id).balance_id
    with open_reading() as connection:
        found = open_statement(connection, balance_id, since=first, until=end, last=last)
        assert found is not None
        if as_csv:
            _print_csv(found)
        elif as_json:
            _print_json(found)
        else:
            _print(found)


def snapshot(
    at: Annotated[
        str | None,
        typer.Option(
            metavar="MOMENT",
            help="Of an earlier moment, for a history that was brought in later; a day: its end.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keep the figures of all balances that changed, so that the past is quick to ask about.

    It counts what was accepted before everything that still waits to be applied. Beat takes one
    every DAYBOOK_SNAPSHOT_INTERVAL_SECONDS.
    """
    from daybook.store.read.snapshots import take_snapshot

    moment = end_of(at, "--at")
    with open_engine() as engine, open_log() as log:
        taken = take_snapshot(engine, log, moment)
    if as_json:
        print_json(taken.asdict() if taken else None)
    elif taken is None:
        typer.echo(
            "Nothing newer could be kept: older requests wait to be applied (see `daybook status`),"
            " the moment has not passed, or another snapshot is being taken."
        )
    else:
        typer.echo(f"Kept {counted(taken.balances, 'balance')} as of {moment_text(taken.moment)}.")


def _print_csv(found: Statement) -> None:
    """Opening, lines and closing; a line is written as soon as it is read."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(CSV_COLUMNS)
    out.writerow(_figure_row("opening", found.opening, found))
    for line in found:
        out.writerow(_text(getattr(line, name)) for name in CSV_COLUMNS)
    out.writerow(_figure_row("closing", found.closing, found))


def _figure_row(kind: str, figure: int, found: Statement) -> list[Any]:
    date = found.since if kind == "opening" else found.until
    known = {
        "effective_date": moment_text(date) if date else "",
        "kind": kind,
        "balance": figure,
        "balance_string": found.major(figure),
    }
    return [known.get(name, "") for name in CSV_COLUMNS]


def _text(value: Any) -> Any:
    if value is None:
        return ""
    return moment_text(value) if hasattr(value, "tzinfo") else value


def _print_json(found: Statement) -> None:
    """One object, written piece by piece: its lines may be more than memory holds."""
    head = {
        **_named(found),
        "since": found.since,
        "until": found.until,
        "opening_balance": found.opening,
        "opening_balance_string": found.major(found.opening),
    }
    typer.echo(to_json(head)[:-1] + ', "lines": [', nl=False)
    separator = "\n"
    for line in found:
        typer.echo(separator + to_json(line.asdict()), nl=False)
        separator = ",\n"
    end = {
        "closing_balance": found.closing,
        "closing_balance_string": found.major(found.closing),
    }
    typer.echo("\n], " + to_json(end)[1:])


def _named(found: Statement) -> dict[str, Any]:
    of = found.balance
    return {
        "balance_id": of.balance_id,
        "indicator": of.indicator,
        "currency": of.currency,
        "precision": of.precision,
    }


def _print(found: Statement) -> None:
    precision = found.balance.precision
    lines = iter(found)
    columns = ("effective", "reference", "description", "other side", "debit", "credit", "balance")
    print_fields({**_named(found), "from": found.since, "to": found.until})

    def rows() -> Iterator[tuple[Any, ...]]:
        yield (None, "opening balance", None, None, None, None, major(found.opening, precision))
        for line in islice(lines, LIMIT_MAX):
            yield (
                line.effective_date,
                line.reference,
                line.description,
                side_of(line, "other"),
                major(line.debit or None, precision),
                major(line.credit or None, precision),
                major(line.balance, precision),
            )
        yield (None, "closing balance", None, None, None, None, major(found.closing, precision))

    shown = list(rows())
    is_cut = next(lines, None) is not None
    if is_cut:
        shown.pop()
    print_table(columns, shown, right=("debit", "credit", "balance"), later=("description",))
    if is_cut:
        typer.echo(f"There is more: a table shows {LIMIT_MAX} lines, --csv all of them", err=True)
