"""The embedded servers and the instance: started, killed in every way, started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from tests.harness import daybook_program, wait_until

from daybook.embedded.account import server_account
from daybook.embedded.detached import start_detached, stop_instance
from daybook.embedded.identity import start_mark
from daybook.embedded.parts import INSTANCE_MARK, Part, Record, Roster
from daybook.embedded.servers import Servers, start_servers
from daybook.embedded.supervisor import Plan
from daybook.errors import ConfigError
from daybook.instance import INSTANCE_FILE, running_instance

INSTANCE_SECONDS_MAX = 150.0
"""Servers and workers start anew one after the other, perhaps on a busy machine."""
HOLD_SERVERS = """
import sys, time
from pathlib import Path
from daybook.embedded.servers import start_servers
servers = start_servers(Path(sys.argv[1]))
print("ready", flush=True)
time.sleep(600)
"""


def living_parts(home: Path) -> list[Record]:
    """The parts on record that run."""
    return [record for record in Roster(home / "parts.json").records() if record.alive()]


def living_under(home: Path) -> list[int]:
    """Everything alive that mentions the folder or was started for it, guards included."""
    found = []
    for one in psutil.process_iter():
        try:
            ours = one.environ().get(INSTANCE_MARK) == str(home) or str(home) in one.cmdline()
            if ours and one.pid != os.getpid() and start_mark(one.pid):
                found.append(one.pid)
        except psutil.Error:
            continue
    return found


def clean_environment() -> dict[str, str]:
    """Our environment without settings, so that the servers are the embedded ones."""
    return {name: text for name, text in os.environ.items() if not name.startswith("DAYBOOK_")}


def write_facts(servers: Servers, number: int) -> None:
    with psycopg.connect(servers.migration_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS facts (number int)")
        connection.execute("INSERT INTO facts VALUES (%s)", [number])
    redis.Redis.from_url(servers.redis_url).rpush("facts", number)


def read_facts(servers: Servers) -> tuple[list[int], list[int]]:
    with psycopg.connect(servers.migration_database_url) as connection:
        rows = connection.execute("SELECT number FROM facts ORDER BY number").fetchall()
    kept = redis.Redis.from_url(servers.redis_url).lrange("facts", 0, -1)
    return [number for (number,) in rows], [int(number) for number in kept]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a cluster, whose servers were stopped: to make one takes seconds."""
    home = tmp_path_factory.mktemp("made") / "home"
    with start_servers(home):
        pass
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """Such a folder for one test: ``tmp_path / "home"``."""
    subprocess.run(["cp", "-a", str(made), str(tmp_path)], check=True)
    return tmp_path / "home"


