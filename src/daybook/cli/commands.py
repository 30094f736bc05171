"""All commands, and what ``--help`` says of them."""

from __future__ import annotations

import errno
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
                raise typer.BadParameter(f"{printable(argument)} is not UTF-8: write it in that")
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


def _examples(*lines: str) -> str:
    """Examples below a command's help, one on each line."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


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


def _register() -> None:
    command = app.command
    command("up", rich_help_panel=_INSTANCE)(up.up)
    command("down", rich_help_panel=_INSTANCE)(up.down)
    command("demo", rich_help_panel=_INSTANCE)(demo.demo)
    command("backfill", rich_help_panel=_SUBMIT)(backfill.backfill)
    command(
        "status",
        rich_help_panel=_INSPECT,
        epilog=_examples("daybook status", "daybook status --json --no-workers"),
    )(status.status)
    command(
        "health",
        rich_help_panel=_DEPLOYING,
        epilog=_examples("daybook health", "daybook health --json", "daybook health --worker"),
    )(health.health)
    command("ledgers", rich_help_panel=_INSPECT, epilog=_examples("daybook ledgers --json"))(
        inspect.ledgers
    )
    command(
        "balances",
        rich_help_panel=_INSPECT,
        epilog=_examples(
            "daybook balances --currency USD --limit 10",
            "daybook balances --external-id A-17",
            "daybook balances --identity idt_…",
        ),
    )(inspect.balances)
    command(
        "transactions",
        rich_help_panel=_INSPECT,
        epilog=_examples(
            "daybook transactions --status REJECTED",
            "daybook transactions --balance @World --currency USD --since 2026-04-22",
            "daybook transactions --parent bulk_…",
            "daybook transactions --kind change",
        ),
    )(inspect.transactions)
    command(
        "transaction",
        rich_help_panel=_INSPECT,
        epilog=_examples("daybook transaction order-1", "daybook transaction txn_… --json"),
    )(inspect.transaction)
    command(
        "schedules",
        rich_help_panel=_INSPECT,
        epilog=_examples("daybook schedules --due-before 2026-04-22T15:28Z"),
    )(dates.schedules)
    command(
        "holds",
        rich_help_panel=_INSPECT,
        epilog=_examples("daybook holds --limit 10", "daybook holds --due-before 2026-04-22"),
    )(dates.holds)
    command("identities", rich_help_panel=_INSPECT, epilog=_examples("daybook identities --json"))(
        identities.identities
    )
    command(
        "changes",
        rich_help_panel=_INSPECT,
        epilog=_examples("daybook changes bln_…", "daybook changes idt_… --json"),
    )(identities.changes)
    command(
        "statement",
        rich_help_panel=_INSPECT,
        epilog=_examples(
            "daybook statement bln_… --last 20",
            "daybook statement @Revenue --currency USD --from 2026-04-01 --to 2026-04-30",
            "daybook statement bln_… --from 2020-01-01 --csv > statement.csv",
        ),
    )(statement.statement)
    command(
        "snapshot",
        rich_help_panel=_DEPLOYING,
        epilog=_examples("daybook snapshot", "daybook snapshot --at 2023-12-31"),
    )(statement.snapshot)
    command(
        "tail",
        rich_help_panel=_INSPECT,
        epilog=_examples("daybook tail", "daybook tail --after start --no-follow --json"),
    )(tail.tail)
    command(
        "trial-balance",
        rich_help_panel=_INSPECT,
        epilog=_examples(
            "daybook trial-balance --at 2026-04-30",
            "daybook trial-balance --prefix @Assets: --json",
        ),
    )(trial_balance.trial_balance)
    command("verify", rich_help_panel=_INSPECT, epilog=_examples("daybook verify --json"))(
        verify.verify
    )
    command(
        "rebuild",
        rich_help_panel=_DEPLOYING,
        epilog=_examples("daybook rebuild --check", "daybook rebuild --json"),
    )(rebuild.rebuild)
    command(
        "export",
        rich_help_panel=_DEPLOYING,
        epilog=_examples("daybook export ledger.ndjson", "daybook export | gzip > ledger.gz"),
    )(transfer.export_ledger)
    command(
        "import",
        rich_help_panel=_DEPLOYING,
        epilog=_examples("daybook import ledger.ndjson", "zcat ledger.gz | daybook import -"),
    )(transfer.import_ledger)
    command(
        "enqueue",
        rich_help_panel=_SUBMIT,
        epilog=_examples(
            "daybook enqueue --reference order-1 --source @World --destination bln_… "
            "--currency USD --amount 19.99 --precision 100 --allow-overdraft --wait 5",
            "daybook enqueue --reference sale-7 --source @World --to bln_…=left --to @Fees=2.5% "
            "--currency USD --amount 40.00 --precision 100 --allow-overdraft",
            "daybook enqueue - --wait 5 < request.json",
        ),
    )(write.enqueue)
    command(
        "bulk",
        rich_help_panel=_SUBMIT,
        epilog=_examples(
            "daybook bulk payroll.ndjson --atomic --reference payroll-2026-04 --wait 30",
            "daybook bulk - --inflight < transactions.json",
        ),
    )(write.bulk)
    command(
        "commit",
        rich_help_panel=_SUBMIT,
        epilog=_examples("daybook commit txn_… --amount 5.00 --reference part-1 --wait 5"),
    )(write.commit)
    command("void", rich_help_panel=_SUBMIT, epilog=_examples("daybook void txn_… --wait 5"))(
        write.void
    )
    command(
        "refund",
        rich_help_panel=_SUBMIT,
        epilog=_examples("daybook refund txn_… --description returned --wait 5"),
    )(write.refund)
    command("cancel", rich_help_panel=_SUBMIT, epilog=_examples("daybook cancel txn_… --wait 5"))(
        write.cancel
    )
    command(
        "meta-data",
        rich_help_panel=_SUBMIT,
        epilog=_examples('daybook meta-data bln_… \'{"tier": "gold"}\' --by anna --wait 5'),
    )(change.meta_data)
    command(
        "migrate", rich_help_panel=_DEPLOYING, epilog=_examples("daybook migrate --partitions 8")
    )(serve.migrate)
    command(
        "worker",
        rich_help_panel=_DEPLOYING,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        epilog=_examples(
            "daybook worker --concurrency 2",
            "daybook worker -Q daybook.partition.0 -n first@%h",
        ),
    )(serve.worker)
    ledger_commands.command("create", epilog=_examples("daybook ledger create Customers --wait 5"))(
        write.create_ledger
    )
    ledger_commands.command(
        "rename", epilog=_examples("daybook ledger rename ldg_… Clients --by anna")
    )(change.rename_ledger)
    balance_commands.command(
        "show",
        epilog=_examples(
            "daybook balance bln_…",
            "daybook balance @World --currency USD",
            "daybook balance --external-id A-17 --json",
            "daybook balance bln_… --at 2026-04-22",
        ),
    )(inspect.balance)
    balance_commands.command(
        "create",
        epilog=_examples(
            "daybook balance create ldg_… USD",
            "daybook balance create general_ledger_id USD --indicator @Fees",
        ),
    )(write.create_balance)
    balance_commands.command(
        "link", epilog=_examples("daybook balance link bln_… idt_… --by anna")
    )(change.link_balance)
    identity_commands.command("show", epilog=_examples("daybook identity idt_…"))(
        identities.identity
    )
    identity_commands.command(
        "create",
        epilog=_examples("daybook identity create first_name=Ada last_name=Lovelace --wait 5"),
    )(change.create_identity)
    identity_commands.command(
        "change",
        epilog=_examples("daybook identity change idt_… email_address=ada@x.org --by anna"),
    )(change.change_identity)
    quarantine_commands.command(
        "list", epilog=_examples("daybook quarantine list", "daybook quarantine list --all --json")
    )(quarantine.list_open)
    quarantine_commands.command("show", epilog=_examples("daybook quarantine show order-1"))(
        quarantine.show
    )
    quarantine_commands.command(
        "retry", epilog=_examples("daybook quarantine retry order-1 --by anna --wait 5")
    )(quarantine.retry)
    quarantine_commands.command(
        "discard",
        epilog=_examples('daybook quarantine discard order-1 --by anna --why "sent by mistake"'),
    )(quarantine.discard)
    partition_commands.command(
        "show", epilog=_examples("daybook partitions", "daybook partitions --json")
    )(partitions.show)
    partition_commands.command(
        "resize",
        epilog=_examples(
            "daybook partitions resize 4", "daybook partitions resize 8 --yes --patience 300"
        ),
    )(partitions.resize)
    app.add_typer(partition_commands, name="partitions", rich_help_panel=_DEPLOYING)
    app.add_typer(ledger_commands, name="ledger", rich_help_panel=_SUBMIT)
    app.add_typer(balance_commands, name="balance", rich_help_panel=_INSPECT)
    app.add_typer(identity_commands, name="identity", rich_help_panel=_INSPECT)
    app.add_typer(quarantine_commands, name="quarantine", rich_help_panel=_DEPLOYING)


_register()
