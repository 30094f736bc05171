"""What is measured. Each function runs real parts and returns plain figures."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
import uuid
from itertools import islice
from typing import Any, Self

import psutil
import psycopg
from celery import Celery

from daybook import Client
from daybook.client.drafts import ENQUEUE_MANY_MAX, drafts
from daybook.queue.doorbell import Doorbell
from daybook.settings import celery_url
from tests.benchmarks.load import (
    append_backlog,
    deposit,
    in_bulks,
    make_balances,
    mixed,
    split_in_legs,
)
from tests.benchmarks.one_message_each import QUEUE, SCHEMA
from tests.harness import Installation, Workers, wait_until

COLUMNS = (
    "partition, sequence, transaction_id, kind, reference, derived, parent_transaction, source, "
    "destination, currency, precision, precise_amount, status, reason, detail, description, "
    "allow_overdraft, overdraft_limit, position, effective_date, meta_data, fingerprint, hash"
)
COPY_SLICE = 1 << 20
DRAIN_SECONDS_MAX = 600
PRELOADED = False
"""Whether workers are forks: they start sooner, and are not quite what people run."""


class Progress:
    """Looks cheaply, on one connection, whether everything in the log was applied."""

    def __init__(self, installation: Installation) -> None:
        self._log = installation.log
        self._connection = psycopg.connect(installation.owner_url, autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def drained(self) -> bool:
        """Whether nothing is unread or deferred."""
        rows = self._connection.execute("SELECT partition, cursor FROM partitions").fetchall()
        if self._log.first_unread(dict(rows)):
            return False
        found = self._connection.execute("SELECT EXISTS (SELECT FROM deferred_entries)").fetchone()
        return found == (False,)

    def applied(self) -> int:
        """How many records the journal has."""
        row = self._connection.execute("SELECT sum(sequence) FROM partitions").fetchone()
        return int(row[0]) if row else 0


def ring_all(installation: Installation) -> None:
    """Wake a worker for each partition."""
    bell = Doorbell(celery_url(installation.redis_url))
    bell.ring(range(installation.partitions))
    bell.close()


def warm_workers(installation: Installation, number: int, *, task_events: bool = False) -> Workers:
    """Workers that have started, connected and applied something."""
    workers = installation.workers(  # a sweep would start before the clock
        number, beat=False, preloaded=PRELOADED, task_events=task_events
    )
    receipts = installation.client.enqueue_many(
        [deposit(f"warm-{time.time_ns()}-{i}", "@Warm", 1) for i in range(2 * number)]
    )
    outcomes = installation.client.wait_many(receipts, 60)
    assert all(outcome is not None for outcome in outcomes)
    return workers


def draft_rate(balances: list[str], number: int) -> dict[str, Any]:
    """Transactions that one core makes ready for the log in a second of its time.

    They are validated, written as bodies, named and routed as by ``enqueue_many``; none is sent.
    A producer holds as many at once as it sends, and little else: what this process has besides
    is kept from its collector.
    """
    requests = mixed(balances, number)
    seconds = 0.0
    gc.collect()
    gc.freeze()
    while part := list(islice(requests, ENQUEUE_MANY_MAX)):
        started = time.process_time()
        drafts(part, time.time)
        seconds += time.process_time() - started
    gc.unfreeze()
    return {"requests": number, "seconds": seconds, "per_second": number / seconds}


def drain_seconds(installation: Installation) -> float:
    """Wake the workers and measure until the backlog is applied."""
    with Progress(installation) as progress:
        started = time.perf_counter()
        ring_all(installation)
        wait_until(progress.drained, "backlog applied", DRAIN_SECONDS_MAX, pause=0.02)
        return time.perf_counter() - started


def apply_rate(
    installation: Installation, balances: list[str], number: int, refused_every: int = 0
) -> dict[str, Any]:
    """Transactions per second from a full log to an empty one, by real workers."""
    append_backlog(
        installation, mixed(balances, number, refused_every, seed=time.time_ns() % 1_000_000_007)
    )
    seconds = drain_seconds(installation)
    return {"transactions": number, "seconds": seconds, "per_second": number / seconds}


def bulk_rate(
    installation: Installation, balances: list[str], number: int, size: int
) -> dict[str, Any]:
    """Transactions per second when they come in atomic bulks of ``size``."""
    seed = time.time_ns() % 1_000_000_007
    append_backlog(installation, in_bulks(mixed(balances, number, seed=seed), size))
    seconds = drain_seconds(installation)
    return {"transactions": number, "seconds": seconds, "per_second": number / seconds}


def split_rate(
    installation: Installation, balances: list[str], number: int, legs: int
) -> dict[str, Any]:
    """Requests per second that have ``legs`` legs each."""
    seed = time.time_ns() % 1_000_000_007
    append_backlog(installation, split_in_legs(balances, number, legs, seed))
    seconds = drain_seconds(installation)
    return {"requests": number, "legs": legs, "seconds": seconds, "per_second": number / seconds}


def copy_rate(installation: Installation) -> dict[str, Any]:
    """Rows per second of a plain ``COPY`` of the journal into a table with the same indexes."""
    with psycopg.connect(installation.owner_url) as source:
        data = _journal_text(source)
    target_url = installation.cluster.migrated_database()
    try:
        with psycopg.connect(target_url) as target:
            started = time.perf_counter()
            with target.cursor().copy(f"COPY transactions ({COLUMNS}) FROM STDIN") as copy:
                for start in range(0, len(data), COPY_SLICE):
                    copy.write(data[start : start + COPY_SLICE])
            target.commit()
            seconds = time.perf_counter() - started
    finally:
        installation.cluster.drop_database(target_url)
    rows = data.count(b"\n")
    return {"rows": rows, "seconds": seconds, "per_second": rows / seconds}


def one_message_each_rate(installation: Installation, number: int) -> dict[str, Any]:
    """Transactions per second with one Celery message and one unit of work for each."""
    balances = [str(uuid.uuid4()) for _ in range(1_000)]
    with psycopg.connect(installation.owner_url, autocommit=True) as connection:
        connection.execute(SCHEMA)
        connection.cursor().executemany(
            "INSERT INTO plain_balances VALUES (%s)", [(balance,) for balance in balances]
        )
    broker = celery_url(installation.redis_url)
    environment = {
        **os.environ,
        "PLAIN_BROKER_URL": broker,
        "PLAIN_DATABASE_URL": installation.owner_url,
    }
    command = [sys.executable, "-m", "celery", "-A", "tests.benchmarks.one_message_each", "worker"]
    with Celery("sender", broker=broker, set_as_current=False) as sender:
        for index in range(number):
            # Every third from one hot balance, as in the other load.
            source = balances[0] if index % 3 == 0 else balances[1 + index % 500]
            arguments = (f"plain-{index}", source, balances[501 + index % 499], 1)
            sender.send_task("plain.post", args=arguments, queue=QUEUE)
    with (installation.folder / "plain.log").open("wb") as output:
        worker = subprocess.Popen(
            [*command, "-c", "2", "--without-mingle", "--without-gossip"],
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            count = "SELECT count(*) FROM plain_transactions"
            wait_until(lambda: installation.rows(count)[0][0] > 0, "the first message posted")
            before = installation.rows(count)[0][0]
            started = time.perf_counter()
            wait_until(
                lambda: installation.rows(count)[0][0] == number, "all posted", DRAIN_SECONDS_MAX
            )
            seconds = time.perf_counter() - started
        finally:
            worker.terminate()
            worker.wait(timeout=60)
    return {
        "transactions": number,
        "seconds": seconds,
        "per_second": (number - before) / seconds,
    }


def _journal_text(source: psycopg.Connection[Any]) -> bytes:
    with source.cursor().copy(f"COPY transactions ({COLUMNS}) TO STDOUT") as copy:
        return b"".join(bytes(part) for part in copy)


def memory_growth(
    installation: Installation, workers: Workers, balances: list[str], number: int
) -> dict[str, Any]:
    """How much the resident memory of the workers grows while a backlog drains, in bytes.

    The growth is of the largest child, from its size after a tenth of the backlog to its peak.
    """
    append_backlog(installation, mixed(balances, number, seed=time.time_ns() % 1_000_000_007))
    samples: list[tuple[int, int]] = []
    with Progress(installation) as progress:
        goal = progress.applied() + number
        ring_all(installation)

        def sample() -> bool:
            samples.append((progress.applied(), _largest_child(workers)))
            return progress.drained()

        wait_until(sample, "backlog applied", DRAIN_SECONDS_MAX, pause=0.2)
    resting = [size for sequence, size in samples if sequence >= goal - number * 9 // 10]
    return {
        "transactions": number,
        "resting_mib": resting[0] / 2**20,
        "peak_mib": max(resting) / 2**20,
        "growth_mib": (max(resting) - resting[0]) / 2**20,
    }


def _largest_child(workers: Workers) -> int:
    sizes = [0]
    for process in workers.processes:
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                sizes.append(child.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
    return max(sizes)


def idle_latency(installation: Installation, balances: list[str], number: int) -> dict[str, Any]:
    """Milliseconds from ``enqueue`` to the outcome, one request at a time."""
    client: Client = installation.client
    samples = []
    for index in range(number):
        started = time.perf_counter()
        receipt = client.enqueue(
            deposit(f"idle-{time.time_ns()}-{index}", balances[index % len(balances)], 1)
        )
        receipt.wait(timeout=30)
        samples.append((time.perf_counter() - started) * 1000)
        time.sleep(0.01)
    samples.sort()
    return {
        "requests": number,
        "median_ms": statistics.median(samples),
        "p99_ms": samples[int(len(samples) * 0.99) - 1],
        "max_ms": samples[-1],
    }


__all__ = [
    "apply_rate",
    "bulk_rate",
    "copy_rate",
    "draft_rate",
    "idle_latency",
    "make_balances",
    "memory_growth",
    "one_message_each_rate",
    "split_rate",
    "warm_workers",
]
