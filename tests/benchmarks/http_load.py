"""Load over HTTP/1.1: each connection is kept, and sends its next request after an answer.

As plain as it gets: what it takes of the machine is missing to the server beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length: "


class Load(NamedTuple):
    """What came back. seconds: of the whole; latencies: of each answer, in seconds, sorted."""

    statuses: dict[int, int]
    seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, part: float) -> float:
        """So long, at most, took this part of the answers, in milliseconds."""
        return self.latencies[min(int(len(self.latencies) * part), len(self.latencies) - 1)] * 1000


def request(method: str, path: str, body: bytes = b"", key: str | None = None) -> bytes:
    """A request as it is sent."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"X-Blnk-Key: {key}"] if key else []
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def send(
    url: str, requests: Iterator[bytes], connections: int, per_second: float | None = None
) -> Load:
    """Send all of them. per_second: so many at most, evenly; None: as fast as answers come."""
    return asyncio.run(_send(url, requests, connections, per_second))


async def _send(
    url: str, requests: Iterator[bytes], connections: int, per_second: float | None
) -> Load:
    place = urlsplit(url)
    statuses: dict[int, int] = {}
    latencies: list[float] = []
    started = time.perf_counter()
    due = _due(started, per_second)

    async def run() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        for one in requests:
            at = due()
            if (wait := at - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            writer.write(one)
            status = await _answer(reader)
            latencies.append(time.perf_counter() - at)
            statuses[status] = statuses.get(status, 0) + 1
        writer.close()

    await asyncio.gather(*(run() for _ in range(connections)))
    seconds = time.perf_counter() - started
    return Load(statuses, seconds, sorted(latencies))


def _due(started: float, per_second: float | None) -> Callable[[], float]:
    """When the next request is due; a late one's wait counts, too."""
    if per_second is None:
        return time.perf_counter
    number = 0

    def due() -> float:
        nonlocal number
        number += 1
        return started + number / per_second

    return due


async def _answer(reader: asyncio.StreamReader) -> int:
    """The status of the next answer; its body is read and dropped."""
    head = await reader.readuntil(HEAD_END)
    place = head.lower().find(LENGTH)
    length = int(head[place + len(LENGTH) : head.index(b"\r", place)]) if place >= 0 else 0
    if length:
        await reader.readexactly(length)
    return int(head[9:12])
