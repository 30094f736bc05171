"""All commands, and what ``--help`` says of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from daybook import __version__
from daybook.cli import (
    backfill,
    change,
    dates,
    demo,
    health,
    identities,
    inspect,
    partitions,
    quarantine,
    rebuild,
    serve,
    statement,
    status,
    tail,
    transactions,
    transfer,
    trial_balance,
    up,
    verify,
    write,
)
from daybook.cli.exits import MEANINGS, code_of, show_error
from daybook.cli.options import Program
from daybook.cli.output import escape_what_streams_cannot_write, printable
from daybook.cli.usage import usage_errors
from daybook.errors import ConfigError, DaybookError

HELP_LENGTH_MAX = 200
"""Characters of what ``--help`` says of each command: its first sentence."""


class Group(TyperGroup):
    """Commands whose help loads neither Rich, for its frames, nor pydantic, for its flags."""

    def get_params(self, ctx: Any) -> Any:
        params = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False) and param.default is None:
                param.default = False  # Typer converts a None by pydantic
        return params

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None) or "Commands"
            row = (name, command.get_short_help_str(HELP_LENGTH_MAX))
            panels.setdefault(panel, []).append(row)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


class Commands(Group):
    """The top of the command line: shows what Daybook raises, without a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        escape_what_streams_cannot_write()
        return super().main(*args, **kwargs)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for argument in args:
            if not argument.isascii() and any("\ud800" <= char <= "\udfff" for char in argument):
                shown = os.fsencode(argument).decode("utf-8", "backslashreplace")
                raise typer.BadParameter(f"{printable(shown)} is not UTF-8: write it in that")
        return super().parse_args(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with usage_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        try:
            with usage_errors():
                return super().invoke(ctx)
        except DaybookError as fault:
            error = fault
        except OSError as fault:
            if fault.errno == errno.EPIPE:  # the reader of a pipe has gone
                raise
            error = ConfigError(f"{fault.filename or 'the system'}: {fault.strerror or fault}")
        show_error(error)
        raise typer.Exit(code_of(error)) from error


class ShowByDefault(Group):
    """A group where ``daybook balance X`` means ``daybook balance show X``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not self.no_args_is_help:
            args = ["show"]
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["show", *args]
        return super().parse_args(ctx, args)


def _program(cls: type[Group] = Group, **options: Any) -> Program:
    return Program(cls=cls, pretty_exceptions_enable=False, rich_markup_mode=None, **options)


app = _program(
    name="daybook",
    cls=Commands,
    no_args_is_help=True,
    help="A double-entry ledger fed by a queue: exactly once, in order, provable.",
    epilog=MEANINGS.replace("\n", " "),
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"daybook {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


ledger_commands = _program(no_args_is_help=True, help="Create or rename a ledger.")
balance_commands = _program(
    cls=ShowByDefault, no_args_is_help=True, help="Show a balance, create one, or give it an owner."
)

identity_commands = _program(
    cls=ShowByDefault, no_args_is_help=True, help="Show an identity, create one, or change one."
)

quarantine_commands = _program(
    no_args_is_help=True, help="See what made the code raise; try it again, or give it up."
)
partition_commands = _program(
    cls=ShowByDefault, help="Show the partitions, or change their number while everything runs."
)

_INSTANCE = "An instance of your own"
_INSPECT = "Inspect"
_SUBMIT = "Submit"
_DEPLOYING = "Deploying"


def _command(
    name: str, run: Callable[..., None], panel: str, *examples: str, **options: Any
) -> None:
    """Register a command of the top, in a panel of its help."""
    _part(app, name, run, *examples, rich_help_panel=panel, **options)


def _part(
    program: Program, name: str, run: Callable[..., None], *examples: str, **options: Any
) -> None:
    """Register a command of a group. examples: one on each line below its help."""
    epilog = "\n".join(("\b", "Examples:", *(f"  {line}" for line in examples)))
    program.command(name, epilog=epilog if examples else None, **options)(run)


_command("up", up.up, _INSTANCE)
_command("down", up.down, _INSTANCE)
_command("demo", demo.demo, _INSTANCE)
_command("backfill", backfill.backfill, _SUBMIT)
_command("status", status.status, _INSPECT, "daybook status", "daybook status --json --no-workers")
_command(
    "health",
    health.health,
    _DEPLOYING,
    "daybook health",
    "daybook health --json",
    "daybook health --worker",
)
_command("ledgers", inspect.ledgers, _INSPECT, "daybook ledgers --json")
_command(
    "balances",
    inspect.balances,
    _INSPECT,
    "daybook balances --currency USD --limit 10",
    "daybook balances --external-id A-17",
    "daybook balances --identity idt_…",
)
_command(
    "transactions",
    transactions.transactions,
    _INSPECT,
    "daybook transactions --status REJECTED",
    "daybook transactions --balance @World --currency USD --since 2026-04-22",
    "daybook transactions --parent bulk_…",
    "daybook transactions --kind change",
)
_command(
    "transaction",
    transactions.transaction,
    _INSPECT,
    "daybook transaction order-1",
    "daybook transaction txn_… --json",
)
_command("schedules", dates.schedules, _INSPECT, "daybook schedules --due-before 2026-04-22T15:28Z")
_command(
    "holds",
    dates.holds,
    _INSPECT,
    "daybook holds --limit 10",
    "daybook holds --due-before 2026-04-22",
)
_command("identities", identities.identities, _INSPECT, "daybook identities --json")
_command(
    "changes", identities.changes, _INSPECT, "daybook changes bln_…", "daybook changes idt_… --json"
)
_command(
    "statement",
    statement.statement,
    _INSPECT,
    "daybook statement bln_… --last 20",
    "daybook statement @Revenue --currency USD --from 2026-04-01 --to 2026-04-30",
    "daybook statement bln_… --from 2020-01-01 --csv > statement.csv",
)
_command(
    "snapshot",
    statement.snapshot,
    _DEPLOYING,
    "daybook snapshot",
    "daybook snapshot --at 2023-12-31",
)
_command(
    "tail", tail.tail, _INSPECT, "daybook tail", "daybook tail --after start --no-follow --json"
)
_command(
    "trial-balance",
    trial_balance.trial_balance,
    _INSPECT,
    "daybook trial-balance --at 2026-04-30",
    "daybook trial-balance --prefix @Assets: --json",
)
_command("verify", verify.verify, _INSPECT, "daybook verify --json")
_command(
    "rebuild", rebuild.rebuild, _DEPLOYING, "daybook rebuild --check", "daybook rebuild --json"
)
_command(
    "export",
    transfer.export_ledger,
    _DEPLOYING,
    "daybook export ledger.ndjson",
    "daybook export | gzip > ledger.gz",
)
_command(
    "import",
    transfer.import_ledger,
    _DEPLOYING,
    "daybook import ledger.ndjson",
    "zcat ledger.gz | daybook import -",
)
_command(
    "enqueue",
    write.enqueue,
    _SUBMIT,
    "daybook enqueue --reference order-1 --source @World --destination bln_… "
    "--currency USD --amount 19.99 --precision 100 --allow-overdraft --wait 5",
    "daybook enqueue --reference sale-7 --source @World --to bln_…=left --to @Fees=2.5% "
    "--currency USD --amount 40.00 --precision 100 --allow-overdraft",
    "daybook enqueue - --wait 5 < request.json",
)
_command(
    "bulk",
    write.bulk,
    _SUBMIT,
    "daybook bulk payroll.ndjson --atomic --reference payroll-2026-04 --wait 30",
    "daybook bulk - --inflight < transactions.json",
)
_command(
    "commit",
    write.commit,
    _SUBMIT,
    "daybook commit txn_… --amount 5.00 --reference part-1 --wait 5",
)
_command("void", write.void, _SUBMIT, "daybook void txn_… --wait 5")
_command("refund", write.refund, _SUBMIT, "daybook refund txn_… --description returned --wait 5")
_command("cancel", write.cancel, _SUBMIT, "daybook cancel txn_… --wait 5")
_command(
    "meta-data",
    change.meta_data,
    _SUBMIT,
    'daybook meta-data bln_… \'{"tier": "gold"}\' --by anna --wait 5',
)
_command("migrate", serve.migrate, _DEPLOYING, "daybook migrate --partitions 8")
_command(
    "worker",
    serve.worker,
    _DEPLOYING,
    "daybook worker --concurrency 2",
    "daybook worker -Q daybook.partition.0 -n first@%h",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
_command("api", serve.api, _DEPLOYING, "daybook api", "daybook api --port 8080")
_part(ledger_commands, "create", write.create_ledger, "daybook ledger create Customers --wait 5")
_part(
    ledger_commands, "rename", change.rename_ledger, "daybook ledger rename ldg_… Clients --by anna"
)
_part(
    balance_commands,
    "show",
    inspect.balance,
    "daybook balance bln_…",
    "daybook balance @World --currency USD",
    "daybook balance --external-id A-17 --json",
    "daybook balance bln_… --at 2026-04-22",
)
_part(
    balance_commands,
    "create",
    write.create_balance,
    "daybook balance create ldg_… USD",
    "daybook balance create general_ledger_id USD --indicator @Fees",
)
_part(balance_commands, "link", change.link_balance, "daybook balance link bln_… idt_… --by anna")
_part(identity_commands, "show", identities.identity, "daybook identity idt_…")
_part(
    identity_commands,
    "create",
    change.create_identity,
    "daybook identity create first_name=Ada last_name=Lovelace --wait 5",
)
_part(
    identity_commands,
    "change",
    change.change_identity,
    "daybook identity change idt_… email_address=ada@x.org --by anna",
)
_part(
    quarantine_commands,
    "list",
    quarantine.list_open,
    "daybook quarantine list",
    "daybook quarantine list --all --json",
)
_part(quarantine_commands, "show", quarantine.show, "daybook quarantine show order-1")
_part(
    quarantine_commands,
    "retry",
    quarantine.retry,
    "daybook quarantine retry order-1 --by anna --wait 5",
)
_part(
    quarantine_commands,
    "discard",
    quarantine.discard,
    'daybook quarantine discard order-1 --by anna --why "sent by mistake"',
)
_part(
    partition_commands, "show", partitions.show, "daybook partitions", "daybook partitions --json"
)
_part(
    partition_commands,
    "resize",
    partitions.resize,
    "daybook partitions resize 4",
    "daybook partitions resize 8 --yes --patience 300",
)
app.add_typer(partition_commands, name="partitions", rich_help_panel=_DEPLOYING)
app.add_typer(ledger_commands, name="ledger", rich_help_panel=_SUBMIT)
app.add_typer(balance_commands, name="balance", rich_help_panel=_INSPECT)
app.add_typer(identity_commands, name="identity", rich_help_panel=_INSPECT)
app.add_typer(quarantine_commands, name="quarantine", rich_help_panel=_DEPLOYING)
