"""Faults of PostgreSQL: ended, silent, full, read-only, out of connections, locked, set back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import psycopg

from daybook.embedded.account import server_account
from tests.fault.campaign.kinds import ASKS_POSTGRES, Kind, Part, Skipped, add
from tests.fault.campaign.stage import WORKERS, Stage
from tests.fault.restoring import copy_of, restore
from tests.harness import wait_until

AWAY_SECONDS = 3.0
TIMES = 10
SESSIONS_MAX = 200
SMALL_DISK = "size=48m"
FILL_BYTES = 1 << 16
DEADLOCK_SECONDS = 5.0
SERVER = frozenset({Part.POSTGRES, Part.SESSIONS})
SESSIONS = frozenset({Part.SESSIONS})
NEEDS_SERVER = frozenset({Part.POSTGRES})


def restart(number: signal.Signals) -> Callable[[Stage], None]:
    def act(stage: Stage) -> None:
        stage.end_part("postgres", number)
        stage.restart_part("postgres")

    return act


def commit_late(stage: Stage) -> None:
    """Commits are told before they are on the disk, seconds before."""
    stage.admin(
        f"ALTER DATABASE {stage.database} SET synchronous_commit = off",
        "ALTER SYSTEM SET wal_writer_delay = '10s'",
        "SELECT pg_reload_conf()",
    )
    stage.afterwards.callback(
        stage.admin, "ALTER SYSTEM RESET wal_writer_delay", "SELECT pg_reload_conf()"
    )


def lose_tail(stage: Stage) -> None:
    stage.await_progress(20)
    told = stage.batches()
    stage.end_part("postgres", signal.SIGKILL)
    stage.restart_part("postgres")
    assert stage.batches() < told


def stay_away(stage: Stage) -> None:
    stage.end_part("postgres", signal.SIGINT)
    time.sleep(3 * AWAY_SECONDS)
    stage.restart_part("postgres")


def start_workers_first(stage: Stage) -> None:
    """As when a machine boots: its workers are up before its servers."""
    _end_workers(stage)
    for server in ("postgres", "valkey"):
        stage.end_part(server, signal.SIGINT)
    _start_workers(stage)
    wait_until(
        lambda: stage.workers.log().count("worker.waits") >= WORKERS, "both wait for Postgres"
    )
    stage.servers.restart("valkey")
    stage.restart_part("postgres")


def kill_backend(stage: Stage) -> None:
    """The server restarts all of its sessions then, and replays its log."""
    pids = stage.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'daybook worker'")
    for (pid,) in pids[:1]:
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    stage.await_servers()


def pause(stage: Stage) -> None:
    stage.signal_all("postgres", signal.SIGSTOP)
    time.sleep(AWAY_SECONDS)
    stage.signal_all("postgres", signal.SIGCONT)


def terminate(stage: Stage) -> None:
    for _ in range(TIMES):
        stage.terminate_sessions()
        time.sleep(0.3)


def database_setting(name: str, value: str) -> Callable[[Stage], None]:
    """A default of the database that new sessions find, and back."""

    def act(stage: Stage) -> None:
        database = stage.database
        stage.admin(f"ALTER DATABASE {database} SET {name} = {value}")
        stage.terminate_sessions()
        time.sleep(AWAY_SECONDS)
        stage.admin(f"ALTER DATABASE {database} RESET {name}")
        stage.terminate_sessions()

    return act


def move_to_small_disk(stage: Stage) -> None:
    disk = stage.servers.folder.home / "small-disk"
    disk.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", SMALL_DISK, "daybook", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        raise Skipped("needs the right to mount a small disk")
    stage.afterwards.callback(subprocess.run, ["umount", str(disk)], check=True)
    stage.afterwards.callback(stage.admin, "DROP TABLESPACE IF EXISTS small_disk")
    server_account().own(disk)
    stage.installation.engine.dispose()
    stage.installation.owner.dispose()
    stage.admin(
        f"CREATE TABLESPACE small_disk LOCATION '{disk}'",
        f"ALTER DATABASE {stage.database} SET TABLESPACE small_disk",
    )


def fill_disk(stage: Stage) -> None:
    filler = stage.servers.folder.home / "small-disk" / "filler"
    seen = stage.workers.log().count("No space left")

    def refused() -> bool:
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
            while True:
                file.write(b"\0" * FILL_BYTES)
        return stage.workers.log().count("No space left") > seen

    wait_until(refused, "Postgres has no space left")
    time.sleep(AWAY_SECONDS)
    filler.unlink()


@contextlib.contextmanager
def sessions_taken(stage: Stage) -> Iterator[None]:
    """All connections that the server gives to ordinary roles, until the end of the block."""
    with contextlib.ExitStack() as taken:
        for _ in range(SESSIONS_MAX):
            try:
                taken.enter_context(psycopg.connect(stage.installation.worker_url))
            except psycopg.OperationalError:
                break
        yield


def take_all_sessions(stage: Stage) -> None:
    stage.terminate_sessions()
    with sessions_taken(stage):
        time.sleep(AWAY_SECONDS)


def lock(statement: str) -> Callable[[Stage], None]:
    """Somebody else's lock, held for longer than the time-outs."""

    def act(stage: Stage) -> None:
        with psycopg.connect(stage.installation.owner_url) as connection:
            connection.execute(statement)
            time.sleep(2 * AWAY_SECONDS)
            connection.rollback()

    return act


