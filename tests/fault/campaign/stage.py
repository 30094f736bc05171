"""The stage of a kind: servers, an installation on them, real workers, beat, and live traffic."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import psutil
import psycopg
import redis
from sqlalchemy.engine import make_url

from daybook.client.receipts import Receipt
from daybook.embedded.servers import Servers
from daybook.errors import DaybookError
from daybook.settings import Settings
from daybook.steps import Point
from tests.fault.campaign.armed import FOLDER, mark_of
from tests.fault.campaign.keeping import LogKeeper
from tests.fault.campaign.kinds import Kind
from tests.fault.campaign.traffic import REQUESTS, Traffic
from tests.fault.requests import deposit, make_balances, slot_for
from tests.harness import Cluster, Installation, Workers, wait_ended, wait_until

PARTITIONS = 2
BALANCES = 12
WORKERS = 2
WARM_UP_REQUESTS = 40
REACHED_SECONDS_MAX = 30.0
"""How long no process may come to a named point while nothing else goes on either."""
BACK_SECONDS_MAX = 60.0
"""How long nothing may go on where something should."""
LOOK_SECONDS = 0.05
ROOT = Path(__file__).parents[3]

ENVIRONMENT = {
    "DAYBOOK_LOCK_TIMEOUT_SECONDS": "1",
    "DAYBOOK_STATEMENT_TIMEOUT_SECONDS": "5",
    "DAYBOOK_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS": "2",
    "DAYBOOK_REDIS_TIMEOUT_SECONDS": "2",
    # small batches, so that a fault finds one begun and leaves a backlog behind
    "DAYBOOK_BATCH_ENTRIES_MIN": "4",
    "DAYBOOK_BATCH_ENTRIES_MAX": "64",
    "PYTHONPATH": str(ROOT),
}
"""Of the workers of all kinds: time-outs that a fault can outlast."""
PRODUCERS_TIMEOUT_SECONDS = 2.0


class Stage:
    """What an act plays on. Everything that it breaks it mends again before it returns."""

    traffic: Traffic
    workers: Workers
    keeper: LogKeeper | None = None
    broker: Servers | None = None
    over_at = 0.0
    _begun = False

    def __init__(
        self,
        servers: Servers,
        cluster: Cluster,
        folder: Path,
        seed: int,
        requests: int = REQUESTS,
    ) -> None:
        self._requests = requests
        self.servers = servers
        self.random = Random(seed)
        self.seed = seed
        self.installation = Installation(cluster, PARTITIONS, folder)
        self.afterwards = contextlib.ExitStack()
        self._armed = folder / "armed"
        self._armed.mkdir()
        self.use({**ENVIRONMENT, FOLDER: str(self._armed)})

    def begin(self, kind: Kind) -> None:
        """Prepare what the kind needs, and start workers. Raises Skipped."""
        if kind.prepare is not None:
            kind.prepare(self)
        if kind.trims:
            self.keeper = LogKeeper(self.installation, self._armed)
        self.balances, _ = make_balances(self.installation, BALANCES, seed=self.seed)
        self.traffic = Traffic(
            self._producers_settings(), self.balances, self.seed, self.keeper, self._requests
        )
        self.workers = self.installation.workers(WORKERS, application="tests.fault.campaign.armed")
        self._begun = True

    @contextlib.contextmanager
    def playing(self) -> Iterator[None]:
        """Traffic flows, and workers apply it."""
        self.traffic.start()
        try:
            self.await_progress(WARM_UP_REQUESTS)
            yield
            self.traffic.complete()
        finally:
            self.traffic.stop()

    def close(self) -> None:
        """End whatever runs, and undo what was prepared."""
        with self.afterwards:
            if self._begun:  # all is judged: they need not end gently
                self.workers.kill_beats()
                for index in range(len(self.workers.processes)):
                    self.workers.kill(index)
            self.installation.close()

    def _producers_settings(self) -> Settings:
        broker = self.broker.redis_url if self.broker else None
        changed = {"redis_timeout_seconds": PRODUCERS_TIMEOUT_SECONDS, "broker_url": broker}
        return self.installation.settings.model_copy(update=changed)

    # --- what acts use ---

    def use(self, environment: Mapping[str, str]) -> None:
        """Settings of the workers that start from now on."""
        self.installation.more_environment |= environment

    def over(self) -> None:
        """The fault is over: from now on it is measured how long things take to be back."""
        self.over_at = time.monotonic()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of a query in the installation's database, as the owner."""
        return self.installation.rows(statement)

    def admin(self, *statements: str) -> None:
        """Statements on the server, from outside the installation's database."""
        with psycopg.connect(self.installation.cluster.database_url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def batches(self) -> int:
        """How many units of work workers have committed."""
        return int(self.rows("SELECT sum(batch) FROM partitions")[0][0])

    @property
    def database(self) -> str:
        """The name of the installation's database."""
        return str(make_url(self.installation.owner_url).database)

    def terminate_sessions(self) -> int:
        """End every session of workers; how many there were."""
        ended = self.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return len(ended)

    @property
    def valkey(self) -> redis.Redis:
        """The server of the log, in the log's database."""
        return self.installation.redis

    def await_progress(self, records: int = 1) -> None:
        """Wait until so many more records stand in the journal."""
        (known,) = self._wait(self._records, "PostgreSQL answers")
        self._wait(lambda: (self._records() or (0,))[0] >= known + records, "something was applied")

    def await_end_of(self, threads: Sequence[threading.Thread]) -> None:
        """Wait until acts have ended."""
        wait_ended(threads, self._progress, BACK_SECONDS_MAX)

    def _records(self) -> tuple[int] | None:
        """How many there are; None while nobody can say."""
        try:
            return (int(self.rows("SELECT sum(sequence) FROM partitions")[0][0]),)
        except psycopg.Error:
            return None

    def _progress(self) -> Any:
        return self.installation.progress(), len(self.traffic.sent)

    def _wait(
        self, condition: Callable[[], Any], what: str, seconds: float = BACK_SECONDS_MAX
    ) -> Any:
        return wait_until(condition, what, seconds, LOOK_SECONDS, self._progress)

    def reach(self, point: Point, number: signal.Signals = signal.SIGKILL) -> int:
        """Hit the next process that comes to a point with a signal; its pid."""
        mark = mark_of(self._armed, point, number)
        before = set(self._armed.glob("hit-*"))
        mark.touch()

        def hit() -> set[Path]:
            return set(self._armed.glob("hit-*")) - before

        new = self._wait(hit, f"a process came to {point}", REACHED_SECONDS_MAX)
        return int(new.pop().name.removeprefix("hit-"))

    def children(self, index: int = 0) -> list[psutil.Process]:
        """The pool of a worker."""
        return psutil.Process(self.workers.processes[index].pid).children(recursive=True)

    def signal_part(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a server."""
        os.kill(self.servers.pid(name), number)

    def signal_all(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a server and to its children."""
        parent = psutil.Process(self.servers.pid(name))
        for process in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def end_part(self, name: str, number: signal.Signals) -> None:
        """End a server by a signal and wait until it is gone."""
        self.signal_part(name, number)
        self.servers.children[name][1].wait(60)

    def restart_part(self, name: str) -> None:
        """Start a server that has ended, and wait until it answers."""
        self.servers.restart(name)
        self.await_servers()

    def await_servers(self) -> None:
        """Wait until both servers answer."""
        wait_until(self._answer, "both servers answer", BACK_SECONDS_MAX)

    def _answer(self) -> bool:
        try:
            self.rows("SELECT 1")
            return bool(self.valkey.ping())
        except (psycopg.Error, redis.RedisError):
            return False

    # --- being back ---

    def seconds_until_back(self) -> float:
        """Until a request of each partition, sent after the fault, has come to its outcome.

        All that was accepted before it in its partition is applied by then, too.
        """
        receipts = [self._probe(partition) for partition in range(PARTITIONS)]
        for receipt in receipts:
            self.traffic.sent.append((receipt[0], receipt[1]))
            self._wait(partial(self._is_final, receipt[1]), "new requests end")
        return time.monotonic() - self.over_at

    def _probe(self, partition: int) -> tuple[dict[str, Any], Receipt]:
        requests = (deposit(f"probe-{partition}", balance, 1) for balance in self.balances)
        request = next(r for r in requests if slot_for(r) % PARTITIONS == partition)
        with self.traffic.silence():
            return request, self._wait(lambda: self._sent(request), "accepted")

    def _sent(self, request: dict[str, Any]) -> Receipt | None:
        try:
            receipt = self.installation.client.enqueue(request)
            if self.keeper:
                self.keeper.catch_up()
        except DaybookError:
            return None
        return receipt

    def _is_final(self, receipt: Receipt) -> bool:
        try:
            (outcome,) = self.installation.client.wait_many([receipt], 0.02)
        except DaybookError:
            return False
        return outcome is not None and outcome.final
