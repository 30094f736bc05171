"""Messages as strangers may push them onto the broker's queues: a seeded generator."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import pickle
import random
import zlib
from collections.abc import Iterator
from typing import Any

STRANGE: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    10**40,
    1.5,
    1e300,
    "",
    "x",
    "garbage",
    "\x00",
    "\ud800",
    "9999-12-31T23:59:59-23:59",
    "2020-01-01T00:00:00",
    "2999-01-01T00:00:00+00:00",
    "application/x-python-serialize",
    "application/data",
    "pickle",
    "yaml",
    "binary",
    "utf-16",
    "base64",
    "celery.chain",
    "daybook.apply",
    "celery.backend_cleanup",
    "x" * 20_000,
    [],
    ["application/json"],
    [[], {}, {}],
    {},
    {"a": {"b": [1]}},
    {"__type__": "datetime", "__value__": "x"},
    {"__type__": [], "__value__": {}},
    [None] * 3,
    [0.0001, 0.0001],
]
"""What a field may be instead of what it should be."""

EMBEDDED = {
    "callbacks": [{"task": "celery.chain", "args": [], "kwargs": {}, "options": {}}],
    "errbacks": [{"task": "daybook.sweep", "args": [], "kwargs": {}, "options": {}}],
    "chain": [{"task": "daybook.sweep", "args": [], "kwargs": {}, "options": {"queue": "other"}}],
    "chord": {"task": "celery.chord_unlock", "args": [], "kwargs": {}, "options": {}},
}


def envelope(
    task: str, args: Any, kwargs: Any, task_id: str, queue: str, embed: Any = None
) -> dict[str, Any]:
    """A message as Celery writes it."""
    body = json.dumps([args, kwargs, {} if embed is None else embed])
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": task,
            "id": task_id,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": task_id,
            "parent_id": None,
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": "gen1@somewhere",
            "ignore_result": False,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": "somebody",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": f"tag-{task_id}",
        },
    }


def strange_messages(seed: int, queue: str, valid: dict[str, Any]) -> Iterator[bytes]:
    """Every sort of raw garbage, every single field made strange, then mixtures for ever."""
    chance = random.Random(seed)
    yield from _garbage(valid)
    paths = _paths(valid)
    for path in paths:
        yield _raw(_without(valid, path))
        for value in STRANGE:
            yield _raw(_with(valid, path, value))
    while True:
        mixed = valid
        for _ in range(chance.randint(1, 6)):
            mixed = _with(mixed, chance.choice(paths), chance.choice(STRANGE))
        raw = _raw(mixed)
        if chance.random() < 0.2:
            place = chance.randrange(len(raw))
            raw = raw[:place] + chance.randbytes(chance.randint(0, 4)) + raw[place + 1 :]
        yield raw


def _garbage(valid: dict[str, Any]) -> Iterator[bytes]:
    yield from (b"", b" ", b"garbage", b"null", b"1", b"[]", b"{}", b'"x"', b"true", b"\xff\xfe")
    yield from (b"[" * 100_000, b'{"a":' * 5_000, b"[1e999]", b"NaN", b"9" * 10_000)
    yield pickle.dumps(valid)
    yield gzip.compress(json.dumps(valid).encode())
    for body, more in (
        (zlib.compress(b"0" * (80 << 20)), {"compression": "application/x-gzip"}),
        (b"broken", {"compression": "application/x-gzip"}),
        (b"x", {"compression": "application/x-bz2"}),
        (pickle.dumps([[], {}, {}]), {}),
        (b"[[], {}", {}),
        (b"[[], {}, {}] more", {}),
        (b'{"args": [], "kwargs": {}}', {}),
        (b"[" * 500 + b"]" * 500, {}),
        (json.dumps([[], {}, EMBEDDED]).encode(), {}),
        (json.dumps([{}, [], None]).encode(), {}),
        (json.dumps([None, None, None]).encode(), {}),
    ):
        headers = {**valid["headers"], **more}
        content = base64.b64encode(body).decode()
        yield _raw({**valid, "headers": headers, "body": content})


def _paths(valid: dict[str, Any]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [(name,) for name in valid]
    for part in ("headers", "properties"):
        found += [(part, name) for name in valid[part]]
    found += [("headers", name) for name in ("compression", "redelivered", "chain")]
    return [*found, ("properties", "delivery_info", "routing_key")]


def _with(valid: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(valid)
    place: Any = changed
    for name in path[:-1]:
        place = place.get(name)
        if not isinstance(place, dict):
            return changed
    place[path[-1]] = copy.deepcopy(value)
    return changed


def _without(valid: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    changed = copy.deepcopy(valid)
    place: Any = changed
    for name in path[:-1]:
        place = place[name]
    place.pop(path[-1], None)
    return changed


def _raw(value: Any) -> bytes:
    return json.dumps(value).encode()
