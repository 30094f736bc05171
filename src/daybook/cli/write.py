"""Submit something: each command hands one request to the log."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from daybook.cli.naming import balance_if_known, ledger_if_known, request_named
from daybook.cli.output import AsJson
from daybook.cli.sending import (
    Description,
    DryRun,
    EffectiveDate,
    MetaDataText,
    OwnReference,
    Rounding,
    Wait,
    legs,
    meta_data_of,
    read_bulk,
    read_request,
    send,
)

BALANCE_HELP = "bln_…, @Name, or the external_id of a balance."
HoldId = Annotated[
    str,
    typer.Argument(
        metavar="HOLD", help="The hold, or a request or bulk with holds: its id or its reference."
    ),
]
PostedId = Annotated[
    str,
    typer.Argument(
        metavar="TRANSACTION", help="The transaction, request or bulk: its id or its reference."
    ),
]


def create_ledger(
    name: Annotated[str, typer.Argument(help="Its name.")],
    ledger_id: Annotated[
        str | None, typer.Option("--id", help="The id to use (ldg_<uuid>); minted if not given.")
    ] = None,
    meta_data: MetaDataText = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Create a ledger. Its id can be used by the very next request."""
    given = meta_data_of(meta_data)
    send(
        lambda client: client.create_ledger(name, ledger_id=ledger_id, meta_data=given),
        wait,
        as_json,
        dry_run,
    )


