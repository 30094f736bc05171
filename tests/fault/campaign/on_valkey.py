"""Faults of the log's server: ended, silent, full, emptied, with a clock behind."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Callable

import redis

from daybook.errors import LogUnavailable
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.queue.entries import entry_id_of
from tests.fault.campaign.kinds import ASKS_POSTGRES, Kind, Part, Promise, add
from tests.fault.campaign.stage import PARTITIONS, Stage
from tests.harness import wait_until

AWAY_SECONDS = 3.0
LONG_SECONDS = 10.0
TIMES = 20
PAUSE_MS = 600_000
AHEAD_MS = 600_000
SPARE_BYTES = 100_000
ENTRIES_MAX = 24
TOUCHES = 8
SERVER = frozenset({Part.VALKEY})
LOSES = SERVER | {Part.LOG, Part.OUTCOMES, Part.CLOCK}
CLOCK = frozenset({Part.CLOCK})
KEEPS = frozenset({Part.NUMBER})
"""What is accepted is written down by partition: their number must stay."""


def restart(number: signal.Signals, seconds: float = 0.0) -> Callable[[Stage], None]:
    def act(stage: Stage) -> None:
        stage.end_part("valkey", number)
        time.sleep(seconds)
        stage.restart_part("valkey")

    return act


def restart_both(stage: Stage) -> None:
    stage.end_part("valkey", signal.SIGKILL)
    stage.end_part("postgres", signal.SIGKILL)
    stage.servers.restart("valkey")
    stage.restart_part("postgres")


def pause(stage: Stage) -> None:
    stage.signal_part("valkey", signal.SIGSTOP)
    time.sleep(AWAY_SECONDS)
    stage.signal_part("valkey", signal.SIGCONT)


def pause_clients(stage: Stage) -> None:
    stage.valkey.execute_command("CLIENT", "PAUSE", int(AWAY_SECONDS * 1000), "ALL")
    time.sleep(AWAY_SECONDS)


def fill_memory(stage: Stage) -> None:
    used = int(stage.valkey.info("memory")["used_memory"])
    stage.valkey.config_set("maxmemory", used + SPARE_BYTES)
    try:
        time.sleep(2 * AWAY_SECONDS)
    finally:
        stage.valkey.config_set("maxmemory", 0)


def touch_bound(stage: Stage) -> None:
    """Messages that are on their way meet a server that takes nothing more."""
    for _ in range(TOUCHES):
        stage.valkey.config_set("maxmemory", 1)
        time.sleep(0.3)
        stage.valkey.config_set("maxmemory", 0)
        time.sleep(0.3)


def fill_log(stage: Stage) -> None:
    state = stage.installation.log.keys.state
    bound = stage.valkey.hget(state, "entries_max")
    stage.valkey.hset(state, "entries_max", ENTRIES_MAX)
    time.sleep(2 * AWAY_SECONDS)
    stage.valkey.hset(state, "entries_max", bound)


def _let_nothing_in(stage: Stage) -> None:
    """From now on the server takes no writes; what it has accepted is written down."""
    assert stage.keeper is not None
    stage.valkey.execute_command("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
    stage.keeper.catch_up()


def _forget_unread(stage: Stage) -> None:
    """What no worker has read is lost; anyone who was at it has ended."""
    assert stage.keeper is not None
    wait_until(lambda: not _units_of_work(stage), "every unit of work has ended")
    stage.keeper.forget_unread()


def _units_of_work(stage: Stage) -> int:
    (count,) = stage.rows(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'daybook worker' "
        "AND state <> 'idle'"
    )[0]
    return int(count)


def lose_file(stage: Stage) -> None:
    """Its disk is lost: it comes back empty."""
    with stage.traffic.silence():
        _let_nothing_in(stage)
        stage.end_part("valkey", signal.SIGKILL)
        _forget_unread(stage)
    shutil.rmtree(stage.servers.folder.valkey / "appendonlydir")
    stage.restart_part("valkey")


def empty(stage: Stage) -> None:
    """Everybody stays connected. Without beat, so that nothing is accepted meanwhile."""
    with stage.traffic.silence():
        stage.workers.kill_beats()
        _let_nothing_in(stage)
        at_once = stage.valkey.pipeline(transaction=False)
        at_once.execute_command("CLIENT", "UNPAUSE")
        at_once.flushall()
        at_once.script_flush()
        at_once.execute()
        _forget_unread(stage)
    stage.workers.add_beat()


def put_clock_ahead(stage: Stage) -> None:
    """As after a failover to a machine whose clock is ten minutes behind."""
    ahead = (stage.installation.log.now_ms() + AHEAD_MS) << POSITION_COUNTER_BITS
    stage.installation.log.forward_clock(ahead)
    time.sleep(AWAY_SECONDS)


def put_streams_ahead(stage: Stage) -> None:
    """Streams whose last id is half a minute ahead of both clocks."""
    for partition in range(PARTITIONS):
        ahead = (stage.installation.log.now_ms() + 30_000) << POSITION_COUNTER_BITS
        stream = stage.installation.log.keys.log(partition)
        stage.valkey.execute_command("XSETID", stream, entry_id_of(ahead))
    time.sleep(AWAY_SECONDS)


def lose_clock(stage: Stage) -> None:
    """The clock's key is gone: the streams and the sweeper say where it stood."""
    for _ in range(5):
        stage.valkey.delete(stage.installation.log.keys.clock)
        time.sleep(0.5)


