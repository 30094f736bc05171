"""Real parts for tests: installations on real servers, and real worker processes."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Self, cast

import psycopg
import redis
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from daybook import Client
from daybook.apply.applier import Applier
from daybook.errors import DaybookError
from daybook.installation.install import install
from daybook.installation.migrate import migrate
from daybook.queue.connect import connect
from daybook.queue.log import Log
from daybook.settings import Settings
from daybook.store.engine import make_engine, make_worker_engine
from daybook.store.store import Store
from tests.forked import Forked, ForkServer
from tests.preloaded import preloaded_daybook

WORKER_LOGIN = "daybook_test_worker"
REGISTRAR_LOGIN = "daybook_test_registrar"
READER_LOGIN = "daybook_test_reader"
PASSWORD = "only-for-tests"
REDIS_DATABASES_MAX = 15
_GROUPS = {
    WORKER_LOGIN: "daybook_worker",
    REGISTRAR_LOGIN: "daybook_registrar",
    READER_LOGIN: "daybook_reader",
}
WAIT_SECONDS_MAX = 60.0
COMMAND_SECONDS_MAX = 1_200.0
PROGRESS_ROUNDS_MAX = 20
"""So many bounds may pass, with some progress in each, before it is too slow to be right."""

MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 6 << 30
"""So much has to be free there for all files of the tests."""

_numbers = itertools.count(1)
Process = subprocess.Popen[bytes] | Forked


def keep_files_in_memory() -> None:
    """A thousand databases are made and dropped, and each would wait for the disk.

    Nothing here cuts the power: what a killed server has written is there as on a disk.
    """
    if (
        "TMPDIR" not in os.environ
        and MEMORY.is_dir()
        and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC  # some tests write programs
        and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_MIN
    ):
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def free_port() -> int:
    """A port of this machine that nobody has at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_until(
    condition: Callable[[], Any],
    what: str,
    seconds: float = WAIT_SECONDS_MAX,
    pause: float = 0.02,
    progress: Callable[[], Any] | None = None,
) -> Any:
    """Wait until ``condition()`` is true and return what it returned; fail after the bound.

    progress: for what takes as long as there is work. The bound begins anew as long as what it
    returns was another at the bound before: a busy machine is no fault, one that stands still is.
    """
    deadline = time.monotonic() + seconds
    seen = progress() if progress else None
    rounds = PROGRESS_ROUNDS_MAX
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            now = progress() if progress else None
            rounds -= 1
            if now == seen or not rounds:
                raise AssertionError(
                    f"after {seconds} s {'without progress ' * bool(progress)}still not: {what}"
                )
            seen, deadline = now, time.monotonic() + seconds
        time.sleep(pause)


def a_port() -> int:
    """A port of this machine's own address that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_ended(
    threads: Iterable[threading.Thread],
    progress: Callable[[], Any],
    seconds: float = WAIT_SECONDS_MAX,
) -> None:
    """Wait until threads that work have ended, as long as there is progress."""
    for thread in threads:
        wait_until(partial(_is_over, thread), "it ends", seconds, progress=progress)


def _is_over(thread: threading.Thread) -> bool:
    return not thread.is_alive()


def rows_of(engine: Engine, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of a query, which is a unit of work. Raises psycopg's exceptions.

    What polls asks hundreds of times: a connection of its own for each costs both sides more than
    the query does.
    """
    with translated_to_psycopg(), engine.connect() as kept:
        kept.execution_options(isolation_level="AUTOCOMMIT")
        # Not prepared: tests change tables between two of the same.
        cursor = driver_of(kept).execute(statement, values or None, prepare=False)
        return cursor.fetchall() if cursor.description else []


