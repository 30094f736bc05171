"""What goes wrong, as an answer: one stable code, one status, a message with the fix.

The wire has two forms of an error, an old and a new one, and old clients read the old one: see
``Fault.content``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from starlette.exceptions import HTTPException

from daybook.errors import (
    FieldError,
    LogFull,
    LogRefused,
    LogUnavailable,
    MalformedRequest,
    OutcomeUnknown,
    SchemaOutdated,
    StoreRefused,
    StoreUnavailable,
)
from daybook.ledger.rejection import Reason

RETRY_AFTER_SECONDS = 1

log = structlog.get_logger()


class Fault(HTTPException):
    """An answer that is an error.

    status: of HTTP. code: stable, in capitals. legacy: the key of the old form: ``error``, or
    ``errors`` where fields are named. details: anything that helps; left out when there is none.
    more: other members beside the two forms.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Any = None,
        *,
        legacy: str = "error",
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code
        self.message = message
        self.details = details
        self.legacy = legacy
        self.more = more or {}

    def content(self) -> dict[str, Any]:
        """The body of the answer."""
        detail: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details is not None:
            detail["details"] = self.details
        return {self.legacy: self.message, **self.more, "error_detail": detail}


def invalid(code: str, problems: Iterable[tuple[str, str]]) -> Fault:
    """Fields that are wrong, each with what is wrong, as clients of the wire know such a text."""
    told = list(problems)
    text = "; ".join(f"{field}: {message}" for field, message in told) + "."
    details = [{"field": field, "message": message} for field, message in told]
    return Fault(400, code, text, details, legacy="errors")


def invalid_fields(code: str, errors: Sequence[FieldError]) -> Fault:
    """Violations of a request's fields."""
    return invalid(code, ((error.field, error.message) for error in errors))


NOT_FOUND = {
    "ldg": ("LGR_NOT_FOUND", "Ledger"),
    "general": ("LGR_NOT_FOUND", "Ledger"),
    "bln": ("BAL_NOT_FOUND", "Balance"),
    "idt": ("IDT_NOT_FOUND", "Identity"),
    "acc": ("ACC_NOT_FOUND", "Account"),
    "txn": ("TXN_NOT_FOUND", "Transaction"),
    "bulk": ("TXN_NOT_FOUND", "Transaction"),
}


def not_found(thing_id: str, prefix: str | None = None) -> Fault:
    """There is nothing with this id. prefix: what was looked for, where the id doesn't say."""
    code, thing = NOT_FOUND.get(prefix or thing_id.partition("_")[0], ("GEN_NOT_FOUND", "Thing"))
    return Fault(404, code, f"{thing} with ID '{thing_id}' not found")