def flush_scripts(stage: Stage) -> None:
    for _ in range(TIMES):
        stage.valkey.script_flush()
        time.sleep(0.1)


def kill_clients(stage: Stage) -> None:
    for _ in range(TIMES):
        with contextlib.suppress(redis.RedisError, LogUnavailable):
            stage.valkey.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(0.15)


add(
    Kind(
        "valkey-restarted",
        "SIGTERM, and back with its file",
        restart(signal.SIGTERM),
        takes=SERVER,
    )
)
add(
    Kind(
        "valkey-killed",
        "`kill -9`, and back with its file",
        restart(signal.SIGKILL),
        short=True,
        takes=SERVER,
    )
)
add(
    Kind(
        "valkey-away",
        "away for ten seconds",
        restart(signal.SIGTERM, LONG_SECONDS),
        takes=SERVER,
    )
)
add(
    Kind(
        "both-servers-killed",
        "`kill -9` of both servers at once",
        restart_both,
        takes=SERVER | {Part.POSTGRES, Part.SESSIONS},
    )
)
add(
    Kind(
        "valkey-paused",
        "SIGSTOP, then SIGCONT",
        pause,
        takes=SERVER,
    )
)
add(
    Kind(
        "valkey-clients-paused",
        "`CLIENT PAUSE` for longer than the time-outs",
        pause_clients,
        takes=SERVER,
    )
)
add(
    Kind(
        "valkey-memory-full",
        "`maxmemory` is reached with `noeviction`, then raised",
        fill_memory,
        trims=True,
        takes=SERVER,
        needs=KEEPS,
    )
)
add(
    Kind(
        "valkey-memory-full-at-once",
        "`maxmemory` is below what is used, for moments",
        touch_bound,
        trims=True,
        takes=SERVER,
        needs=KEEPS,
    )
)
add(
    Kind(
        "log-full",
        "the log is at its length, then longer",
        fill_log,
        trims=True,
        needs=SERVER | KEEPS,
    )
)
add(
    Kind(
        "valkey-file-lost",
        "`kill -9`, and back without its file",
        lose_file,
        promise=Promise.SEND_AGAIN,
        trims=True,
        takes=LOSES,
        needs=ASKS_POSTGRES | KEEPS,
    )
)
add(
    Kind(
        "valkey-replaced",
        "another, empty server under the same address, and nobody is disconnected",
        empty,
        promise=Promise.SEND_AGAIN,
        trims=True,
        takes=LOSES | {Part.BEAT},
        needs=ASKS_POSTGRES | KEEPS,
    )
)
add(
    Kind(
        "clock-ahead",
        "the log's clock is ten minutes ahead of its server",
        put_clock_ahead,
        takes=CLOCK,
        needs=SERVER,
    )
)
add(
    Kind(
        "streams-ahead",
        "the streams' ids are ahead of the server's clock",
        put_streams_ahead,
        takes=CLOCK,
        needs=SERVER,
    )
)
add(
    Kind(
        "clock-lost",
        "the key of the log's clock is deleted, again and again",
        lose_clock,
        takes=CLOCK,
        needs=SERVER,
    )
)
add(
    Kind(
        "scripts-flushed",
        "`SCRIPT FLUSH`, again and again",
        flush_scripts,
        needs=SERVER,
    )
)
add(
    Kind(
        "clients-killed",
        "`CLIENT KILL` of everybody, again and again",
        kill_clients,
        takes=SERVER,
    )
)
