"""A server that vanishes without a word, by power or network, is noticed on its sockets."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy.engine import make_url
from tests.harness import Installation

from daybook.store.engine import make_engine
from daybook.worker.app import app
from daybook.worker.broker import VANISHED

NOTICED_SECONDS_MAX = 30
CHUNK_BYTES = 1 << 16

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the options of Linux's sockets")


@contextlib.contextmanager
def over_tcp(path: str) -> Iterator[int]:
    """A port of 127.0.0.1 that leads to a unix socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_relay, args=(listener, path), daemon=True).start()
        yield listener.getsockname()[1]


def _relay(listener: socket.socket, path: str) -> None:
    with listener.accept()[0] as near, socket.socket(socket.AF_UNIX) as far:
        far.connect(path)
        others = {near: far, far: near}
        while True:
            for ready in select.select(list(others), [], [])[0]:
                chunk = ready.recv(CHUNK_BYTES)
                if not chunk:
                    return
                others[ready].sendall(chunk)


def noticed_seconds(number: int) -> int:
    """After how long the kernel gives up a silent connection that waits for an answer."""
    with socket.socket(fileno=os.dup(number)) as looked_at:
        assert looked_at.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, between, count = (
            looked_at.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
    return idle + between * count


@linux
def test_a_session_of_a_vanished_postgres_is_given_up(installation: Installation) -> None:
    """A unit of work does not wait for hours for a server that is gone."""
    url = make_url(installation.worker_url)
    folder = str(url.query.get("host") or url.host)
    if not folder.startswith("/"):
        pytest.skip("these servers are not on a unix socket")
    with over_tcp(str(Path(folder) / f".s.PGSQL.{url.port or 5432}")) as port:
        there = url.set(host="127.0.0.1", port=port, query={"sslmode": "disable"})
        engine = make_engine(there.render_as_string(hide_password=False))
        with engine.connect() as connection:
            session = connection.connection.driver_connection
            assert session is not None
            assert noticed_seconds(session.fileno()) <= NOTICED_SECONDS_MAX
        engine.dispose()


@linux
def test_a_connection_to_a_vanished_broker_is_given_up(installation: Installation) -> None:
    """A worker does not listen for hours to a broker that is gone."""
    if not installation.redis_url.startswith("unix://"):
        pytest.skip("these servers are not on a unix socket")
    path = installation.redis_url.removeprefix("unix://").split("?")[0]
    with over_tcp(path) as port:
        likewise = Celery("test", broker=f"redis://127.0.0.1:{port}/0", amqp=app.amqp_cls)
        likewise.conf.broker_transport_options = VANISHED
        with likewise.connection_for_read() as connection:
            client = connection.channel().client
            link = client.connection_pool.get_connection()
            assert noticed_seconds(link._sock.fileno()) <= NOTICED_SECONDS_MAX
