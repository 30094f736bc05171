"""Doorbells where the broker is away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from daybook.errors import LogUnavailable
from daybook.queue.doorbell import Doorbell


class Slammed:
    """A broker that hangs up on everyone, and counts them."""

    def __init__(self) -> None:
        self.calls = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._socket.getsockname()[1]}/0"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                call, _ = self._socket.accept()
                self.calls += 1
                call.close()

    def close(self) -> None:
        """Take no more calls."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def slammed() -> Iterator[Slammed]:
    with closing(Slammed()) as server:
        yield server


def test_a_producer_tries_a_broker_once(slammed: Slammed) -> None:
    """It goes on at once, for the sweeper rings; what a person waits for is told."""
    bell = Doorbell(slammed.url)
    bell.ring([0])
    first = slammed.calls
    bell.ring([0, 1])
    assert slammed.calls == first  # it is quiet for a while
    with pytest.raises(LogUnavailable, match="the broker does not take"):
        bell.ask_to_find("txn_1", "answer", 1.0)
    assert (first, slammed.calls) == (1, 2)
