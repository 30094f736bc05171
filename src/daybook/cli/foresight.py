"""``--dry-run``: what a request would do, balance by balance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from daybook.cli.exits import Exit
from daybook.cli.output import print_fields, print_json, print_table
from daybook.cli.showing import major
from daybook.cli.wiring import open_engine

if TYPE_CHECKING:
    from daybook.client.calls import Calls
    from daybook.ledger.preview import BalancePreview, Preview

RECORDS_SHOWN_MAX = 50
"""Records of a large bulk that a table shows; JSON has them all."""

_FIGURES = ("balance", "available")


def show_dry_run(ask: Callable[[Calls[Any]], Preview], as_json: bool) -> None:
    """Show what a request would do now; exit code 1 when it would be refused."""
    from daybook.apply.dry_run import DryRun

    with open_engine() as engine:
        preview = ask(DryRun(engine))
    if as_json:
        print_json({"dry_run": True, **preview.as_dict()})
    else:
        _show(preview)
    if preview.reason is not None:
        raise typer.Exit(Exit.BAD_ANSWER)


def _show(preview: Preview) -> None:
    fields = preview.as_dict()
    del fields["balances"], fields["records"]
    print_fields({"dry_run": True, **fields})
    if len(preview.records) > 1:
        columns = ["part", "reference", "status", "amount", "reason"]
        shown = preview.records[:RECORDS_SHOWN_MAX]
        rows = [
            (r.part, r.reference, r.status, major(r.precise_amount, r.precision), r.reason)
            for r in shown
        ]
        print_table(columns, rows, right=["part", "amount"])
        if len(preview.records) > RECORDS_SHOWN_MAX:
            typer.echo(
                f"… and {len(preview.records) - RECORDS_SHOWN_MAX} more: --json has them all"
            )
    if preview.balances:
        columns = [f"{name} {when}" for name in _FIGURES for when in ("before", "after")]
        rows = [_row(balance) for balance in preview.balances]
        print_table(["balance", "currency", *columns], rows, right=columns)


def _row(balance: BalancePreview) -> tuple[Any, ...]:
    name = balance.indicator or balance.balance_id
    if not balance.exists:
        name += " (new)"
    figures = [
        major(getattr(when, figure), balance.precision)
        for figure in _FIGURES
        for when in (balance.before, balance.after)
    ]
    return name, balance.currency, *figures
