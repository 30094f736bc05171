"""``daybook backfill``: post a file of transactions through the log."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from daybook.cli.numbers import LINES_PER_SECOND_MAX, PATIENCE_SECONDS_MAX
from daybook.cli.output import AsJson


class DataFormat(StrEnum):
    """How the lines of the file are written."""

    CSV = "csv"
    NDJSON = "ndjson"


def backfill(
    file: Annotated[
        str, typer.Argument(help="CSV or NDJSON file, packed by gzip or not; - for standard input.")
    ],
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--mapping",
            "-m",
            help="TOML file: columns to request fields. Without it each line of FILE is a request "
            "of any kind, as JSON.",
        ),
    ] = None,
    data_format: Annotated[
        DataFormat | None,
        typer.Option("--format", help="By default from the mapping or the file's ending."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate every line, send nothing; needs no server.")
    ] = False,
    is_reversed: Annotated[
        bool,
        typer.Option(
            "--reverse", help="Post the last line first: for files that have the newest first."
        ),
    ] = False,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=LINES_PER_SECOND_MAX,
            help="Lines per second at most, to spare live traffic.",
        ),
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(
            help="File for refused lines (.csv or .ndjson); default: FILE.rejects.csv, beside FILE."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the outcome of every line.")
    ] = True,
    patience: Annotated[
        float,
        typer.Option(
            min=1,
            max=PATIENCE_SECONDS_MAX,
            help="Seconds without any outcome before the run stops.",
        ),
    ] = 120.0,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit with 1 when a line was refused, or cells have unexpected line feeds.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Post a file of transactions, or of any requests, once each, in its order.

    Running it again is safe. The mapping says what the columns mean, and how the file is written:
    delimiter, encoding, decimal comma, lines above the header. A reference stands in a file once: a
    line that repeats one is refused and named.

    Exit codes: 0 every line reached an outcome (refused lines are in the rejects file); 1 some
    were refused or are in doubt, with --strict; 2 the mapping or the file is wrong; 3 stopped
    early: run it again.
    """
    from daybook.cli.backfill_files import Command, run_command

    command = Command(
        file=file,
        mapping=mapping,
        data_format=data_format and data_format.value,
        is_dry_run=dry_run,
        is_reversed=is_reversed,
        lines_per_second=rate,
        rejects=rejects,
        patience_seconds=patience if wait else None,
        is_strict=strict,
        as_json=as_json,
    )
    raise typer.Exit(run_command(command))
