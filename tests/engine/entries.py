"""Requests as entries of the log, and the log as the judge reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from daybook.ledger.entry import LogEntry
from daybook.ledger.instructions import Bulk, Deadline
from daybook.ledger.rejection import Rejected
from daybook.requests import decode, fingerprint_of, validate
from daybook.requests.models import request_models
from tests.oracle.scenario import FIRST_POSITION, Parser


def body_of(request: dict[str, Any], request_id: str) -> bytes:
    """A request as a producer, or the sweeper, puts it into the log.

    Raises MalformedRequest when the request is refused at the door.
    """
    kind = request["kind"]
    if kind == "deadline":
        body = {"kind": kind, "transaction_id": request["transaction_id"], "v": 1}
        return json.dumps(body, separators=(",", ":")).encode()
    fields = {name: value for name, value in request.items() if name != "kind"}
    if kind in ("ledger", "balance", "identity", "bulk"):
        fields[f"{kind}_id"] = request_id
    return validate(request_models()[kind], fields).body()


def entry_of(request: dict[str, Any], request_id: str, position: int) -> LogEntry:
    """A request as an entry of the log: validated, written as a body, and decoded again.

    Raises MalformedRequest when the request is refused at the door.
    """
    body = body_of(request, request_id)
    entry = read_entry(body, request_id, position)
    assert not isinstance(entry, Rejected), f"an accepted request cannot be read: {entry}"
    return entry


def last_entry(lines: str, at: int = 0) -> LogEntry:
    """The entry of the last of these lines of a scenario, ``at`` places behind the first."""
    step = list(Parser().steps(lines))[-1]
    assert step.request is not None
    return entry_of(step.request, step.request_id, FIRST_POSITION + at)


def read_entry(body: bytes, request_id: str, position: int) -> LogEntry | Rejected:
    """What stands at a position of the log, decoded."""
    decoded = decode(body, request_id, position >> 20)
    if isinstance(decoded, Rejected):
        return decoded
    return LogEntry(
        position,
        decoded.slot,
        request_id,
        decoded.instruction,
        fingerprint_of(body),
        body,
        decoded.slots,
    )


def accepted_row(entry: LogEntry) -> dict[str, Any]:
    """An entry of the log as the judge reads it."""
    wanted = entry.instruction
    row = {
        "position": entry.position,
        "slot": entry.slot,
        "slots": entry.slots,
        "request_id": entry.request_id,
        "reference": getattr(wanted, "reference", None),
        "fingerprint": entry.fingerprint,
        "kind": type(wanted).__name__,
    }
    if isinstance(wanted, Bulk):
        row |= {"atomic": wanted.atomic, "items": [item.reference for item in wanted.items]}
    if isinstance(wanted, Deadline):
        row["transaction_id"] = wanted.transaction_id
    return row


def accepted_rows(entries: Iterable[LogEntry]) -> list[dict[str, Any]]:
    """The log as the judge reads it."""
    return [accepted_row(entry) for entry in entries]
