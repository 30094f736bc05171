"""The one way in which what stands in Redis is read: typed, and without faults.

Others than Daybook may have written it. Each function returns the value, or None when what stands
there can't be one, and logs that once with its first bytes. What None means is said where it is
asked for; the sweeper repairs it (``mending``), and ``daybook health`` reports it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import structlog

from daybook.queue.entries import (
    POINTER,
    POSITION_LIMIT,
    KeyState,
    entry_id_of,
    position_of,
    read_value,
)

SHOWN_BYTES = 100
"""So much of a strange value is logged and reported."""

TOLD_MAX = 1_000
"""So many different strange values a process logs; an attacker does not fill its disk."""

NUMBER_MAX = (1 << 63) - 1
PARTITIONS_MAX = 1_000_000
LARGE_MAX = 1 << 40

_ID = re.compile(rb"\d{1,13}-\d{1,7}")
_NUMBER = re.compile(rb"\d{1,19}")

log = structlog.get_logger()
_told: set[tuple[str, str]] = set()


class StateFields(NamedTuple):
    """The log's state. epochs: of each number, partitions and the position of its fence."""

    partitions: int
    entries_max: int
    epoch: int
    epochs: dict[int, tuple[int, int]]


def shown(raw: object) -> str:
    """The first bytes of a strange value, fit for a log."""
    text = raw.decode(errors="backslashreplace") if isinstance(raw, bytes) else str(raw)
    return text[:SHOWN_BYTES].encode("unicode_escape").decode()


def tell(key: str, raw: object) -> None:
    """Log a strange value, once."""
    words = (key, shown(raw))
    if words not in _told and len(_told) < TOLD_MAX:
        _told.add(words)
        log.error("log.strange", key=key, value=words[1])


def position_in(key: str, raw: object) -> int | None:
    """The position of an entry id that the log can have given."""
    if isinstance(raw, bytes) and _ID.fullmatch(raw):
        position = position_of(raw)
        if position < POSITION_LIMIT and entry_id_of(position).encode() == raw:
            return position
    tell(key, raw)
    return None


def number_in(key: str, raw: object, number_max: int = NUMBER_MAX) -> int | None:
    """A number from 0 to ``number_max``."""
    if isinstance(raw, bytes) and _NUMBER.fullmatch(raw) and int(raw) <= number_max:
        return int(raw)
    tell(key, raw)
    return None


def numbers_in(key: str, fields: Mapping[bytes, bytes]) -> dict[int, int]:
    """Numbers by partition; strange fields are left out."""
    found = {
        number_in(key, name, PARTITIONS_MAX): number_in(f"{key} {shown(name)}", value)
        for name, value in fields.items()
    }
    return {name: value for name, value in found.items() if name is not None and value is not None}


def positions_in(key: str, fields: Mapping[bytes, bytes]) -> dict[int, int]:
    """Positions by partition; strange fields are left out."""
    found = {
        number_in(key, name, PARTITIONS_MAX): position_in(f"{key} {shown(name)}", value)
        for name, value in fields.items()
    }
    return {name: value for name, value in found.items() if name is not None and value is not None}


def state_in(key: str, fields: Mapping[bytes, bytes]) -> StateFields | None:
    """The log's state; None also where there is none. Epochs that can't be read are left out."""
    if b"partitions" not in fields:
        return None
    partitions = number_in(f"{key} partitions", fields[b"partitions"], PARTITIONS_MAX)
    entries_max = number_in(f"{key} entries_max", fields.get(b"entries_max", b""))
    epoch = number_in(f"{key} epoch", fields.get(b"epoch", b"1"))
    if not partitions or not entries_max or not epoch:
        return None
    return StateFields(partitions, entries_max, epoch, _epochs(key, fields))


def _epochs(key: str, fields: Mapping[bytes, bytes]) -> dict[int, tuple[int, int]]:
    prefix = b"epoch:"
    found: dict[int, tuple[int, int]] = {}
    for name, value in fields.items():
        if name.startswith(prefix):
            where = f"{key} {shown(name)}"
            number = number_in(where, name.removeprefix(prefix))
            partitions_text, _, fence_text = value.partition(b" ")
            partitions = number_in(where, partitions_text, PARTITIONS_MAX)
            fence = position_in(where, fence_text)
            if number is not None and partitions and fence is not None:
                found[number] = (partitions, fence)
    return found


def position_or_zero(key: str, found: bytes | None) -> int:
    """The position that stands at a key; 0 where nothing sound does."""
    return (position_in(key, found) or 0) if found else 0


def mark_in(key: str, entry_id: bytes, fields: Mapping[bytes, bytes]) -> tuple[int, int] | None:
    """The position and the bytes of a large entry, by the mark of it."""
    position = position_in(key, entry_id)
    size = number_in(key, fields.get(b"n", b""), LARGE_MAX)
    return None if position is None or size is None else (position, size)


def key_state_in(value: bytes) -> KeyState | None:
    """What stands under an outcome key, or as the mark of what is queued."""
    try:
        state = read_value(value)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        state = None
    if state is not None and _is_sound(state):
        return state
    tell("outcome", value)
    return None


def _is_sound(state: KeyState) -> bool:
    """Whether each field has its type: JSON of a stranger has any."""
    texts = (state.status, state.request_id, state.reason or "", state.detail or "")
    position = state.position
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(state.duplicate, bool)
        and (position is None or (type(position) is int and 0 <= position < POSITION_LIMIT))
    )


def known_values(found: Sequence[bytes | None]) -> list[bytes | None]:
    """What is known of each key: its outcome, else the mark of what is queued.

    found: both of each key, in turn. Strange ones are as good as none, and so is a pointer: that
    stands in place of a mark, and says nothing of its own key.
    """
    return [
        outcome
        if outcome is not None and key_state_in(outcome) is not None
        else _mark_or_none(mark)
        for outcome, mark in zip(found[::2], found[1::2], strict=True)
    ]


def _mark_or_none(mark: bytes | None) -> bytes | None:
    if mark is None or pointer_in(mark) is not None or key_state_in(mark) is None:
        return None
    return mark


def pointer_in(value: bytes | None) -> str | None:
    """The outcome key that an append left under an id in place of a mark."""
    if value is None or not value.startswith(POINTER.encode()):
        return None
    return value[len(POINTER) :].decode(errors="replace")


def object_in(key: str, raw: bytes) -> dict[str, Any] | None:
    """A JSON object."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    tell(key, raw)
    return None
