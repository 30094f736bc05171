"""``daybook up`` and ``daybook down``: the instance with nothing to install but the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from daybook.cli.exits import code_of, show_error
from daybook.cli.output import console, print_table, without_password
from daybook.cli.wiring import current, warn_on_stderr
from daybook.counting import counted
from daybook.errors import ConfigError, DaybookError, ExtraMissing
from daybook.extras import require
from daybook.installation.bounds import PARTITIONS_MAX

if TYPE_CHECKING:
    from daybook.embedded.supervisor import Plan

WORKERS_MAX = 256


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when everything is ready.")
    ] = False,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=PARTITIONS_MAX,
            help="Partitions of a new installation (2 if not given).",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=WORKERS_MAX,
            help="Worker processes; by default one each partition, at most one each processor.",
        ),
    ] = None,
    flower: Annotated[
        bool, typer.Option("--flower", help="Start Flower too, on this machine's own address.")
    ] = False,
    no_api: Annotated[bool, typer.Option("--no-api", help="Leave the HTTP API out.")] = False,
) -> None:
    """Start PostgreSQL, Valkey, workers, beat and the HTTP API in the data folder (DAYBOOK_HOME).

    Servers that DAYBOOK_DATABASE_URL and DAYBOOK_REDIS_URL name are used instead of own ones.
    """
    if flower:
        require("flower")
    from daybook.embedded.detached import start_detached
    from daybook.embedded.supervisor import Plan, supervise

    warn_on_stderr()
    settings = current()
    plan = Plan(settings.home, partitions, workers, flower, api=not no_api and _has_api())
    try:
        if detach:
            already = _already_up(plan, no_api=no_api)
            _show(settings.home, already or start_detached(plan))
            if already:
                console().print("It was up already: nothing was started.")
            console().print("Next: [bold]daybook status[/], and [bold]daybook down[/] to stop it.")
            return
        supervise(
            plan,
            settings,
            ready=lambda instance: _show_foreground(settings.home, instance),
            say=lambda line: console().print(line, style="dim", markup=False),
        )
    except DaybookError as error:
        _fail(error)


def down() -> None:
    """Stop what runs in the data folder (DAYBOOK_HOME); the data stays."""
    from daybook.embedded.detached import stop_instance
    from daybook.embedded.folder import check_rights

    home = current().home
    try:
        check_rights(home)
        stopped = stop_instance(home)
    except DaybookError as error:
        _fail(error)
    text = f"Stopped {', '.join(stopped)}." if stopped else f"Nothing runs in {home.resolve()}."
    console().print(text, markup=False)


def _already_up(plan: Plan, *, no_api: bool) -> dict[str, str] | None:
    """The instance that runs in the folder, if it is what is asked for. Raises ConfigError."""
    from daybook.instance import running_instance

    instance = running_instance(plan.home)
    if not instance:
        return None
    for name, wanted in (("partitions", plan.partitions), ("workers", plan.workers)):
        if wanted is not None and str(wanted) != instance.get(name):
            raise ConfigError(
                f"an instance runs in {plan.home.resolve()} with {instance.get(name)} {name}, not "
                f"{wanted}: `daybook down` first, or for partitions `daybook partitions resize`"
            )
    if plan.flower and "flower_url" not in instance:
        raise ConfigError(
            f"an instance runs in {plan.home.resolve()} without Flower: `daybook down` first"
        )
    if no_api and "api_url" in instance:
        raise ConfigError(
            f"an instance runs in {plan.home.resolve()} with the HTTP API: `daybook down` first"
        )
    return instance


def _has_api() -> bool:
    """Whether the API can be started; if not, how it could is said."""
    try:
        require("api")
    except ExtraMissing as missing:
        console().print(f"Without the HTTP API: {missing}", markup=False, soft_wrap=True)
        return False
    return True


def _show(home: Path, instance: dict[str, str]) -> None:
    """Print where everything is: one line for each part."""
    from daybook.embedded.folder import DataFolder
    from daybook.embedded.parts import Roster

    folder = DataFolder(home)
    pids = {record.name: str(record.pid) for record in Roster(folder.roster).records()}
    pids["supervisor"] = instance["supervisor_pid"]
    places = {
        "supervisor": str(folder.home),
        "postgres": without_password(instance["database_url"]),
        "valkey": without_password(instance["redis_url"]),
        "worker": f"{instance['workers']} at {counted(int(instance['partitions']), 'partition')}",
        "beat": f"logs of all parts: {instance['log']}",
    }
    for part in ("api", "flower"):
        if (url := instance.get(f"{part}_url")) is not None:
            places[part] = url
    rows = [(part, place, pids.get(part, "not ours")) for part, place in places.items()]
    console().print("Daybook is up")
    print_table(("part", "where", "pid"), rows)


def _show_foreground(home: Path, instance: dict[str, str]) -> None:
    _show(home, instance)
    console().print("Next, in another terminal: [bold]daybook status[/]. Ctrl-C stops everything.")


def _fail(error: DaybookError) -> NoReturn:
    show_error(error)
    raise typer.Exit(code_of(error)) from error
