"""The play: the story against real servers, with a worker process that is killed on the way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import psutil
from sqlalchemy import Engine

from daybook.client.client import Client
from daybook.client.receipts import Outcome, Receipt
from daybook.counting import counted
from daybook.demo.checks import (
    Check,
    Found,
    Kill,
    Sums,
    count_outcomes,
    judge,
    repeated_references,
)
from daybook.demo.observer import Observer, Seen
from daybook.demo.scenes import Scenes
from daybook.demo.story import CUSTOMERS_MAX, Story
from daybook.demo.tally import Figures
from daybook.embedded.parts import wait_until
from daybook.errors import ConfigError, LogNotInstalled
from daybook.installation.migrate import current_revision
from daybook.queue.connect import connect
from daybook.queue.log import Log
from daybook.settings import Settings
from daybook.store.engine import make_engine
from daybook.store.proof.verify import VerifyReport, verify
from daybook.store.read.queries import list_balances, list_transactions, reading
from daybook.store.read.views import BalanceView

SEND_REQUESTS = 250
PATIENCE_SECONDS_MAX = 60.0
"""How long the demo waits without any further outcome."""
LOOK_SECONDS = 0.2
REPLACED_SECONDS_MAX = 15.0
BALANCES_MAX = 10 * CUSTOMERS_MAX

Tell = Callable[[str, int, int], None]
"""Told what is being done, how far it is, and its end."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the demo shows. seconds: from the first request to the last outcome.

    outcomes: how many by (status, reason). scenes: what came of one request of every kind.
    """

    transactions: int
    seconds: float
    outcomes: Mapping[tuple[str, str], int]
    scenes: Sequence[Seen]
    sums: Sequence[Sums]
    kill: Kill
    verified: VerifyReport
    checks: list[Check]

    @property
    def ok(self) -> bool:
        """Whether everything is right."""
        return all(check.ok for check in self.checks)

    @property
    def rate(self) -> float:
        """Transactions per second, end to end."""
        return self.transactions / self.seconds


class Play:
    """One run of a story. tell: told of progress; say: told what happens."""

    def __init__(self, story: Story, tell: Tell, say: Callable[[str], None]) -> None:
        self._story = story
        self._tell = tell
        self._say = say

    def run(self, instance: Mapping[str, str], worker_pid: int, settings: Settings) -> Result:
        """Play against a running instance, whose worker's children are processes of ours.

        Raises what the client and the store raise.
        """
        workers_before = _children(worker_pid)
        engine = make_engine(instance["database_url"], settings, "daybook demo")
        try:
            with Client(instance["redis_url"], settings=settings) as client:
                opened = client.enqueue_many(self._story.openings)
                began = time.monotonic()
                receipts, kill = self._send(client, worker_pid)
                outcomes = self._await_outcomes(client, receipts)
                seconds = time.monotonic() - began
                created = client.wait_many(opened, LOOK_SECONDS)
                replaced_by = _await_replacement(worker_pid, workers_before)
                self._say(f"In its place runs {', '.join(map(str, replaced_by)) or 'nothing'}.")
                seen = self._play_scenes(client, engine, instance["redis_url"], settings)
            kill = replace(kill, replaced_by=replaced_by)
            found = self._look(engine, created, outcomes, seen, kill)
        finally:
            engine.dispose()
        return Result(
            len(outcomes),
            seconds,
            count_outcomes(outcomes),
            seen,
            found.sums,
            kill,
            found.verified,
            judge(self._story.steps, self._story.tally.figures(), found),
        )

    def _play_scenes(
        self, client: Client, engine: Engine, redis_url: str, settings: Settings
    ) -> list[Seen]:
        redis = connect(redis_url, settings)
        try:
            request_log = Log(redis, settings.namespace)
            observer, story = Observer(engine), self._story
            return Scenes(client, observer, request_log, story.tally, story.ledger_id).play()
        finally:
            redis.close()

    def _send(self, client: Client, worker_pid: int) -> tuple[list[Receipt], Kill]:
        """Send all requests in order, and kill a worker process half-way."""
        requests = [step.request for step in self._story.steps]
        receipts: list[Receipt] = []
        kill: Kill | None = None
        for start in range(0, len(requests), SEND_REQUESTS):
            receipts += client.enqueue_many(requests[start : start + SEND_REQUESTS])
            self._tell("send", len(receipts), len(requests))
            if kill is None and 2 * len(receipts) >= len(requests):
                kill = self._kill(client, worker_pid, receipts)
        assert kill is not None, "a story has requests"
        return receipts, kill

    def _kill(self, client: Client, worker_pid: int, receipts: Sequence[Receipt]) -> Kill:
        victim = max(_children(worker_pid).values(), key=lambda child: sum(child.cpu_times()[:2]))
        os.kill(victim.pid, signal.SIGKILL)
        still_open = client.wait_many(receipts, timeout=0).count(None)
        self._say(
            f"kill -9 of worker process {victim.pid}, after {counted(len(receipts), 'request')}, "
            f"{still_open:,} of them without an outcome yet."
        )
        return Kill(victim.pid, len(receipts), still_open)

    def _await_outcomes(self, client: Client, receipts: Sequence[Receipt]) -> list[Outcome | None]:
        left, came = len(receipts), time.monotonic()
        while True:
            outcomes = client.wait_many(receipts, LOOK_SECONDS)
            before, left = left, outcomes.count(None)
            self._tell("outcomes", len(outcomes) - left, len(outcomes))
            if left < before:
                came = time.monotonic()
            if not left or time.monotonic() - came > PATIENCE_SECONDS_MAX:
                return outcomes

    def _look(
        self,
        engine: Engine,
        created: Sequence[Outcome | None],
        outcomes: Sequence[Outcome | None],
        seen: Sequence[Seen],
        kill: Kill,
    ) -> Found:
        """Read what the ledger has, and have it proved."""
        references = repeated_references(self._story.steps)
        with reading(engine) as connection:
            balances = list_balances(connection, limit=BALANCES_MAX)
            records_of = {
                reference: len(list_transactions(connection, reference=reference))
                for reference in references
            }
        return Found(
            created,
            outcomes,
            seen,
            {view.balance_id: _figures(view) for view in balances},
            _sums(balances),
            records_of,
            verify(engine, self._tell),
            kill,
        )


def require_empty(settings: Settings) -> None:
    """Make sure that servers which the environment names hold no ledger that would be disturbed.

    Raises ConfigError when they do.
    """
    if settings.database_url is not None:
        engine = make_engine(settings.require_migration_database_url(), settings, "daybook demo")
        try:
            with reading(engine) as connection:
                has_balances = bool(current_revision(connection) and list_balances(connection))
        finally:
            engine.dispose()
        if has_balances:
            raise ConfigError(
                "the database of DAYBOOK_DATABASE_URL holds balances, and the demo wants an empty "
                "one: name another, or unset it for a server of the demo's own"
            )
    if settings.redis_url is not None and _has_log(settings.redis_url, settings):
        raise ConfigError(
            f"the server of DAYBOOK_REDIS_URL holds the log of {settings.namespace!r} already: set "
            "DAYBOOK_NAMESPACE to another name, or unset it for a server of the demo's own"
        )


def _has_log(redis_url: str, settings: Settings) -> bool:
    redis = connect(redis_url, settings)
    try:
        return Log(redis, settings.namespace).partitions() > 0
    except LogNotInstalled:
        return False
    finally:
        redis.close()


def _await_replacement(worker_pid: int, before: Mapping[int, psutil.Process]) -> list[int]:
    """The worker processes that were not there before, once there are as many again."""
    wait_until(
        lambda: len(_children(worker_pid)) >= len(before) and bool(_new(worker_pid, before)),
        REPLACED_SECONDS_MAX,
    )
    return _new(worker_pid, before)


def _new(worker_pid: int, before: Mapping[int, psutil.Process]) -> list[int]:
    return sorted(_children(worker_pid).keys() - before.keys())


def _children(worker_pid: int) -> dict[int, psutil.Process]:
    """The living worker processes: children of the Celery worker, by pid."""
    children = psutil.Process(worker_pid).children()
    return {child.pid: child for child in children if child.status() != psutil.STATUS_ZOMBIE}


def _figures(view: BalanceView) -> Figures:
    return Figures(view.balance, view.inflight_credit_balance, view.inflight_debit_balance)


def _sums(balances: Iterable[BalanceView]) -> list[Sums]:
    """The sums over all balances of each currency."""
    by_currency: dict[str, list[BalanceView]] = {}
    for view in balances:
        by_currency.setdefault(view.currency, []).append(view)
    return [
        Sums(
            currency,
            max(view.precision or 1 for view in views),
            len(views),
            sum(view.credit_balance for view in views),
            sum(view.debit_balance for view in views),
            sum(view.inflight_credit_balance for view in views),
            sum(view.inflight_debit_balance for view in views),
        )
        for currency, views in sorted(by_currency.items())
    ]
