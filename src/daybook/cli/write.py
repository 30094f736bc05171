"""Asking for something: each command hands one request to the log."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daybook.cli.exits import Exit
from daybook.cli.output import AsJson, print_fields, print_json
from daybook.cli.wiring import open_client
from daybook.errors import FieldError, OutcomeUnknown
from daybook.ledger.rejection import Reason
from daybook.ledger.transaction import Status

if TYPE_CHECKING:
    from daybook.client import Client
    from daybook.producing import Receipt

REQUEST_BYTES_MAX = 1 << 20
"""Bytes that are read of a request on standard input."""

Wait = Annotated[
    float | None,
    typer.Option(min=0, metavar="SECONDS", help="Wait for the outcome and show it."),
]
MetaDataText = Annotated[
    str | None, typer.Option("--meta-data", metavar="JSON", help="An object, e.g. '{\"note\": 1}'.")
]
Description = Annotated[str, typer.Option(help="Free text.")]
OwnReference = Annotated[
    str | None, typer.Option(help="Makes the request idempotent: sent again, nothing happens.")
]
HoldId = Annotated[str, typer.Argument(metavar="HOLD", help="The hold: txn_….")]


def create_ledger(
    name: Annotated[str, typer.Argument(help="Its name.")],
    ledger_id: Annotated[
        str | None, typer.Option("--id", help="The id to use (ldg_<uuid>); minted if not given.")
    ] = None,
    meta_data: MetaDataText = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Create a ledger. Its id can be used by the very next request."""
    given = _meta_data(meta_data)
    _send(
        lambda client: client.create_ledger(name, ledger_id=ledger_id, meta_data=given),
        wait,
        as_json,
    )


def create_balance(
    ledger: Annotated[str, typer.Argument(help="The ledger: ldg_…, or general_ledger_id.")],
    currency: Annotated[str, typer.Argument(help="Its currency, for ever.")],
    balance_id: Annotated[
        str | None, typer.Option("--id", help="The id to use (bln_<uuid>); minted if not given.")
    ] = None,
    indicator: Annotated[
        str | None, typer.Option(help="@Name of an internal balance (general_ledger_id only).")
    ] = None,
    meta_data: MetaDataText = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Create a balance in a ledger. Its id can be used by the very next request."""
    given = _meta_data(meta_data)
    _send(
        lambda client: client.create_balance(
            ledger, currency, balance_id=balance_id, indicator=indicator, meta_data=given
        ),
        wait,
        as_json,
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
    source: Annotated[str | None, typer.Option(help="bln_… or @Name.")] = None,
    destination: Annotated[str | None, typer.Option(help="bln_… or @Name.")] = None,
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
    effective_date: Annotated[
        str | None, typer.Option(metavar="DATE", help="When it counts, e.g. 2026-04-22T15:28:03Z.")
    ] = None,
    meta_data: MetaDataText = None,
    ordering_key: Annotated[
        str | None, typer.Option(help="Requests of one key keep their order.")
    ] = None,
    transaction_id: Annotated[
        str | None, typer.Option("--id", help="The id to use (txn_<uuid>); minted if not given.")
    ] = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Hand one transaction request to the log, from options, JSON, or both.

    Options come on top of the fields of the JSON.
    """
    options: dict[str, Any] = {
        "reference": reference,
        "source": source,
        "destination": destination,
        "currency": currency,
        "amount": amount,
        "precise_amount": precise_amount,
        "precision": precision,
        "description": description,
        "allow_overdraft": allow_overdraft or None,
        "overdraft_limit": overdraft_limit,
        "inflight": inflight or None,
        "effective_date": effective_date,
        "meta_data": _meta_data(meta_data),
        "ordering_key": ordering_key,
        "transaction_id": transaction_id,
    }
    fields = _request(request) if request is not None else {}
    fields |= {name: value for name, value in options.items() if value is not None}
    _send(lambda client: client.enqueue(fields), wait, as_json)


def commit(
    hold: HoldId,
    amount: Annotated[
        str | None, typer.Option(metavar="DECIMAL", help="A part of it, in major units.")
    ] = None,
    precise_amount: Annotated[
        str | None, typer.Option(metavar="INTEGER", help="A part of it, in minor units.")
    ] = None,
    reference: OwnReference = None,
    description: Description = "",
    meta_data: MetaDataText = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Post the remainder of a hold, or a part of it."""
    given = _meta_data(meta_data)
    _send(
        lambda client: client.commit(
            hold,
            amount=amount,
            precise_amount=precise_amount,
            reference=reference,
            description=description,
            meta_data=given,
        ),
        wait,
        as_json,
    )


def void(
    hold: HoldId,
    reference: OwnReference = None,
    description: Description = "",
    meta_data: MetaDataText = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Release the whole remainder of a hold."""
    given = _meta_data(meta_data)
    _send(
        lambda client: client.void(
            hold, reference=reference, description=description, meta_data=given
        ),
        wait,
        as_json,
    )


def _send(ask: Callable[[Client], Receipt], wait: float | None, as_json: bool) -> None:
    """Send one request, show its receipt or its outcome, and leave with its exit code."""
    with open_client() as client:
        receipt = ask(client)
        shown: dict[str, Any] = {
            "id": receipt.id,
            "reference": receipt.reference,
            "state": receipt.state,
        }
        code, trouble = Exit.OK, None
        if wait is not None:
            try:
                outcome = receipt.wait(wait)
                shown |= outcome.as_dict()
                if outcome.status == Status.REJECTED:
                    code = Exit.BAD_ANSWER
            except OutcomeUnknown as fault:
                shown["status"] = Status.QUEUED.value
                code, trouble = Exit.UNKNOWN, fault
    if as_json:
        print_json(shown)
    else:
        print_fields({key: value for key, value in shown.items() if value is not False})
    if trouble is not None:
        raise trouble
    if code is not Exit.OK:
        raise typer.Exit(code)


def _request(given: str) -> dict[str, Any]:
    """A request as JSON. Raises MalformedRequest."""
    from daybook.requests import check_json_amount, load_json

    content: str | bytes = given
    if given == "-":
        content = sys.stdin.buffer.read(REQUEST_BYTES_MAX + 1)
        if len(content) > REQUEST_BYTES_MAX:
            raise _malformed("request", f"is longer than {REQUEST_BYTES_MAX} bytes")
    fields = load_json(content)
    if not isinstance(fields, dict):
        raise _malformed("request", "must be a JSON object")
    check_json_amount(fields)
    return fields


def _meta_data(given: str | None) -> dict[str, Any] | None:
    """``--meta-data`` as an object. Raises MalformedRequest."""
    if given is None:
        return None
    from daybook.requests import load_json

    value = load_json(given)
    if not isinstance(value, dict):
        raise _malformed("meta_data", "must be a JSON object")
    return value


def _malformed(name: str, message: str) -> Exception:
    from daybook.requests.models import malformed

    return malformed([FieldError(name, Reason.MALFORMED, message)])
