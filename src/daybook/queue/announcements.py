"""What workers say of themselves in Redis, every few seconds: which queues they listen to.

It is how workers know of queues that nobody listens to, and how ``daybook partitions`` counts
those that do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from daybook.queue.connect import translated_faults
from daybook.queue.log import Log

ANNOUNCE_SECONDS = 2.0
ANNOUNCEMENT_LIFE_SECONDS = 15
"""A worker that was not heard of for so long is gone, or stopped."""


class Announcement(NamedTuple):
    """A worker that was heard of. queues: the names of those that it listens to."""

    worker: str
    queues: tuple[str, ...]


def announce(log: Log, worker: str, queues: Iterable[str]) -> None:
    """Say that ``worker`` is there. Raises LogUnavailable."""
    text = json.dumps({"queues": sorted(queues)})
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
        names = sorted(name.decode() for name in log.client.smembers(log.keys.workers))
        texts = log.client.mget([log.keys.worker(name) for name in names]) if names else []
        silent = [name for name, text in zip(names, texts, strict=True) if text is None]
        if silent:
            log.client.srem(log.keys.workers, *silent)
    return {
        name: _announcement(name, text)
        for name, text in zip(names, texts, strict=True)
        if text is not None
    }


def _announcement(name: str, text: bytes) -> Announcement:
    fields = json.loads(text)
    return Announcement(name, tuple(fields["queues"]))
