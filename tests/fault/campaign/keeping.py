"""Writes down what the log has accepted, for faults after which the log no longer knows it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from daybook.queue.connect import translated_faults
from daybook.queue.entries import entry_id_of, position_of
from tests.fault.campaign.armed import KEEP
from tests.harness import Installation

Entries = dict[int, dict[bytes, bytes]]


class LogKeeper:
    """A copy of all streams of an installation, as far as they were read.

    armed: the folder in which workers write down what they have read themselves.
    """

    def __init__(self, installation: Installation, armed: Path) -> None:
        self._installation = installation
        self._armed = armed
        self._forgotten: set[int] = set()
        (armed / KEEP).touch()
        self._lock = threading.Lock()
        self.entries: list[Entries] = [{} for _ in range(installation.partitions)]
        self._ends = [0] * installation.partitions

    def catch_up(self) -> None:
        """Read what is new. Raises LogUnavailable."""
        with self._lock, translated_faults():
            for partition, kept in enumerate(self.entries):
                stream = self._installation.log.keys.log(partition)
                start = f"({entry_id_of(self._ends[partition])}"
                for entry_id, fields in self._installation.stream(stream, start):
                    kept[position_of(entry_id)] = fields
                    self._ends[partition] = position_of(entry_id)

    def forget_unread(self) -> int:
        """Forget what no worker has read: it is lost. Returns how much; barriers count."""
        cursors = dict(self._installation.rows("SELECT partition, cursor FROM partitions"))
        lost = 0
        for partition, kept in enumerate(self.entries):
            for position in [p for p in kept if p > cursors[partition]]:
                del kept[position]
                self._forgotten.add(position)
                lost += 1
        return lost

    def _add_what_workers_read(self) -> None:
        for path in self._armed.glob("read-*"):
            for line in path.read_text(encoding="utf-8").splitlines():
                partition, position, request_id, key, flags, body = json.loads(line)
                if position not in self._forgotten:
                    fields = {b"i": request_id, b"k": key, b"c": flags, b"b": body}
                    self.entries[partition].setdefault(
                        position, {name: text.encode("latin-1") for name, text in fields.items()}
                    )

    def put_back(self) -> None:
        """Write all that was kept into the streams, so that the judge knows of it."""
        self.catch_up()
        self._add_what_workers_read()
        for partition, kept in enumerate(self.entries):
            stream = self._installation.log.keys.log(partition)
            at_once = self._installation.redis.pipeline(transaction=False)
            at_once.delete(stream)
            for position in sorted(kept):
                at_once.xadd(stream, dict[Any, Any](kept[position]), id=entry_id_of(position))
            at_once.execute()
