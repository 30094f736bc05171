"""From raw entries of the log to what can be decided, and what is no request."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import NamedTuple

from daybook.ledger.rejection import Reason, Rejected
from daybook.ledger.transaction import POSITION_COUNTER_BITS, Entry
from daybook.queue.entries import RawEntry, key_of_request
from daybook.requests import decode, fingerprint_of, reference_in
from daybook.store.unit_of_work import HeldEntry, PartitionRow


class Undecodable(NamedTuple):
    """An entry of the log that is no request."""

    raw: RawEntry
    rejected: Rejected
    traceback: str | None = None


class Batch(NamedTuple):
    """What was read: held-over entries, new ones, and those that are no requests.

    held: positions of what was held over. flags: of entries that have some, by position.
    """

    held: list[int]
    waiting: list[Entry]
    entries: list[Entry]
    undecodable: list[Undecodable]
    flags: dict[int, str]

    @property
    def decodable(self) -> list[Entry]:
        return self.waiting + self.entries


def decode_all(
    held: Sequence[HeldEntry],
    raws: Sequence[RawEntry],
    row: PartitionRow,
    refused_data: str | None,
) -> Batch:
    """Decode what was held over and what is new.

    refused_data: why Postgres refused the data of the one entry that there is: it is set aside.
    """
    batch = Batch([item.position for item in held], [], [], [], {})
    waiting = [
        RawEntry(item.position, item.request_id, _key_of(item), item.flags, item.body)
        for item in held
    ]
    if refused_data is not None:
        rejected = Rejected(Reason.QUARANTINED, "Postgres refused its data: it was set aside")
        batch.undecodable.extend(
            Undecodable(raw, rejected, refused_data) for raw in (*waiting, *raws)
        )
        return batch
    for raw in waiting:
        _decode_one(batch, raw, row, batch.waiting)
    for raw in raws:
        _decode_one(batch, raw, row, batch.entries)
    return batch


def _key_of(held: HeldEntry) -> str:
    """The outcome key of an entry that could be decoded when it was held over."""
    return key_of_request(reference_in(held.body), held.request_id)


def _decode_one(batch: Batch, raw: RawEntry, row: PartitionRow, into: list[Entry]) -> None:
    position = raw.position
    try:
        decoded = decode(raw.body, raw.request_id, position >> POSITION_COUNTER_BITS)
    except Exception as fault:  # any fault of ours: the partition must not stop for one entry
        rejected = Rejected(
            Reason.QUARANTINED, f"reading it raised {type(fault).__name__}: it was set aside"
        )
        batch.undecodable.append(Undecodable(raw, rejected, traceback.format_exc()))
        return
    if not isinstance(decoded, Rejected) and decoded.slot % row.partitions != row.partition:
        # Two partitions that act on one hold at once would lose money: neither locks it.
        decoded = Rejected(Reason.MALFORMED, "request: stands in the log of another partition")
    if isinstance(decoded, Rejected):
        batch.undecodable.append(Undecodable(raw, decoded))
        return
    if raw.flags:
        batch.flags[position] = raw.flags
    into.append(
        Entry(
            position,
            decoded.slot,
            decoded.request_id,
            decoded.instruction,
            fingerprint_of(raw.body),
            raw.body,
        )
    )


def storable(text: str) -> str:
    """Text of an unknown producer, as Postgres and JSON can keep it."""
    return text.replace("\x00", "\\0")[:255]
