"""Where a request goes: its ordering key, the slot of it, and the ids that carry a slot."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator, Sequence

SLOTS = 4096


def slot_of(key: str) -> int:
    """The slot 0..4095 of an ordering key: stable for ever, the same in every producer."""
    return zlib.crc32(key.encode()) % SLOTS


def mint_id(prefix: str, slot: int = 0, now_ms: int | None = None) -> str:
    """A new id ``<prefix>_<UUIDv7>`` whose 12 bits after the time hold ``slot``.

    now_ms: milliseconds since the epoch; the clock of this machine by default. It only makes ids
    sort roughly by age: no decision is based on it.
    """
    return _mint(prefix, 7, slot, now_ms, int.from_bytes(os.urandom(8)) >> 2)


def mint_bulk_id(slot: int, now_ms: int | None = None) -> str:
    """A new id of a bulk: as ``mint_id``, of version 8 and variant 8 or 9, which tells it apart."""
    return _mint("bulk", 8, slot, now_ms, int.from_bytes(os.urandom(8)) >> 3)


def _mint(prefix: str, version: int, slot: int, now_ms: int | None, chance: int) -> str:
    milliseconds = int(time.time() * 1000) if now_ms is None else now_ms
    value = (milliseconds & ((1 << 48) - 1)) << 80 | version << 76 | (slot & 0xFFF) << 64
    text = f"{value | 2 << 62 | chance:032x}"
    return f"{prefix}_{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def slot_of_transaction(transaction_id: str) -> int:
    """The slot that the id of a transaction or of a bulk carries (design, section 3)."""
    return int(transaction_id[-21:-18], 16)


def ordering_key(source: str, destination: str) -> str:
    """The default ordering key: the source, unless it is internal and the destination is not."""
    if source.startswith("@") and not destination.startswith("@"):
        return destination
    return source


def ordering_key_of(sources: Sequence[str], destinations: Sequence[str]) -> str:
    """The default ordering key of several sides: the first that is not internal, sources first.

    Of internal balances only: the first source.
    """
    for name in (*sources, *destinations):
        if not name.startswith("@"):
            return name
    return sources[0]


def slots_spent(own: int, sources: Sequence[str]) -> frozenset[int]:
    """All slots that a request with these sources spends from, with its own; none if it is one."""
    spent = {slot_of(name) for name in sources if not name.startswith("@")}
    return frozenset((*spent, own)) if len(spent) > 1 else frozenset()


def slots_moved(sources: Sequence[str], destinations: Sequence[str]) -> Iterator[int]:
    """The slot of each movement between these sides, but for those of internal balances only."""
    for source in sources:
        for destination in destinations:
            key = ordering_key(source, destination)
            if not key.startswith("@"):
                yield slot_of(key)
