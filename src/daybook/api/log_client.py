"""The client of the API: it also looks into the log, at what no worker has read yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from daybook.client.async_client import AsyncClient
from daybook.client.flows import Queued
from daybook.client.names import name_of
from daybook.errors import LogUnavailable
from daybook.queue.wire import Entry, check_owner

SNAPSHOT_SECONDS_MAX = 600.0
"""How long a snapshot that was asked for waits for a worker."""


class LogClient(AsyncClient):
    """An ``AsyncClient`` that can tell what waits in the log."""

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
