"""What producers hold in their hands: receipts of what was accepted, and outcomes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from daybook.client.drafts import Draft
from daybook.client.names import Name
from daybook.errors import LogFull
from daybook.ledger.money import amount_text
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason
from daybook.queue.entries import KeyState, read_value, reference_of_key
from daybook.queue.wire import Appended

AWAITED_SECONDS_MAX = 60.0
"""How long ``await receipt`` waits; ``receipt.wait`` says it for itself."""


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
    def answered(self) -> bool:
        """Whether the outcome is final, or SCHEDULED, which answers it for now.

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
    """What a receipt asks for its outcome: the client that it came from."""

    def wait(self, receipt: Receipt, timeout: float) -> Outcome:
        """The outcome, waited for up to ``timeout`` seconds."""
        ...


class WaitsAsync(Protocol):
    """What an awaited receipt asks: the ``AsyncClient`` that it came from."""

    async def wait(self, receipt: Receipt, timeout: float) -> Outcome:
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


@dataclass(frozen=True, slots=True)
class AsyncReceipt(Receipt):
    """A receipt of ``AsyncClient``: ``await receipt``, or ``await receipt.wait(5)``."""

    loop_client: WaitsAsync | None = None

    @classmethod
    def of(cls, receipt: Receipt, client: WaitsAsync) -> AsyncReceipt:
        """A receipt that its client waits with."""
        known = {name.name: getattr(receipt, name.name) for name in fields(Receipt)}
        return cls(**known, loop_client=client)

    async def wait(self, timeout: float) -> Outcome:  # type: ignore[override]  # awaited
        """The outcome, waited for up to ``timeout`` seconds. Raises OutcomeUnknown."""
        if self.loop_client is None:
            raise TypeError("this receipt belongs to no client: use `await client.wait(…)`")
        return await self.loop_client.wait(self, timeout)

    def __await__(self) -> Generator[Any, None, Outcome]:
        """The outcome, waited for up to AWAITED_SECONDS_MAX. Raises OutcomeUnknown."""
        return self.wait(AWAITED_SECONDS_MAX).__await__()


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


def receipts_of(
    part: Sequence[Draft],
    results: Sequence[Appended],
    before: Sequence[Receipt],
    client: Waits | None,
) -> list[Receipt]:
    """Receipts for one append. Raises LogFull with all that was accepted so far."""
    receipts: list[Receipt] = []
    for made, appended in zip(part, results, strict=True):
        if appended.state == "full":
            raise LogFull(
                "the log is full: workers must catch up before more is accepted",
                accepted=(*before, *receipts),
            )
        receipts.append(receipt_of(made, appended, client))
    return receipts
