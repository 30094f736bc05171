"""``daybook health``: whether all is well, for people, monitors and containers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from daybook.cli.exits import Exit
from daybook.cli.numbers import PATIENCE_SECONDS_MAX
from daybook.cli.output import AsJson, cell, console, print_json
from daybook.cli.wiring import current
from daybook.errors import ConfigError

if TYPE_CHECKING:
    from daybook.monitoring.health import Check
    from daybook.settings import Settings

_CODES = {
    "unavailable": Exit.UNAVAILABLE,
    "failed": Exit.BAD_ANSWER,
    "warning": Exit.WARNING,
    "unknown": Exit.WARNING,
    "ok": Exit.OK,
}
"""The worst comes first."""

_CODES_OF_A_WORKER = {"failed": Exit.BAD_ANSWER, "unavailable": Exit.OK, "ok": Exit.OK}
"""What restarts a worker by its health must not do so because a server is away."""


def health(
    worker: Annotated[
        bool,
        typer.Option(
            "--worker",
            help="Only whether a worker is able to work: what a restart of it would mend.",
        ),
    ] = False,
    node: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The worker's name in Celery; that of this machine's worker if not given.",
        ),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=PATIENCE_SECONDS_MAX,
            metavar="SECONDS",
            help="How long work may stand still; DAYBOOK_STALL_SECONDS_MAX if not given.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="CHECK", help="Only this check; may be given several times."),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK",
            help="Not this check: what it warns of is known. May be given several times.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether all is well: one line for each check.

    Exit codes: 0 all is well; 5 everything works, and something is at risk, can't be known, or
    waits for a person; 1 something that is promised does not happen, or does not hold; 3 Redis or
    Postgres can't be asked, or its schema is behind. With --worker: 1 a restart of the worker may
    mend it; 0 else, also when a server is away.
    """
    settings = current()
    codes = _CODES_OF_A_WORKER if worker else _CODES
    try:
        if worker:
            found = _of_worker(settings, node)
        else:
            found = _of_all(settings, within, only or [], skip or [])
    except ConfigError as fault:  # where it is to be asked is not known: that is an answer, too
        from daybook.monitoring.health import Check

        found, codes = [Check("settings", "unavailable", str(fault))], _CODES
    states = {"ok", *(check.state for check in found)}
    code = next(code for state, code in codes.items() if state in states)
    if as_json:
        print_json({"healthy": code is Exit.OK, "checks": [asdict(check) for check in found]})
    else:
        out = console()
        for check in found:
            out.print(f"{check.name:11} {check.state:11}", cell(check.detail))
    if code is not Exit.OK:
        raise typer.Exit(code)


def _of_all(
    settings: Settings, within: float | None, only: list[str], skip: list[str]
) -> list[Check]:
    from daybook.monitoring.health import examine

    seconds_max = settings.stall_seconds_max if within is None else within
    return list(examine(settings, stall_seconds_max=seconds_max, only=only, skip=skip))


def _of_worker(settings: Settings, node: str | None) -> list[Check]:
    from daybook.instance import running_instance
    from daybook.monitoring.health.worker import examine_worker, node_name

    if node is None and not settings.redis_url:
        node = running_instance(settings.home).get("worker_node")
    return list(examine_worker(settings, node_name(node)))
