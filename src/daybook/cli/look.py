"""Looking at ledgers, balances and transactions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from daybook.cli.output import AsJson, print_fields, print_json, print_table, to_json
from daybook.cli.wiring import open_client, open_reading
from daybook.errors import ConfigError, LogUnavailable, NotFound
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.money import amount_text

if TYPE_CHECKING:
    from daybook.producing import Outcome
    from daybook.store.views import BalanceView, TransactionView

LIMIT_MAX = 10_000
Limit = Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="Most rows that are shown.")]
FIXED_PLACES = {10: 1, 100: 2, 1_000: 3, 10_000: 4}
"""Decimal places that tables fill up with zeros, by precision."""

RecordedStatus = Literal["APPLIED", "INFLIGHT", "VOID", "REJECTED"]


def ledgers(
    after: Annotated[
        str | None, typer.Option(help="Go on behind this ledger, the last of a page.")
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the ledgers."""
    from daybook.store import queries

    with open_reading() as connection:
        found = queries.list_ledgers(connection, after=after, limit=limit)
    if as_json:
        print_json([view.asdict() for view in found])
        return
    print_table(
        ("ledger_id", "name", "created"),
        [(view.ledger_id, view.name, view.created_at) for view in found],
    )
    _say_more(len(found), limit, found[-1].ledger_id if found else "")


