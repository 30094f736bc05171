"""What all routes use: the log, the ledger as it stands, and the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends
from fastapi import Request as HttpRequest
from sqlalchemy import Connection, Engine

from daybook.api.faults import Fault, refused
from daybook.api.log_client import LogClient
from daybook.api.shared import KnownUnits, SharedReads
from daybook.client.receipts import AsyncReceipt, Outcome
from daybook.errors import LogUnavailable, OutcomeUnknown, ReferenceConflict, StoreUnavailable
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.requests import Request
from daybook.settings import Settings
from daybook.store.engine import POOL_SIZE_MAX, make_engine, translated_faults
from daybook.store.epochs import installation_id
from daybook.store.read.queries import balances_by_id, list_partitions, reading
from daybook.store.read.recorded import posted_by_id
from daybook.store.read.views import PartitionView

WAIT_SECONDS_MAX = 8.0
"""Longest that an answer waits for an outcome: clients give up after 10."""

REGISTRY_CONNECT_SECONDS_MAX = 3
"""Who waits for a key to be looked up has sent a request that is not under way yet."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a request that was handed in. outcome: None while it is queued."""

    receipt: AsyncReceipt
    outcome: Outcome | None = None

    @property
    def is_repeated(self) -> bool:
        """Whether the same was sent before."""
        return self.receipt.state == "duplicate"


class Threads:
    """Work on a database, in as many threads as there are connections to it."""

    def __init__(self, opened: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._opened = opened
        self._limiter: CapacityLimiter | None = None

    async def do(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """What ``work`` answers; its first argument is a connection. Raises StoreUnavailable."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(POOL_SIZE_MAX)
        return await to_thread.run_sync(self._done, work, arguments, named, limiter=self._limiter)

    def _done(
        self, work: Callable[..., T], arguments: tuple[Any, ...], named: Mapping[str, Any]
    ) -> T:
        with self._opened() as connection:
            return work(connection, *arguments, **named)


class Service:
    """One process of the API. settings: its own. clock: seconds since the epoch.

    engine: of the ledger. backup: held by who writes one. balances: those of the ledger, by id.
    units: what is counted on them. posted: records of transactions that are one movement, by id.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.settings = settings
        self.client = LogClient(settings=settings, clock=clock)
        self.engine = make_engine(settings.require_database_url(), settings, "daybook api")
        self.backup = asyncio.Lock()
        registry = settings.require_registry_database_url()
        self._registry = make_engine(
            registry, settings, "daybook api registry", REGISTRY_CONNECT_SECONDS_MAX
        )
        # Threads of their own: who only tries keys takes none from those who read.
        self._readers = Threads(partial(reading, self.engine))
        self._registrars = Threads(partial(_writing, self._registry))
        self.balances = SharedReads(partial(self.read, balances_by_id))
        self.units = KnownUnits(self.balances)
        self.posted = SharedReads(partial(self.read, posted_by_id))

    async def check_installation(self) -> None:
        """See to it that log and database belong together, as far as both can be asked.

        Raises LogRefused.
        """
        with suppress(StoreUnavailable):
            await self.client.check_installation(await self.read(installation_id))

    async def close(self) -> None:
        """Close the connections. What was accepted stays accepted."""
        await self.client.close()
        self.engine.dispose()
        self._registry.dispose()

    async def read(self, question: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """What ``question`` answers of one instant of the ledger; its first argument is the
        connection. Raises StoreUnavailable."""
        return await self._readers.do(question, *arguments, **named)

    async def register(self, change: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """What ``change`` answers, in one transaction of the registry. Raises StoreUnavailable."""
        return await self._registrars.do(change, *arguments, **named)

    async def oldest_open(self) -> list[tuple[PartitionView, int | None]]:
        """Each partition that there is, with the position of its oldest undecided entry, if any.

        Raises LogUnavailable, StoreUnavailable.
        """
        found = []
        for view in await self.read(list_partitions):
            if not view.is_closed:
                unread = await self.client.unread(view.partition, view.cursor, 1)
                opened = [view.oldest_deferred, *(entry.position for entry in unread)]
                found.append((view, min((one for one in opened if one is not None), default=None)))
        return found

    async def ring_open(self) -> int:
        """Have a worker come to each partition with something open; how many those are.

        Raises LogUnavailable, StoreUnavailable.
        """
        waiting = [
            view.partition for view, oldest in await self.oldest_open() if oldest is not None
        ]
        await self.client.ring(waiting)
        return len(waiting)

    async def hand_in(self, request: Request | Mapping[str, Any], wait: float | None) -> Accepted:
        """Append a request; what became of it, waited for up to ``wait`` seconds.

        Raises Fault for a reference or an id that belongs to another request; MalformedRequest,
        LogFull, LogUnavailable.
        """
        try:
            receipt = await self.client.enqueue(request)
        except ReferenceConflict as fault:
            raise _conflict(fault) from None
        if wait is None:
            return Accepted(receipt)
        try:
            return Accepted(receipt, await self.client.wait(receipt, wait))
        except (OutcomeUnknown, LogUnavailable):  # it is accepted all the same
            return Accepted(receipt)


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    with translated_faults(), engine.begin() as connection:
        yield connection


async def service_of(request: HttpRequest) -> Service:  # a plain one would take a thread each time
    """The service of the application that a request came to."""
    found: Service = request.app.state.service
    return found


TheService = Annotated[Service, Depends(service_of)]


def accepted_at(position: int) -> datetime:
    """When the entry at a position was accepted, by the log's clock."""
    return datetime.fromtimestamp((position >> POSITION_COUNTER_BITS) / 1000, UTC)


def now_of(service: Service) -> datetime:
    """The service's clock, as a moment."""
    return datetime.fromtimestamp(service.clock(), UTC)


def unless_refused(accepted: Accepted) -> Accepted:
    """What was handed in. Raises Fault when the ledger has refused it."""
    outcome = accepted.outcome
    if outcome is not None and outcome.status == "REJECTED":
        raise refused(
            outcome.reason or "malformed",
            outcome.detail,
            transaction_id=outcome.transaction_id,
            reference=outcome.reference,
        )
    return accepted


def _conflict(fault: ReferenceConflict) -> Fault:
    """A reference that belongs to another request."""
    details = {"original_id": fault.original_id, "fields": list(fault.fields)}
    return Fault(409, "TXN_DUPLICATE_REFERENCE", str(fault), details)
