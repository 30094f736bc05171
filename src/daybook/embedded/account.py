"""The system account that runs the servers.

PostgreSQL refuses to run as root. A user who is not root runs them under its own account;
root runs them as ``pgserver``, which owns nothing but the servers' data. What this account needs
of folders that belong to others is the right to pass through (``o+x``), never to read.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from daybook.errors import ConfigError

SERVER_ACCOUNT = "pgserver"
USERADD_SECONDS_MAX = 30
VERSION_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the servers. ``switch``: whether that is somebody else than ourselves (root)."""

    uid: int
    gid: int
    switch: bool

    def own(self, path: Path) -> None:
        """Give ``path`` and all below it to this account, when it belongs to somebody else."""
        if not self.switch or path.lstat().st_uid == self.uid:
            return
        os.lchown(path, self.uid, self.gid)
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.lchown(Path(folder, name), self.uid, self.gid)


@cache
def server_account() -> Account:
    """The account of the servers; created when root needs it and it does not exist yet.

    Raises ConfigError when it can't be created.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    import pwd

    try:
        entry = pwd.getpwnam(SERVER_ACCOUNT)
    except KeyError:
        _create_account()
        entry = pwd.getpwnam(SERVER_ACCOUNT)
    return Account(entry.pw_uid, entry.pw_gid, switch=True)


def _create_account() -> None:
    for argv in _creators():
        done = subprocess.run(  # noqa: S603 - fixed arguments
            argv, capture_output=True, text=True, timeout=USERADD_SECONDS_MAX, check=False
        )
        if done.returncode == 0:
            _log().info("account.created", account=SERVER_ACCOUNT)
            return
    raise ConfigError(
        f"PostgreSQL does not run as root, and the account {SERVER_ACCOUNT!r} could not be "
        f"created: create it (`useradd --system {SERVER_ACCOUNT}`), run Daybook as an ordinary "
        "user, or set DAYBOOK_DATABASE_URL and DAYBOOK_REDIS_URL"
    )


def _creators() -> Iterable[Sequence[str]]:
    """Commands that create the account: of most distributions, and of Alpine's busybox."""
    useradd, adduser = shutil.which("useradd"), shutil.which("adduser")
    if useradd:
        options = ("--system", "--user-group", "--no-create-home", "--shell", "/bin/false")
        yield (useradd, *options, SERVER_ACCOUNT)
    if adduser:
        yield (adduser, "-S", "-D", "-H", "-s", "/bin/false", SERVER_ACCOUNT)


def _log() -> Any:
    import structlog  # on demand: the guard, which has this module, has nothing to tell

    return structlog.get_logger(__name__)


def open_way(path: Path, account: Account) -> None:
    """Let the account pass through the folders above ``path``; nothing when it is our own."""
    if not account.switch:
        return
    for folder in path.parents:
        status = folder.stat()
        if _may_pass(status, account):
            continue
        folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)
        _log().warning("folder.opened", folder=str(folder), right="o+x", reason=f"way to {path}")


def _may_pass(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def let_run(program: Path, account: Account, folders: Iterable[Path]) -> None:
    """Make sure that the account can run a program of a wheel, opening no more than it takes.

    folders: what the program needs besides; opened when it does not run without.
    Raises ConfigError when it can't be run.
    """
    open_way(program, account)
    if _runs(program, account):
        return
    if account.switch:
        _open_files(folders)
    if not _runs(program, account):
        raise ConfigError(
            f"{program} can't be run by user {account.uid}: install the package where this user "
            "can read it, or set DAYBOOK_DATABASE_URL and DAYBOOK_REDIS_URL"
        )


def _runs(program: Path, account: Account) -> bool:
    try:
        child = subprocess.Popen(  # noqa: S603 - a program of an installed wheel
            [program, "--version"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=account.uid if account.switch else None,
            group=account.gid if account.switch else None,
            extra_groups=[] if account.switch else None,
        )
    except OSError:
        return False
    return child.wait(timeout=VERSION_SECONDS_MAX) == 0


def _open_files(folders: Iterable[Path]) -> None:
    """Let everybody read and run the files of a package that was installed for root alone."""
    for top in folders:
        for folder, _, files in os.walk(top):
            _add_rights(Path(folder), stat.S_IROTH | stat.S_IXOTH)
            for name in files:
                path = Path(folder, name)
                runs = path.stat().st_mode & stat.S_IXUSR
                _add_rights(path, stat.S_IROTH | (stat.S_IXOTH if runs else 0))


def _add_rights(path: Path, rights: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & rights != rights:
        path.chmod(mode | rights)
