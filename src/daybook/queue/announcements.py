"""What workers say of themselves in Redis, every few seconds: who they are, what they can.

It is how a resize knows whether a worker of an old version runs, and how workers know of queues
that nobody listens to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from daybook.queue.connect import translated_faults
from daybook.queue.log import Log
from daybook.queue.parsing import object_in

KNOWS_EPOCHS = 2
"""What this version's workers can: follow the log to another number of partitions. 1: not yet."""

ANNOUNCE_SECONDS = 2.0
ANNOUNCEMENT_LIFE_SECONDS = 15
"""A worker that was not heard of for so long is gone, or stopped."""


class Announcement(NamedTuple):
    """A worker that was heard of. queues: the names of those that it listens to."""

    worker: str
    protocol: int
    queues: tuple[str, ...]


def announce(log: Log, worker: str, queues: Iterable[str]) -> None:
    """Say that ``worker`` is there. Raises LogUnavailable."""
    text = json.dumps({"protocol": KNOWS_EPOCHS, "queues": sorted(queues)})
    with translated_faults():
        pipeline = log.client.pipeline(transaction=True)
        pipeline.set(log.keys.worker(worker), text, ex=ANNOUNCEMENT_LIFE_SECONDS)
        pipeline.sadd(log.keys.workers, worker)
        pipeline.execute()


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
    protocol, queues = fields.get("protocol"), fields.get("queues")
    if type(protocol) is int and isinstance(queues, list) and all(type(q) is str for q in queues):
        return Announcement(name, protocol, tuple(queues))
    return None
