"""Rows beside the ledger's own: partitions, what waits behind their cursors, what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class PartitionRow(NamedTuple):
    """A partition as it stands, while its row is locked.

    cursor: position of the last entry read. sequence, head: of the last journal row. batch:
    number of the last unit of work; batch_sequence: the sequence before it; batch_outcomes: its
    outcomes that the journal does not show, as JSON. partitions: how many there are in its epoch.
    """

    partition: int
    cursor: int
    sequence: int
    head: bytes
    batch: int
    batch_sequence: int
    batch_outcomes: str | None
    partitions: int
    epoch: int


class DeferredEntry(NamedTuple):
    """An entry that waits behind the cursor, as it was read from the log."""

    position: int
    request_id: str
    flags: str
    body: bytes


class Deferral(NamedTuple):
    """An entry that is deferred from now on, with its slot and what it may credit or create."""

    entry: DeferredEntry
    slot: int
    may_credit: Sequence[str]


@dataclass(frozen=True, slots=True)
class RejectedRequest:
    """A refused request, to be kept with its raw bytes.

    uses_reference: it takes its reference, which nothing else has.
    """

    position: int
    request_id: str
    reference: str | None
    uses_reference: bool
    reason: str
    detail: str | None
    body: bytes
    traceback: str | None = None
