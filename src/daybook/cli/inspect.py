"""Show ledgers, balances and transactions."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from daybook.cli.output import AsJson, print_fields, print_json, print_table
from daybook.cli.sending import wrong
from daybook.cli.showing import Limit, checked_id, end_of, major, moment_of, say_more
from daybook.cli.wiring import open_client, open_reading
from daybook.errors import ConfigError, LogUnavailable, MalformedRequest, NotFound, OutcomeUnknown
from daybook.ledger.balance import internal_balance_id

if TYPE_CHECKING:
    from daybook.client.names import Name
    from daybook.client.receipts import Outcome
    from daybook.store.read.history import BalanceAtView
    from daybook.store.read.views import BalanceView, RejectionView, TransactionView

RecordedStatus = Literal["APPLIED", "INFLIGHT", "VOID", "REJECTED", "SCHEDULED"]
RecordedKind = Literal[
    "transaction",
    "bulk",
    "commit",
    "void",
    "refund",
    "schedule",
    "cancel",
    "ledger",
    "balance",
    "identity",
    "change",
    "all",
]
ONLY_IN_FULL = ("refunded_by", "hold", "records", "actions")
"""Fields of a transaction that was asked for by name; those that it has not are not shown."""
TABLES = ("records", "actions")
"""Those of them that are lists."""


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
    )
    say_more(len(found), limit, found[-1].ledger_id if found else "")


def balances(
    ledger: Annotated[str | None, typer.Option(help="Only of this ledger (ldg_…).")] = None,
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

    with open_reading() as connection:
        found = queries.list_balances(
            connection,
            ledger_id=checked_id(ledger, "ledger"),
            currency=currency,
            indicator=indicator,
            external_id=external_id,
            identity_id=checked_id(identity, "identity"),
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
                major(view.balance, view.precision),
                major(view.available, view.precision),
                major(view.inflight_balance, view.precision),
                view.version,
            )
            for view in found
        ],
        right=("balance", "available", "inflight", "version"),
    )
    say_more(len(found), limit, found[-1].balance_id if found else "")


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
    for figure in {"balance", "available"} & set(fields):
        fields[figure] = f"{fields[figure]}  ({major(fields[figure], view.precision)})"
    print_fields(fields)


def _balance_at(balance_id: str, moment: datetime, *, from_journal: bool) -> BalanceAtView:
    from daybook.store.read.history import balance_at

    with open_reading() as connection:
        found = balance_at(connection, balance_id, moment, from_journal=from_journal)
    assert found is not None
    return found


def named_balance(name: str | None, currency: str | None, external_id: str | None) -> BalanceView:
    """The balance that a command names. Raises BadParameter, NotFound."""
    from daybook.store.read import queries

    if (name is None) == (external_id is None):
        raise typer.BadParameter("give either a balance or --external-id")
    if name is not None and name.startswith("@") and currency is None:
        raise typer.BadParameter(f"{name} exists once for each currency: add --currency")
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
        str | None,
        typer.Option(
            help="Only what was done to this transaction, or carries it out: commits, refunds, "
            "legs, items (txn_…, bulk_…)."
        ),
    ] = None,
    kind: Annotated[
        RecordedKind | None,
        typer.Option(
            case_sensitive=False,
            help="Only of this kind, or all; without it, what moves money or tries to.",
        ),
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Only the creation and the changes of this thing.")
    ] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest transactions of the journal."""
    from daybook.store.read import queries

    if balance is not None and balance.startswith("@"):
        if currency is None:
            raise typer.BadParameter(f"{balance} exists once for each currency: add --currency")
        balance = internal_balance_id(balance, currency)
    with open_reading() as connection:
        found = queries.list_transactions(
            connection,
            balance_id=checked_id(balance, "balance"),
            status=status,
            reference=reference,
            since=moment_of(since, "--since"),
            parent=checked_id(parent, "parent"),
            kind=kind,
            subject=subject,
            limit=limit,
        )
    if as_json:
        print_json([_fields(view) for view in found])
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
                major(view.precise_amount, view.precision),
                view.currency,
            )
            for view in found
        ],
        right=("amount",),
    )