REJECTIONS: dict[str, tuple[int, str]] = {
    Reason.MALFORMED: (400, "TXN_VALIDATION_ERROR"),
    Reason.UNSUPPORTED_VERSION: (400, "TXN_VALIDATION_ERROR"),
    Reason.INVALID_AMOUNT: (400, "TXN_VALIDATION_ERROR"),
    Reason.INVALID_PRECISION: (400, "TXN_VALIDATION_ERROR"),
    Reason.INVALID_DISTRIBUTION: (400, "TXN_INVALID_DISTRIBUTION"),
    Reason.SAME_BALANCE: (400, "TXN_VALIDATION_ERROR"),
    Reason.REFERENCE_CONFLICT: (409, "TXN_DUPLICATE_REFERENCE"),
    Reason.UNKNOWN_LEDGER: (400, "GEN_VALIDATION_ERROR"),
    Reason.UNKNOWN_IDENTITY: (404, "IDT_NOT_FOUND"),
    Reason.UNKNOWN_BALANCE: (404, "BAL_NOT_FOUND"),
    Reason.CURRENCY_MISMATCH: (400, "TXN_VALIDATION_ERROR"),
    Reason.PRECISION_MISMATCH: (400, "TXN_VALIDATION_ERROR"),
    Reason.UNKNOWN_TRANSACTION: (404, "TXN_NOT_FOUND"),
    Reason.NOT_INFLIGHT: (400, "TXN_NOT_INFLIGHT"),
    Reason.NOT_SCHEDULED: (400, "TXN_VALIDATION_ERROR"),
    Reason.ALREADY_COMMITTED: (409, "TXN_ALREADY_COMMITTED"),
    Reason.ALREADY_VOIDED: (409, "TXN_ALREADY_VOIDED"),
    Reason.COMMIT_EXCEEDS_HOLD: (400, "TXN_COMMIT_AMOUNT_EXCEEDED"),
    Reason.NOT_REFUNDABLE: (400, "TXN_VALIDATION_ERROR"),
    Reason.ALREADY_REFUNDED: (409, "TXN_ALREADY_REFUNDED"),
    Reason.INSUFFICIENT_FUNDS: (400, "TXN_INSUFFICIENT_FUNDS"),
    Reason.OVERDRAFT_LIMIT_EXCEEDED: (400, "TXN_VALIDATION_ERROR"),
    Reason.BULK_ABORTED: (400, "TXN_VALIDATION_ERROR"),
    Reason.FIGURE_OVERFLOW: (400, "TXN_VALIDATION_ERROR"),
    Reason.CANCELLED: (409, "GEN_CONFLICT"),
    Reason.QUARANTINED: (500, "GEN_INTERNAL"),
}
"""How the wire calls a rejection of the ledger. Every reason has one; a test holds that."""

TEXTS = {
    Reason.INSUFFICIENT_FUNDS: "insufficient funds in source balance",
    Reason.OVERDRAFT_LIMIT_EXCEEDED: "transaction exceeds overdraft limit",
    Reason.CURRENCY_MISMATCH: "currency mismatch",
    Reason.PRECISION_MISMATCH: "precision mismatch",
    Reason.COMMIT_EXCEEDS_HOLD: "cannot commit more than the remaining amount",
    Reason.ALREADY_VOIDED: "transaction has already been voided",
    Reason.ALREADY_COMMITTED: "Transaction already committed",
    Reason.ALREADY_REFUNDED: "transaction has already been refunded",
}
"""Words that clients of the wire look for; the ledger's own sentence follows them."""


def rejection_text(reason: str, detail: str | None) -> str:
    """What a rejection says, in the wire's words and in the ledger's."""
    text = TEXTS.get(Reason(reason)) if reason in set(Reason) else None
    return ": ".join(part for part in (text, detail or reason) if part)


def refused(reason: str, detail: str | None, **facts: Any) -> Fault:
    """A rejection of the ledger, as an error. facts: what the details name beside the reason."""
    status, code = REJECTIONS.get(reason, (400, "TXN_VALIDATION_ERROR"))
    details = {"reason": reason, **{name: fact for name, fact in facts.items() if fact is not None}}
    return Fault(status, code, rejection_text(reason, detail), details)


def told(fault: Exception, path: str) -> Fault:
    """A fault of the log, of the ledger, of a request, or of our own, as an answer."""
    match fault:
        case MalformedRequest():
            return invalid_fields("GEN_VALIDATION_ERROR", fault.errors)
        case LogFull():
            headers = {"Retry-After": str(max(1, round(fault.retry_after_seconds)))}
            return Fault(503, "QUEUE_BACKPRESSURE", str(fault), headers=headers)
        case StoreRefused() | SchemaOutdated() | LogRefused():  # trying again changes nothing
            log.error("api.refused", path=path, fault=str(fault))
            text = "the server may not do this, or is not set up for it: its log says what it lacks"
            return Fault(503, "GEN_UNAVAILABLE", text)
        case LogUnavailable() | StoreUnavailable() | OutcomeUnknown():
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            text = "the ledger is not available now: try the same again"
            log.warning("api.unavailable", fault=str(fault))
            return Fault(503, "GEN_UNAVAILABLE", text, headers=headers)
    log.error("api.fault", path=path, exc_info=fault)
    return Fault(500, "GEN_INTERNAL", "internal server error")
