"""The wire of an append: what the script is given, and what it says, for every client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daybook.queue.connect import not_installed, strange
from daybook.queue.entries import NewEntry, position_of
from daybook.queue.keys import Keys
from daybook.queue.parsing import key_state_in

BELL_LIFE_MS = 1_000
"""How long a doorbell counts as rung: a lost one is rung again by the next append after that."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of one entry of an append.

    state: ``accepted``, ``duplicate``, ``conflict`` or ``full``.
    position: of an accepted entry. value: what stands under the outcome key of the other two.
    """

    state: str
    position: int | None = None
    value: str | None = None


_STATES = {"A": "accepted", "D": "duplicate", "C": "conflict", "F": "full"}


def append_arguments(keys: Keys, entries: Sequence[NewEntry]) -> tuple[list[str], list[Any]]:
    """KEYS and ARGV of the append script."""
    arguments: list[Any] = [keys.prefix, BELL_LIFE_MS]
    for entry in entries:
        arguments += (
            entry.slot,
            entry.key,
            entry.fingerprint.hex(),
            entry.request_id,
            entry.flags,
            entry.body,
            ",".join(map(str, entry.slots)) if entry.slots else "",
        )
    return [keys.state, keys.clock], arguments


def read_append_reply(reply: list[Any]) -> tuple[list[Appended], list[int]]:
    """Results for each entry, and the partitions to ring.

    Raises LogNotInstalled, and LogUnavailable where a worker must repair the log first.
    """
    if reply[0] == b"NOT_INSTALLED":
        raise not_installed()
    if reply[0] == b"STRANGE":
        raise strange(reply[1].decode())
    results = []
    for item in reply[2]:
        state, value = _STATES[chr(item[0])], item[1:]
        if state == "accepted":
            results.append(Appended(state, position=position_of(value)))
        else:
            is_sound = value and key_state_in(value) is not None
            results.append(Appended(state, value=value.decode() if is_sound else None))
    return results, [int(partition) for partition in reply[1]]
