"""Ids that follow from others, and slots, as the documentation says: no code of Daybook's.

An id that the ledger derives is a UUID of version 8. The parts of a request count on from a digest
of its id, and keep its slot; what is no number is named by a digest of the name.
"""

from __future__ import annotations

from binascii import crc32
from hashlib import sha256

DERIVED = "8"
"""The version of the UUIDs of what is derived."""
DIGITS = 15
"""Hexadecimal digits of an id by which the parts of a request differ."""


def part_id(request_id: str, part: int | str) -> str:
    """The id of a part of a request: its number from 1 on, or a word."""
    if isinstance(part, int):
        first = int(sha256(f"{request_id}\0".encode()).hexdigest()[:DIGITS], 16)
        digits = format((first + part) % 16**DIGITS, f"0{DIGITS}x")
    else:
        digits = sha256(f"{request_id}\0{part}".encode()).hexdigest()[:DIGITS]
    time, slot = request_id[-36:-22], request_id[-21:-18]
    return f"txn_{time}{DERIVED}{slot}-a{digits[:3]}-{digits[3:]}"


def internal_balance_id(indicator: str, currency: str) -> str:
    """The id of an internal balance, by its name and currency."""
    digest = list(sha256(f"{indicator}\0{currency}".encode()).hexdigest()[:32])
    digest[12] = digest[16] = DERIVED
    text = "".join(digest)
    return f"bln_{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def slot_of(key: str) -> int:
    """The slot of an ordering key, 0 to 4095."""
    return crc32(key.encode()) & 0xFFF
