"""Flows: one description of what both clients do, run to its end where nothing is awaited."""

from __future__ import annotations

import asyncio

import pytest

from daybook.client.flows import run
from daybook.errors import LogUnavailable

AWAY = LogUnavailable("away")


async def doubled(number: int) -> int:
    return 2 * number


def test_a_flow_that_never_waits_has_its_result_at_once() -> None:
    """Also one of several flows, with or without an event loop around it."""

    async def summed() -> int:
        return await doubled(1) + await doubled(2)

    async def inside() -> int:
        return run(summed())

    assert run(summed()) == asyncio.run(inside()) == 6


def test_a_fault_of_a_flow_is_raised_as_it_is() -> None:
    """The very exception, from where it was raised."""

    async def failing() -> None:
        raise AWAY

    with pytest.raises(LogUnavailable) as raised:
        run(failing())
    assert raised.value is AWAY


def test_a_flow_that_waits_for_an_event_loop_is_ended() -> None:
    """It could never go on; what it holds is let go."""
    left = []

    async def waiting() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            left.append("left")

    with pytest.raises(RuntimeError, match="was suspended"):
        run(waiting())
    assert left == ["left"]