def driver_of(connection: Connection) -> psycopg.Connection[Any]:
    """The driver's connection under one of SQLAlchemy."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


@contextlib.contextmanager
def translated_to_psycopg() -> Iterator[None]:
    """Raise what the driver raised when there is no connection."""
    try:
        yield
    except DBAPIError as fault:
        raise fault.orig or fault from fault


class Cluster:
    """A PostgreSQL and a Redis-protocol server that tests may use as they like."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        self._engine = make_engine(database_url)
        self._template = f"daybook_test_template_{os.getpid()}"
        self._installed: dict[int, str] = {}
        self._redis_databases = itertools.cycle(_redis_databases())
        self._make_template()

    def _url(self, database: str) -> str:
        url = make_url(self.database_url).set(database=database)
        return url.render_as_string(hide_password=False)

    def _execute(self, *statements: str) -> None:
        for statement in statements:
            rows_of(self._engine, statement)

    def _make_template(self) -> None:
        self._execute(
            f"DROP DATABASE IF EXISTS {self._template}",
            f"CREATE DATABASE {self._template}",
        )
        with psycopg.connect(self.database_url) as connection:
            # Other runs may use these servers: roles are the same for all of their databases.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('daybook tests'))")
            migrate(self._url(self._template))
            for login, group in _GROUPS.items():
                connection.execute(
                    "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = "
                    f"'{login}') THEN CREATE ROLE {login} LOGIN PASSWORD "
                    f"'{PASSWORD}' IN ROLE {group}; END IF; END $$"
                )

    def close(self) -> None:
        """Leave nothing behind: the servers may be somebody's own."""
        for name in (*self._installed.values(), self._template):
            self.drop_database(self._url(name))
        self._engine.dispose()

    def empty_database(self) -> str:
        """The address of a new database without tables, as its owner."""
        return self._copy("template1")

    def migrated_database(self) -> str:
        """The address of a new database with the schema, as its owner."""
        return self._copy(self._template)

    def installed_database(self, log: Log, partitions: int, settings: Settings) -> str:
        """The address of a new database with so many partitions, as its owner, for an empty log.

        What ``install`` does, which itself runs once for each number.
        """
        template = f"{self._template}_{partitions}"
        if partitions not in self._installed:
            self._execute(f"DROP DATABASE IF EXISTS {template}")
            self._copy(self._template, template)
            install(self._url(template), settings.require_redis_url(), partitions, settings)
            self._installed[partitions] = template
        log.install(partitions, settings.log_entries_max, clock=0)
        return self._copy(template)

    def _copy(self, template: str, name: str | None = None) -> str:
        name = name or f"daybook_test_{os.getpid()}_{next(_numbers)}"
        # A copy of files takes a tenth of the time of one through the write-ahead log.
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self._url(name)

    def drop_database(self, database_url: str) -> None:
        """Drop a database that a test used, no matter who is still connected to it."""
        self._execute(f"DROP DATABASE IF EXISTS {make_url(database_url).database} WITH (FORCE)")

    def empty_redis(self) -> str:
        """The address of an empty database of the Redis-protocol server."""
        base, _, query = self.redis_url.partition("?")
        number = next(self._redis_databases)
        if base.startswith("unix://"):
            url = f"{base}?db={number}"
        else:
            scheme, _, rest = base.partition("://")
            url = f"{scheme}://{rest.split('/')[0]}/{number}" + (f"?{query}" if query else "")
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        return url


