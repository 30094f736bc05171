"""The API of an installation, served on a free port of this machine while a test runs."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn
from tests.harness import Installation, wait_until

from daybook.api.app import make_app

LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def served(installation: Installation, master_key: str | None = None) -> Iterator[str]:
    """Its address."""
    more = {"api_master_key": master_key, "registry_database_url": installation.registrar_url}
    settings = installation.settings.model_copy(update=more)
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen()
        port = listening.getsockname()[1]
        config = uvicorn.Config(make_app(settings), log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started or not thread.is_alive(), "the API listens")
        assert server.started
        try:
            yield f"http://{LOOPBACK}:{port}"
        finally:
            server.should_exit = True
            thread.join()
