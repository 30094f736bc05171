"""``daybook trial-balance``: what all balances stood at, and what they add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from daybook.cli.output import AsJson, print_json, print_table
from daybook.cli.showing import Limit, end_of, major, shown_name
from daybook.cli.wiring import open_reading

if TYPE_CHECKING:
    from daybook.store.read.trial_balance import SumView, TrialBalanceView

FIGURES = ("debit", "credit", "balance")


def trial_balance(
    at: Annotated[
        str | None,
        typer.Option(metavar="MOMENT", help="By effective date; a day: its end. Default: now."),
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(metavar="@NAME:", help="Only internal balances whose name begins so."),
    ] = None,
    limit: Limit = 1_000,
    as_json: AsJson = False,
) -> None:
    """Show all balances that had moved at a moment, and their sums by currency, ledger and prefix.

    What was only held does not count. Tables show amounts in major units, JSON in minor units.
    """
    from daybook.store.read.trial_balance import has_balance
    from daybook.store.read.trial_balance import trial_balance as read

    moment = end_of(at, "--at")
    with open_reading() as connection:
        found = read(connection, at=moment, prefix=prefix, limit=limit)
        exists = bool(found.balances) or has_balance(connection, prefix)
    if as_json:
        print_json(found.asdict())
    else:
        _print(found, exists)


def _print(found: TrialBalanceView, exists: bool) -> None:
    """exists: whether there is a balance whose name begins as asked for."""
    moved = "Nothing had moved by then." if exists else f"No balance has the prefix {found.prefix}."
    print_table(
        ("name", "balance_id", "currency", *FIGURES),
        [
            (
                line.indicator or shown_name(line.external_id),
                None if line.indicator else line.balance_id,
                line.currency,
                major(line.debit_balance, line.precision),
                major(line.credit_balance, line.precision),
                major(line.balance, line.precision),
            )
            for line in found.balances
        ],
        right=FIGURES,
        later=("balance_id",),
        empty=moved,
    )
    if len(found.balances) < found.balances_total:
        typer.echo(f"{len(found.balances)} of {found.balances_total} balances: --limit", err=True)
    for title, sums in (
        ("prefix", found.prefixes),
        ("ledger", found.ledgers),
        ("sum", found.currencies),
    ):
        if sums:
            _print_sums(title, sums)


def _print_sums(title: str, sums: tuple[SumView, ...]) -> None:
    print_table(
        (title, "currency", "moved", *FIGURES),
        [
            (
                _sum_name(total, sums),
                total.currency,
                total.balances,
                major(total.debit_balance, total.precision),
                major(total.credit_balance, total.precision),
                major(total.balance, total.precision),
            )
            for total in sums
        ],
        right=("moved", *FIGURES),
    )


def _sum_name(total: SumView, sums: tuple[SumView, ...]) -> str:
    """What a sum is of; the id of a ledger stands beside a name that does not tell it."""
    if total.ledger_id is None:
        return total.name or "all"
    namesakes = {each.ledger_id for each in sums if each.name == total.name}
    name = shown_name(total.name)
    if name is None:
        return total.ledger_id
    return name if len(namesakes) == 1 else f"{name} ({total.ledger_id})"
