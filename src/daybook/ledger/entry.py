"""An entry of the log, decoded, and what became of it."""

from __future__ import annotations

from typing import NamedTuple

from daybook.ledger.instructions import Instruction


class LogEntry(NamedTuple):
    """One entry of the log, decoded.

    position: place in the total order of acceptance: milliseconds << 20 | counter.
    slot: 0..4095, of the ordering key; entries of one slot keep their order.
    request_id: id of the transaction, ledger or balance that it asks for.
    fingerprint: SHA-256 of the canonical request.
    body: the request as it stands in the log.
    slots: of a request that spends from balances of several slots, all of them; else empty. It
    keeps its order in each of them.
    """

    position: int
    slot: int
    request_id: str
    instruction: Instruction
    fingerprint: bytes
    body: bytes
    slots: frozenset[int] = frozenset()

    @property
    def accepted_ms(self) -> int:
        """When it was accepted: milliseconds since the epoch, by the log's clock."""
        return self.position >> POSITION_COUNTER_BITS


POSITION_COUNTER_BITS = 20
"""A position is the log's clock in milliseconds, shifted by this, plus a counter."""


class Decision(NamedTuple):
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