class Installation:
    """One Daybook on a cluster: an own database, an own log."""

    def __init__(self, cluster: Cluster, partitions: int, folder: Path) -> None:
        self.cluster = cluster
        self.partitions = partitions
        self.folder = folder
        self.redis_url = cluster.empty_redis()
        settings = Settings(home=folder, redis_url=self.redis_url)
        self.redis = connect(self.redis_url, settings)
        self.log = Log(self.redis, settings.namespace)
        self.owner_url = cluster.installed_database(self.log, partitions, settings)
        self.worker_url = self._url_of(WORKER_LOGIN)
        self.registrar_url = self._url_of(REGISTRAR_LOGIN)
        self.reader_url = self._url_of(READER_LOGIN)
        self.settings = settings.model_copy(update={"database_url": self.worker_url})
        self.engine: Engine = make_worker_engine(self.worker_url, self.settings)
        self.owner: Engine = make_engine(self.owner_url)
        self.client = Client(settings=self.settings)
        self.more_environment: dict[str, str] = {}
        self._closing = contextlib.ExitStack()

    def _url_of(self, login: str) -> str:
        url = make_url(self.owner_url).set(username=login, password=PASSWORD)
        return url.render_as_string(hide_password=False)

    @property
    def store(self) -> Store:
        """The database, as the workers' role."""
        return Store(self.engine)

    def applier(self, **settings: Any) -> Applier:
        """An applier in this process, with settings of its own."""
        changed = self.settings.model_copy(update=settings)
        return Applier(self.store, self.log, changed)

    def drain(self, *partitions: int, applier: Applier | None = None) -> None:
        """Apply everything that is in the log, in this process."""
        applier = applier or self.applier()
        for _ in range(1_000):
            chosen = partitions or range(self.log.partitions())
            reports = [applier.drain(partition) for partition in chosen]
            if not any(r.more or r.outcomes for r in reports):
                return
        raise AssertionError("the log did not drain")

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a query, as the owner."""
        return rows_of(self.owner, statement, *values)

    def stream(self, name: str, start: str = "-") -> list[tuple[bytes, dict[bytes, bytes]]]:
        """What stands in a stream of the log: ids and fields."""
        found = self.redis.xrange(name, start)
        return cast(list[tuple[bytes, dict[bytes, bytes]]], found)

    def put(self, stream: str, fields: Mapping[Any, Any], entry_id: str | bytes = "*") -> Any:
        """Write an entry past the scripts, as an operator or a stranger would; its id."""
        return self.redis.xadd(stream, dict(fields), id=entry_id)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a worker or a command on this installation."""
        return {
            **os.environ,
            "DAYBOOK_HOME": str(self.folder),
            "DAYBOOK_DATABASE_URL": self.worker_url,
            "DAYBOOK_MIGRATION_DATABASE_URL": self.owner_url,
            "DAYBOOK_REDIS_URL": self.redis_url,
            **self.more_environment,
        }

    def workers(
        self,
        number: int = 1,
        *,
        beat: bool = True,
        concurrency: int = 1,
        application: str = "daybook.worker",
        preloaded: bool = True,
        task_events: bool = False,
    ) -> Workers:
        """Real worker processes, ended when the installation is closed.

        preloaded: forked from one that has loaded their modules, else a start of ``celery``.
        task_events: they tell monitors of every request.
        """
        started = Workers(
            self,
            number,
            beat=beat,
            concurrency=concurrency,
            application=application,
            preloaded=preloaded,
            task_events=task_events,
        )
        self._closing.callback(started.kill_all)
        return started

    def run(self, *arguments: str, timeout: float = 120, **kwargs: Any) -> Any:
        """Run the command line on this installation, from a process that has loaded it once."""
        return subprocess.run(
            [str(daybook_program()), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **kwargs,
        )

    def open_entries(self) -> int:
        """How many entries are unread or deferred; those of a next epoch count as one."""
        ((epoch,),) = self.rows("SELECT max(epoch) FROM epochs")
        cursors = self.rows("SELECT partition, cursor FROM partitions")
        unread = sum(self.log.count_unread(partition, cursor) for partition, cursor in cursors)
        deferred: int = self.rows("SELECT count(*) FROM deferred_entries")[0][0]
        return unread + deferred + int(self.log.epochs.newest() != epoch)

    def progress(self) -> Any:
        """What is another as soon as anything was accepted or applied."""
        with contextlib.suppress(psycopg.Error, DaybookError):
            return self.rows("SELECT sum(batch), sum(cursor) FROM partitions"), self.log.clock()

    def wait_applied(self, seconds: float = WAIT_SECONDS_MAX) -> None:
        """Wait until nothing is unread or deferred. seconds: without progress at most."""
        wait_until(
            lambda: self.open_entries() == 0, "everything applied", seconds, progress=self.progress
        )

    def run_long(self, *arguments: str) -> Any:
        """``run`` for as long as there is progress."""
        done: list[Any] = []
        thread = threading.Thread(
            target=lambda: done.append(self.run(*arguments, timeout=COMMAND_SECONDS_MAX)),
            daemon=True,
        )
        thread.start()
        wait_ended([thread], self.progress)
        return done[0]

    def close(self) -> None:
        """Stop what runs and drop the database."""
        self._closing.close()
        self.client.close()
        self.redis.close()
        self.engine.dispose()
        self.owner.dispose()
        self.cluster.drop_database(self.owner_url)


class Workers:
    """Worker processes of an installation. Each is a process group of its own."""

    def __init__(
        self,
        installation: Installation,
        number: int,
        *,
        beat: bool,
        concurrency: int,
        application: str,
        preloaded: bool,
        task_events: bool = False,
    ) -> None:
        self._installation = installation
        self._preloaded = preloaded
        self._concurrency = concurrency
        self._application = application
        self._options = ["--task-events"] if task_events else []
        self._names = itertools.count(1)
        self.processes: list[Process] = [self._start() for _ in range(number)]
        self.beats = [self._start_beat()] if beat else []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self, *more: str) -> Process:
        name = f"test{os.getpid()}-{next(self._names)}@localhost"
        options = ["-n", name, "-c", str(self._concurrency), "--loglevel", "INFO", *more]
        options += self._options
        return self._spawn("worker", ["worker", *options, "--without-mingle", "--without-gossip"])

    def _start_beat(self) -> Process:
        schedule = str(self._installation.folder / f"schedule-{next(_numbers)}")
        return self._spawn("beat", ["beat", "--schedule", schedule, "--pidfile", ""])

    def _spawn(self, name: str, arguments: Sequence[str]) -> Process:
        path = self._installation.folder / f"{name}.log"
        if self._preloaded:
            words = ["-A", self._application, *arguments]
            return _fork_server().start(words, self._installation.environment, path)
        with path.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", self._application, *arguments],
                env=self._installation.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self, index: int) -> None:
        """``kill -9`` of a worker with all its children."""
        _kill_group(self.processes[index])

    def kill_all(self) -> None:
        """``kill -9`` of everything: an end in order takes seconds."""
        for process in (*self.processes, *self.beats):
            _kill_group(process)

    def add(self, *options: str) -> Process:
        """Start one more worker, with more options of Celery."""
        self.processes.append(self._start(*options))
        return self.processes[-1]

    def add_beat(self) -> None:
        """Start one more beat."""
        self.beats.append(self._start_beat())

    def kill_beats(self) -> None:
        """``kill -9`` of every beat."""
        while self.beats:
            _kill_group(self.beats.pop())

    def replace(self, index: int) -> None:
        """Kill a worker and start another in its place."""
        self.kill(index)
        self.processes[index] = self._start()

    def stop(self) -> None:
        """End everything, gently first."""
        parts = [*self.processes, *self.beats]
        for process in parts:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
        for process in parts:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def log(self) -> str:
        """What the workers wrote."""
        path = self._installation.folder / "worker.log"
        return path.read_text(errors="replace") if path.exists() else ""


