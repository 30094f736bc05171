"""Every bound of a request, and the ids, slots and patterns that its fields must fit."""

from __future__ import annotations

import os
import re
import time
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from daybook.ledger.balance import GENERAL_LEDGER_ID

BODY_VERSION = 1
SLOTS = 4096
REFERENCE_LENGTH_MAX = 255
NAME_LENGTH_MAX = 255
CURRENCY_LENGTH_MAX = 64
INDICATOR_LENGTH_MAX = 255
ORDERING_KEY_LENGTH_MAX = 255
DESCRIPTION_LENGTH_MAX = 2_000
META_DATA_BYTES_MAX = 16 * 1024
META_DATA_DEPTH_MAX = 32
NUMBER_DIGITS_MAX = 1_000
"""Most digits of a number in meta_data, written out in full."""

LEGS_MAX = 1_000
"""Most sources, or destinations, of one transaction."""

BULK_ITEMS_MAX = 10_000
"""Most transactions of one bulk."""

IDENTITY_FIELD_LENGTH_MAX = 255
MADE_BY_LENGTH_MAX = 255
REQUEST_ID_LENGTH_MAX = 255
BODY_BYTES_MAX = 64 * 1024
"""Longest body of a request, and of each transaction of a bulk, its legs not counted."""

LEG_BYTES_MAX = 192
"""What a body may be longer for each leg beyond the first."""

BULK_BODY_BYTES_MAX = 16 * 1024 * 1024
FUTURE_MAX = timedelta(days=1)
"""How far in the future an effective date may lie (ledger semantics, section 10)."""

JSON_AMOUNT_DIGITS_MAX = 15
"""Significant digits of an ``amount`` that came as a JSON number (ledger semantics, section 3)."""

_HEX3, _UUID_BEGINNING, _UUID_END = "[0-9a-f]{3}", "[0-9a-f]{8}-[0-9a-f]{4}-", "-[0-9a-f]{12}"
_UUID = f"{_UUID_BEGINNING}[0-9a-f]{{4}}-[0-9a-f]{{4}}{_UUID_END}"
_BULK_UUID = f"{_UUID_BEGINNING}8{_HEX3}-[89]{_HEX3}{_UUID_END}"
NEW_TRANSACTION_ID = re.compile(f"txn_(?!{_UUID_BEGINNING}8){_UUID}\\Z")
"""What a transaction may be called by a caller: UUIDs of version 8 are the ledger's own."""

TRANSACTION_ID = re.compile(f"txn_(?!{_BULK_UUID}){_UUID}\\Z")
BULK_ID = re.compile(f"bulk_{_BULK_UUID}\\Z")
GROUP_ID = re.compile(f"(txn_(?!{_BULK_UUID}){_UUID}|bulk_{_BULK_UUID})\\Z")
"""A transaction or a bulk."""

ANY_ID = re.compile(f"[a-z]+_{_UUID}\\Z")
BALANCE_ID = re.compile(f"bln_{_UUID}\\Z")
LEDGER_ID = re.compile(f"(ldg_{_UUID}|{GENERAL_LEDGER_ID})\\Z")
IDENTITY_ID = re.compile(f"idt_{_UUID}\\Z")
DIGITS = re.compile(r"-?[0-9]+\Z")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
