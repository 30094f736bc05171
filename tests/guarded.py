"""A Valkey with the users that are shipped, and a Daybook that runs with their rights."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import redis

from daybook import Client
from daybook.embedded.valkey import wheel_binary
from daybook.installation.install import install
from daybook.queue.connect import connect
from daybook.queue.log import Log
from tests.harness import Installation, wait_until

START = Path(__file__).parents[1] / "deploy" / "valkey" / "start"
PASSWORDS = {
    "default": "VALKEY_PASSWORD",
    "daybook_worker": "VALKEY_WORKER_PASSWORD",
    "daybook_producer": "VALKEY_PRODUCER_PASSWORD",
    "daybook_api": "VALKEY_API_PASSWORD",
    "daybook_flower": "VALKEY_FLOWER_PASSWORD",
}


class Guarded:
    """The server. Each user's password is the user's name, backwards."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "valkey.sock"
        options = ["--port", "0", "--unixsocket", str(self._socket), "--dir", str(folder)]
        self._log = folder / "valkey.log"
        with self._log.open("wb") as output:
            self._server = subprocess.Popen(
                ["sh", str(START), str(wheel_binary()), *options, "--save", ""],
                env={
                    "PATH": "/usr/bin:/bin",
                    "VALKEY_USERS_FILE": str(folder / "users.acl"),
                    **{variable: user[::-1] for user, variable in PASSWORDS.items()},
                },
                stdout=output,
                stderr=output,
            )
        self.admin = redis.Redis.from_url(self.url("default"))
        wait_until(self._answers, "the server answers")

    def _answers(self) -> bool:
        assert self._server.poll() is None, self._log.read_text()
        with contextlib.suppress(redis.ConnectionError):
            return bool(self.admin.ping())
        return False

    def url(self, user: str) -> str:
        """The address for a user."""
        return f"unix://{user}:{user[::-1]}@{self._socket}?db=0"

    def guard(self, installation: Installation) -> None:
        """Let an installation keep its log here: workers and producers as the users they are."""
        installation.redis_url = self.url("daybook_worker")
        installation.settings = installation.settings.model_copy(
            update={"redis_url": installation.redis_url}
        )
        install(
            installation.owner_url, installation.redis_url, installation.partitions,
            installation.settings,
        )  # fmt: skip
        installation.client.close()
        installation.redis.close()
        installation.redis = connect(self.url("default"), installation.settings)
        installation.log = Log(
            connect(installation.redis_url, installation.settings), installation.settings.namespace
        )
        installation.client = Client(self.url("daybook_producer"), settings=installation.settings)

    def denied(self) -> list[tuple[str, str]]:
        """Who was denied what, since the last call."""
        found = [(str(entry["username"]), str(entry["object"])) for entry in self.admin.acl_log()]
        self.admin.acl_log_reset()
        return found

    def stop(self) -> None:
        """End the server."""
        self.admin.close()
        self._server.terminate()
        self._server.wait(timeout=20)


@contextlib.contextmanager
def guarded_valkey(folder: Path) -> Iterator[Guarded]:
    """The server, for as long as the block runs. folder: with a short name, for the socket."""
    server = Guarded(folder)
    try:
        yield server
    finally:
        server.stop()
