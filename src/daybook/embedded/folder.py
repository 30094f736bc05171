"""The data folder: where things lie, who may look, and who has the right to run it.

::

    home/                    0700 (for root 0710, so that the servers' account gets through)
    ├── supervisor.lock      flock of the living supervisor; the kernel drops it when that dies
    ├── guard.lock           flock of supervisor and guard: somebody still stops parts
    ├── instance.json        the addresses, while it runs
    ├── parts.json           what was started (``parts.Roster``)
    ├── failing.json         which parts do not stay up, while there are any
    ├── postgres/ valkey/    data
    ├── run/                 sockets; a link to a short folder when home is too deep
    └── log/
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

from daybook.embedded.account import Account, open_way, server_account
from daybook.embedded.identity import start_mark
from daybook.errors import ConfigError
from daybook.instance import FAILING_FILE, INSTANCE_FILE, SUPERVISOR_LOCK, FailingPart

GUARD_LOCK = "guard.lock"
SOCKET_PATH_BYTES_MAX = 103 if sys.platform == "darwin" else 107
LONGEST_SOCKET_NAME = ".s.PGSQL.5432"
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
"""Paths that need no escaping in any of the three spellings of an address that they go into."""
SUPERVISOR_LOCK_SECONDS_MAX = 1.0
"""Longer than a reader holds the lock to look; a supervisor holds it for as long as it lives."""
GUARD_LOCK_SECONDS_MAX = 90.0
"""Longer than a guard takes to stop everything."""
LOG_BYTES_MAX = 32 << 20


class DataFolder:
    """One data folder. ``claim`` before anything is changed in it, ``release`` at the end."""

    def __init__(self, home: Path) -> None:
        self.home = home.expanduser().resolve()
        self.log = self.home / "log"
        self.postgres = self.home / "postgres"
        self.valkey = self.home / "valkey"
        self.roster = self.home / "parts.json"
        self.instance = self.home / INSTANCE_FILE
        self.guard_lock: IO[bytes] | None = None
        self._supervisor_lock: IO[bytes] | None = None
        self._run_link = self.home / "run"

    def claim(self) -> None:
        """Become the one that may start and stop things here, or raise ConfigError.

        Waits (bounded) while the guard of a supervisor that died is still stopping its parts.
        """
        self._create()
        self._supervisor_lock = _lock(self.home / SUPERVISOR_LOCK, SUPERVISOR_LOCK_SECONDS_MAX)
        if self._supervisor_lock is None:
            raise ConfigError(f"an instance already runs in {self.home}: see `daybook status`")
        self.guard_lock = _lock(self.home / GUARD_LOCK, GUARD_LOCK_SECONDS_MAX)
        if self.guard_lock is None:
            self.release()
            raise ConfigError(f"the former instance in {self.home} is still being stopped")
        self._supervisor_lock.truncate(0)
        self._supervisor_lock.write(f"{os.getpid()} {start_mark(os.getpid())}".encode())
        self._supervisor_lock.flush()
        self.log.mkdir(mode=0o700, exist_ok=True)

    def release(self) -> None:
        """Let go of the folder."""
        if self._supervisor_lock is not None:
            self._supervisor_lock.truncate(0)
        for lock in (self.guard_lock, self._supervisor_lock):
            if lock is not None:
                lock.close()
        self.guard_lock = self._supervisor_lock = None

    def in_use(self) -> bool:
        """Whether a supervisor lives, or a guard still stops the parts of a dead one."""
        return any(_is_locked(self.home / name) for name in (SUPERVISOR_LOCK, GUARD_LOCK))

    def supervisor(self) -> int | None:
        """The pid of the living supervisor."""
        if not _is_locked(self.home / SUPERVISOR_LOCK):
            return None
        try:
            pid, mark = (self.home / SUPERVISOR_LOCK).read_text(encoding="ascii").split()
        except (OSError, ValueError):
            return None
        return int(pid) if start_mark(int(pid)) == mark else None

    def prepare(self, *, with_servers: bool) -> None:
        """Create the folders below home with tight rights, and let the servers' account in."""
        self.tidy()
        if not with_servers:
            self.home.chmod(0o700)
            return
        account = server_account()
        self.home.chmod(0o710 if account.switch else 0o700)
        if account.switch:
            os.chown(self.home, 0, account.gid)
        open_way(self.home, account)
        self.valkey.mkdir(mode=0o700, exist_ok=True)
        account.own(self.valkey)
        if self.postgres.exists():
            account.own(self.postgres)
        self._make_run(account)

    @property
    def run(self) -> Path:
        """The folder of the sockets, by its short name."""
        return self._run_link.resolve()

    def log_file(self, part: str) -> Path:
        """The log of a part."""
        return self.log / f"{part}.log"

    def new_log(self, part: str) -> Path:
        """An empty log for a part that starts; the former one is kept beside it."""
        path = self.log_file(part)
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        path.touch(mode=0o600)
        return path

    def bound_logs(self) -> None:
        """Keep the logs of a long run small: what is too long goes aside, in its place."""
        for path in self.log.glob("*.log"):
            if path.stat().st_size > LOG_BYTES_MAX:
                aside = path.with_suffix(".log.1")
                aside.touch(mode=0o600)
                shutil.copyfile(path, aside)
                os.truncate(path, 0)  # writers append, so they go on at the new end

    def publish(self, instance: dict[str, str]) -> None:
        """Tell other commands and clients where everything is."""
        write_json(self.instance, instance)

    def publish_failing(self, failing: Sequence[FailingPart]) -> None:
        """Tell other commands which parts do not stay up."""
        path = self.home / FAILING_FILE
        if failing:
            write_json(path, [asdict(part) for part in failing])
        else:
            path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what only has a meaning while servers run."""
        self.instance.unlink(missing_ok=True)
        (self.home / FAILING_FILE).unlink(missing_ok=True)
        if self._run_link.is_symlink():
            target = self._run_link.resolve()
            if target.name.startswith("daybook-") and target.is_dir():
                shutil.rmtree(target)
            self._run_link.unlink()
        elif self._run_link.exists():
            shutil.rmtree(self._run_link)

    def _create(self) -> None:
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner, content = self.home.stat().st_uid, {path.name for path in self.home.iterdir()}
        except (FileExistsError, NotADirectoryError) as error:
            raise ConfigError(
                f"{self.home} can't be the data folder: it is a file, or lies below one; set "
                "DAYBOOK_HOME to a folder, or to a path where one can be made"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"the data folder {self.home} can't be used: {error.strerror}; give yourself the "
                f"right to it and to {self.home.parent}, or set DAYBOOK_HOME to another folder"
            ) from error
        if owner != os.geteuid():
            raise ConfigError(
                f"the data folder {self.home} belongs to user {owner}: run Daybook as this user, "
                "or set DAYBOOK_HOME to another folder"
            )
        if content - {"lost+found"} and SUPERVISOR_LOCK not in content:
            raise ConfigError(
                f"{self.home} is not empty and is no data folder of Daybook: "
                "set DAYBOOK_HOME to a folder of its own"
            )

    def _make_run(self, account: Account) -> None:
        longest = str(self._run_link / LONGEST_SOCKET_NAME)
        if PLAIN_PATH.fullmatch(longest) and len(longest) <= SOCKET_PATH_BYTES_MAX:
            self._run_link.mkdir(mode=0o700)
        else:
            self._run_link.symlink_to(_short_folder())
            open_way(self.run, account)
        account.own(self.run)


def check_rights(home: Path) -> None:
    """Raises ConfigError for a data folder of one's own that its owner took all rights from."""
    home = home.expanduser().resolve()
    if not home.is_dir() or os.access(home, os.R_OK | os.W_OK | os.X_OK):
        return
    if home.stat().st_uid == os.geteuid():
        raise ConfigError(
            f"the data folder {home} is yours, and its rights keep you out: chmod 700 {home}"
        )


def _short_folder() -> Path:
    """A new private folder with a name that fits into the address of a socket."""
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes it private
        folder = Path(tempfile.mkdtemp(prefix="daybook-", dir=parent)).resolve()
        if len(str(folder / LONGEST_SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX:
            return folder
        folder.rmdir()
    raise ConfigError("no folder with a short enough name for sockets: set TMPDIR to one")


def _lock(path: Path, seconds_max: float) -> IO[bytes] | None:
    """The lock on ``path``, or None when somebody else keeps it for that long."""
    file = path.open("ab")
    path.chmod(0o600)
    deadline = time.monotonic() + seconds_max
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                return None
            time.sleep(0.05)
        else:
            return file


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def write_json(path: Path, content: object) -> None:
    """Write a private file whole or not at all."""
    draft = path.with_suffix(".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file, indent=1)
    draft.replace(path)
