"""What is written is private whatever the umask says, and only the API listens on a port."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from tests.harness import a_port, daybook_program

from daybook.backfill import Reject, Row, Source
from daybook.backfill.rejects import RejectsFile
from daybook.embedded.folder import LOG_BYTES_MAX, DataFolder
from daybook.embedded.parts import Roster
from daybook.instance import running_instance
from daybook.ledger.rejection import Reason


@pytest.fixture
def careless() -> Iterator[None]:
    """An umask that lets everybody do everything."""
    former = os.umask(0)
    yield
    os.umask(former)


def open_to_others(folder: Path) -> list[str]:
    """What below a folder others may touch, links aside."""
    found = []
    for path in [folder, *folder.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):  # a temporary file of a server
            mode = path.lstat().st_mode
            # Root lets the account of the servers through the folder, see ``embedded.folder``.
            allowed = 0o010 if path == folder and os.geteuid() == 0 else 0
            if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) & 0o077 & ~allowed:
                found.append(f"{stat.S_IMODE(mode):o} {path.relative_to(folder)}")
    return found


@pytest.mark.long
@pytest.mark.usefixtures("careless")
def test_an_instance_keeps_to_itself() -> None:
    """Data, logs, sockets, addresses and beat's schedule are private; only sockets listen.

    The API has its port on this machine's own address.
    """
    clean = {name: text for name, text in os.environ.items() if not name.startswith("DAYBOOK_")}
    with tempfile.TemporaryDirectory(prefix="daybook-private-") as parent:
        home = Path(parent) / "home"
        environment = {**clean, "DAYBOOK_HOME": str(home), "DAYBOOK_API_PORT": str(a_port())}
        try:
            subprocess.run(
                [daybook_program(), "up", "--detach"], env=environment, check=True, timeout=200
            )
            parts = Roster(home / "parts.json").records()
            names = {"postgres", "valkey", "worker", "beat", "api"}
            assert names <= {part.name for part in parts}
            api = urlsplit(running_instance(home)["api_url"])
            assert open_to_others(home) == []
            for part in parts:
                whole = psutil.Process(part.pid)
                for one in [whole, *whole.children(recursive=True)]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        assert [
                            opened.laddr
                            for opened in one.net_connections(kind="inet")
                            if opened.status == psutil.CONN_LISTEN
                        ] == [("127.0.0.1", api.port)] * (part.name == "api")
        finally:
            subprocess.run([daybook_program(), "down"], env=environment, check=False, timeout=100)


@pytest.mark.usefixtures("careless")
def test_rejects_and_logs_put_aside_are_private(tmp_path: Path) -> None:
    """Nobody else reads the references of a file, or an old log."""
    rejects = RejectsFile(tmp_path / "x.rejects.csv", "csv", Source(io.BytesIO(), None, "ndjson"))
    rejects.add(Reject(Row(1, {}), Reason.MALFORMED, "a reason", "ref"))
    rejects.close()
    folder = DataFolder(tmp_path / "home")
    folder.log.mkdir(parents=True)
    log = folder.new_log("worker")
    os.truncate(log, LOG_BYTES_MAX + 1)
    folder.bound_logs()
    written = [tmp_path / "x.rejects.csv", *folder.log.iterdir()]
    assert len(written) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
