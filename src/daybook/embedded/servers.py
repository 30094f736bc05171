"""PostgreSQL and Valkey of one data folder, for as long as their starter lives.

::

    with start_servers(tmp_path) as servers:
        install(servers.migration_database_url, servers.redis_url, partitions=2)
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from daybook.embedded import postgres, valkey
from daybook.embedded.folder import DataFolder
from daybook.embedded.parts import Part, Roster, wait_until

RUN_GUARD = "from daybook.embedded.guard import main; main()"
GUARD_ENDED_SECONDS_MAX = 10.0


class Guard:
    """The starter's hold on its guard (see ``guard``): when it is gone, the guard stops all."""

    def __init__(self, folder: DataFolder) -> None:
        assert folder.guard_lock is not None, "the folder is not claimed"
        self._child = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-c", RUN_GUARD, str(folder.home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=folder.new_log("guard").open("ab"),
            start_new_session=True,
            pass_fds=[folder.guard_lock.fileno()],
        )

    def alive(self) -> bool:
        """Whether it still watches."""
        return self._child.poll() is None

    def dismiss(self) -> None:
        """Let it look around a last time and end."""
        if self._child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
        if not wait_until(lambda: not self.alive(), GUARD_ENDED_SECONDS_MAX):
            self._child.kill()
            self._child.wait()


class Servers:
    """The servers that run in one data folder.

    children: what runs, by the part that it was started from.
    """

    def __init__(
        self,
        home: Path,
        *,
        with_postgres: bool = True,
        with_valkey: bool = True,
        claimed: Callable[[DataFolder], None] = lambda _: None,
    ) -> None:
        """Claim the folder, stop what a crash left there, and start the servers.

        home: the data folder; created when it does not exist.
        claimed: called as soon as the folder is ours, before anything starts.
        Raises ConfigError when the folder is in use or unusable, PartFailed when a server does
        not start; then nothing is left running.
        """
        self.folder = DataFolder(home)
        self.roster = Roster(self.folder.roster)
        self.children: dict[str, tuple[Part, subprocess.Popen[bytes]]] = {}
        self.folder.claim()
        self.guard: Guard | None = None
        try:
            claimed(self.folder)
            self.roster.stop_all()
            self.folder.prepare(with_servers=with_postgres or with_valkey)
            self.guard = Guard(self.folder)
            if with_postgres:
                self._add(*postgres.start(self.folder, self.roster))
            if with_valkey:
                self._add(*valkey.start(self.folder, self.roster))
        except BaseException:
            self.stop()
            raise

    @property
    def database_url(self) -> str:
        """PostgreSQL with the rights of a worker (once the migrations have granted them)."""
        return postgres.url(self.folder, postgres.WORKER_LOGIN)

    @property
    def migration_database_url(self) -> str:
        """PostgreSQL as the owner of everything."""
        return postgres.url(self.folder, postgres.OWNER)

    @property
    def registry_database_url(self) -> str:
        """PostgreSQL with the right to write API keys."""
        return postgres.url(self.folder, postgres.REGISTRAR_LOGIN)

    @property
    def redis_url(self) -> str:
        """Valkey."""
        return valkey.url(self.folder)

    def create_database(self, name: str) -> tuple[str, str]:
        """One more database, unless it exists: (database_url, migration_database_url) of it."""
        postgres.create_database(self.folder, name)
        owner = postgres.url(self.folder, postgres.OWNER, name)
        return postgres.url(self.folder, postgres.WORKER_LOGIN, name), owner

    def restart(self, name: str) -> None:
        """Start a part again that ended by itself, after what it left behind was stopped."""
        self.roster.stop_one(name)
        if name == "postgres":
            postgres.clear_stale_lock(self.folder.postgres)
        self.launch(self.children[name][0])

    def watch_guard(self) -> bool:
        """Replace the guard when somebody killed it; whether that was so."""
        if self.guard is not None and self.guard.alive():
            return False
        self.guard = Guard(self.folder)
        return True

    def launch(self, part: Part) -> subprocess.Popen[bytes]:
        """Start one more part, which ends before the servers do when its stage is 0."""
        child = self.roster.launch(part, self.folder.new_log(part.name))
        self._add(part, child)
        return child

    def pid(self, name: str) -> int:
        """The pid of a part, e.g. ``postgres``, ``valkey``, ``worker``."""
        return self.children[name][1].pid

    def stop(self) -> None:
        """Stop everything in order, bounded in time. Safe to call twice."""
        if self.folder.guard_lock is None:
            return
        self.folder.instance.unlink(missing_ok=True)  # first, so that nobody new comes
        self.roster.stop_all()
        for _, child in self.children.values():
            child.poll()  # takes the ended child off the list of the kernel
        self.folder.tidy()
        if self.guard is not None:
            self.guard.dismiss()
        self.folder.release()

    def _add(self, part: Part, child: subprocess.Popen[bytes]) -> None:
        self.children[part.name] = (part, child)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_servers(home: Path) -> Servers:
    """Start PostgreSQL and Valkey in ``home``; they stop with ``stop()`` or with this interpreter.

    Raises ConfigError when the folder is in use or unusable, PartFailed with the end of the log
    when a server does not start.
    """
    return Servers(home)
