"""What the model keeps: figures, holds, rows of the journal, and what should become of a request.

Written from the semantics alone; shares no code with the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Request = Mapping[str, Any]
"""A request as a producer writes it, with its ``kind``."""

BalanceKey = str | tuple[str, str]
"""The id of an application balance, or (indicator, currency) of an internal one."""

ORDER = [
    "malformed",
    "unsupported_version",
    "invalid_amount",
    "invalid_precision",
    "invalid_distribution",
    "same_balance",
    "reference_conflict",
    "unknown_ledger",
    "unknown_identity",
    "unknown_balance",
    "currency_mismatch",
    "precision_mismatch",
    "unknown_transaction",
    "not_inflight",
    "not_scheduled",
    "already_committed",
    "already_voided",
    "commit_exceeds_hold",
    "not_refundable",
    "already_refunded",
    "insufficient_funds",
    "overdraft_limit_exceeded",
    "bulk_aborted",
    "figure_overflow",
    "cancelled",
]
"""Section 11 of the semantics, with the two codes of schedules."""

GENERAL_LEDGER = "general_ledger_id"
FIGURE_LIMIT = 10**100
"""The first figure that is too long to keep."""

AT_THE_DOOR = {
    "malformed",
    "invalid_amount",
    "invalid_precision",
    "invalid_distribution",
    "same_balance",
}
"""Codes that a request is refused with before it is accepted, where it shows them by itself."""


@dataclass
class Figures:
    """One balance: minor units, and how many transactions touched it."""

    currency: str
    precision: int | None = None
    credit: int = 0
    debit: int = 0
    inflight_credit: int = 0
    inflight_debit: int = 0
    version: int = 0

    @property
    def available(self) -> int:
        return self.credit - self.debit - self.inflight_debit

    def shown(self) -> tuple[int, int, int, int, int]:
        """The four figures and the version."""
        return (
            self.credit,
            self.debit,
            self.inflight_credit,
            self.inflight_debit,
            self.version,
        )


@dataclass
class Held:
    """One hold, in minor units; its dates in microseconds since the epoch."""

    source: BalanceKey
    destination: BalanceKey
    precision: int
    amount: int
    expires: int | None = None
    commits: int | None = None
    committed: int = 0
    voided: int = 0

    @property
    def open(self) -> int:
        return self.amount - self.committed - self.voided

    def due(self, now: int) -> str | None:
        """What its dates ask for at ``now``: the earlier of the two, on a tie the commit."""
        dates = [(self.commits, 0, "commit"), (self.expires, 1, "void")]
        ripe = sorted((date, rank, kind) for date, rank, kind in dates if date and date <= now)
        return ripe[0][2] if ripe and self.open else None


@dataclass
class Row:
    """What the journal should say. Sides and amounts are those of what moved money.

    effective: when it counts, in microseconds since the epoch.
    """

    transaction_id: str
    kind: str
    status: str
    reason: str | None = None
    parent: str | None = None
    source: BalanceKey | None = None
    destination: BalanceKey | None = None
    amount: int | None = None
    precision: int | None = None
    parts: int | None = None
    part: int | None = None
    reference: str | None = None
    meta_data: dict[str, Any] = field(default_factory=dict)
    effective: int = 0
    description: str = ""

    @property
    def moved(self) -> bool:
        """Whether it is a movement of its own, that a refund could reverse."""
        movement = self.kind in ("transaction", "commit", "void", "refund")
        return movement and self.parts is None and self.status != "REJECTED"


@dataclass(frozen=True)
class Expected:
    """What should become of a request. ``original``: the id that the outcome belongs to."""

    status: str
    reason: str | None = None
    original: str | None = None
    duplicate: bool = False


@dataclass
class Known:
    """What a reference or an id stands for."""

    transaction_id: str
    status: str
    reason: str | None
    meaning: Any


@dataclass
class Thing:
    """A ledger, a balance or an identity: its fields and meta_data as they stand now."""

    meaning: Any
    fields: dict[str, Any] = field(default_factory=dict)
    meta_data: dict[str, Any] = field(default_factory=dict)
