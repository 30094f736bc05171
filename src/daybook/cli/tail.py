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
    from daybook.store.read.queries import reading
    from daybook.store.read.tail import cursor_text, present_end, read_cursor

    with open_engine() as engine:
        if after is not None:
            cursor: Cursor = read_cursor(after)
        else:
            with reading(engine) as connection:
                cursor = present_end(connection)
        try:
            while True:
                cursor, is_end = _show_next(engine, cursor, as_json)
                if is_end and not follow:
                    break
                if is_end:
                    time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        finally:
            typer.echo(f"go on: --after {cursor_text(cursor)}", err=True)


def _show_next(engine: Engine, cursor: Cursor, as_json: bool) -> tuple[Cursor, bool]:
    """Show what follows a cursor; the cursor behind it, and whether that is the end."""
    from daybook.store.read.queries import reading
    from daybook.store.read.tail import cursor_text, moved_on, records_after

    with reading(engine) as connection:
        records = records_after(connection, cursor, limit=RECORDS_AT_ONCE)
    for record in records:
        cursor = moved_on(cursor, [record])
        if as_json:
            typer.echo(to_json({**fields_of(record), "cursor": cursor_text(cursor)}))
        else:
            show_line(_parts(record))
    return cursor, len(records) < RECORDS_AT_ONCE


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