def balances(
    ledger: Annotated[str | None, typer.Option(help="Only of this ledger (ldg_…).")] = None,
    currency: Annotated[str | None, typer.Option(help="Only in this currency.")] = None,
    indicator: Annotated[
        str | None, typer.Option(help="Only internal balances of this name (@Name).")
    ] = None,
    external_id: Annotated[
        str | None, typer.Option(help="Only with this meta_data.external_id.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(help="Go on behind this balance, the last of a page.")
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List balances. Tables show amounts in major units, JSON figures in minor units."""
    from daybook.store import queries

    with open_reading() as connection:
        found = queries.list_balances(
            connection,
            ledger_id=ledger,
            currency=currency,
            indicator=indicator,
            external_id=external_id,
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
                view.indicator or view.meta_data.get("external_id"),
                view.currency,
                _major(view.balance, view.precision),
                _major(view.available, view.precision),
                _major(view.inflight_balance, view.precision),
                view.version,
            )
            for view in found
        ],
        right=("balance", "available", "inflight", "version"),
    )
    _say_more(len(found), limit, found[-1].balance_id if found else "")


def balance(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="BALANCE", help="A balance id (bln_…), or @Indicator with --currency."
        ),
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="Currency of the internal balance, or of --external-id.")
    ] = None,
    external_id: Annotated[
        str | None, typer.Option(help="Find it by its meta_data.external_id instead.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one balance: its four figures in minor units, and what follows from them."""
    if (name is None) == (external_id is None):
        raise typer.BadParameter("give either a balance or --external-id")
    if name is not None and name.startswith("@") and currency is None:
        raise typer.BadParameter(f"{name} exists once for each currency: add --currency")
    view = _find_balance(name, currency, external_id)
    if as_json:
        print_json(view.asdict())
        return
    fields = view.asdict()
    for figure in ("balance", "available"):
        fields[figure] = f"{fields[figure]}  ({_major(fields[figure], view.precision)})"
    print_fields(fields)


def _find_balance(name: str | None, currency: str | None, external_id: str | None) -> BalanceView:
    from daybook.store import queries

    with open_reading() as connection:
        if external_id is not None:
            several = queries.list_balances(
                connection, external_id=external_id, currency=currency, limit=2
            )
            if len(several) > 1:
                raise typer.BadParameter(
                    f"several balances have external_id {external_id}: list them with "
                    f"`daybook balances --external-id {external_id}`"
                )
            found = several[0] if several else None
        else:
            assert name is not None
            is_internal = name.startswith("@") and currency is not None
            balance_id = internal_balance_id(name, currency or "") if is_internal else name
            found = queries.find_balance(connection, balance_id)
    if found is None:
        wanted = (
            f"external_id {external_id}" if name is None else f"{name} {currency or ''}".strip()
        )
        raise NotFound(f"there is no balance {wanted}: list those that are with `daybook balances`")
    return found


def transactions(
    balance: Annotated[
        str | None,
        typer.Option(help="Only of this balance: an id, or @Indicator with --currency."),
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Currency of the @Indicator.")] = None,
    status: Annotated[
        RecordedStatus | None, typer.Option(case_sensitive=False, help="Only in this status.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Only of this reference.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Accepted since, e.g. 2026-04-22 or 2026-04-22T15:28Z."),
    ] = None,
    parent: Annotated[
        str | None, typer.Option(help="Only commits and voids of this hold (txn_…).")
    ] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest transactions of the journal."""
    from daybook.store import queries

    if balance is not None and balance.startswith("@"):
        if currency is None:
            raise typer.BadParameter(f"{balance} exists once for each currency: add --currency")
        balance = internal_balance_id(balance, currency)
    with open_reading() as connection:
        found = queries.list_transactions(
            connection,
            balance_id=balance,
            status=status,
            reference=reference,
            since=_moment(since),
            parent=parent,
            limit=limit,
        )
    if as_json:
        print_json([_without_hold(view) for view in found])
        return
    print_table(
        ("accepted", "transaction_id", "reference", "kind", "status", "amount", "currency"),
        [
            (
                view.created_at,
                view.transaction_id,
                view.reference,
                view.kind,
                f"{view.status} {view.reason or ''}".strip(),
                _amount(view),
                view.currency,
            )
            for view in found
        ],
        right=("amount",),
    )


def transaction(
    name: Annotated[
        str, typer.Argument(metavar="TRANSACTION", help="A transaction id (txn_…) or a reference.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show one transaction; of a hold also its state, commits and voids.

    What is not in the journal yet is asked of the log.
    """
    from daybook.store import queries
    from daybook.store.views import TransactionView

    with open_reading() as connection:
        found = queries.find_transaction(connection, name)
        actions: list[TransactionView] = []
        if isinstance(found, TransactionView) and found.hold is not None:
            actions = queries.list_transactions(connection, parent=found.transaction_id)
    if found is None:
        fields: dict[str, Any] = _queued(name).as_dict()
    elif isinstance(found, TransactionView) and found.hold is None:
        fields = _without_hold(found)
    else:
        fields = found.asdict()
    if as_json:
        print_json(fields)
        return
    print_fields({key: value for key, value in fields.items() if value is not False})
    if actions:
        print_table(
            ("accepted", "transaction_id", "kind", "status", "amount"),
            [(a.created_at, a.transaction_id, a.kind, a.status, _amount(a)) for a in actions],
            right=("amount",),
        )


def _queued(name: str) -> Outcome:
    """What the log says of a reference that Postgres does not know. Raises NotFound."""
    missing = NotFound(f"no transaction has the id or reference {name!r}")
    try:
        with open_client() as client:
            return client.status(name)
    except NotFound:
        raise missing from None
    except (ConfigError, LogUnavailable) as fault:
        raise NotFound(f"{missing} in the journal; the log cannot be asked: {fault}") from fault


def _without_hold(view: TransactionView) -> dict[str, Any]:
    """A transaction that is no hold has no such field, rather than an empty one."""
    fields = view.asdict()
    del fields["hold"]
    return fields


def _amount(view: TransactionView) -> str | None:
    return None if view.precise_amount is None else _major(view.precise_amount, view.precision)


def _major(figure: int, precision: int | None) -> str:
    """A figure in major units; cents and the like keep their zeros."""
    text = amount_text(figure, precision or 1)
    places = FIXED_PLACES.get(precision or 1)
    if places is None:
        return text
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<{places}}"


def _moment(given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise typer.BadParameter(f"--since: {given} is not a date like 2026-04-22") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _say_more(shown: int, limit: int, last: str) -> None:
    if shown == limit:
        typer.echo(f"There may be more: --after {to_json(last)}", err=True)
