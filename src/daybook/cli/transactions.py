"""Show the records of the journal, and one transaction in full."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from daybook.cli.inspect import named_balance
from daybook.cli.naming import ledger_named, request_named, subject_named
from daybook.cli.output import AsJson, print_fields, print_json, print_table
from daybook.cli.records import fields_of, print_transaction
from daybook.cli.sending import pairs, wrong
from daybook.cli.showing import (
    Limit,
    end_of,
    major,
    moment_of,
    say_more,
    side_of,
    status_of,
)
from daybook.cli.wiring import open_client, open_reading
from daybook.errors import ConfigError, LogUnavailable, MalformedRequest, NotFound, OutcomeUnknown

if TYPE_CHECKING:
    from daybook.client.names import Name
    from daybook.client.receipts import Outcome
    from daybook.store.read.views import RejectionView, TransactionView

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


def transactions(
    balance: Annotated[
        str | None,
        typer.Option(
            help="Only of this balance: an id, an external_id, or @Indicator with --currency."
        ),
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
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Accepted up to then; a day: to its end.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(help="Go on behind this transaction, the last of a page.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only rejected for this reason.")] = None,
    ledger: Annotated[
        str | None, typer.Option(help="Only with a side in this ledger: an id or its name.")
    ] = None,
    meta: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Only with this in meta_data; several times."),
    ] = None,
    parent: Annotated[
        str | None,
        typer.Option(
            help="Only what was done to this transaction, or carries it out: commits, refunds, "
            "legs, items. An id or a reference."
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

    if balance is not None:
        balance = named_balance(balance, currency, None).balance_id
    ledger_id = ledger_named(ledger) if ledger is not None else None
    with open_reading() as connection:
        found = queries.list_transactions(
            connection,
            balance_id=balance,
            status=status,
            reference=reference,
            since=moment_of(since, "--since"),
            until=end_of(until, "--until"),
            after=after,
            reason=reason,
            ledger_id=ledger_id,
            meta_data=pairs(meta, "meta", "KEY=VALUE"),
            parent=request_named(parent) if parent is not None else None,
            kind=kind,
            subject=subject_named(subject) if subject is not None else None,
            limit=limit,
        )
    if as_json:
        print_json([fields_of(view) for view in found])
        return
    print_table(
        (
            *("accepted", "transaction_id", "reference", "kind", "status"),
            *("source", "destination", "amount", "currency"),
        ),
        [
            (
                view.created_at,
                view.transaction_id,
                view.reference,
                view.kind,
                status_of(view),
                side_of(view, "source"),
                side_of(view, "destination"),
                major(view.precise_amount, view.precision),
                view.currency,
            )
            for view in found
        ],
        right=("amount",),
        later=("status", "kind", "transaction_id", "reference"),
        empty="No transaction fits.",
    )
    say_more(len(found), limit, found[-1].transaction_id if found else "")


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
        if as_json:
            print_json(fields_of(found))
        else:
            print_transaction(found)
        return
    fields = _queued(names).as_dict() if found is None else found.asdict()
    if as_json:
        print_json(fields)
    else:
        print_fields({key: value for key, value in fields.items() if value is not False})


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
