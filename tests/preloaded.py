"""``daybook`` and ``python3`` with Daybook's modules loaded once: each is a fork, with its own all.

A page has a dozen commands, and a start of Python takes longer than most of them.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from typer.main import get_command

from tests.forks import be, load

ROOT = Path(__file__).parents[1]
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as link:
    link.connect({address!r})
    socket.send_fds(link, [b"!"], [0, 1, 2])
    said = [{program!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]
    link.sendall(json.dumps(said).encode() + b"\\n")
    sys.exit(int(link.makefile().readline() or 70))
"""
READY = b"ready\n"
LOADED = (
    "alembic.command",
    "celery.app.control",
    "celery.fixups.django",
    "daybook.apply.dry_run",
    "daybook.celery",
    "daybook.cli",
    "daybook.cli.backfill_files",
    "daybook.cli.sending",
    "daybook.client.async_client",
    "daybook.client.client",
    "daybook.demo.play",
    "daybook.embedded.detached",
    "daybook.installation.resize",
    "daybook.monitoring.health",
    "daybook.store.proof.rebuild",
    "daybook.store.proof.verify",
    "daybook.store.read.history",
    "daybook.store.read.statements",
    "daybook.worker",
    "kombu.transport.redis",
    "rich._emoji_codes",
    "rich.progress",
    "rich.table",
)
"""What commands load when they run."""


@contextmanager
def preloaded_daybook(folder: Path) -> Iterator[Path]:
    """A folder with ``daybook`` and ``python3`` that start at once. folder: where to put them."""
    address = str(folder / "daybook.sock")
    for program in ("daybook", "python3"):
        text = CLIENT.format(python=sys.executable, address=address, program=program)
        (folder / program).write_text(text, encoding="utf-8")
        (folder / program).chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.preloaded", address], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == READY
        yield folder
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def serve(address: str) -> None:
    """Fork for each command that comes, until killed."""
    load(LOADED)
    command = get_command(import_module("daybook.cli.commands").app)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        while True:
            link, _ = door.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                door.close()
                answer(link, command)
            link.close()


def answer(link: socket.socket, command: Any) -> NoReturn:
    """Be the command that the other side asks for, and tell it the exit code."""
    _, streams, _, _ = socket.recv_fds(link, 1, 3)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    program, arguments, folder, environment = json.loads(link.makefile().readline())
    be(
        partial(run, program, arguments, command),
        folder,
        environment,
        tell=lambda code: link.sendall(b"%d\n" % code),
    )


def run(program: str, arguments: list[str], command: Any) -> None:
    """Be ``daybook``, or ``python3`` with a script, with ``-c``, or with ``-`` and its input."""
    if program == "daybook":
        command.main(arguments, prog_name="daybook")
        return
    sys.argv = arguments
    if arguments[0] in ("-", "-c"):
        text = sys.stdin.read() if arguments[0] == "-" else arguments[1]
        exec(compile(text, "<text>", "exec"), {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1])
