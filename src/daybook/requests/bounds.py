"""Every bound of a request, and the ids, slots and patterns that its fields must fit."""

from __future__ import annotations

import os
import re
import time
import zlib
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

BODY_BYTES_MAX = 64 * 1024
FUTURE_MAX = timedelta(days=1)
"""How far in the future an effective date may lie (ledger semantics, section 10)."""

JSON_AMOUNT_DIGITS_MAX = 15
"""Significant digits of an ``amount`` that came as a JSON number (ledger semantics, section 3)."""

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TRANSACTION_ID = re.compile(f"txn_{_UUID}\\Z")
BALANCE_ID = re.compile(f"bln_{_UUID}\\Z")
LEDGER_ID = re.compile(f"(ldg_{_UUID}|{GENERAL_LEDGER_ID})\\Z")
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
    milliseconds = int(time.time() * 1000) if now_ms is None else now_ms
    value = (milliseconds & ((1 << 48) - 1)) << 80 | 7 << 76 | (slot & 0xFFF) << 64
    text = f"{value | 2 << 62 | int.from_bytes(os.urandom(8)) >> 2:032x}"
    return f"{prefix}_{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def slot_of_transaction(transaction_id: str) -> int:
    """The slot that a transaction's id carries (design, section 3)."""
    return int(transaction_id[19:22], 16)


def ordering_key(source: str, destination: str) -> str:
    """The default ordering key: the source, unless it is internal and the destination is not."""
    if source.startswith("@") and not destination.startswith("@"):
        return destination
    return source
