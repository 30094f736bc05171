"""Live traffic: several producers that send requests of every kind until they are told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from random import Random
from typing import Any

from daybook import Client
from daybook.client.receipts import Receipt
from daybook.errors import LogFull, LogUnavailable
from daybook.settings import Settings
from tests.fault.campaign.keeping import LogKeeper
from tests.harness import wait_ended, wait_until
from tests.traffic.mix import mixing

PRODUCERS = 3
REQUESTS = 2_500
"""So many are sent for a kind at least, most of them in bulk."""
CHUNK_MAX = 80
CHUNK_AFTERWARDS_MAX = 5
"""When all are sent it goes on, so that there is traffic until the end of what is slow."""
PAUSE_SECONDS = (0.1, 0.3)
TRY_AGAIN_SECONDS = 0.1
SEND_SECONDS_MAX = 90.0
"""How long a producer tries, and nothing of it is accepted, before it is a violation."""

Sent = tuple[Any, Receipt]


class Traffic:
    """The producers.

    keeper: told before and after each call; then they send one at a time. requests: how many are
    sent at least.
    """

    def __init__(
        self,
        settings: Settings,
        balances: Sequence[str],
        seed: int,
        keeper: LogKeeper | None,
        requests: int = REQUESTS,
    ) -> None:
        self._keeper = keeper
        self._requests = requests
        self._gate = threading.RLock()
        self._ended = threading.Event()
        self.faults: list[str] = []
        self.sent: list[Sent] = []
        self._threads = [
            threading.Thread(
                target=self._produce, args=(settings, balances, seed, number), daemon=True
            )
            for number in range(PRODUCERS)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def complete(self) -> None:
        """Wait until as many were sent as shall be."""
        wait_until(
            lambda: self.faults or len(self.sent) >= self._requests,
            f"{self._requests} requests were sent",
            SEND_SECONDS_MAX,
            progress=lambda: len(self.sent),
        )

    def stop(self) -> None:
        """End after the calls that were begun."""
        self._ended.set()
        try:
            wait_ended(self._threads, lambda: len(self.sent), SEND_SECONDS_MAX + 30)
        except AssertionError:
            self.faults.append("a producer hangs")

    def accepted(self) -> int:
        """How many requests the log has accepted so far."""
        return sum(receipt.state == "accepted" for _, receipt in list(self.sent))

    @contextmanager
    def silence(self) -> Iterator[None]:
        """No producer is in a call, and none begins one, until the end of the block."""
        with self._gate:
            yield

    def _produce(self, settings: Settings, balances: Sequence[str], seed: int, number: int) -> None:
        random = Random(f"producer-{seed}-{number}")
        requests = mixing(random, balances, f"p{number}")
        try:
            with Client(settings=settings) as client:
                while not self._ended.is_set():
                    is_done = len(self.sent) >= self._requests
                    size = random.randint(1, CHUNK_AFTERWARDS_MAX if is_done else CHUNK_MAX)
                    self._hand_in(client, list(islice(requests, size)))
                    self._ended.wait(random.uniform(*PAUSE_SECONDS))
        except Exception as fault:
            self.faults.append(f"a producer was told {type(fault).__name__}: {fault}")

    def _hand_in(self, client: Client, chunk: list[Any]) -> None:
        """Send until all of it is accepted, or nothing more is for as long as the bound."""
        deadline = time.monotonic() + SEND_SECONDS_MAX
        while chunk:
            with self._gate if self._keeper else threading.Lock():
                done = self._send(client, chunk)
            chunk = chunk[done:]
            if done:
                deadline = time.monotonic() + SEND_SECONDS_MAX
            if chunk:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"nothing was accepted for {SEND_SECONDS_MAX:.0f} s")
                time.sleep(TRY_AGAIN_SECONDS)

    def _send(self, client: Client, chunk: list[Any]) -> int:
        """One call; how many of the chunk were accepted."""
        try:
            if self._keeper:
                self._keeper.catch_up()
            try:
                receipts: Sequence[Receipt] = client.enqueue_many(chunk)
            except LogFull as full:
                receipts = full.accepted
            self.sent += zip(chunk, receipts, strict=False)
            if self._keeper:
                self._keeper.catch_up()
        except LogUnavailable:
            return 0
        return len(receipts)
