"""What workers say of themselves in Redis, every few seconds: which queues they listen to.

It is how workers know of queues that nobody listens to, and how ``daybook partitions`` counts
those that do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from daybook.queue.connect import translated_faults
from daybook.queue.log import Log
from daybook.queue.parsing import object_in

ANNOUNCE_SECONDS = 2.0
ANNOUNCEMENT_LIFE_SECONDS = 15
"""A worker that was not heard of for so long is gone, or stopped."""


_ANNOUNCE = """#!lua flags=allow-oom
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
return 1
"""
"""A server whose memory is full must not make its workers look dead."""


class Pool(NamedTuple):
    """The processes of a worker that do the work.

    processes: how many live. busy_seconds: how long the oldest task has run; 0 when none does.
    """

    processes: int
    busy_seconds: float


class Announcement(NamedTuple):
    """A worker that was heard of.

    queues: the names of those that it listens to. ahead_ms: how far its clock is ahead of the
    log's server. pool: None when it has no processes of its own.
    """

    worker: str
    queues: tuple[str, ...]
    ahead_ms: int | None = None
    pool: Pool | None = None


def announce(
    log: Log,
    worker: str,
    queues: Iterable[str],
    *,
    clock_ms: int | None = None,
    pool: Pool | None = None,
) -> None:
    """Say that ``worker`` is there. clock_ms: what its clock says. Raises LogUnavailable."""
    text = json.dumps(
        {
            "queues": sorted(queues),
            "ahead_ms": None if clock_ms is None else clock_ms - log.now_ms(),
            "pool": pool,
        }
    )
    keys = (log.keys.worker(worker), log.keys.workers)
    with translated_faults():
        log.client.eval(_ANNOUNCE, len(keys), *keys, text, ANNOUNCEMENT_LIFE_SECONDS, worker)


def withdraw(log: Log, worker: str) -> None:
    """Say that ``worker`` is gone. Raises LogUnavailable."""
    with translated_faults():
        log.client.delete(log.keys.worker(worker))
        log.client.srem(log.keys.workers, worker)


def announced(log: Log) -> dict[str, Announcement]:
    """The workers that were heard of, by name; others are forgotten. Raises LogUnavailable."""
    with translated_faults():
        members = log.client.smembers(log.keys.workers)
        names = sorted(name.decode(errors="backslashreplace") for name in members)
        texts = log.client.mget([log.keys.worker(name) for name in names]) if names else []
        silent = [name for name, text in zip(names, texts, strict=True) if text is None]
        if silent:
            log.client.srem(log.keys.workers, *silent)
    found = [
        _announcement(name, log.keys.worker(name), text)
        for name, text in zip(names, texts, strict=True)
        if text is not None
    ]
    return {said.worker: said for said in found if said is not None}


def _announcement(name: str, key: str, text: bytes) -> Announcement | None:
    """What a worker said of itself; None when that can't be read: it soon says it again."""
    fields = object_in(key, text) or {}
    queues, ahead_ms = fields.get("queues"), fields.get("ahead_ms")
    if not isinstance(queues, list) or not all(type(queue) is str for queue in queues):
        return None
    ahead = ahead_ms if type(ahead_ms) is int else None
    return Announcement(name, tuple(queues), ahead, _pool(fields.get("pool")))


def _pool(said: Any) -> Pool | None:
    match said:
        case [int(processes), int() | float() as busy_seconds]:
            return Pool(processes, float(busy_seconds))
    return None
