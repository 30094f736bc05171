"""``daybook tail``: the journal as it grows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from daybook.cli.exits import INTERRUPTED
from daybook.cli.output import show_line, to_json
from daybook.cli.records import fields_of
from daybook.cli.showing import major, side_of, status_of
from daybook.cli.wiring import open_engine

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from daybook.store.read.tail import Cursor
    from daybook.store.read.views import TransactionView

LOOK_SECONDS = 0.5
RECORDS_AT_ONCE = 1_000


def tail(
    after: Annotated[
        str | None,
        typer.Option(
            metavar="CURSOR",
            help="Go on behind this cursor, or from the start; without it, what comes from now on.",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for more, until Ctrl-C.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each, with its cursor.")
    ] = False,
) -> None:
    """Show each record of the journal, as they are committed. None is skipped.

    The cursor behind the last one is said at the end, and with --json beside each record.
    """
    from daybook.interrupts import until_signal
    from daybook.store.read.queries import reading
    from daybook.store.read.tail import cursor_text, moved_on, present_end, read_cursor

    with open_engine() as engine:
        if after is not None:
            cursor: Cursor = read_cursor(after)
        else:
            with reading(engine) as connection:
                cursor = present_end(connection)
        records = _next(engine, cursor)  # of a cursor that can't be, before any is told
        is_at_end = False
        try:
            with until_signal():
                while True:
                    for record in records:
                        behind = moved_on(cursor, [record])
                        _show(record, cursor_text(behind), as_json)
                        cursor = behind  # an interrupt before this shows the record again
                    if len(records) < RECORDS_AT_ONCE:
                        if not follow:
                            is_at_end = True
                            break
                        time.sleep(LOOK_SECONDS)
                    records = _next(engine, cursor)
        finally:
            typer.echo(f"go on: --after {cursor_text(cursor)}", err=True)
        if not is_at_end:
            raise typer.Exit(INTERRUPTED)


def _next(engine: Engine, cursor: Cursor) -> list[TransactionView]:
    """What follows a cursor, ``RECORDS_AT_ONCE`` at most."""
    from daybook.store.read.queries import reading
    from daybook.store.read.tail import records_after

    with reading(engine) as connection:
        return records_after(connection, cursor, limit=RECORDS_AT_ONCE)


def _show(record: TransactionView, behind: str, as_json: bool) -> None:
    """One record. behind: the cursor behind it."""
    if as_json:
        typer.echo(to_json({**fields_of(record), "cursor": behind}))
    else:
        show_line(_parts(record))


def _parts(record: TransactionView) -> list[str]:
    """What a line says of a record: its ids stand at the end, behind what a person looks for."""
    sides = side_of(record, "source"), side_of(record, "destination")
    amount = major(record.precise_amount, record.precision)
    parts = (
        f"{record.created_at:%Y-%m-%d %H:%M:%S}",
        f"{record.partition}:{record.sequence}",
        record.kind,
        status_of(record),
        f"{amount} {record.currency}" if amount is not None else None,
        " -> ".join(filter(None, sides)),
        record.reference if record.reference != record.transaction_id else None,
        record.transaction_id,
    )
    return [part for part in parts if part]
