"""From raw entries of the log to what can be decided, and what is no request."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from operator import itemgetter

from daybook.apply.barriers import is_barrier
from daybook.apply.batch import Batch, Read, Undecodable
from daybook.ledger.entry import POSITION_COUNTER_BITS, LogEntry
from daybook.ledger.rejection import Reason, Rejected
from daybook.queue.entries import RawEntry, key_of_request
from daybook.requests import Decoded, decode, fingerprint_of, reference_in
from daybook.store.batch.rows import DeferredEntry, PartitionRow

LARGE_BYTES = 16 * 1024
"""From here on decoding an entry takes so long that it is not done twice."""

LARGE_KEPT_MAX = 64
"""Large entries that a worker keeps decoded: those that wait for their turn."""


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


def decode_all(reads: Iterable[Read], refused_data: str | None, large: LargeDecoded) -> Batch:
    """Decode what was deferred and what is new, of all partitions in one order.

    refused_data: why Postgres refused the data of the one entry that there is: it is quarantined.
    """
    batch = Batch([], [], [], [], {}, {})
    waiting: list[tuple[int, PartitionRow, RawEntry]] = []
    new: list[tuple[int, PartitionRow, RawEntry]] = []
    for row, raws, deferred, _ in reads:
        waiting += ((item.position, row, _as_raw(item)) for item in deferred)
        new += ((raw.position, row, raw) for raw in raws if not is_barrier(raw))
    for into, found in ((batch.waiting, waiting), (batch.entries, new)):
        found.sort(key=itemgetter(0))
        for position, row, raw in found:
            batch.homes[position] = row.partition
            if refused_data is not None:
                rejected = Rejected(
                    Reason.QUARANTINED, "it could not be written: it was quarantined"
                )
                batch.undecodable.append(Undecodable(raw, rejected, refused_data))
            else:
                _decode_one(batch, raw, row, large, into)
    batch.deferred.extend(position for position, _, _ in waiting)
    return batch


def _as_raw(deferred: DeferredEntry) -> RawEntry:
    """An entry that was deferred. It could be decoded then, so its key follows from it."""
    key = key_of_request(reference_in(deferred.body), deferred.request_id)
    return RawEntry(deferred.position, deferred.request_id, key, deferred.flags, deferred.body)


def _decode_one(
    batch: Batch, raw: RawEntry, row: PartitionRow, large: LargeDecoded, into: list[LogEntry]
) -> None:
    position = raw.position
    try:
        decoded = large.recall(raw)
        if decoded is None:
            decoded = decode(raw.body, raw.request_id, position >> POSITION_COUNTER_BITS)
            large.remember(raw, decoded)
    except Exception as fault:  # any fault of ours: the partition must not stop for one entry
        rejected = Rejected(
            Reason.QUARANTINED, f"reading it raised {type(fault).__name__}: it was quarantined"
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
        LogEntry(
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
