"""The spelling of the log: entry ids, what goes into an entry, what stands under an outcome key."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.ledger.record import Status

FINGERPRINT_HEX_LENGTH = 64
COUNTER_MAX = (1 << POSITION_COUNTER_BITS) - 1
"""Largest counter of an entry id."""

POSITION_LIMIT = 1 << 63
"""Every position is smaller, so that Postgres can keep it."""


CELERY_RESULT = "c"
"""Flag of an entry whose outcome is also stored as a Celery result, under its reference."""

BY_ID = "i"
"""Flag of an entry that can be looked up by its request id although it has a reference."""

POINTER = "@"
"""What stands under the id of such an entry begins with it; then comes its outcome key."""

MARKS = "QP"
"""What follows the fingerprint in the mark of a queued request; P when there is a pointer, too."""

DUE = "d"
"""Flag of an entry of the sweeper: the time of what it asks for has come.

It is accepted, once, where the same request would be answered with its SCHEDULED outcome, or with
one that changed nothing: a deadline that was asked for too early must not be the last.
"""

RETRY = "r"
"""Flag of an entry that an operator sends again because it was quarantined.

It is accepted, once, where the same request would be answered with that outcome.
"""

FOLLOWED = "f"
"""Flag of an entry that is accepted only if there is room for the next one of the same append, too.

Both have one home.
"""

BARRIER = "b"
"""Flag of an entry that is no request: the mark of a wide request of another partition.

It has that entry's position and request id; its body is the number of that partition. Anyone who
reads it stops there until nothing is unread in that partition at or before the position.
"""

BARRIER_DIGITS_MAX = 4
"""Digits of a partition's number."""


def position_of(entry_id: bytes | str) -> int:
    """The position of a stream entry id ``<milliseconds>-<counter>``."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, counter = text.partition("-")
    return int(milliseconds) << POSITION_COUNTER_BITS | int(counter or 0)


def entry_id_of(position: int) -> str:
    """The stream entry id of a position."""
    return f"{position >> POSITION_COUNTER_BITS}-{position & COUNTER_MAX}"


def key_of_reference(reference: str) -> str:
    """The outcome key of a transaction with this reference."""
    return f"t:{reference}"


def key_of_id(request_id: str) -> str:
    """The outcome key of a request without reference, or of a creation."""
    return f"i:{request_id}"


def reference_of_key(key: str) -> str | None:
    """The reference in an outcome key; None in that of a request without one."""
    return key[2:] if key.startswith("t:") else None


def key_of_request(reference: str | None, request_id: str) -> str:
    """The outcome key of a request: by its reference when it has one, else by its id."""
    return key_of_id(request_id) if reference is None else key_of_reference(reference)


class NewEntry(NamedTuple):
    """What a producer appends.

    fingerprint: 32 bytes. flags: of ``CELERY_RESULT``, ``BY_ID``, ``DUE``, ``RETRY`` and
    ``FOLLOWED``, or empty.
    slots: of a wide request, which spends from balances of several slots: all of them.
    """

    slot: int
    key: str
    fingerprint: bytes
    request_id: str
    body: bytes
    flags: str = ""
    slots: tuple[int, ...] = ()


class RawEntry(NamedTuple):
    """What a worker reads: not decoded, so whatever a producer wrote."""

    position: int
    request_id: str
    key: str
    flags: str
    body: bytes


class Money(NamedTuple):
    """What an outcome is about: minor units, how many of them make a major one, and the currency.

    precise_amount, precision: None where it says nothing of one amount, as of a creation.
    """

    precise_amount: int | None
    precision: int | None
    currency: str | None


NO_MONEY = Money(None, None, None)


@dataclass(frozen=True, slots=True)
class KeyState:
    """What stands under an outcome key.

    fingerprint: hex, of the request that owns the key.
    request_id: of a queued request the id it was accepted under, of a recorded one the id that
    the outcome belongs to.
    position: where the entry stands, or stood, in the log; partition: of a queued entry.
    money: of a recorded outcome.
    """

    fingerprint: str
    status: str
    request_id: str
    reason: str | None = None
    detail: str | None = None
    duplicate: bool = False
    partition: int | None = None
    position: int | None = None
    money: Money = NO_MONEY


_MONEY = ("n", "p", "c")


def _plain(money: Money) -> str | None:
    """Money as it continues a JSON object; None for what needs escapes, or is not whole."""
    amount, precision, currency = money
    if currency is None or amount is None or precision is None:
        return "" if money == NO_MONEY else None
    return f',"n":{amount},"p":{precision},"c":"{currency}"' if currency.isalnum() else None


def outcome_value(
    fingerprint: str,
    request_id: str,
    status: str,
    reason: str | None = None,
    detail: str | None = None,
    *,
    position: int | None = None,
    duplicate: bool = False,
    money: Money = NO_MONEY,
) -> str:
    """The text that stands under an outcome key once the outcome is recorded.

    position: of the entry in the log, when it is known; it stays there for the retention.
    """
    if reason is None and detail is None and not duplicate and position is not None:
        plain = _plain(money)
        if plain is not None:  # nearly always; ids and statuses need no escapes
            return (
                f'{fingerprint}R{{"id":"{request_id}","status":"{status}","at":{position}{plain}}}'
            )
    fields: dict[str, object] = {"id": request_id, "status": status}
    if position is not None:
        fields["at"] = position
    if reason is not None:
        fields["reason"] = reason
    if detail is not None:
        fields["detail"] = detail
    if duplicate:
        fields["duplicate"] = True
    named = zip(_MONEY, money, strict=True)
    fields |= {name: value for name, value in named if value is not None}
    return f"{fingerprint}R{json.dumps(fields, separators=(',', ':'))}"


def read_value(value: bytes | str) -> KeyState:
    """What a text under an outcome key says. Raises ValueError, LookupError, … for a strange one.

    Of what stands in Redis, ask ``parsing`` first.
    """
    text = value.decode() if isinstance(value, bytes) else value
    fingerprint, kind = text[:FINGERPRINT_HEX_LENGTH], text[FINGERPRINT_HEX_LENGTH]
    rest = text[FINGERPRINT_HEX_LENGTH + 1 :]
    if kind in MARKS:
        request_id, partition, entry_id = rest.rsplit(" ", 2)
        return KeyState(
            fingerprint,
            Status.QUEUED,
            request_id,
            partition=int(partition),
            position=position_of(entry_id),
        )
    fields = json.loads(rest)
    return KeyState(
        fingerprint,
        fields["status"],
        fields["id"],
        fields.get("reason"),
        fields.get("detail"),
        fields.get("duplicate", False),
        position=fields.get("at"),
        money=Money(*(fields.get(name) for name in _MONEY)),
    )
