"""From raw entries of the log to what can be decided, and what is no request."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from daybook.ledger.rejection import Reason, Rejected
from daybook.ledger.transaction import POSITION_COUNTER_BITS, Entry
from daybook.queue.entries import BARRIER, BARRIER_DIGITS_MAX, RawEntry, key_of_request
from daybook.requests import Decoded, decode, fingerprint_of, reference_in
from daybook.store.unit_of_work import HeldEntry, PartitionRow

LARGE_BYTES = 16 * 1024
"""From here on decoding an entry takes so long that it is not done twice."""

LARGE_KEPT_MAX = 64
"""Large entries that a worker keeps decoded: those that wait for their turn."""


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


class LargeDecoded:
    """Large entries as decoded before: a batch with a bulk may be tried more than once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[bytes, Decoded | Rejected]] = {}

    def recall(self, raw: RawEntry) -> Decoded | Rejected | None:
        """What this very entry was decoded to."""
        if len(raw.body) < LARGE_BYTES:
            return None
        body, decoded = self._known.get((raw.position, raw.request_id), (b"", None))
        return decoded if body == raw.body else None

    def remember(self, raw: RawEntry, decoded: Decoded | Rejected) -> None:
        """Keep it for the next try, if it is large."""
        if len(raw.body) >= LARGE_BYTES:
            if len(self._known) >= LARGE_KEPT_MAX:
                del self._known[next(iter(self._known))]
            self._known[(raw.position, raw.request_id)] = (raw.body, decoded)


def decode_all(
    held: Sequence[HeldEntry],
    raws: Sequence[RawEntry],
    row: PartitionRow,
    refused_data: str | None,
    large: LargeDecoded,
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
        _decode_one(batch, raw, row, large, batch.waiting)
    for raw in raws:
        if not _is_barrier(raw):
            _decode_one(batch, raw, row, large, batch.entries)
    return batch


def before_barriers(raws: list[RawEntry], unread: Mapping[int, int]) -> list[RawEntry]:
    """The entries before the first barrier that is still closed.

    A barrier stands for a request in another partition, its home, that spends from balances of
    this one, too: what is younger waits until the home has read that far.
    unread: position of the first unread entry of each other partition that has one.
    """
    for index, raw in enumerate(raws):
        if _is_barrier(raw) and raw.body.isdigit():
            first_unread = unread.get(int(raw.body[:BARRIER_DIGITS_MAX]))
            if first_unread is not None and first_unread <= raw.position:
                return raws[:index]
    return raws


def _is_barrier(raw: RawEntry) -> bool:
    return BARRIER in raw.flags and not raw.key


def _key_of(held: HeldEntry) -> str:
    """The outcome key of an entry that could be decoded when it was held over."""
    return key_of_request(reference_in(held.body), held.request_id)


def _decode_one(
    batch: Batch, raw: RawEntry, row: PartitionRow, large: LargeDecoded, into: list[Entry]
) -> None:
    position = raw.position
    try:
        decoded = large.recall(raw)
        if decoded is None:
            decoded = decode(raw.body, raw.request_id, position >> POSITION_COUNTER_BITS)
            large.remember(raw, decoded)
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
            decoded.slots,
        )
    )


def storable(text: str) -> str:
    """Text of an unknown producer, as Postgres and JSON can keep it."""
    return text.replace("\x00", "\\0")[:255]