def deadlock(stage: Stage) -> None:
    """Strangers lock balances in an order that is not the ledger's."""
    ended = threading.Event()

    def strangle() -> None:
        while not ended.is_set():
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(stage.installation.owner_url) as connection,
            ):
                rows = connection.execute("SELECT balance_id FROM balances ORDER BY 1 DESC")
                for (balance,) in rows.fetchall():
                    connection.execute(
                        "SELECT 1 FROM balances WHERE balance_id = %s FOR UPDATE", (balance,)
                    )
                    time.sleep(0.02)
                connection.rollback()

    strangers = [threading.Thread(target=strangle) for _ in range(2)]
    for stranger in strangers:
        stranger.start()
    time.sleep(DEADLOCK_SECONDS)
    ended.set()
    for stranger in strangers:
        stranger.join(30)


def cancel_statements(stage: Stage) -> None:
    for _ in range(10 * TIMES):
        stage.rows(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE state <> 'idle' "
            "AND application_name = 'daybook worker'"
        )
        time.sleep(0.03)


def set_back(stage: Stage) -> None:
    """Workers are stopped for the copy and for the restore, as the pages say."""
    _end_workers(stage)
    backup = copy_of(stage.installation)
    _start_workers(stage)
    stage.await_progress(80)
    _end_workers(stage)
    restore(stage.installation, backup)
    _start_workers(stage)
    stage.over()


def _end_workers(stage: Stage) -> None:
    for index in range(len(stage.workers.processes)):
        stage.workers.kill(index)


def _start_workers(stage: Stage) -> None:
    for _ in range(WORKERS):
        stage.workers.add()


add(
    Kind(
        "postgres-restarted-fast",
        "fast shutdown, and back",
        restart(signal.SIGINT),
        takes=SERVER,
    )
)
add(
    Kind(
        "postgres-restarted-at-once",
        "immediate shutdown, and back",
        restart(signal.SIGQUIT),
        takes=SERVER,
    )
)
add(
    Kind(
        "postgres-killed",
        "`kill -9` of the server",
        restart(signal.SIGKILL),
        short=True,
        takes=SERVER,
    )
)
add(
    Kind(
        "postgres-away",
        "away for ten seconds",
        stay_away,
        takes=SERVER,
    )
)
add(
    Kind(
        "workers-start-first",
        "workers start while both servers are down",
        start_workers_first,
        takes=SERVER | {Part.WORKERS, Part.VALKEY},
    )
)
add(
    Kind(
        "postgres-backend-killed",
        "`kill -9` of a worker's session",
        kill_backend,
        takes=SERVER,
    )
)
add(
    Kind(
        "postgres-paused",
        "SIGSTOP of the server with its sessions, then SIGCONT",
        pause,
        takes=SERVER,
    )
)
add(
    Kind(
        "sessions-terminated",
        "`pg_terminate_backend` of all, again and again",
        terminate,
        takes=SESSIONS,
        needs=NEEDS_SERVER,
    )
)
add(
    Kind(
        "statements-cancelled",
        "`pg_cancel_backend` of all, again and again",
        cancel_statements,
        needs=ASKS_POSTGRES,
    )
)
add(
    Kind(
        "postgres-read-only",
        "`default_transaction_read_only`, and back",
        database_setting("default_transaction_read_only", "on"),
        takes=SESSIONS,
        needs=NEEDS_SERVER,
    )
)
add(
    Kind(
        "serialization-failures",
        "sessions are `serializable`, and back",
        database_setting("default_transaction_isolation", "serializable"),
        takes=SESSIONS,
        needs=NEEDS_SERVER,
    )
)
add(
    Kind(
        "session-timeouts",
        "`transaction_timeout` of 20 ms ends units of work, and back",
        database_setting("transaction_timeout", "'20ms'"),
        takes=SESSIONS,
        needs=NEEDS_SERVER,
    )
)
add(
    Kind(
        "postgres-disk-full",
        "a small disk is full",
        fill_disk,
        prepare=move_to_small_disk,
        takes=frozenset({Part.DISK}),
        needs=NEEDS_SERVER,
    )
)
add(
    Kind(
        "sessions-all-taken",
        "no connection is left for workers",
        take_all_sessions,
        takes=SESSIONS,
        needs=NEEDS_SERVER,
    )
)
add(
    Kind(
        "balance-locked",
        "another session locks rows of balances for longer than the time-outs",
        lock("SELECT 1 FROM balances FOR UPDATE"),
        needs=ASKS_POSTGRES,
    )
)
add(
    Kind(
        "table-locked",
        "another session locks the table of balances",
        lock("LOCK TABLE balances IN ACCESS EXCLUSIVE MODE"),
        needs=ASKS_POSTGRES,
    )
)
add(
    Kind(
        "journal-locked",
        "another session locks the journal against writing",
        lock("LOCK TABLE transactions IN SHARE MODE"),
        needs=ASKS_POSTGRES,
    )
)
add(
    Kind(
        "partition-locked",
        "another session locks the rows of all partitions",
        lock("SELECT 1 FROM partitions FOR UPDATE"),
        needs=ASKS_POSTGRES,
    )
)
add(
    Kind(
        "deadlocks",
        "other sessions lock balances in another order",
        deadlock,
        needs=ASKS_POSTGRES,
    )
)
add(
    Kind(
        "postgres-set-back",
        "restored to an earlier copy; the gap is applied again from the log",
        set_back,
        takes=SERVER | {Part.WORKERS},
        needs=frozenset({Part.LOG, Part.VALKEY}),
    )
)
add(
    Kind(
        "postgres-loses-its-tail",
        "`synchronous_commit = off` and `kill -9`: its last commits are gone, and applied again",
        lose_tail,
        prepare=commit_late,
        takes=SERVER,
        needs=frozenset({Part.LOG, Part.DISK}),
    )
)
