"""The command line with its modules loaded once: each command is a fork, with its own everything.

A page has a dozen commands, and a start of Python takes longer than most of them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as link:
    link.connect({address!r})
    socket.send_fds(link, [b"!"], [0, 1, 2])
    said = [sys.argv[1:], os.getcwd(), dict(os.environ)]
    link.sendall(json.dumps(said).encode() + b"\\n")
    sys.exit(int(link.makefile().readline() or 70))
"""
READY = b"ready\n"


@contextmanager
def preloaded_daybook(folder: Path) -> Iterator[Path]:
    """A folder with a command ``daybook`` that starts at once. folder: where to put it."""
    address = str(folder / "daybook.sock")
    command = folder / "daybook"
    command.write_text(CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
    command.chmod(0o755)
    server = subprocess.Popen([sys.executable, __file__, address], stdout=subprocess.PIPE)
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
    import daybook.cli  # and what commands load when they run:
    import daybook.client
    import daybook.dry_run
    import daybook.store.history
    import daybook.store.rebuild
    import daybook.store.verify  # noqa: F401

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
                answer(link)
            link.close()


def answer(link: socket.socket) -> None:
    """Be the command that the other side asks for, and tell it the exit code."""
    from daybook.cli import app

    _, streams, _, _ = socket.recv_fds(link, 1, 3)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    arguments, folder, environment = json.loads(link.makefile().readline())
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = 1
    try:
        app(arguments, prog_name="daybook")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        link.sendall(b"%d\n" % code)
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
