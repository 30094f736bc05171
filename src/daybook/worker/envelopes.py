"""What a worker takes from a queue of the broker: messages of one form, written anew.

Anyone who may send a request may push anything onto the queues. Kombu and Celery read an envelope
in some twenty places and trust each: one wrong type ends the worker's parent, the message is put
back and ends the next one. So nothing of a stranger's envelope gets further than this module: it is
read once, and a new one is made of the few values that a task of Daybook needs.
"""

from __future__ import annotations

import base64
import json
import uuid
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from daybook.queue.doorbell import (
    APPLY_TASK,
    DRY_RUN_TASK,
    FIND_TASK,
    QUEUE_PREFIX,
    SNAPSHOT_TASK,
    queue_of,
)
from daybook.requests.bounds import BULK_BODY_BYTES_MAX
from daybook.worker.messages import check_depth, load_message

ENQUEUE_TASK = "daybook.enqueue"
SWEEP_TASK = "daybook.sweep"

INTAKE_TASKS = frozenset({ENQUEUE_TASK, DRY_RUN_TASK, FIND_TASK, SWEEP_TASK, SNAPSHOT_TASK})
"""What may be run from the intake, or a queue of an operator's own. Celery's built-in tasks, with
which a message could make a worker send others, are not among them."""

_TRIED_AGAIN = frozenset({ENQUEUE_TASK, APPLY_TASK})
"""What workers send themselves to be run a little later."""

HANDED_ON = "daybook_handed_on"
"""Header with the names of what the sender wanted done with the outcome: the intake refuses it."""

_HANDED_ON = {"callbacks": "link", "errbacks": "link_error", "chain": "chain", "chord": "chord"}
"""What a message may ask to be done with its outcome, as Celery calls it inside and outside."""

MESSAGE_BYTES_MAX = 4 * BULK_BODY_BYTES_MAX
"""Room for the largest bulk, written loosely, in base64, with a copy for people to read."""

ID_LENGTH_MAX = 1_000
"""More than a reference may have: what is a little too long is told to its sender."""

NAME_LENGTH_MAX = 255
SHOWN_LENGTH_MAX = 1_000
"""Characters of the arguments as logs and Flower show them."""

RETRIES_MAX = 1_000_000
PRIORITY_MAX = 9
YEAR_MAX = 9_000
"""Of ``eta`` and ``expires``: every time zone can still say it."""

HELD_SECONDS_MAX = 5.0
"""How long a worker keeps a message in memory until its time, at most: more than the pauses after
which workers themselves try again."""

ARGUMENT_PARTS = 2
"""By position, and by name."""

_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_ZLIB = frozenset({"application/x-gzip", "gzip", "zlib"})
"""How Celery names the compression that it means by ``gzip``."""

_JSON = frozenset({"application/json", "json"})
_BLANK = " \t\r\n"


class Unreadable(ValueError):  # noqa: N818 - states the fact
    """A message that is none of ours; the text says why."""


def _now() -> datetime:
    return datetime.now(UTC)


def envelope_of(raw: bytes, queue: str, clock: Callable[[], datetime] = _now) -> dict[str, Any]:
    """The envelope for kombu of what was read from ``queue``. Raises Unreadable."""
    try:
        given, properties = _opened(raw)
        headers, arguments, handed_on = _content(given, properties)
        made = _headers(headers) | {HANDED_ON: handed_on}
        if not is_scheduled(made):
            made["eta"] = _held_until(made, clock())
        _check_task(made["task"], load_message(arguments), queue)
    except Unreadable:
        raise
    except (ValueError, TypeError, ArithmeticError, RecursionError) as fault:
        raise Unreadable(f"{type(fault).__name__}: {fault}"[:SHOWN_LENGTH_MAX]) from fault
    return _envelope(made, properties, arguments, queue)


