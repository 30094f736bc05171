"""Doorbells of the API: beside the appends, and those of a moment together."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from unittest.mock import Mock

from daybook.api.log_client import Ringing
from daybook.queue.keys import Keys


class Bell:
    """Notes what is rung. It takes as long as it is held."""

    def __init__(self) -> None:
        self.rung: list[list[int]] = []
        self.free = threading.Event()

    def ring(self, partitions: list[int]) -> None:
        self.rung.append(list(partitions))
        assert self.free.wait(60)


def test_who_appends_does_not_wait_for_a_doorbell() -> None:
    """What is to be rung while one is under way is rung once, by the next."""
    bell: Any = Bell()

    async def run() -> None:
        transport = Ringing(Mock(), Keys("daybook"))
        await transport.ring(bell, [])
        assert transport.ringing is None
        await transport.ring(bell, [1])
        while not bell.rung:
            await asyncio.sleep(0.001)
        for partitions in ([0, 1], [1], [0], []):
            await transport.ring(bell, partitions)
        bell.free.set()
        assert transport.ringing is not None
        await transport.ringing
        await transport.ring(bell, [2])
        await transport.ringing

    asyncio.run(run())
    assert bell.rung == [[1], [0, 1], [2]]
