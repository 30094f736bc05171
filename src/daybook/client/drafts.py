"""From a request to an entry of the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from daybook.client.names import Name
from daybook.errors import FieldError, MalformedRequest, ReferenceConflict
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.rejection import Reason
from daybook.queue.entries import (
    KeyState,
    NewEntry,
    key_of_reference,
    key_of_request,
    read_value,
)
from daybook.requests import (
    BalanceRequest,
    BulkRequest,
    IdentityRequest,
    LedgerRequest,
    Request,
    TransactionRequest,
    common_of,
    fingerprint_of,
    mint_bulk_id,
    mint_id,
    request_of,
    slot_of_transaction,
)
from daybook.requests.bounds import BULK_BODY_BYTES_MAX, FUTURE_MAX
from daybook.requests.models import malformed

APPEND_ENTRIES_MAX = 250
"""Entries of one append call: enough to spread its cost, short enough not to stall the server."""

APPEND_BYTES_MAX = BULK_BODY_BYTES_MAX
"""Bytes of requests in one append call: what the longest request has alone."""

ENQUEUE_MANY_MAX = 10_000
"""Requests of one ``enqueue_many``."""

_CREATED = {
    "ledger": ("ledger_id", "ldg"),
    "balance": ("balance_id", "bln"),
    "identity": ("identity_id", "idt"),
}

_Creation = LedgerRequest | BalanceRequest | IdentityRequest

_TASKS = UUID("2f1c3c58-6f0b-5d0a-9a55-3f1f0c2f8a11")


class Draft(NamedTuple):
    """A validated request, ready to be appended.

    minted: its id was made for this draft, so whatever has that id in the log is this draft.
    """

    entry: NewEntry
    reference: str | None
    minted: bool = False

    @property
    def name(self) -> Name:
        """What it can be looked up by."""
        return Name(self.reference, None if self.reference else self.entry.request_id)


def draft(given: Request | Mapping[str, Any], now: Callable[[], float], flags: str = "") -> Draft:
    """The entry for a request: ids minted, key and fingerprint derived.

    now: seconds since the epoch. Raises MalformedRequest.
    """
    return _draft(given, now(), flags)


def _draft(given: Request | Mapping[str, Any], now: float, flags: str = "") -> Draft:
    common = common_of(given) if type(given) is dict else None
    if common is None:
        return _draft_of_any(request_of(given), now, flags)
    reference, slot, body = common
    request_id = mint_id("txn", slot, int(now * 1000))
    key = key_of_reference(reference)
    entry = NewEntry(slot, key, fingerprint_of(body), request_id, body, flags)
    return Draft(entry, reference, minted=True)


def _draft_of_any(request: Request, now: float, flags: str) -> Draft:
    check_effective_dates(request, now)
    request, slot, request_id, minted = _named(request, int(now * 1000))
    reference = getattr(request, "reference", None)
    key = key_of_request(reference, request_id)
    body, slots = request.body(), tuple(sorted(request.slots))
    entry = NewEntry(slot, key, fingerprint_of(body), request_id, body, flags, slots)
    return Draft(entry, reference, minted)


def append_slices(made: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    """``made`` in order, in slices for one append call each."""
    start = size = 0
    for index, item in enumerate(made):
        size += len(item.entry.body)
        if index - start == APPEND_ENTRIES_MAX or (size > APPEND_BYTES_MAX and index > start):
            yield made[start:index]
            start, size = index, len(item.entry.body)
    if start < len(made):
        yield made[start:]


def with_task_id(request: dict[str, Any], task_id: str) -> None:
    """Make the request of a Celery task idempotent, unless it is already.

    The task's id becomes its reference; the id of what is created is derived from it.
    """
    name, prefix = _CREATED.get(str(request.get("kind")), (None, ""))
    if name is None:
        request.setdefault("reference", task_id)
    elif request.get("indicator") is None:
        request.setdefault(name, f"{prefix}_{uuid5(_TASKS, task_id)}")


def drafts(given: Sequence[Request | Mapping[str, Any]], now: Callable[[], float]) -> list[Draft]:
    """The entries for many requests.

    Raises MalformedRequest with the violations of all of them, each field behind its index.
    """
    if len(given) > ENQUEUE_MANY_MAX:
        message = f"more than {ENQUEUE_MANY_MAX} in one call; send them in several"
        raise malformed([FieldError("requests", Reason.MALFORMED, message)])
    found: list[Draft] = []
    errors: list[FieldError] = []
    moment = now()
    for index, request in enumerate(given):
        try:
            found.append(_draft(request, moment))
        except MalformedRequest as fault:
            errors += [
                FieldError(f"[{index}].{error.field}", error.code, error.message)
                for error in fault.errors
            ]
    if errors:
        raise malformed(errors)
    return found


def original_slot(made: Draft, state: KeyState) -> int:
    """The slot of the request that owns the key which ``made`` asked for."""
    if state.request_id.startswith(("txn_", "bulk_")):
        with suppress(ValueError):  # producers may write what is queued: it may be no id
            return slot_of_transaction(state.request_id)
    return made.entry.slot


def conflict(made: Draft, value: str, original_body: bytes | None) -> ReferenceConflict:
    """The exception for a reference that belongs to another request, naming what differs."""
    fields: list[str] = []
    if original_body is not None:
        try:
            original = json.loads(original_body)
            wanted = json.loads(made.entry.body)
            fields = sorted(
                name for name in {*original, *wanted} if original.get(name) != wanted.get(name)
            )
        except (ValueError, AttributeError):
            fields = []
    named = made.reference or made.entry.request_id
    return ReferenceConflict(named, read_value(value).request_id, fields)


class _Named(NamedTuple):
    """A request that has the id of what it creates. minted: its own id was made just now."""

    request: Request
    slot: int
    request_id: str
    minted: bool


def _named(request: Request, now_ms: int) -> _Named:
    given: str | None = None
    if isinstance(request, TransactionRequest):
        given = request.transaction_id
    elif isinstance(request, BulkRequest):
        slot, given = request.slot, request.bulk_id
        return _Named(request, slot, given or mint_bulk_id(slot, now_ms), given is None)
    elif isinstance(request, _Creation):
        return _named_creation(request, now_ms)
    slot = request.slot
    return _Named(request, slot, given or mint_id("txn", slot, now_ms), given is None)


def _named_creation(request: _Creation, now_ms: int) -> _Named:
    name, prefix = _CREATED[request.kind]
    given: str | None = getattr(request, name)
    if given is not None:
        return _Named(request, request.slot, given, minted=False)
    if isinstance(request, BalanceRequest) and request.indicator is not None:
        made, minted = internal_balance_id(request.indicator, request.currency), False
    else:
        made, minted = mint_id(prefix, 0, now_ms), True
    named = request.model_copy(update={name: made})
    return _Named(named, named.slot, made, minted)


def check_effective_dates(request: Request, now: float) -> None:
    """Refuse dates more than a day ahead. now: seconds since the epoch. Raises MalformedRequest."""
    dates: dict[str, datetime] = {}
    own: datetime | None = getattr(request, "effective_date", None)
    if own is not None:
        dates["effective_date"] = own
    if isinstance(request, BulkRequest):
        for place, item in enumerate(request.transactions):
            if item.effective_date is not None:
                dates[f"transactions[{place}].effective_date"] = item.effective_date
    if not dates:
        return
    latest = datetime.fromtimestamp(now, UTC) + FUTURE_MAX
    message = "lies more than a day in the future"
    late = [name for name, moment in dates.items() if moment > latest]
    if late:
        raise malformed([FieldError(name, Reason.MALFORMED, message) for name in late])


def given_request(
    request: Request | Mapping[str, Any] | None, fields: dict[str, Any]
) -> Request | Mapping[str, Any]:
    """What a call was given: a request, or the fields of one. Raises TypeError for both."""
    if request is None:
        return fields
    if fields:
        raise TypeError("give a request or keyword arguments, not both")
    return request
