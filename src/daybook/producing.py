"""What the clients share: from a request to an entry of the log, and from a reply to a receipt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from daybook.errors import FieldError, MalformedRequest, NotFound, ReferenceConflict
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.rejection import Reason
from daybook.ledger.transaction import Status
from daybook.queue.entries import (
    KeyState,
    NewEntry,
    key_of_id,
    key_of_reference,
    key_of_request,
    read_value,
)
from daybook.queue.log import Appended
from daybook.requests import (
    BalanceRequest,
    CommitRequest,
    LedgerRequest,
    Request,
    TransactionRequest,
    VoidRequest,
    fingerprint_of,
    mint_id,
    slot_of_transaction,
    validate,
)
from daybook.requests.bounds import BALANCE_ID, FUTURE_MAX, LEDGER_ID
from daybook.requests.models import malformed

APPEND_ENTRIES_MAX = 250
"""Entries of one append call: enough to spread its cost, short enough not to stall the server."""

ENQUEUE_MANY_MAX = 10_000
"""Requests of one ``enqueue_many``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request.

    transaction_id: the id of the transaction (or of the ledger or balance that was created).
    status: QUEUED, APPLIED, INFLIGHT, VOID or REJECTED.
    reason, detail: of a rejection, the code and one sentence.
    duplicate: the entry itself changed nothing; the status is that of the original request.
    """

    transaction_id: str
    reference: str | None
    status: str
    reason: str | None = None
    detail: str | None = None
    duplicate: bool = False

    @property
    def final(self) -> bool:
        """Whether the outcome is recorded, so that it will never change."""
        return self.status != Status.QUEUED

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain data, for JSON and for Celery results."""
        return {
            "transaction_id": self.transaction_id,
            "reference": self.reference,
            "status": self.status,
            "reason": self.reason,
            "detail": self.detail,
            "duplicate": self.duplicate,
        }


