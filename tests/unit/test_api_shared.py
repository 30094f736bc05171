"""Reads that requests share, and what is remembered of balances."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from daybook.api import shared
from daybook.api.shared import KnownUnits, SharedReads, Units
from daybook.store.read.views import BalanceView


class Reads:
    """Notes what is asked, and answers when it may."""

    def __init__(self, *, held: bool = False) -> None:
        self.asked: list[list[str]] = []
        self.free = asyncio.Event()
        self.fault: Exception | None = None
        if not held:
            self.free.set()

    async def __call__(self, ids: Sequence[str]) -> dict[str, str]:
        self.asked.append(list(ids))
        await self.free.wait()
        if self.fault is not None:
            raise self.fault
        return {one: one.upper() for one in ids if one != "none"}


async def _until_asked(reads: Reads, times: int) -> None:
    while len(reads.asked) < times:
        await asyncio.sleep(0)


def test_what_is_asked_meanwhile_goes_with_the_next_read() -> None:
    """Each once, and each caller has what it asked for; what there is not is left out."""

    async def run() -> None:
        reads = Reads(held=True)
        common = SharedReads(reads)
        first = asyncio.create_task(common.of(["a"]))
        await _until_asked(reads, 1)
        others = [asyncio.create_task(common.of(ids)) for ids in (["a", "b"], ["b", "none"])]
        await asyncio.sleep(0)
        reads.free.set()
        assert await first == {"a": "A"}
        assert [await other for other in others] == [{"a": "A", "b": "B"}] * 2
        assert reads.asked == [["a"], ["a", "b", "none"]]
        assert await common.of(["c"]) == {"c": "C"}

    asyncio.run(run())


def test_a_fault_is_told_to_each_and_ends_nothing() -> None:
    """One that has gone takes nothing from the others."""

    async def run() -> None:
        reads = Reads(held=True)
        common = SharedReads(reads)
        tasks = [asyncio.create_task(common.of([one])) for one in ("a", "b", "c")]
        await _until_asked(reads, 1)
        tasks[0].cancel()
        reads.fault = ValueError("away")
        reads.free.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in found] == [asyncio.CancelledError, ValueError, ValueError]
        reads.fault = None
        assert await common.of(["a"]) == {"a": "A"}

    asyncio.run(run())


def test_many_ids_are_read_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement has no more than it may."""
    monkeypatch.setattr(shared, "IDS_MAX", 2)

    async def run() -> None:
        reads = Reads()
        assert len(await SharedReads(reads).of("abcde")) == 5
        assert reads.asked == [["a", "b"], ["c", "d"], ["e"]]

    asyncio.run(run())


def view(name: str, precision: int | None) -> BalanceView:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return BalanceView(name, "ldg", "USD", None, None, precision, *(0,) * 8, now, {})


def test_units_are_remembered_once_they_are_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A balance without a precision is asked for again; the oldest of too many is forgotten."""
    monkeypatch.setattr(shared, "KNOWN_MAX", 2)
    asked: list[list[str]] = []
    views: dict[str, Any] = {name: view(name, 100) for name in ("a", "b", "c")}
    views["open"] = view("open", None)

    async def read(ids: Sequence[str]) -> dict[str, BalanceView]:
        asked.append(list(ids))
        return {one: views[one] for one in ids if one in views}

    async def run() -> None:
        known = KnownUnits(SharedReads(read))
        assert await known.of(["a", "open", "none"]) == {
            "a": Units("a", "USD", 100),
            "open": Units("open", "USD", None),
        }
        await known.of(["a", "open"])
        assert asked == [["a", "open", "none"], ["open"]]
        await known.of(["b", "c"])
        await known.of(["b", "c"])
        assert asked[2:] == [["b", "c"]]
        await known.of(["a"])
        assert asked[3:] == [["a"]]

    asyncio.run(run())