@lru_cache(maxsize=1)
def _fork_server() -> ForkServer:
    """Celery's processes, loaded once for all tests of this process."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def _kill_group(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _redis_databases() -> range:
    """The databases that this process may empty: of a server that all tests use, its share."""
    if "DAYBOOK_REDIS_URL" not in os.environ:
        return range(1, 1 + REDIS_DATABASES_MAX)
    share = REDIS_DATABASES_MAX // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first = 1 + share * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    return range(first, first + share)


@lru_cache(maxsize=1)
def daybook_program() -> Path:
    """The program ``daybook``, from a process that has loaded it once, until this one ends."""
    open_ones = contextlib.ExitStack()
    atexit.register(open_ones.close)
    folder = Path(open_ones.enter_context(tempfile.TemporaryDirectory(prefix="daybook-cli-")))
    return open_ones.enter_context(preloaded_daybook(folder)) / "daybook"


@contextlib.contextmanager
def cluster_from_environment(folder: Path) -> Iterator[Cluster]:
    """The servers that the environment names, or embedded ones."""
    database_url, redis_url = (
        os.environ.get("DAYBOOK_DATABASE_URL"),
        os.environ.get("DAYBOOK_REDIS_URL"),
    )
    if database_url and redis_url:
        with contextlib.closing(Cluster(database_url, redis_url)) as found:
            yield found
        return
    from daybook.embedded.servers import start_servers

    with start_servers(folder) as servers:
        yield Cluster(
            database_url or servers.migration_database_url, redis_url or servers.redis_url
        )