class Waits(Protocol):
    """Whoever a receipt asks for its outcome: the client that it came from."""

    def wait(self, receipt: Receipt, timeout: float) -> Outcome:
        """The outcome, waited for up to ``timeout`` seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """The proof that a request is in the log.

    id: of the transaction, ledger or balance; of a duplicate, the original's.
    state: ``accepted``; ``duplicate``: the same request is in the log or recorded already;
    ``conflict``: the reference belongs to another request (only from ``enqueue_many``).
    position: place in the total order of acceptance; None unless accepted.
    """

    id: str
    reference: str | None
    key: str
    state: str
    fingerprint: str
    position: int | None = None
    client: Waits | None = None

    def wait(self, timeout: float) -> Outcome:
        """The outcome, waited for up to ``timeout`` seconds.

        Raises OutcomeUnknown when the time is up: the request may still be posted.
        """
        if self.client is None:
            raise TypeError("a receipt of AsyncClient is waited for with `await client.wait(…)`")
        return self.client.wait(self, timeout)


class Draft(NamedTuple):
    """A validated request, ready to be appended."""

    request: Request
    entry: NewEntry
    reference: str | None


def as_request(given: Request | Mapping[str, Any]) -> Request:
    """A mapping is a TransactionRequest; a request is taken as it is. Raises MalformedRequest."""
    if isinstance(given, Mapping):
        return validate(TransactionRequest, given)
    if not isinstance(given, Request):
        message = f"must be a request or a mapping, not {type(given).__name__}"
        raise malformed([FieldError("request", Reason.MALFORMED, message)])
    return given


def draft(given: Request | Mapping[str, Any], now: Callable[[], float], flags: str = "") -> Draft:
    """The entry for a request: ids minted, key and fingerprint derived.

    now: seconds since the epoch. Raises MalformedRequest.
    """
    request = as_request(given)
    if isinstance(request, TransactionRequest):
        _check_effective_date(request, now())
        request_id = request.transaction_id or mint_id("txn", request.slot, int(now() * 1000))
        return _draft(request, request_id, request.reference, flags)
    if isinstance(request, CommitRequest | VoidRequest):
        request_id = mint_id("txn", request.slot, int(now() * 1000))
        return _draft(request, request_id, request.reference, flags)
    if isinstance(request, LedgerRequest):
        ledger_id = request.ledger_id or mint_id("ldg", 0, int(now() * 1000))
        return _draft(request.model_copy(update={"ledger_id": ledger_id}), ledger_id, None, flags)
    assert isinstance(request, BalanceRequest)
    balance_id = request.balance_id or _new_balance_id(request, now)
    return _draft(request.model_copy(update={"balance_id": balance_id}), balance_id, None, flags)


def drafts(given: Sequence[Request | Mapping[str, Any]], now: Callable[[], float]) -> list[Draft]:
    """The entries for many requests.

    Raises MalformedRequest with the violations of all of them, each field behind its index.
    """
    if len(given) > ENQUEUE_MANY_MAX:
        message = f"more than {ENQUEUE_MANY_MAX} in one call; send them in several"
        raise malformed([FieldError("requests", Reason.MALFORMED, message)])
    found: list[Draft] = []
    errors: list[FieldError] = []
    for index, request in enumerate(given):
        try:
            found.append(draft(request, now))
        except MalformedRequest as fault:
            errors += [
                FieldError(f"[{index}].{error.field}", error.code, error.message)
                for error in fault.errors
            ]
    if errors:
        raise malformed(errors)
    return found


def receipt_of(made: Draft, appended: Appended, client: Waits | None = None) -> Receipt:
    """The receipt for what became of a draft."""
    request_id = made.entry.request_id
    if appended.value is not None:
        request_id = read_value(appended.value).request_id
    return Receipt(
        request_id,
        made.reference,
        made.entry.key,
        appended.state,
        made.entry.fingerprint.hex(),
        appended.position,
        client,
    )


def outcome_for(receipt: Receipt, value: bytes) -> Outcome:
    """What the value under a receipt's key means for it.

    When the key belongs to another request, that is a conflict of references.
    """
    state = read_value(value)
    if state.fingerprint != receipt.fingerprint:
        return Outcome(
            receipt.id,
            receipt.reference,
            Status.REJECTED,
            Reason.REFERENCE_CONFLICT,
            f"reference: {receipt.reference} belongs to another request, {state.request_id}",
        )
    return outcome_of(state, receipt.reference, duplicate=receipt.state == "duplicate")


def outcome_of(state: KeyState, reference: str | None, *, duplicate: bool = False) -> Outcome:
    """An outcome as read from its key."""
    return Outcome(
        state.request_id,
        reference,
        state.status,
        state.reason,
        state.detail,
        state.duplicate or duplicate,
    )


def key_of(reference_or_id: str) -> str:
    """The outcome key for what a caller remembers: a reference, or the id of a creation."""
    if LEDGER_ID.match(reference_or_id) or BALANCE_ID.match(reference_or_id):
        return key_of_id(reference_or_id)
    return key_of_reference(reference_or_id)


def not_in_log(reference_or_id: str) -> NotFound:
    """The fault of a look-up that the log can't answer."""
    return NotFound(
        f"the log knows nothing of {reference_or_id!r} (any more): look into the ledger with "
        f"`daybook transaction {reference_or_id}`"
    )


def original_slot(made: Draft, state: KeyState) -> int:
    """The slot of the request that owns the key which ``made`` asked for."""
    if state.request_id.startswith("txn_"):
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


def _draft(request: Request, request_id: str, reference: str | None, flags: str) -> Draft:
    body = request.body()
    key = key_of_request(reference, request_id)
    slot: int = request.slot  # type: ignore[attr-defined]  # every kind of request has one
    entry = NewEntry(slot, key, fingerprint_of(body), request_id, body, flags)
    return Draft(request, entry, reference)


def _new_balance_id(request: BalanceRequest, now: Callable[[], float]) -> str:
    if request.indicator is not None:
        return internal_balance_id(request.indicator, request.currency)
    return mint_id("bln", 0, int(now() * 1000))


def _check_effective_date(request: TransactionRequest, now_seconds: float) -> None:
    moment = request.effective_date
    if moment is None:
        return
    if moment - datetime.fromtimestamp(now_seconds, UTC) > FUTURE_MAX:
        message = "lies more than a day in the future"
        raise malformed([FieldError("effective_date", Reason.MALFORMED, message)])
