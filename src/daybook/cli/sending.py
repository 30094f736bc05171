"""What all commands that ask for something share: their options, and the sending."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daybook.cli.exits import Exit
from daybook.cli.foresight import show_dry_run
from daybook.cli.numbers import PATIENCE_SECONDS_MAX
from daybook.cli.output import print_fields, print_json
from daybook.cli.records import fields_of, print_records, recorded_in_parts
from daybook.cli.wiring import open_client
from daybook.errors import FieldError, MalformedRequest, OutcomeUnknown
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason

if TYPE_CHECKING:
    from daybook.client.calls import Calls
    from daybook.client.receipts import Receipt
    from daybook.store.read.views import TransactionView

INPUT_BYTES_MAX = 32 << 20
"""Bytes that are read of a request: the longest bulk, written with room to spare."""

ONLY_IN_JSON = ("amount", "precise_amount", "precision", "currency", "fingerprint")
"""Fields of an outcome that anyone who typed the request knows."""

Wait = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=PATIENCE_SECONDS_MAX,
        metavar="SECONDS",
        help="Wait for the outcome and show it.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show what would happen now; enqueue nothing, write nothing."),
]
MetaDataText = Annotated[
    str | None, typer.Option("--meta-data", metavar="JSON", help="An object, e.g. '{\"note\": 1}'.")
]
Description = Annotated[str, typer.Option(help="Free text.")]
OwnReference = Annotated[
    str | None, typer.Option(help="Makes the request idempotent: sent again, nothing happens.")
]
Rounding = Annotated[
    str | None,
    typer.Option(
        metavar="half_up", help="Round what the precision can't hold; else it is refused."
    ),
]
EffectiveDate = Annotated[
    str | None, typer.Option(metavar="DATE", help="When it counts, e.g. 2026-04-22T15:28:03Z.")
]
MadeBy = Annotated[str | None, typer.Option("--by", help="Who asks for it; kept with the change.")]
Fields = Annotated[
    list[str] | None,
    typer.Argument(metavar="FIELD=VALUE...", help="E.g. first_name=Ada email_address=ada@x.org."),
]


def send(
    ask: Callable[[Calls[Any]], Any], wait: float | None, as_json: bool, dry_run: bool = False
) -> None:
    """Send one request, show its receipt or its outcome, and leave with its exit code.

    dry_run: show what it would do instead.
    """
    if dry_run:
        show_dry_run(ask, as_json)
        return
    from daybook.requests.bounds import GROUP_ID

    with open_client() as client:
        receipt: Receipt = ask(client)
        shown: dict[str, Any] = {
            "id": receipt.id,
            "reference": receipt.reference,
            "state": receipt.state,
        }
        code, trouble = Exit.OK, None
        parts: TransactionView | None = None
        if wait is not None:
            try:
                outcome = receipt.wait(wait)
                shown |= outcome.as_dict()
                if GROUP_ID.match(outcome.transaction_id):
                    parts = recorded_in_parts(outcome.transaction_id)
                if outcome.status == Status.REJECTED:
                    code = Exit.BAD_ANSWER
            except OutcomeUnknown as fault:
                shown["status"] = Status.QUEUED.value
                code, trouble = Exit.UNKNOWN, fault
    _show(shown, parts, as_json)
    if trouble is not None:
        raise trouble
    if code is not Exit.OK:
        raise typer.Exit(code)


def _show(shown: dict[str, Any], parts: TransactionView | None, as_json: bool) -> None:
    """Show a receipt or an outcome, with the records that carry the request out."""
    if as_json:
        if parts is not None:
            shown["records"] = fields_of(parts)["records"]
        print_json(shown)
        return
    own_id = ("transaction_id", shown["id"])  # another one is that of the request it repeats
    print_fields(
        {
            key: value
            for key, value in shown.items()
            if value is not False and key not in ONLY_IN_JSON and (key, value) != own_id
        }
    )
    if parts is not None:
        print_records(parts)


def read_input(name: str) -> bytes:
    """What stands in the file ``name``, or on standard input for ``-``. Raises MalformedRequest."""
    try:
        if name == "-":
            content = sys.stdin.buffer.read(INPUT_BYTES_MAX + 1)
        else:
            with open(name, "rb") as file:
                content = file.read(INPUT_BYTES_MAX + 1)
    except OSError as fault:
        raise wrong("request", f"{name} cannot be read: {fault.strerror}") from None
    if len(content) > INPUT_BYTES_MAX:
        raise wrong("request", f"is longer than {INPUT_BYTES_MAX} bytes")
    return content


def read_request(given: str) -> dict[str, Any]:
    """A request as JSON, from the command line or standard input. Raises MalformedRequest."""
    from daybook.requests import check_json_amount, load_json

    fields = load_json(read_input("-") if given == "-" else given)
    if not isinstance(fields, dict):
        raise wrong("request", "must be a JSON object")
    check_json_amount(fields)
    return fields


def read_bulk(name: str) -> dict[str, Any]:
    """A bulk: a JSON object with ``transactions``, an array of them, or one on each line.

    Raises MalformedRequest.
    """
    from daybook.requests import check_json_amount, load_json

    content = read_input(name)
    try:
        found = load_json(content)
    except MalformedRequest:
        lines = [each for each in enumerate(content.splitlines(), 1) if each[1].strip()]
        if len(lines) < 2 or not _is_object(lines[0][1]):
            raise
        found = [_load_line(number, line) for number, line in lines]
    if isinstance(found, dict) and "transactions" not in found:
        found = [found]
    fields = found if isinstance(found, dict) else {"transactions": found}
    check_json_amount(fields)
    return fields


def _is_object(line: bytes) -> bool:
    """Whether the line is a JSON object by itself, so that the others are meant to be, too."""
    try:
        return isinstance(_load_line(1, line), dict)
    except MalformedRequest:
        return False


def _load_line(number: int, line: bytes) -> Any:
    from daybook.requests import load_json

    try:
        return load_json(line)
    except MalformedRequest as fault:
        raise wrong(f"line {number}", fault.errors[0].message) from None


def meta_data_of(given: str | None) -> dict[str, Any] | None:
    """``--meta-data`` as an object. Raises MalformedRequest."""
    if given is None:
        return None
    from daybook.requests import load_json

    value = load_json(given)
    if not isinstance(value, dict):
        raise wrong("meta_data", "must be a JSON object")
    return value


def pairs(
    given: Iterable[str] | None, field: str | None = None, form: str = "FIELD=VALUE"
) -> dict[str, str]:
    """``name=value`` arguments. field: what they are given by; else each is named by itself.

    form: as the help has it. Raises MalformedRequest.
    """
    found: dict[str, str] = {}
    for text in given or ():
        name, is_pair, value = text.partition("=")
        if not is_pair or not name:
            raise wrong(field or name or "field", f"write it as {form}, not {text[:40]!r}")
        if name in found:
            raise wrong(field or name, f"{name} is given twice" if field else "is given twice")
        found[name] = value
    return found


def legs(given: Iterable[str], field: str) -> list[dict[str, str]]:
    """``BALANCE=SHARE`` options as legs. Raises MalformedRequest."""
    found = []
    for number, text in enumerate(given):
        identifier, is_pair, share = text.rpartition("=")
        if not is_pair:
            raise wrong(f"{field}[{number}]", f"write it as BALANCE=SHARE, not {text[:60]!r}")
        found.append({"identifier": identifier, "distribution": share})
    return found


def wrong(field: str, message: str) -> MalformedRequest:
    """The error of one field of the command line."""
    from daybook.requests.models import malformed

    return malformed([FieldError(field, Reason.MALFORMED, message)])
