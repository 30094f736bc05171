"""``daybook health``: whether all is well, for people, monitors and containers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from daybook.cli.exits import Exit
from daybook.cli.numbers import PATIENCE_SECONDS_MAX
from daybook.cli.output import AsJson, cell, console, print_json
from daybook.errors import ConfigError
from daybook.settings import current

_CODES = {
    "unavailable": Exit.UNAVAILABLE,
    "failed": Exit.BAD_ANSWER,
    "warning": Exit.WARNING,
    "ok": Exit.OK,
}
"""The worst comes first."""


def health(
    worker: Annotated[
        bool,
        typer.Option(
            "--worker", help="Only whether partitions move: the health check of a worker."
        ),
    ] = False,
    within: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=PATIENCE_SECONDS_MAX,
            metavar="SECONDS",
            help="How long a partition may stand still; DAYBOOK_STALL_SECONDS_MAX if not given.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether all is well: one line for each check.

    Exit codes: 0 all is well; 5 only the quarantine isn't empty, which no restart mends; 1 a
    partition stands still or producers wait for replies; 3 Redis or Postgres can't be asked, or
    its schema is behind.
    """
    from daybook.monitoring.health import Check, examine

    settings = current()
    seconds_max = settings.stall_seconds_max if within is None else within
    try:
        found = list(examine(settings, stall_seconds_max=seconds_max, only_progress=worker))
    except ConfigError as fault:  # where it is to be asked is not known: that is an answer, too
        found = [Check("settings", "unavailable", str(fault))]
    states = {"ok", *(check.state for check in found)}
    code = next(code for state, code in _CODES.items() if state in states)
    if as_json:
        print_json({"healthy": code is Exit.OK, "checks": [asdict(check) for check in found]})
    else:
        out = console()
        for check in found:
            out.print(f"{check.name:10} {check.state:11}", cell(check.detail))
    if code is not Exit.OK:
        raise typer.Exit(code)
