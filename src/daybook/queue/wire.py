"""The wire of a producer: what Redis is asked, and what its replies mean, for every client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from daybook.errors import LogRefused
from daybook.queue.connect import not_installed, strange
from daybook.queue.entries import NewEntry, entry_id_of, key_of_id, position_of
from daybook.queue.epochs import partitions_at
from daybook.queue.keys import Keys
from daybook.queue.parsing import (
    key_state_in,
    known_values,
    pointer_in,
    position_or_zero,
    shown,
)

ReplyT = TypeVar("ReplyT")

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


@dataclass(frozen=True, slots=True)
class Call(Generic[ReplyT]):
    """A command for Redis. read: from its reply to what it means."""

    command: tuple[str | bytes, ...]
    read: Callable[[Any], ReplyT]


def outcomes_call(keys: Keys, wanted: Sequence[str]) -> Call[list[bytes | None]]:
    """What is known of each outcome key: its outcome, or that it is queued. At least one key."""
    return Call(("MGET", *keys.known(wanted)), known_values)


def pointer_call(keys: Keys, request_id: str) -> Call[str | None]:
    """The outcome key that an append left under an id; None when it left none.

    Producers may write it: what stands there counts if it is of that request.
    """
    return Call(("GET", keys.queued(key_of_id(request_id))), pointer_in)


def partitions_call(keys: Keys, position: int) -> Call[int]:
    """How many partitions there were when ``position`` was accepted. May raise LogNotInstalled."""
    return Call(("HGETALL", keys.state), lambda state: partitions_at(state, position))


def installation_call(keys: Keys) -> Call[bytes | None]:
    """Of which installation the log is; None where nothing says so."""
    return Call(("HGET", keys.state, "installation"), lambda found: found)


def check_owner(found: bytes | None, installation_id: str | None) -> None:
    """See to it that a log is that of a database. None: it is not known.

    Raises LogRefused.
    """
    if found is not None and installation_id is not None and found != installation_id.encode():
        raise LogRefused(
            f"this log is of the installation {shown(found)}, and the database of "
            f"{installation_id}: DAYBOOK_REDIS_URL (or DAYBOOK_NAMESPACE) and DAYBOOK_DATABASE_URL "
            "must name servers of the same one"
        )


def decided_call(keys: Keys) -> Call[int]:
    """The position up to which workers say that all is decided; 0 where they have not said."""
    return Call(("HGET", keys.state, "decided"), partial(position_or_zero, keys.state))


class Entry(NamedTuple):
    """What an entry says of itself: anyone may have written it."""

    position: int
    request_id: str
    body: bytes


def entry_call(keys: Keys, partition: int, position: int) -> Call[Entry | None]:
    """The entry at ``position``; None when it was trimmed."""
    entry_id = entry_id_of(position)
    return Call(("XRANGE", keys.log(partition), entry_id, entry_id), _entry_in)


def _entry_in(found: list[tuple[bytes, dict[bytes, bytes]]]) -> Entry | None:
    return _entry(*found[0]) if found else None


def _entry(entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    request_id = fields.get(b"i", b"").decode(errors="backslashreplace")
    return Entry(position_of(entry_id), request_id, fields.get(b"b", b""))


def unread_call(keys: Keys, partition: int, cursor: int, count: int) -> Call[list[Entry]]:
    """All that stands behind a cursor of a partition, ``count`` at most.

    Barriers too, whose bodies are no requests: anyone who gets fewer than ``count`` has seen all.
    """
    start = f"({entry_id_of(cursor)}"
    command = ("XRANGE", keys.log(partition), start, "+", "COUNT", str(count))
    return Call(command, lambda found: [_entry(*one) for one in found])


def answer_call(keys: Keys, answer_id: str) -> Call[bytes | None]:
    """What a worker has left as its answer, once; None while none has answered."""
    return Call(("GETDEL", keys.answer(answer_id)), lambda found: found)
