"""What the clients share: from a request to an entry of the log, and from a reply to a receipt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid5

from daybook.errors import FieldError, MalformedRequest, NotFound, ReferenceConflict
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.money import amount_text
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason
from daybook.queue.entries import (
    KeyState,
    NewEntry,
    key_of_request,
    read_value,
    reference_of_key,
)
from daybook.queue.log import Appended
from daybook.requests import (
    BalanceRequest,
    BulkRequest,
    IdentityRequest,
    LedgerRequest,
    Request,
    TransactionRequest,
    fingerprint_of,
    mint_bulk_id,
    mint_id,
    request_of,
    slot_of_transaction,
)
from daybook.requests.bounds import (
    BULK_BODY_BYTES_MAX,
    FUTURE_MAX,
)
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
_IDS = ("transaction_id", "bulk_id", "ledger_id", "balance_id", "identity_id")
_TASKS = UUID("2f1c3c58-6f0b-5d0a-9a55-3f1f0c2f8a11")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request.

    transaction_id: the id of the request; of a creation, that of the ledger, balance or identity.
    status: QUEUED, SCHEDULED, APPLIED, INFLIGHT, VOID or REJECTED.
    reason, detail: of a rejection, the code and one sentence.
    duplicate: the entry itself changed nothing; the status is that of the original request.
    precise_amount, precision, currency: what it is about, once it is recorded: minor units, and how
    many of them make a major one; None where it is not one amount, as of a bulk or a creation.
    fingerprint: of the request that the outcome belongs to, as its receipt has it.
    """

    transaction_id: str
    reference: str | None
    status: str
    reason: str | None = None
    detail: str | None = None
    duplicate: bool = False
    precise_amount: int | None = None
    precision: int | None = None
    currency: str | None = None
    fingerprint: str | None = None

    @property
    def amount(self) -> str | None:
        """The amount in major units, as exact decimal text."""
        if self.precise_amount is None or self.precision is None:
            return None
        return amount_text(self.precise_amount, self.precision)

    @property
    def final(self) -> bool:
        """Whether the outcome is recorded, so that it will never change.

        A SCHEDULED one is not final: it will be applied, refused or cancelled.
        """
        return self.status not in (Status.QUEUED, Status.SCHEDULED)

    @property
    def settled(self) -> bool:
        """Whether the outcome is final, or SCHEDULED, which is settled for now.

        It is what a wait waits for.
        """
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
            "amount": self.amount,
            "precise_amount": self.precise_amount,
            "precision": self.precision,
            "currency": self.currency,
            "fingerprint": self.fingerprint,
        }


class Waits(Protocol):
    """Whoever a receipt asks for its outcome: the client that it came from."""

    def wait(self, receipt: Receipt, timeout: float) -> Outcome:
        """The outcome, waited for up to ``timeout`` seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """The proof that a request is in the log.

    id: of the request, or of what it creates; of a duplicate, the original's.
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
    """A validated request, ready to be appended.

    minted: its id was made for this draft, so whatever has that id in the log is this draft.
    """

    request: Request
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
    request = request_of(given)
    check_effective_dates(request, now)
    given_ids = [getattr(request, name, None) for name in _IDS]
    request, request_id = _named(request, int(now() * 1000))
    reference = getattr(request, "reference", None)
    body = request.body()
    entry = NewEntry(
        request.slot,
        key_of_request(reference, request_id),
        fingerprint_of(body),
        request_id,
        body,
        flags,
        tuple(sorted(request.slots)),
    )
    minted = request_id not in given_ids and getattr(request, "indicator", None) is None
    return Draft(request, entry, reference, minted)


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


def named_by_task(request: dict[str, Any], task_id: str) -> None:
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
    request_id, state, position = made.entry.request_id, appended.state, appended.position
    if appended.value is not None:
        found = read_value(appended.value)
        if made.minted and found.request_id == request_id:
            # This very draft was accepted before: the reply was lost, and it was sent again.
            state, position = "accepted", found.position
        request_id = found.request_id
    fingerprint = made.entry.fingerprint.hex()
    return Receipt(request_id, made.reference, made.entry.key, state, fingerprint, position, client)


