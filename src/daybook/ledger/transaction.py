"""The facts: what is asked of the ledger (instructions) and what it recorded (records).

Named tuples, because a batch builds one of each per request: they are frozen, and built four
times faster than frozen dataclasses.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """The status of a transaction (ledger semantics, section 5)."""

    QUEUED = "QUEUED"
    APPLIED = "APPLIED"
    INFLIGHT = "INFLIGHT"
    VOID = "VOID"
    REJECTED = "REJECTED"


class Kind(StrEnum):
    """What a request asks for; also the kind of its journal record."""

    TRANSACTION = "transaction"
    COMMIT = "commit"
    VOID = "void"
    LEDGER = "ledger"
    BALANCE = "balance"


class Transaction(NamedTuple):
    """Move ``precise_amount`` (minor units) from source to destination, or hold it.

    source_id, destination_id: resolved balance ids.
    source_indicator, destination_indicator: the ``@Name`` when the side was named by one.
    overdraft_limit: major units, decimal text, greater than zero; None when no limit is given.
    overdraft_limit_minor: the limit in minor units: how far below zero the source may go.
    effective_micros: microseconds since the epoch when it counts for history; None: at acceptance.
    meta_data: canonical JSON text of an object, or None.
    """

    reference: str
    source_id: str
    destination_id: str
    source_indicator: str | None
    destination_indicator: str | None
    currency: str
    precise_amount: int
    precision: int
    description: str = ""
    allow_overdraft: bool = False
    overdraft_limit: str | None = None
    overdraft_limit_minor: int = 0
    inflight: bool = False
    effective_micros: int | None = None
    meta_data: str | None = None

    @property
    def checks_funds(self) -> bool:
        """Whether the source's funds are looked at (ledger semantics, section 4)."""
        return not self.allow_overdraft or self.overdraft_limit is not None


class Commit(NamedTuple):
    """Post the remainder of a hold, or a part of it.

    precise_amount: minor units; None with ``amount`` None: the whole remainder.
    amount: exact decimal text in major units, turned into minor units by the hold's precision.
    """

    transaction_id: str
    reference: str | None = None
    precise_amount: int | None = None
    amount: str | None = None
    description: str = ""
    meta_data: str | None = None


class Void(NamedTuple):
    """Release the whole remainder of a hold."""

    transaction_id: str
    reference: str | None = None
    description: str = ""
    meta_data: str | None = None


class NewLedger(NamedTuple):
    """Create a ledger."""

    ledger_id: str
    name: str
    meta_data: str | None = None


class NewBalance(NamedTuple):
    """Create a balance in a ledger."""

    balance_id: str
    ledger_id: str
    currency: str
    indicator: str | None = None
    meta_data: str | None = None


Instruction = Transaction | Commit | Void | NewLedger | NewBalance


class Entry(NamedTuple):
    """One entry of the log, decoded.

    position: place in the total order of acceptance: milliseconds << 20 | counter.
    slot: 0..4095, of the ordering key; entries of one slot keep their order.
    request_id: id of the transaction, ledger or balance that it asks for.
    fingerprint: SHA-256 of the canonical request.
    body: the request as it stands in the log.
    """

    position: int
    slot: int
    request_id: str
    instruction: Instruction
    fingerprint: bytes
    body: bytes

    @property
    def accepted_ms(self) -> int:
        """When it was accepted: milliseconds since the epoch, by the log's clock."""
        return self.position >> POSITION_COUNTER_BITS


POSITION_COUNTER_BITS = 20
"""A position is the log's clock in milliseconds, shifted by this, plus a counter."""


class Record(NamedTuple):
    """One row of the journal, showing both sides. Amounts are minor units.

    derived: the reference is a label made by the ledger, not a caller's reference.
    parent_id: the hold, of a commit or a void.
    effective_micros: microseconds since the epoch.
    """

    transaction_id: str
    kind: str
    reference: str
    derived: bool
    parent_id: str | None
    source_id: str | None
    destination_id: str | None
    currency: str
    precision: int | None
    precise_amount: int | None
    status: str
    reason: str | None
    detail: str | None
    description: str
    allow_overdraft: bool
    overdraft_limit: str | None
    position: int
    effective_micros: int
    meta_data: str | None
    fingerprint: bytes


class Outcome(NamedTuple):
    """What became of one entry.

    transaction_id: the id that the outcome belongs to: of a duplicate, the original's.
    duplicate: nothing happened now; the status is that of the original.
    """

    position: int
    request_id: str
    transaction_id: str
    reference: str | None
    status: str
    reason: str | None = None
    detail: str | None = None
    duplicate: bool = False
