"""Show ledgers and balances."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from daybook.cli.naming import ledger_named
from daybook.cli.output import AsJson, print_fields, print_json, print_table
from daybook.cli.showing import (
    Limit,
    checked_identity,
    end_of,
    major,
    say_more,
    shown_name,
)
from daybook.cli.wiring import open_reading

if TYPE_CHECKING:
    from daybook.store.read.history import BalanceAtView
    from daybook.store.read.views import BalanceView

FIGURES = frozenset(
    {
        "balance",
        "available",
        "credit_balance",
        "debit_balance",
        "inflight_balance",
        "inflight_credit_balance",
        "inflight_debit_balance",
    }
)
"""Fields of a balance that are amounts."""


def ledgers(
    after: Annotated[
        str | None, typer.Option(help="Go on behind this ledger, the last of a page.")
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the ledgers."""
    from daybook.store.read import queries

    with open_reading() as connection:
        found = queries.list_ledgers(connection, after=after, limit=limit)
    if as_json:
        print_json([view.asdict() for view in found])
        return
    print_table(
        ("ledger_id", "name", "created"),
        [(view.ledger_id, view.name, view.created_at) for view in found],
        later=("ledger_id",),
        empty="No ledger there.",
    )
    say_more(len(found), limit, found[-1].ledger_id if found else "")


def balances(
    ledger: Annotated[
        str | None, typer.Option(help="Only of this ledger: an id or its name.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Only in this currency.")] = None,
    indicator: Annotated[
        str | None, typer.Option(help="Only internal balances of this name (@Name).")
    ] = None,
    external_id: Annotated[
        str | None, typer.Option(help="Only with this meta_data.external_id.")
    ] = None,
    identity: Annotated[str | None, typer.Option(help="Only of this owner (idt_…).")] = None,
    after: Annotated[
        str | None, typer.Option(help="Go on behind this balance, the last of a page.")
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List balances. Tables show amounts in major units, JSON figures in minor units."""
    from daybook.store.read import queries

    ledger_id = ledger_named(ledger) if ledger is not None else None
    with open_reading() as connection:
        found = queries.list_balances(
            connection,
            ledger_id=ledger_id,
            currency=currency,
            indicator=indicator,
            external_id=external_id,
            identity_id=checked_identity(identity),
            after=after,
            limit=limit,
        )
    if as_json:
        print_json([view.asdict() for view in found])
        return
    print_table(
        ("balance_id", "name", "currency", "balance", "available", "inflight", "version"),
        [
            (
                view.balance_id,
                view.indicator or shown_name(view.meta_data.get("external_id")),
                view.currency,
                major(view.balance, view.precision),
                major(view.available, view.precision),
                major(view.inflight_balance, view.precision),
                view.version,
            )
            for view in found
        ],
        right=("balance", "available", "inflight", "version"),
        later=("balance_id",),
        empty="No balance fits.",
    )
    say_more(len(found), limit, found[-1].balance_id if found else "")


def balance(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="BALANCE",
            help="A balance id (bln_…), an external_id, or @Indicator with --currency.",
        ),
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="Currency of the internal balance, or of --external-id.")
    ] = None,
    external_id: Annotated[
        str | None, typer.Option(help="Find it by its meta_data.external_id instead.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="MOMENT", help="What it stood at then, by effective date; a day: at its end."
        ),
    ] = None,
    from_journal: Annotated[
        bool, typer.Option("--from-journal", help="With --at: sum up the journal, nothing else.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one balance: its four figures in minor units, and what follows from them."""
    if from_journal and at is None:
        raise typer.BadParameter("--from-journal belongs to --at")
    moment = end_of(at, "--at")
    view: BalanceView | BalanceAtView = named_balance(name, currency, external_id)
    if moment is not None:
        view = _balance_at(view.balance_id, moment, from_journal=from_journal)
    fields = view.asdict()
    if as_json:
        print_json(fields)
        return
    print_fields(
        {
            name: f"{value}  ({major(value, view.precision)})" if name in FIGURES else value
            for name, value in fields.items()
            if name != "balance_string"  # stands beside the figure already
        }
    )


def _balance_at(balance_id: str, moment: datetime, *, from_journal: bool) -> BalanceAtView:
    from daybook.store.read.history import balance_at

    with open_reading() as connection:
        found = balance_at(connection, balance_id, moment, from_journal=from_journal)
    assert found is not None
    return found


def named_balance(name: str | None, currency: str | None, external_id: str | None) -> BalanceView:
    """The balance that a command names. Raises BadParameter, NotFound, MalformedRequest."""
    from daybook.store.read.named import find_external_balance, find_named_balance

    if (name is None) == (external_id is None):
        raise typer.BadParameter("give either a balance or --external-id")
    with open_reading() as connection:
        if name is not None:
            return find_named_balance(connection, name, currency)
        return find_external_balance(connection, external_id or "", currency)