def outcome_for(receipt: Receipt, value: bytes) -> Outcome:
    """What the value under a receipt's key means for it.

    When the key belongs to another request, that is a conflict of references.
    """
    state = read_value(value)
    if state.fingerprint != receipt.fingerprint:
        return Outcome(
            receipt.id,
            receipt.reference,
            Status.REJECTED.value,
            Reason.REFERENCE_CONFLICT.value,
            f"{receipt.reference or receipt.id} belongs to another request, {state.request_id}",
            fingerprint=receipt.fingerprint,
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
        *state.money,
        state.fingerprint,
    )


class Name(NamedTuple):
    """What a caller remembers of a request: its reference, or its id. Never both, never neither."""

    reference: str | None = None
    id: str | None = None

    @property
    def key(self) -> str:
        """The outcome key that it is looked up by first."""
        return key_of_request(self.reference, self.id or "")

    def __str__(self) -> str:
        return f"reference {self.reference!r}" if self.id is None else f"id {self.id!r}"


def name_of(reference: str | None, id: str | None) -> Name:
    """The name that a caller gave. Raises TypeError unless it is one of the two, and text."""
    given = [one for one in (reference, id) if one is not None]
    if len(given) != 1 or not isinstance(given[0], str):
        raise TypeError("say what it is: give reference=… or id=…, one of them")
    return Name(reference, id)


def not_in_log(name: Name) -> NotFound:
    """The fault of a look-up that the log can't answer."""
    option = "--reference" if name.id is None else "--id"
    return NotFound(
        f"the log knows nothing of the {name} (any more): look into the ledger with "
        f"`daybook transaction {option} {name.reference or name.id}`"
    )


def found_by(name: Name, key: str, value: bytes | None) -> Receipt | None:
    """What is waited for by a name: a receipt as its client would have kept it.

    None when nothing stands there, or what belongs to another request than the id.
    """
    if value is None:
        return None
    state = read_value(value)
    is_own_key = state.duplicate and key == name.key
    if name.id is not None and state.request_id != name.id and not is_own_key:
        return None
    return Receipt(state.request_id, reference_of_key(key), key, "accepted", state.fingerprint)


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


def _named(request: Request, now_ms: int) -> tuple[Request, str]:
    """The request with the id of what it creates, minted when absent; and the request's id."""
    if isinstance(request, TransactionRequest):
        return request, request.transaction_id or mint_id("txn", request.slot, now_ms)
    if isinstance(request, BulkRequest):
        return request, request.bulk_id or mint_bulk_id(request.slot, now_ms)
    if isinstance(request, LedgerRequest):
        name, given = "ledger_id", request.ledger_id or mint_id("ldg", 0, now_ms)
    elif isinstance(request, BalanceRequest):
        name, given = "balance_id", request.balance_id or _new_balance_id(request, now_ms)
    elif isinstance(request, IdentityRequest):
        name, given = "identity_id", request.identity_id or mint_id("idt", 0, now_ms)
    else:
        return request, mint_id("txn", request.slot, now_ms)
    return request.model_copy(update={name: given}), given


def _new_balance_id(request: BalanceRequest, now_ms: int) -> str:
    if request.indicator is not None:
        return internal_balance_id(request.indicator, request.currency)
    return mint_id("bln", 0, now_ms)


def check_effective_dates(request: Request, now: Callable[[], float]) -> None:
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
    latest = datetime.fromtimestamp(now(), UTC) + FUTURE_MAX
    message = "lies more than a day in the future"
    late = [name for name, moment in dates.items() if moment > latest]
    if late:
        raise malformed([FieldError(name, Reason.MALFORMED, message) for name in late])
