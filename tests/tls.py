"""TLS in front of a server that has none: the wheels' servers are built without it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

import trustme

BYTES_AT_ONCE = 1 << 16
SECONDS_MAX = 60
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""What libpq asks in plain text before it begins with TLS."""

Dial = Callable[[], socket.socket]


def dial(url: str) -> Dial:
    """How the server of an address is reached, over its socket or TCP."""
    parts = urlsplit(url)
    folder = parse_qs(parts.query).get("host", [""])[0]
    if parts.scheme == "unix" or folder:
        path = parts.path if parts.scheme == "unix" else f"{folder}/.s.PGSQL.5432"

        def to_socket() -> socket.socket:
            made = socket.socket(socket.AF_UNIX)
            made.connect(path)
            return made

        return to_socket
    port = parts.port or (5432 if parts.scheme.startswith("postgres") else 6379)
    return lambda: socket.create_connection((parts.hostname or "127.0.0.1", port))


class Proxy:
    """Listens on a port of the loopback and hands connections on, one thread for each direction.

    refused: of its connections, those that did not speak TLS.
    """

    def __init__(self, dial: Dial, context: ssl.SSLContext, *, asks_first: bool = False) -> None:
        self._dial, self._context, self._asks_first = dial, context, asks_first
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self.connections = self.refused = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                plain, _ = self._door.accept()
                self.connections += 1
                threading.Thread(target=self._pass_on, args=(plain,), daemon=True).start()

    def _pass_on(self, plain: socket.socket) -> None:
        try:
            plain.settimeout(SECONDS_MAX)
            if self._asks_first:
                assert plain.recv(len(SSL_REQUEST)) == SSL_REQUEST
                plain.sendall(b"S")
            near = self._context.wrap_socket(plain, server_side=True)
        except (OSError, AssertionError):
            self.refused += 1
            plain.close()
            return
        pump(near, self._dial())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._door.close()


def pump(near: socket.socket, far: socket.socket) -> None:
    """Hand on what comes from either side until one has ended."""
    back = threading.Thread(target=_copy, args=(far, near), daemon=True)
    back.start()
    _copy(near, far)
    back.join(SECONDS_MAX)


def _copy(source: socket.socket, target: socket.socket) -> None:
    source.settimeout(None)
    with contextlib.suppress(OSError):
        while data := source.recv(BYTES_AT_ONCE):
            target.sendall(data)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def tls_in_front(database_url: str, redis_url: str, folder: Path) -> Iterator[tuple[Proxy, Proxy]]:
    """TLS in front of both servers; ``ca.pem`` in the folder signs them, ``other.pem`` does not."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with (
        Proxy(dial(database_url), context, asks_first=True) as database,
        Proxy(dial(redis_url), context) as log,
    ):
        yield database, log