def _opened(raw: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The envelope as it was given, and its properties."""
    if len(raw) > MESSAGE_BYTES_MAX:
        raise Unreadable(f"longer than {MESSAGE_BYTES_MAX} bytes")
    text = raw.decode()
    check_depth(text)
    given = _mapping(json.loads(text), "the message")
    return given, _mapping(given.get("properties"), "properties")


def is_scheduled(headers: Mapping[str, Any]) -> bool:
    """Whether the time of a message is the ledger's to keep, so that no worker holds it."""
    return bool(headers["task"] == ENQUEUE_TASK and not headers["retries"])


def _held_until(headers: Mapping[str, Any], now: datetime) -> str | None:
    """When a worker runs what it holds: only what workers send themselves has a time at all."""
    if headers["eta"] is None or headers["task"] not in _TRIED_AGAIN:
        return None
    latest = now + timedelta(seconds=HELD_SECONDS_MAX)
    return min(datetime.fromisoformat(headers["eta"]), latest).isoformat()


def _content(
    given: Mapping[str, Any], properties: Mapping[str, Any]
) -> tuple[dict[str, Any], str, list[str]]:
    """The headers, wherever they are, the arguments as text, and what is to be handed on."""
    headers = _mapping(given.get("headers") or {}, "headers")
    body = _body(given, properties, headers)
    parts = _parts(body)
    if isinstance(parts, dict):  # protocol 1: the headers are in the body
        wanted = _mapping(json.loads(body), "the body")
        headers = wanted | headers
        parts = [parts.get("args", "[]"), parts.get("kwargs", "{}")]
    else:
        wanted = _mapping(json.loads(parts[2]) or {}, "the options") if len(parts) > 2 else {}
    if len(parts) < ARGUMENT_PARTS:
        raise Unreadable("the body has no arguments")
    # A message that comes again was written anew by a worker: only the header still says it.
    known = headers.get(HANDED_ON)
    before = known if isinstance(known, list) else []
    handed_on = [
        outside for inside, outside in _HANDED_ON.items() if wanted.get(inside) or outside in before
    ]
    return headers, f"[{parts[0]}, {parts[1]}, {{}}]", handed_on


def _envelope(
    headers: dict[str, Any], properties: Mapping[str, Any], arguments: str, queue: str
) -> dict[str, Any]:
    """Where it came from, and by which tag it is acknowledged, the sender has no say in."""
    priority, delivery = properties.get("priority"), properties.get("delivery_info")
    again = isinstance(delivery, dict) and delivery.get("redelivered") is True
    return {
        "body": base64.b64encode(arguments.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            "correlation_id": headers["id"],
            "reply_to": None,
            "delivery_mode": 2,
            # A message whose worker was lost twice is not put back once more.
            "delivery_info": {"exchange": "", "routing_key": queue, "redelivered": again},
            "priority": priority if _is_whole(priority, PRIORITY_MAX) else 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }


def _body(
    given: Mapping[str, Any], properties: Mapping[str, Any], headers: Mapping[str, Any]
) -> str:
    """The text of the body, decoded and decompressed."""
    _one_of(given.get("content-type"), _JSON, "content-type")
    _one_of(given.get("content-encoding") or "utf-8", _UTF8, "content-encoding")
    encoding = properties.get("body_encoding")
    body = _text(given.get("body"), "body", MESSAGE_BYTES_MAX)
    if encoding == "base64":
        content = base64.b64decode(body, validate=True)
    elif encoding is None or encoding == "utf-8":
        content = body.encode()
    else:
        raise Unreadable("body_encoding is not base64")
    if headers.get("compression"):
        _one_of(headers["compression"], _ZLIB, "compression")
        content = _decompressed(content)
    text = content.decode()
    check_depth(text)
    return text


def _decompressed(content: bytes) -> bytes:
    """At most MESSAGE_BYTES_MAX of it: a few bytes can hold a terabyte of zeros."""
    try:
        reader = zlib.decompressobj()
        found = reader.decompress(content, MESSAGE_BYTES_MAX)
    except zlib.error as fault:
        raise Unreadable(f"the body is not compressed as it says: {fault}") from None
    if not reader.eof:
        raise Unreadable(f"the body is broken off, or longer than {MESSAGE_BYTES_MAX} bytes")
    return found


def _parts(text: str) -> list[str] | dict[str, str]:
    """The members of a JSON array or object, each as it was written.

    Numbers of a request must not be read and written again: that would round them.
    """
    place = _skip(text, 0)
    if text[place : place + 1] == "[":
        return [part for _, part in _members(text, place, named=False)]
    if text[place : place + 1] == "{":
        return dict(_members(text, place, named=True))
    raise Unreadable("the body is no array")


def _members(text: str, place: int, *, named: bool) -> list[tuple[str, str]]:
    decode: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().raw_decode
    found: list[tuple[str, str]] = []
    name, closing = "", "}" if named else "]"
    place = _skip(text, place + 1)
    while text[place : place + 1] != closing:
        if found:
            place = _past(text, place, ",")
        if named:
            given, place = decode(text, place)
            name = _text(given, "a name", NAME_LENGTH_MAX)
            place = _past(text, _skip(text, place), ":")
        _, end = decode(text, place)
        found.append((name, text[place:end]))
        place = _skip(text, end)
    if text[place + 1 :].strip(_BLANK):
        raise Unreadable("something follows the body")
    return found


def _skip(text: str, place: int) -> int:
    """The first place from there on that is not blank."""
    while text[place : place + 1] in tuple(_BLANK):
        place += 1
    return place


def _past(text: str, place: int, mark: str) -> int:
    if text[place : place + 1] != mark:
        raise Unreadable("the body is not JSON")
    return _skip(text, place + 1)


def _headers(given: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that tasks of Daybook need.

    Not among them: callbacks, chains and chords, which would have a worker send what a stranger
    wrote; time limits, which would have it kill its children; stamps.
    """
    name = _text(given.get("id"), "id", ID_LENGTH_MAX)
    return {
        "lang": "py",
        "task": _text(given.get("task"), "task", NAME_LENGTH_MAX),
        "id": name,
        "root_id": _optional_text(given.get("root_id")) or name,
        "parent_id": _optional_text(given.get("parent_id")),
        "group": None,
        "eta": _moment(given.get("eta"), "eta"),
        "expires": _moment(given.get("expires"), "expires"),
        "retries": _retries(given.get("retries")),
        "timelimit": [None, None],
        "argsrepr": _shown(given.get("argsrepr")),
        "kwargsrepr": _shown(given.get("kwargsrepr")),
        "origin": _optional_text(given.get("origin")),
        "ignore_result": given.get("ignore_result") is True,
    }


def _check_task(task: str, arguments: Any, queue: str) -> None:
    """Only what is meant to be run from a queue is."""
    args, kwargs, _ = arguments
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise Unreadable("the arguments are not an array and an object")
    if not queue.startswith(QUEUE_PREFIX):
        _one_of(task, INTAKE_TASKS, "task")
        return
    _one_of(task, frozenset({APPLY_TASK}), "task")
    if kwargs or len(args) != 1 or type(args[0]) is not int or queue_of(args[0]) != queue:
        raise Unreadable("it is no doorbell of this partition")


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"{name}: no object")
    return value


def _one_of(value: Any, allowed: frozenset[str], name: str) -> None:
    if not isinstance(value, str) or value.lower() not in allowed:
        raise Unreadable(f"{name}: not one of {', '.join(sorted(allowed))}")


def _text(value: Any, name: str, length_max: int) -> str:
    if not isinstance(value, str) or not value or len(value) > length_max:
        raise Unreadable(f"{name}: no text of 1 to {length_max} characters")
    value.encode()  # half a surrogate can be neither a key of Redis nor a parameter of Postgres
    return value


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value, "an id", ID_LENGTH_MAX)


def _shown(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    return value[:SHOWN_LENGTH_MAX].encode(errors="replace").decode()


def _moment(value: Any, name: str) -> str | None:
    """A time of ISO 8601, in UTC. Without a zone it is UTC, as Celery reads it."""
    if value is None:
        return None
    moment = datetime.fromisoformat(_text(value, name, NAME_LENGTH_MAX))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    moment = moment.astimezone(UTC)
    if moment.year > YEAR_MAX:
        raise Unreadable(f"{name}: later than the year {YEAR_MAX}")
    return moment.isoformat()


def _retries(value: Any) -> int:
    if value is None:
        return 0
    if not _is_whole(value, RETRIES_MAX):
        raise Unreadable(f"retries: no whole number up to {RETRIES_MAX}")
    return int(value)


def _is_whole(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most