@pytest.fixture
def holder(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Somebody else who runs servers in ``home``."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_SERVERS, str(home)],
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as child:
        assert child.stdout is not None
        lines = iter(child.stdout.readline, "")
        try:
            assert "ready\n" in lines
            yield child
        finally:
            child.kill()
    stop_instance(home)


def is_guard(one: psutil.Process) -> bool:
    try:
        return "daybook.embedded.guard" in " ".join(one.cmdline())
    except psutil.Error:  # it is dead
        return False


def kill_with_guard(holder: subprocess.Popen[str]) -> None:
    for child in psutil.Process(holder.pid).children():
        if is_guard(child):
            child.kill()
    holder.kill()
    holder.wait()


def test_servers_are_durable_and_private(tmp_path: Path) -> None:
    """Commits and accepted requests are on the disk, and nobody else can reach the servers."""
    home = tmp_path / "home"
    with start_servers(home) as servers:
        with psycopg.connect(servers.database_url) as connection:
            for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
                assert connection.execute(f"SHOW {name}").fetchone() == ("on",)
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
            row = connection.execute(
                "SELECT rolname, rolsuper, rolcreaterole, pg_has_role('daybook_worker', 'USAGE') "
                "FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            assert row == ("daybook_worker_login", False, False, True)
        log = redis.Redis.from_url(servers.redis_url)
        wanted = {"appendonly": "yes", "appendfsync": "always", "save": "", "port": "0"}
        assert {name: log.config_get(name)[name] for name in wanted} == wanted
        assert log.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        for folder in ("postgres", "valkey", "run", "log"):
            assert (home / folder).stat().st_mode & 0o077 == 0
        assert home.stat().st_mode & 0o067 == 0
        assert not [one for pid in living_under(home) for one in tcp_ports(pid)]
    assert living_under(home) == []


def tcp_ports(pid: int) -> list[int]:
    """Ports that somebody listens on."""
    connections = psutil.Process(pid).net_connections(kind="inet")
    return [one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN]


def test_data_survives_a_stop_and_a_kill_of_both_servers(home: Path) -> None:
    """What was written is there after an orderly stop, and after kill -9 of both servers."""
    with start_servers(home) as servers:
        write_facts(servers, 1)
    with start_servers(home) as servers:
        write_facts(servers, 2)
        for name in ("postgres", "valkey"):
            os.kill(servers.pid(name), signal.SIGKILL)
    with start_servers(home) as servers:
        assert read_facts(servers) == ([1, 2], [1, 2])


def test_killed_starter_leaves_no_servers(holder: subprocess.Popen[str], home: Path) -> None:
    """kill -9 of the starter: its guard stops the servers, and the folder starts again."""
    assert {record.name for record in living_parts(home)} == {"postgres", "valkey"}
    holder.kill()
    wait_until(lambda: not living_under(home), "nothing runs there")
    assert not (home / "run").exists()
    with start_servers(home) as servers:
        write_facts(servers, 1)


def test_leftovers_of_starter_and_guard_are_recognised(
    holder: subprocess.Popen[str], home: Path
) -> None:
    """kill -9 of starter and guard: the next start stops what they left and keeps the data."""
    before = {record.pid for record in living_parts(home)}
    kill_with_guard(holder)
    assert {record.pid for record in living_parts(home)} == before
    with start_servers(home) as servers:
        assert not before & {record.pid for record in living_parts(home)}
        write_facts(servers, 1)


def test_down_stops_leftovers(holder: subprocess.Popen[str], home: Path) -> None:
    """kill -9 of starter and guard: ``down`` finds the servers and stops them, once."""
    kill_with_guard(holder)
    assert sorted(stop_instance(home)) == ["postgres", "valkey"]
    wait_until(lambda: not living_under(home), "children of the servers have ended, too")
    assert stop_instance(home) == []


def test_down_stops_leftovers_of_a_guard_that_dies_only_now(
    holder: subprocess.Popen[str], home: Path
) -> None:
    """``down`` waits for its end, and does not take the folder for somebody's then."""
    (guard,) = [child for child in psutil.Process(holder.pid).children() if is_guard(child)]
    guard.suspend()
    holder.kill()
    holder.wait()
    stopped: list[str] = []
    thread = threading.Thread(target=lambda: stopped.extend(stop_instance(home)))
    thread.start()

    def waits() -> bool:
        frame = sys._current_frames().get(thread.ident or 0)
        return any(one.f_code.co_name == "wait_until" for one, _ in traceback.walk_stack(frame))

    wait_until(waits, "it waits for the guard")
    guard.kill()
    thread.join()
    assert sorted(stopped) == ["postgres", "valkey"]
    assert living_parts(home) == []


def test_second_start_in_the_same_folder_is_refused(
    holder: subprocess.Popen[str], home: Path
) -> None:
    """Two can't run one data folder; the first is not disturbed."""
    before = {record.pid for record in living_parts(home)}
    with pytest.raises(ConfigError, match="already runs"):
        start_servers(home)
    assert {record.pid for record in living_parts(home)} == before


def test_deep_folder_gets_short_socket_paths(tmp_path: Path) -> None:
    """A folder too deep for a socket's address works, and its short folder is removed."""
    home = tmp_path / ("deep" * 20) / ("er and" * 10)
    with start_servers(home) as servers:
        write_facts(servers, 1)
        short = (home / "run").resolve()
        assert short != home / "run"
        assert short.stat().st_mode & 0o077 == 0
    assert not short.exists()


def test_folder_with_other_content_is_left_alone(tmp_path: Path) -> None:
    """A folder that holds something else is refused, and neither changed nor filled."""
    (tmp_path / "letter.txt").write_text("mine")
    mode = tmp_path.stat().st_mode
    with pytest.raises(ConfigError, match="not empty"):
        start_servers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    assert tmp_path.stat().st_mode == mode


@contextmanager
def running_stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody under the account of the servers who has nothing to do with us."""
    account = server_account()
    user = account.uid if account.switch else None
    with subprocess.Popen(["sleep", "600"], cwd="/", start_new_session=True, user=user) as one:
        try:
            yield one
        finally:
            one.kill()


def test_stranger_under_a_recorded_pid_is_not_stopped(tmp_path: Path) -> None:
    """A pid that belongs to somebody else by now is left alone."""
    with running_stranger() as stranger:
        record = {"name": "postgres", "pid": stranger.pid, "mark": "former:1", "stage": 2}
        (tmp_path / "parts.json").write_text(json.dumps([{**record, "ladder": [[9, 1.0]]}]))
        assert Roster(tmp_path / "parts.json").stop_all() == []
        assert stranger.poll() is None


def test_a_part_that_is_killed_leaves_no_children(tmp_path: Path) -> None:
    """Also those that went into sessions of their own, as the processes of PostgreSQL do."""
    roster = Roster(tmp_path / "parts.json")
    script = "trap '' TERM; setsid sleep 600 & echo $!; wait"
    part = Part("deaf", ["sh", "-c", script], 0, (), dict(os.environ))
    launched = roster.launch(part, tmp_path / "deaf.log")
    child = int(wait_until((tmp_path / "deaf.log").read_text, "it tells its child's pid"))
    assert roster.stop_all() == ["deaf"]
    launched.wait()
    wait_until(lambda: start_mark(child) is None, "the child is gone")


def test_stale_lock_file_with_a_strangers_pid_does_not_block(home: Path) -> None:
    """PostgreSQL's own lock file names a living stranger after a crash: the folder starts."""
    account = server_account()
    with start_servers(home) as servers:
        write_facts(servers, 1)
    with running_stranger() as stranger:
        lock = home / "postgres" / "postmaster.pid"
        lock.write_text(f"{stranger.pid}\n{home / 'postgres'}\n1\n5432\n\n\n  1 1\nready\n")
        lock.chmod(0o600)
        os.chown(lock, account.uid, account.gid)
        with start_servers(home) as servers:
            assert read_facts(servers) == ([1], [1])
        assert stranger.poll() is None


def test_broken_off_initdb_is_done_again(tmp_path: Path) -> None:
    """A half-made cluster of a start that was killed is thrown away, not started."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "supervisor.lock").touch()
    (home / "postgres.new").mkdir()
    (home / "postgres.new" / "PG_VERSION").write_text("18\n")
    with start_servers(home) as servers:
        write_facts(servers, 1)
    assert not (home / "postgres.new").exists()


def test_addresses_left_by_a_crash_are_not_believed(home: Path) -> None:
    """``instance.json`` counts only while somebody keeps the folder locked."""
    assert running_instance(home) == {}
    with start_servers(home) as servers:
        servers.folder.publish({"redis_url": servers.redis_url})
        assert running_instance(home) == {"redis_url": servers.redis_url}
    (home / INSTANCE_FILE).write_text('{"redis_url": "unix:///nowhere"}')
    assert running_instance(home) == {}


@pytest.fixture
def instance(home: Path) -> Iterator[Path]:
    """The data folder of a whole instance that runs in the background."""
    found = start_detached(Plan(home, partitions=2, workers=2), clean_environment())
    try:
        assert running_instance(home) == found
        yield home
    finally:
        stop_instance(home)


def daybook(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    environment: Mapping[str, str] = {**clean_environment(), "DAYBOOK_HOME": str(home)}
    return subprocess.run(
        [daybook_program(), *words], env=environment, capture_output=True, text=True, check=False
    )


def flower_page(home: Path, path: str) -> str:
    """A page of an instance's Flower."""
    with urllib.request.urlopen(f"{running_instance(home)['flower_url']}/{path}") as answer:
        return str(answer.read())


@pytest.mark.long
def test_killed_worker_and_servers_are_started_again(instance: Path) -> None:
    """kill -9 of a worker and of both servers: the supervisor starts each again."""
    before = {record.name: record.pid for record in living_parts(instance)}
    assert set(before) == {"postgres", "valkey", "worker", "beat"}
    children = [child.pid for child in psutil.Process(before["worker"]).children()]
    for name in ("worker", "postgres", "valkey"):
        os.kill(before[name], signal.SIGKILL)

    def all_new() -> bool:
        now = {record.name: record.pid for record in living_parts(instance)}
        return len(now) == 4 and all(now[name] != before[name] for name in before if name != "beat")

    wait_until(all_new, "each part is another process", INSTANCE_SECONDS_MAX)
    wait_until(lambda: not any(map(start_mark, children)), "the children have ended")


@pytest.mark.long
def test_a_second_up_changes_nothing_and_down_stops_the_first(instance: Path) -> None:
    """``up --detach`` of what runs shows it, of something else fails; ``down`` stops, twice too."""
    again = daybook(instance, "up", "--detach")
    assert (again.returncode, "It was up already" in again.stdout) == (0, True)
    assert running_instance(instance)["redis_url"] in again.stdout  # in one line
    other = daybook(instance, "up", "--detach", "--workers", "9")
    assert (other.returncode != 0, "not 9" in other.stderr) == (True, True)
    down = daybook(instance, "down")
    assert (down.returncode, "Stopped" in down.stdout) == (0, True)
    assert living_under(instance) == []
    assert running_instance(instance) == {}
    down = daybook(instance, "down")
    assert (down.returncode, "Nothing runs" in down.stdout) == (0, True)


@pytest.mark.long
def test_killed_supervisor_leaves_nothing_and_starts_again(instance: Path) -> None:
    """kill -9 of the guard and then of ``up``: no part survives, and the next ``up`` runs.

    Its Flower knows the queues of all partitions: it starts when workers answer.
    """
    supervisor = psutil.Process(int(running_instance(instance)["supervisor_pid"]))
    guards = [child for child in supervisor.children() if is_guard(child)]
    guards[0].kill()
    wait_until(
        lambda: {one.pid for one in supervisor.children() if is_guard(one)} - {guards[0].pid},
        "there is another guard",
    )
    supervisor.kill()
    again = daybook(instance, "up", "--detach", "--flower", "--no-api")
    assert again.returncode == 0, again.stderr
    assert len(living_parts(instance)) == 5
    wait_until(lambda: "daybook.partition.1" in flower_page(instance, "broker"), "it shows them")


@pytest.mark.campaign
def test_named_servers_are_used_and_only_the_rest_is_started(tmp_path: Path) -> None:
    """With ``DAYBOOK_DATABASE_URL`` set, ``up`` starts no PostgreSQL and works on that one."""
    home = tmp_path / "home"
    with start_servers(tmp_path / "servers") as servers:
        named = {
            "DAYBOOK_DATABASE_URL": servers.database_url,
            "DAYBOOK_MIGRATION_DATABASE_URL": servers.migration_database_url,
        }
        try:
            found = start_detached(Plan(home, partitions=3), {**clean_environment(), **named})
            assert found["database_url"] == servers.database_url
            assert {one.name for one in living_parts(home)} == {"valkey", "worker", "beat"}
            with psycopg.connect(servers.database_url) as connection:
                row = connection.execute("SELECT partitions FROM installation").fetchone()
            assert row == (3,)
        finally:
            stop_instance(home)
        assert {one.name for one in living_parts(tmp_path / "servers")} == {"postgres", "valkey"}


@pytest.mark.campaign
def test_other_number_of_partitions_is_refused_with_the_reason(tmp_path: Path) -> None:
    """``up`` in the background hands on why it can't be, and leaves nothing running."""
    home = tmp_path / "home"
    start_detached(Plan(home, partitions=3), clean_environment())
    stop_instance(home)
    with pytest.raises(ConfigError, match="has 3, not 4"):
        start_detached(Plan(home, partitions=4), clean_environment())
    assert living_under(home) == []


LOSE_AN_INTERRUPT = """
import os, signal, time, weakref
from daybook.interrupts import until_signal
class Some: pass
some = Some()
reference = weakref.ref(some, lambda _: [os.kill(os.getpid(), signal.SIGINT), time.sleep(0)])
with until_signal():
    del some
    for _ in range(1000):
        time.sleep(0.01)
    print("it went on")
print("it ended")
"""


def test_a_ctrl_c_in_a_callback_is_not_lost() -> None:
    """Python can raise nothing there: it would print the exception and go on."""
    done = subprocess.run(
        [sys.executable, "-c", LOSE_AN_INTERRUPT], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("it ended\n", "")


@pytest.mark.long
def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    """SIGINT to all that belong to the terminal's job: an orderly stop, exit code 0.

    Without the API, which nobody wanted.
    """
    home = tmp_path / "home"
    program = Path(sys.executable).with_name("daybook")
    with subprocess.Popen(
        [program, "up", "--no-api"],
        env={**clean_environment(), "DAYBOOK_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        try:
            wait_until(
                lambda: child.poll() is not None or running_instance(home),
                "it is up",
                INSTANCE_SECONDS_MAX,
            )
            assert child.poll() is None, child.stdout.read()
            assert "api_url" not in running_instance(home)
            assert "api" not in {one.name for one in living_parts(home)}
            os.killpg(child.pid, signal.SIGINT)
            assert child.wait(INSTANCE_SECONDS_MAX) == 0
        finally:
            child.kill()
    assert living_under(home) == []
    assert "database system is shut down" in (home / "log" / "postgres.log").read_text()
