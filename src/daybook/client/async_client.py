"""The client of asyncio: the same calls, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

from daybook.client.awaiting import Waiting, is_by_name, pause_before, seconds_of, still_unknown
from daybook.client.calls import Calls
from daybook.client.client import Answer
from daybook.client.drafts import (
    Draft,
    append_slices,
    conflict,
    draft,
    drafts,
    given_request,
    original_slot,
)
from daybook.client.dry_run import AsyncDryRunCalls
from daybook.client.lookup import find_async
from daybook.client.names import Name, name_of, not_in_log
from daybook.client.receipts import Outcome, Receipt, found_by, outcome_for, receipts_of
from daybook.errors import (
    LogFull,
    LogRefused,
    LogUnavailable,
    WrongEventLoop,
)
from daybook.queue.connect import connect_async, translated_faults
from daybook.queue.doorbell import Doorbell
from daybook.queue.entries import BY_ID, entry_id_of, read_value
from daybook.queue.epochs import partitions_at
from daybook.queue.keys import Keys
from daybook.queue.parsing import known_values, pointer_in
from daybook.queue.patience import Patience
from daybook.queue.scripts import APPEND_SCRIPT
from daybook.queue.wire import Appended, append_arguments, read_append_reply
from daybook.requests import Request
from daybook.settings import Settings, celery_url, read_settings


class AsyncClient(Calls[Coroutine[Any, Any, Receipt]]):
    """``Client`` for asyncio: the same calls, awaited."""

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings or read_settings()
        url = redis_url or self._settings.require_redis_url()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._redis: Any = connect_async(url, self._settings)
        self._keys = Keys(self._settings.namespace)
        self._script = self._redis.register_script(APPEND_SCRIPT)
        self._doorbell = Doorbell(celery_url(self._settings.broker_url or url))
        self._clock = clock

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

    async def enqueue(
        self, request: Request | Mapping[str, Any] | None = None, /, **fields: Any
    ) -> Receipt:
        """See ``Client.enqueue``."""
        made = draft(given_request(request, fields), self._clock, BY_ID)
        (receipt,) = await self._append([made])
        if receipt.state == "conflict":
            raise await self._conflict(made)
        return receipt

    @property
    def dry_run(self) -> AsyncDryRunCalls:
        """See ``Client.dry_run``."""
        self._check_loop()
        return AsyncDryRunCalls(self._doorbell, self._take_answer, self._clock)

    async def _take_answer(self, answer_id: str) -> bytes | None:
        with translated_faults():
            found: bytes | None = await self._redis.getdel(self._keys.answer(answer_id))
        return found

    async def enqueue_many(self, requests: Sequence[Request | Mapping[str, Any]]) -> list[Receipt]:
        """See ``Client.enqueue_many``."""
        return await self._append(drafts(requests, self._clock))

    async def status(
        self,
        *,
        reference: str | None = None,
        id: str | None = None,
    ) -> Outcome:
        """See ``Client.status``."""
        receipt, value = await self._find(name_of(reference, id))
        return outcome_for(receipt, value)

    async def wait(
        self,
        receipt: Receipt | None = None,
        timeout: float | None = None,
        *,
        reference: str | None = None,
        id: str | None = None,
    ) -> Outcome:
        """See ``Client.wait``."""
        seconds = seconds_of(timeout)
        if is_by_name(receipt, reference, id):
            receipt, value = await self._find(name_of(reference, id))
            outcome = outcome_for(receipt, value)
            if outcome.answered:
                return outcome
        assert receipt is not None
        (found,) = await self.wait_many([receipt], seconds)
        if found is None:
            raise still_unknown(receipt, seconds)
        return found

    async def wait_many(self, receipts: Sequence[Receipt], timeout: float) -> list[Outcome | None]:
        """See ``Client.wait_many``."""
        waiting = Waiting(receipts)
        started = time.monotonic()
        while True:
            for slice_ in waiting.slices():
                left = max(0.0, timeout - (time.monotonic() - started))
                keys = [receipts[i].key for i in slice_]
                waiting.take(slice_, await self._outcomes(keys, left))
            waited = time.monotonic() - started
            if waiting.done or waited >= timeout:
                return waiting.outcomes
            await asyncio.sleep(pause_before(waited, timeout))

    async def _append(self, made: Sequence[Draft]) -> list[Receipt]:
        receipts: list[Receipt] = []
        for part in append_slices(made):
            try:
                results, bells = await self._patiently(partial(self._append_part, part))
            except LogFull as fault:
                fault.accepted = tuple(receipts)
                raise
            await asyncio.to_thread(self._doorbell.ring, bells)
            receipts += receipts_of(part, results, receipts, None)
        return receipts

    async def _append_part(self, part: Sequence[Draft]) -> tuple[list[Appended], list[int]]:
        keys, arguments = append_arguments(self._keys, [item.entry for item in part])
        return read_append_reply(await self._script(keys, arguments))

    async def _outcomes(
        self, keys: Sequence[str], seconds_max: float | None = None
    ) -> list[bytes | None]:
        names = self._keys.known(keys)
        return known_values(await self._patiently(lambda: self._redis.mget(names), seconds_max))

    async def _patiently(
        self, ask: Callable[[], Coroutine[Any, Any, Answer]], seconds_max: float | None = None
    ) -> Answer:
        """``patiently``, awaited. Raises WrongEventLoop before anything is sent."""
        self._check_loop()
        bound = self._settings.retry_seconds_max
        patience = Patience(bound if seconds_max is None else min(bound, seconds_max))
        while True:
            try:
                with translated_faults():
                    return await ask()
            except LogUnavailable as fault:
                await asyncio.sleep(patience.pause_after(fault))

    async def _conflict(self, made: Draft) -> Exception:
        (value,) = await self._outcomes([made.entry.key])
        if value is None:  # it expired a moment ago
            return not_in_log(
                Name(made.reference, None if made.reference else made.entry.request_id)
            )
        state = read_value(value)
        body = None
        if state.position is not None:
            entry_id = entry_id_of(state.position)
            with suppress(LogRefused), translated_faults():
                known = await self._redis.hgetall(self._keys.state)
                partitions = partitions_at(known, state.position)
                stream = self._keys.log(original_slot(made, state) % partitions)
                found = await self._redis.xrange(stream, entry_id, entry_id)
                body = found[0][1].get(b"b") if found else None
        return conflict(made, value.decode(), body)

    async def _find(self, name: Name) -> tuple[Receipt, bytes]:
        """See ``Client._find``."""
        key = name.key
        (value,) = await self._outcomes([key])
        receipt = found_by(name, key, value)
        if receipt is None and name.id is not None:
            place = self._keys.queued(key)
            key = pointer_in(await self._patiently(lambda: self._redis.get(place))) or key
            (value,) = await self._outcomes([key])
            receipt = found_by(name, key, value)
        if receipt is None and name.id is not None:
            known = await find_async(self._doorbell, self._take_answer, name.id)
            if known.key is not None:
                (value,) = await self._outcomes([known.key])
                value = known.value or value
                receipt = found_by(name, known.key, value)
        if receipt is None or value is None:
            raise not_in_log(name)
        return receipt, value

    def _check_loop(self) -> None:
        """Belong to the event loop of the first call. Raises WrongEventLoop in another."""
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        if self._loop is not running:
            raise WrongEventLoop(
                "this AsyncClient belongs to another event loop, and nothing was sent: make one in "
                "each loop, with `async with AsyncClient() as client`, or use Client, which any "
                "thread may use"
            )
