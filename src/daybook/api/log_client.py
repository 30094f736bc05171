"""The client of the API: it also looks into the log, at what no worker has read yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from daybook.client.async_client import AsyncClient, Awaited
from daybook.client.flows import Queued
from daybook.client.names import name_of
from daybook.errors import LogUnavailable
from daybook.queue.doorbell import Doorbell
from daybook.queue.keys import Keys
from daybook.queue.wire import Entry, check_owner

SNAPSHOT_SECONDS_MAX = 600.0
"""How long a snapshot that was asked for waits for a worker."""


RING_PAUSE_SECONDS = 0.005
"""Doorbells of so long are rung together: a worker that is woken for each request has small
batches, and who rings has little time for anything else."""


class Ringing(Awaited):
    """A transport whose doorbells are rung beside the appends, a moment later and together.

    One that is lost with its process is rung by the next sweep, as any lost one.
    """

    def __init__(self, redis: Any, keys: Keys) -> None:
        super().__init__(redis, keys)
        self._due: set[int] = set()
        self.ringing: asyncio.Task[None] | None = None

    async def ring(self, doorbell: Doorbell, partitions: Sequence[int]) -> None:
        self._due.update(partitions)
        if self._due and (self.ringing is None or self.ringing.done()):
            self.ringing = asyncio.create_task(self._ring(doorbell))

    async def _ring(self, doorbell: Doorbell) -> None:
        while self._due:
            due, self._due = sorted(self._due), set()
            await asyncio.to_thread(doorbell.ring, due)
            await asyncio.sleep(RING_PAUSE_SECONDS)


class LogClient(AsyncClient):
    """An ``AsyncClient`` that can tell what waits in the log."""

    _transport_type = Ringing

    async def close(self) -> None:
        """Ring what is due, and close the connections. What was accepted stays accepted."""
        if isinstance(self._transport, Ringing) and self._transport.ringing is not None:
            await self._transport.ringing
        await super().close()

    async def queued(self, *, reference: str | None = None, id: str | None = None) -> Queued | None:
        """What waits under a name; None when it is recorded, or nothing. Raises LogUnavailable."""
        return await self._flows.queued(name_of(reference, id))

    async def check_installation(self, installation_id: str) -> None:
        """Raises LogRefused for the log of another installation; nothing while it is away."""
        found = None
        with suppress(LogUnavailable):
            found = await self._flows.owner()
        check_owner(found, installation_id)

    async def ring(self, partitions: Sequence[int]) -> None:
        """Have a worker come to these partitions."""
        await asyncio.to_thread(self._doorbell.ring, partitions)

    async def ask_for_snapshot(self) -> None:
        """Have a worker keep the figures of balances that changed. Raises LogUnavailable."""
        await asyncio.to_thread(self._doorbell.ask_for_snapshot, SNAPSHOT_SECONDS_MAX)

    async def unread(self, partition: int, cursor: int, count: int) -> list[Entry]:
        """What waits in a partition behind a cursor, ``count`` entries at most.

        Raises LogUnavailable.
        """
        return await self._flows.unread(partition, cursor, count)