def create_balance(
    ledger: Annotated[str, typer.Argument(help="The ledger: an id (ldg_…) or its name.")],
    currency: Annotated[str, typer.Argument(help="Its currency, for ever.")],
    balance_id: Annotated[
        str | None, typer.Option("--id", help="The id to use (bln_<uuid>); minted if not given.")
    ] = None,
    indicator: Annotated[
        str | None, typer.Option(help="@Name of an internal balance (general_ledger_id only).")
    ] = None,
    identity_id: Annotated[str | None, typer.Option("--identity", help="Its owner: idt_….")] = None,
    meta_data: MetaDataText = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Create a balance in a ledger. Its id can be used by the very next request."""
    given, ledger_id = meta_data_of(meta_data), ledger_if_known(ledger)
    send(
        lambda client: client.create_balance(
            ledger_id,
            currency,
            balance_id=balance_id,
            indicator=indicator,
            identity_id=identity_id,
            meta_data=given,
        ),
        wait,
        as_json,
        dry_run,
    )


def enqueue(
    request: Annotated[
        str | None,
        typer.Argument(
            metavar="REQUEST", help="The request as JSON, or - to read it from standard input."
        ),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="The key of idempotency, unique over the whole ledger.")
    ] = None,
    source: Annotated[str | None, typer.Option(help=BALANCE_HELP)] = None,
    destination: Annotated[str | None, typer.Option(help=BALANCE_HELP)] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="BALANCE=SHARE",
            help="Instead of --source, once for each: 50%, left, or a fixed amount such as 2.50.",
        ),
    ] = None,
    destinations: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="BALANCE=SHARE", help="The same instead of --destination."),
    ] = None,
    currency: Annotated[str | None, typer.Option()] = None,
    amount: Annotated[
        str | None, typer.Option(metavar="DECIMAL", help="In major units, with --precision.")
    ] = None,
    precise_amount: Annotated[
        str | None, typer.Option(metavar="INTEGER", help="In minor units, instead of --amount.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar="INTEGER", help="Minor units in a major unit; 100 for cents."),
    ] = None,
    rounding: Rounding = None,
    description: Annotated[str | None, typer.Option(help="Free text.")] = None,
    allow_overdraft: Annotated[
        bool, typer.Option("--allow-overdraft", help="The source may go below zero.")
    ] = False,
    overdraft_limit: Annotated[
        str | None, typer.Option(metavar="DECIMAL", help="How far below zero, in major units.")
    ] = None,
    inflight: Annotated[
        bool, typer.Option("--inflight", help="Hold the money until it is committed or voided.")
    ] = False,
    inflight_expiry_date: Annotated[
        str | None, typer.Option(metavar="DATE", help="When a hold is voided by itself.")
    ] = None,
    inflight_commit_date: Annotated[
        str | None, typer.Option(metavar="DATE", help="When a hold is committed by itself.")
    ] = None,
    scheduled_for: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Apply it then; until then it can be cancelled."),
    ] = None,
    effective_date: EffectiveDate = None,
    meta_data: MetaDataText = None,
    ordering_key: Annotated[
        str | None, typer.Option(help="Requests of one key keep their order.")
    ] = None,
    transaction_id: Annotated[
        str | None, typer.Option("--id", help="The id to use (txn_<uuid>); minted if not given.")
    ] = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Hand one request to the log, from options, JSON, or both.

    Options come on top of the fields of the JSON, whose "kind" says what is asked for: by default
    a transaction, or a bulk when there are "transactions".
    """
    options: dict[str, Any] = {
        "reference": reference,
        "sources": legs(sources, "sources") if sources else None,
        "destinations": legs(destinations, "destinations") if destinations else None,
        "currency": currency,
        "amount": amount,
        "precise_amount": precise_amount,
        "precision": precision,
        "rounding": rounding,
        "description": description,
        "allow_overdraft": allow_overdraft or None,
        "overdraft_limit": overdraft_limit,
        "inflight": inflight or None,
        "inflight_expiry_date": inflight_expiry_date,
        "inflight_commit_date": inflight_commit_date,
        "scheduled_for": scheduled_for,
        "effective_date": effective_date,
        "meta_data": meta_data_of(meta_data),
        "ordering_key": ordering_key,
        "transaction_id": transaction_id,
    }
    fields = read_request(request) if request is not None else {}
    fields |= {name: value for name, value in options.items() if value is not None}
    in_currency = fields.get("currency")
    for side, given in (("source", source), ("destination", destination)):
        if given is not None:
            fields[side] = balance_if_known(given, in_currency)
    for leg in (*(options["sources"] or ()), *(options["destinations"] or ())):
        leg["identifier"] = balance_if_known(leg["identifier"], in_currency)
    send(lambda client: client.enqueue(fields), wait, as_json, dry_run)


def commit(
    hold: HoldId,
    amount: Annotated[
        str | None, typer.Option(metavar="DECIMAL", help="A part of it, in major units.")
    ] = None,
    precise_amount: Annotated[
        str | None, typer.Option(metavar="INTEGER", help="A part of it, in minor units.")
    ] = None,
    rounding: Rounding = None,
    reference: OwnReference = None,
    description: Description = "",
    effective_date: EffectiveDate = None,
    meta_data: MetaDataText = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Post the remainder of a hold, or a part of it; or all holds of a request."""
    given, hold_id = meta_data_of(meta_data), request_named(hold)
    send(
        lambda client: client.commit(
            hold_id,
            amount=amount,
            precise_amount=precise_amount,
            rounding=rounding,
            reference=reference,
            description=description,
            effective_date=effective_date,
            meta_data=given,
        ),
        wait,
        as_json,
        dry_run,
    )


def void(
    hold: HoldId,
    reference: OwnReference = None,
    description: Description = "",
    effective_date: EffectiveDate = None,
    meta_data: MetaDataText = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Release the whole remainder of a hold, or of all holds of a request."""
    given, hold_id = meta_data_of(meta_data), request_named(hold)
    send(
        lambda client: client.void(
            hold_id,
            reference=reference,
            description=description,
            effective_date=effective_date,
            meta_data=given,
        ),
        wait,
        as_json,
        dry_run,
    )


def refund(
    transaction: PostedId,
    reference: OwnReference = None,
    description: Description = "",
    effective_date: EffectiveDate = None,
    meta_data: MetaDataText = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Reverse an applied transaction in full, or all that a request has posted. Once."""
    given, refunded_id = meta_data_of(meta_data), request_named(transaction)
    send(
        lambda client: client.refund(
            refunded_id,
            reference=reference,
            description=description,
            effective_date=effective_date,
            meta_data=given,
        ),
        wait,
        as_json,
        dry_run,
    )


def cancel(
    transaction: Annotated[
        str, typer.Argument(help="The scheduled transaction: its id or its reference.")
    ],
    reference: OwnReference = None,
    description: Description = "",
    meta_data: MetaDataText = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Withdraw a scheduled transaction before its time."""
    given, cancelled_id = meta_data_of(meta_data), request_named(transaction)
    send(
        lambda client: client.cancel(
            cancelled_id, reference=reference, description=description, meta_data=given
        ),
        wait,
        as_json,
        dry_run,
    )


def bulk(
    file: Annotated[
        str,
        typer.Argument(
            help="A JSON array of transactions, one on each line, or an object with "
            '"transactions"; - for standard input.'
        ),
    ],
    atomic: Annotated[bool, typer.Option("--atomic", help="Post all of them or none.")] = False,
    inflight: Annotated[bool, typer.Option("--inflight", help="Make every one a hold.")] = False,
    reference: Annotated[
        str | None, typer.Option(help="The key of idempotency; by default made from the content.")
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="Free text, also of transactions that have none.")
    ] = None,
    effective_date: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="When it counts, also for transactions without a date."),
    ] = None,
    meta_data: MetaDataText = None,
    ordering_key: Annotated[
        str | None, typer.Option(help="Requests of one key keep their order.")
    ] = None,
    bulk_id: Annotated[
        str | None, typer.Option("--id", help="The id to use (bulk_<uuid>); minted if not given.")
    ] = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Hand up to 10,000 transactions to the log as one request, in their order."""
    options: dict[str, Any] = {
        "kind": "bulk",
        "atomic": atomic or None,
        "inflight": inflight or None,
        "reference": reference,
        "description": description,
        "effective_date": effective_date,
        "meta_data": meta_data_of(meta_data),
        "ordering_key": ordering_key,
        "bulk_id": bulk_id,
    }
    fields = read_bulk(file)
    fields |= {name: value for name, value in options.items() if value is not None}
    send(lambda client: client.enqueue(fields), wait, as_json, dry_run)
