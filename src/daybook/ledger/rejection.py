"""Why the ledger refuses a request: one ordered list of stable codes."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Rejection codes in their order of precedence: the first that applies is reported."""

    MALFORMED = "malformed"
    UNSUPPORTED_VERSION = "unsupported_version"
    INVALID_AMOUNT = "invalid_amount"
    INVALID_PRECISION = "invalid_precision"
    INVALID_DISTRIBUTION = "invalid_distribution"
    SAME_BALANCE = "same_balance"
    REFERENCE_CONFLICT = "reference_conflict"
    UNKNOWN_LEDGER = "unknown_ledger"
    UNKNOWN_IDENTITY = "unknown_identity"
    UNKNOWN_BALANCE = "unknown_balance"
    CURRENCY_MISMATCH = "currency_mismatch"
    PRECISION_MISMATCH = "precision_mismatch"
    UNKNOWN_TRANSACTION = "unknown_transaction"
    NOT_INFLIGHT = "not_inflight"
    NOT_SCHEDULED = "not_scheduled"
    """Too late to cancel it, or it was never scheduled."""
    ALREADY_COMMITTED = "already_committed"
    ALREADY_VOIDED = "already_voided"
    COMMIT_EXCEEDS_HOLD = "commit_exceeds_hold"
    NOT_REFUNDABLE = "not_refundable"
    ALREADY_REFUNDED = "already_refunded"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    OVERDRAFT_LIMIT_EXCEEDED = "overdraft_limit_exceeded"
    BULK_ABORTED = "bulk_aborted"
    FIGURE_OVERFLOW = "figure_overflow"
    CANCELLED = "cancelled"
    """A scheduled transaction was withdrawn before its time."""
    QUARANTINED = "quarantined"
    """Not a rule of the ledger: deciding the request raised, and it was quarantined."""


PRECEDENCE: dict[str, int] = {reason: rank for rank, reason in enumerate(Reason)}

WAITS_FOR_THE_PAST = frozenset(
    {
        Reason.UNKNOWN_LEDGER,
        Reason.UNKNOWN_IDENTITY,
        Reason.UNKNOWN_BALANCE,
        Reason.INSUFFICIENT_FUNDS,
        Reason.OVERDRAFT_LIMIT_EXCEEDED,
    }
)
"""Rejections that an older open entry of another partition could still avert.

``unknown_transaction`` is not among them: a hold and its commits share a slot, hence an order.
"""


class Rejected(NamedTuple):
    """The rejection of one request: a value, never an exception.

    reason: the code.
    detail: one sentence that names the field or the figure and the fix.
    concerns: ids of the balances, ledgers or identities that an older credit or creation could
    change.
    part: of a bulk, the number of the item that is refused.
    """

    reason: Reason
    detail: str
    concerns: tuple[str, ...] = ()
    part: int | None = None


_NAME = re.compile(r"@\S+")


def names_in(detail: str) -> set[str]:
    """What may be the ``@Name`` of an internal balance in a detail.

    A comma behind one may be its own, or that of the sentence.
    """
    return {form for word in _NAME.findall(detail) for form in (word, word.removesuffix(","))}


def detail_with_names(rejected: Rejected, source: str | None, destination: str | None) -> str:
    """The detail of a rejection, and the names of both sides when it does not tell them.

    A record knows ids alone: that of an internal balance tells nobody its name unless the balance
    was created, which the rejection may have prevented. source, destination: its ``@Name``.
    """
    told = names_in(rejected.detail)
    sides = (("from", source), ("to", destination))
    untold = [f" {side} {name}" for side, name in sides if name is not None and name not in told]
    if not untold:
        return rejected.detail
    return f"{rejected.detail}; the money was to go{''.join(untold)}"
