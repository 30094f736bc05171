"""Celery's processes from one that has loaded everything once: each is a fork, with its own all.

Two thirds of what a worker costs until it listens is the import of its modules, and the campaign
starts hundreds. Nothing of Daybook is opened or read at import, so a fork is as good as a start.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from tests.forks import be, load

ROOT = Path(__file__).parents[1]
LOADED = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.beat",
    "celery.bin.celery",
    "celery.bin.worker",
    "celery.concurrency.prefork",
    "celery.worker.consumer",
    "kombu.transport.redis",
    "daybook.worker",
)
"""What a worker and beat import until they listen."""
LOOK_SECONDS = 0.01
STARTED_SECONDS_MAX = 120.0


class Forked:
    """A process, with what tests use of ``subprocess.Popen``."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server = server
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if timeout is not None and deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(["celery"], timeout)
            time.sleep(LOOK_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class ForkServer:
    """The process that has loaded everything. It ends with this one."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.forked", str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for this process alone
            )
        ours.settimeout(STARTED_SECONDS_MAX)
        self._socket = ours
        self._link = ours.makefile("rw", encoding="utf-8")

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Forked:
        """Start ``celery`` with these arguments in a session of its own. log: for its output."""
        wanted = [list(arguments), dict(environment), os.getcwd(), str(log)]
        return Forked(self, self.ask({"start": wanted}))

    def close(self) -> None:
        """End it; what it has started goes on."""
        self._link.close()
        self._socket.close()
        self._server.wait()

    def ask(self, wanted: dict[str, Any]) -> Any:
        """One question, one answer."""
        with self._lock:
            self._link.write(json.dumps(wanted) + "\n")
            self._link.flush()
            return json.loads(self._link.readline())


def serve(link: socket.socket) -> None:
    """Fork whatever is asked for, until the other side is gone."""
    load(LOADED)
    lines = link.makefile("rw", encoding="utf-8")
    for line in lines:
        wanted = json.loads(line)
        if "start" in wanted:
            answer: Any = os.fork()
            if answer == 0:
                link.close()
                _be(*wanted["start"])
        else:
            pid, status = os.waitpid(wanted["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        lines.write(f"{json.dumps(answer)}\n")
        lines.flush()


def _be(arguments: list[str], environment: dict[str, str], folder: str, log: str) -> NoReturn:
    """Be the process that was asked for."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    sys.argv = ["celery", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    be(import_module("celery.__main__").main, folder, environment)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as door:
        serve(door)
