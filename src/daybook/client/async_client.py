"""The client of asyncio: the same calls, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from daybook.client.awaiting import seconds_of, waited_for
from daybook.client.calls import Calls
from daybook.client.drafts import draft, drafts
from daybook.client.dry_run import AsyncDryRunCalls
from daybook.client.flows import Flows
from daybook.client.gathering import SharedAppends, SharedWaits
from daybook.client.names import Name, name_of
from daybook.client.receipts import AsyncReceipt, Outcome, Receipt
from daybook.errors import LogFull, WrongEventLoop
from daybook.queue.connect import connect_async, translated_faults
from daybook.queue.doorbell import Doorbell
from daybook.queue.entries import BY_ID, NewEntry
from daybook.queue.keys import Keys
from daybook.queue.scripts import APPEND_SCRIPT
from daybook.queue.wire import Appended, Call, ReplyT, append_arguments, read_append_reply
from daybook.requests import Request
from daybook.settings import Settings, celery_url, read_settings


class Awaited:
    """The transport of one event loop: its connections belong to that of the first call.

    Every method that sends raises WrongEventLoop in another one, before anything is sent.
    """

    def __init__(self, redis: Any, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._script = redis.register_script(APPEND_SCRIPT)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def call(self, call: Call[ReplyT]) -> ReplyT:
        self.check_loop()
        with translated_faults():
            return call.read(await self._redis.execute_command(*call.command))

    async def append(self, entries: Sequence[NewEntry]) -> tuple[list[Appended], list[int]]:
        self.check_loop()
        keys, arguments = append_arguments(self._keys, entries)
        with translated_faults():
            reply = await self._script(keys, arguments)
        return read_append_reply(reply)

    async def ring(self, doorbell: Doorbell, partitions: Sequence[int]) -> None:
        self.check_loop()
        if partitions:
            await asyncio.to_thread(doorbell.ring, partitions)

    async def message(self, send: Callable[[], None]) -> None:
        self.check_loop()
        await asyncio.to_thread(send)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def check_loop(self) -> None:
        """Raises WrongEventLoop in another loop than that of the first call."""
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        if self._loop is not running:
            raise WrongEventLoop(
                "this AsyncClient belongs to another event loop, and nothing was sent: make one in "
                "each loop, with `async with AsyncClient() as client`, or use Client, which any "
                "thread may use"
            )


class AsyncClient(Calls[Coroutine[Any, Any, AsyncReceipt]]):
    """``Client`` for asyncio: the same calls, awaited."""

    _transport_type: type[Awaited] = Awaited

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings or read_settings()
        url = redis_url or self._settings.require_redis_url()
        self._redis: Any = connect_async(url, self._settings)
        self._doorbell = Doorbell(celery_url(self._settings.broker_url or url))
        self._clock = clock
        keys = Keys(self._settings.namespace)
        patience = self._settings.retry_seconds_max
        self._transport = self._transport_type(self._redis, keys)
        self._flows = Flows(self._transport, keys, self._doorbell, patience)
        self._appends = SharedAppends(partial(self._flows.append_many, client=None))
        self._waits = SharedWaits(self._flows.values_of)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. What was accepted stays accepted."""
        self._doorbell.close()
        await self._redis.aclose()

    async def _submit(self, request: Request | Mapping[str, Any]) -> AsyncReceipt:
        made = draft(request, self._clock, BY_ID)
        self._transport.check_loop()
        receipt = await self._appends.append(made)
        return AsyncReceipt.of(await self._flows.unless_conflict(made, receipt), self)

    @property
    def dry_run(self) -> AsyncDryRunCalls:
        """See ``Client.dry_run``."""
        return AsyncDryRunCalls(self._flows, self._clock)

    async def enqueue_many(
        self, requests: Sequence[Request | Mapping[str, Any]]
    ) -> list[AsyncReceipt]:
        """See ``Client.enqueue_many``."""
        try:
            receipts = await self._flows.append_many(drafts(requests, self._clock), None)
        except LogFull as fault:
            fault.accepted = tuple(AsyncReceipt.of(receipt, self) for receipt in fault.accepted)
            raise
        return [AsyncReceipt.of(receipt, self) for receipt in receipts]

    async def status(
        self,
        *,
        reference: str | None = None,
        id: str | None = None,
    ) -> Outcome:
        """See ``Client.status``."""
        return await self._flows.status(name_of(reference, id))

    async def wait(
        self,
        receipt: Receipt | None = None,
        timeout: float | None = None,
        *,
        reference: str | None = None,
        id: str | None = None,
    ) -> Outcome:
        """See ``Client.wait``."""
        seconds, wanted = seconds_of(timeout), waited_for(receipt, reference, id)
        if isinstance(wanted, Name):
            return await self._flows.wait(wanted, seconds)
        self._transport.check_loop()
        return await self._waits.wait(wanted, seconds)

    async def wait_many(self, receipts: Sequence[Receipt], timeout: float) -> list[Outcome | None]:
        """See ``Client.wait_many``."""
        return await self._flows.wait_many(receipts, timeout)