def transaction(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="TRANSACTION", help="A transaction id (txn_…, bulk_…) or a reference."
        ),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Its reference, whatever that looks like.")
    ] = None,
    request_id: Annotated[str | None, typer.Option("--id", help="Its id.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one transaction, its legs or items, its hold, and what was done to it.

    What is not in the journal yet is asked of the log. A name that is the id of one transaction
    and the reference of another has to be given by --id or --reference.
    """
    from daybook.store.read.views import TransactionView

    names = _names(name, reference, request_id)
    found = _in_ledger(names)
    if isinstance(found, TransactionView):
        fields = _fields(found)
    else:
        fields = _queued(names).as_dict() if found is None else found.asdict()
    if as_json:
        print_json(fields)
        return
    print_fields(
        {key: value for key, value in fields.items() if value is not False and key not in TABLES}
    )
    if isinstance(found, TransactionView):
        _print_records(found)


def _print_records(view: TransactionView) -> None:
    """The legs or items of a request, then what was done to it."""
    if view.records:
        print_table(
            ("part", "transaction_id", "reference", "source", "destination", "status", "amount"),
            [
                (
                    record.part,
                    record.transaction_id,
                    record.reference,
                    record.source,
                    record.destination,
                    f"{record.status} {record.reason or ''}".strip(),
                    major(record.precise_amount, record.precision),
                )
                for record in view.records
            ],
            right=("part", "amount"),
        )
        if len(view.records) < (view.parts or 0):
            typer.echo(f"{len(view.records)} of {view.parts} parts", err=True)
    if view.actions:
        print_table(
            ("accepted", "transaction_id", "kind", "status", "amount"),
            [
                (
                    action.created_at,
                    action.transaction_id,
                    action.kind,
                    f"{action.status} {action.reason or ''}".strip(),
                    major(action.precise_amount, action.precision),
                )
                for action in view.actions
            ],
            right=("amount",),
        )


def _names(name: str | None, reference: str | None, request_id: str | None) -> list[Name]:
    """What a person may mean, in the order in which it is looked for. Raises MalformedRequest."""
    from daybook.client.names import Name
    from daybook.requests.bounds import GROUP_ID

    given = [one for one in (name, reference, request_id) if one is not None]
    if len(given) != 1:
        raise wrong("TRANSACTION", "give an id or a reference, --id or --reference: one of them")
    if name is None:
        return [Name(reference, request_id)]
    return [Name(id=name), Name(name)] if GROUP_ID.match(name) else [Name(name)]


def _in_ledger(names: list[Name]) -> TransactionView | RejectionView | None:
    """What the ledger has under one of the names. Raises MalformedRequest when that is two."""
    from daybook.store.read import queries

    with open_reading() as connection:
        found = [
            queries.find_transaction(connection, reference=name.reference, id=name.id)
            for name in names
        ]
    views = [view for view in found if view is not None]
    if len(views) > 1 and views[0] != views[1]:
        raise _ambiguous(names[0])
    return views[0] if views else None


def _ambiguous(name: Name) -> MalformedRequest:
    return wrong(
        "TRANSACTION", f"{name.id} is an id and the reference of another: say --id or --reference"
    )


def _queued(names: list[Name]) -> Outcome:
    """What the log says of a name that Postgres does not know. Raises NotFound."""
    spelled = " or ".join(map(str, names))
    missing = NotFound(f"no transaction has the {spelled}")
    found: list[Outcome] = []
    try:
        with open_client() as client:
            # By reference first: by id, a worker may have to be asked.
            for name in reversed(names):
                with suppress(NotFound):
                    found.append(client.status(reference=name.reference, id=name.id))
    except (ConfigError, LogUnavailable, OutcomeUnknown) as fault:
        if not found:
            raise NotFound(f"{missing} in the journal; the log cannot be asked: {fault}") from fault
    if not found:
        raise missing
    if len(found) > 1 and found[0] != found[1]:
        raise _ambiguous(names[0])
    return found[0]


def _fields(view: TransactionView) -> dict[str, Any]:
    """What a transaction has not when it is no hold, refunded or carried out by parts is left out,
    rather than empty."""
    fields = view.asdict()
    for name in ONLY_IN_FULL:
        if not fields[name]:
            del fields[name]
    for name in TABLES:
        if name in fields:
            fields[name] = [_fields(record) for record in getattr(view, name)]
    return fields
