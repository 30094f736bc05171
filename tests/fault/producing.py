"""A producer that is killed at a named point, and connections that are cut before a reply."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from redis.connection import AbstractConnection

from daybook import Client
from daybook.queue.doorbell import Doorbell
from daybook.queue.log import Log
from tests.harness import Installation
from tests.tls import BYTES_AT_ONCE, SECONDS_MAX, Dial

APPEND = b"EVALSHA"


def _send_half(connection: AbstractConnection, packed: Sequence[bytes], **more: Any) -> None:
    command = b"".join(packed)
    if APPEND in command:
        connection._sock.sendall(command[: len(command) // 2])  # type: ignore[attr-defined]  # of both of its kinds
        os.kill(os.getpid(), signal.SIGKILL)
    _send(connection, packed, **more)


def _send_whole(connection: AbstractConnection, packed: Sequence[bytes], **more: Any) -> None:
    _send(connection, packed, **more)
    if APPEND in b"".join(packed):
        os.kill(os.getpid(), signal.SIGKILL)


_send: Callable[..., None] = AbstractConnection.send_packed_command


def _killed(original: Callable[..., Any], hits: int, *, after: bool) -> Callable[..., Any]:
    left = [hits]

    def dying(*arguments: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = original(*arguments, **more)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return dying


POINTS: dict[str, tuple[type, str, Callable[..., Any]]] = {
    "before-append": (Log, "append", _killed(Log.append, 1, after=False)),
    "half-sent": (AbstractConnection, "send_packed_command", _send_half),
    "sent": (AbstractConnection, "send_packed_command", _send_whole),
    "appended": (Log, "append", _killed(Log.append, 1, after=True)),
    "rung": (Doorbell, "ring", _killed(Doorbell.ring, 1, after=True)),
    "before-second-append": (Log, "append", _killed(Log.append, 2, after=False)),
    "second-appended": (Log, "append", _killed(Log.append, 2, after=True)),
    "second-rung": (Doorbell, "ring", _killed(Doorbell.ring, 2, after=True)),
}
"""Where a producer can die: what it calls there, and what is called instead."""


def die_producing(
    installation: Installation, point: str, requests: Sequence[Mapping[str, Any]]
) -> None:
    """Let a process of its own send requests and be killed by ``kill -9`` at ``point``."""
    pid = os.fork()
    if pid == 0:
        try:
            owner, name, dying = POINTS[point]
            setattr(owner, name, dying)
            Client(settings=installation.settings).enqueue_many(requests)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    installation.redis.ping()  # the server has read what the dead one sent before


class Cutter:
    """Listens on a port of the loopback, hands commands on, and cuts connections.

    closes: so many connections are closed as soon as they come.
    cuts: so many appends reach the server, and their replies nobody.
    connections: how many came.
    """

    def __init__(self, dial: Dial, *, closes: int = 0, cuts: int = 0) -> None:
        self._dial, self.closes, self.cuts = dial, closes, cuts
        self.connections = 0
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._door.accept()
                self.connections += 1
                if self.closes > 0:
                    self.closes -= 1
                    near.close()
                else:
                    threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()

    def _pass_on(self, near: socket.socket) -> None:
        far = self._dial()
        cut = threading.Event()
        threading.Thread(target=self._commands, args=(near, far, cut), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := far.recv(BYTES_AT_ONCE):
                if cut.is_set():
                    break
                near.sendall(data)
        for one in (near, far):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _commands(self, near: socket.socket, far: socket.socket, cut: threading.Event) -> None:
        near.settimeout(SECONDS_MAX)
        with contextlib.suppress(OSError):
            while data := near.recv(BYTES_AT_ONCE):
                if APPEND in data and self.cuts > 0:
                    self.cuts -= 1
                    cut.set()
                far.sendall(data)
            far.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._door.close()
