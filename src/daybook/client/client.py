"""For producers: hand requests to the log and learn their outcome. Needs Redis, nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from daybook.client.calls import Asking
from daybook.client.drafts import (
    Draft,
    Name,
    Outcome,
    Receipt,
    append_slices,
    conflict,
    draft,
    drafts,
    found_by,
    name_of,
    not_in_log,
    original_slot,
    outcome_for,
    receipt_of,
)
from daybook.client.dry_run import AsyncLookingAhead, LookingAhead
from daybook.client.lookup import find, find_async
from daybook.errors import (
    LogFull,
    LogRefused,
    LogUnavailable,
    OutcomeUnknown,
    WrongEventLoop,
)
from daybook.queue.connect import connect, connect_async, translated_faults
from daybook.queue.doorbell import Doorbell
from daybook.queue.entries import BY_ID, entry_id_of, read_value
from daybook.queue.epochs import partitions_at
from daybook.queue.keys import Keys
from daybook.queue.log import Appended, Log, append_arguments, read_append_reply
from daybook.queue.parsing import known_values, pointer_in
from daybook.queue.patience import Patience, patiently
from daybook.queue.scripts import APPEND_SCRIPT
from daybook.requests import Request, TransactionRequest
from daybook.settings import Settings, celery_url, read_settings
from daybook.steps import Point, reach

POLL_SECONDS_MIN = 0.002
POLL_SECONDS_MAX = 0.1
POLL_SHARE = 0.1
"""A waiting client looks again after a tenth of the time that it has waited, within bounds."""

OUTCOMES_SLICE = 1_000
"""Outcomes asked for in one call."""

Answer = TypeVar("Answer")


class Client(Asking[Receipt]):
    """Hands requests to the log, from any thread of one process.

    redis_url: where the log is; by default DAYBOOK_REDIS_URL, or the instance that ``daybook up``
    runs. settings: by default from the environment. clock: seconds since the epoch.

    >>> with Client() as client:  # doctest: +SKIP
    ...     receipt = client.enqueue(
    ...         reference="order-1", source="@World", destination=balance_id,
    ...         currency="USD", amount="19.99", precision=100, allow_overdraft=True)
    ...     outcome = receipt.wait(timeout=5)
    """

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings or read_settings()
        url = redis_url or self._settings.require_redis_url()
        self._redis = connect(url, self._settings, patient=False)
        self._log = Log(self._redis, self._settings.namespace)
        self._doorbell = Doorbell(celery_url(self._settings.broker_url or url))
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. What was accepted stays accepted."""
        self._doorbell.close()
        self._redis.close()

    def enqueue(
        self, request: Request | Mapping[str, Any] | None = None, /, **fields: Any
    ) -> Receipt:
        """Append one request to the log.

        request: a request, or a mapping of its fields; or give the fields as keywords. ``kind``
        among them says what is asked for: a transaction by default, a bulk when there are
        ``transactions``. Once this returns, the request survives the death of any process.

        While Redis is away, or when its reply was lost, the same is sent again for up to
        DAYBOOK_RETRY_SECONDS_MAX. Raises MalformedRequest, ReferenceConflict, LogFull,
        LogUnavailable (whether it was accepted is unknown: send the same again).
        """
        return self.enqueue_flagged(_given(request, fields), BY_ID)

    @property
    def dry_run(self) -> LookingAhead:
        """What requests would do: ``client.dry_run.refund(…)`` answers a ``Preview``.

        A worker looks at the ledger as it stands at this moment; nothing is enqueued.
        """
        return LookingAhead(self._doorbell, self._log.take_answer, self._clock)

    def enqueue_flagged(self, request: Request | Mapping[str, Any], flags: str = "") -> Receipt:
        """Append one request whose entry carries ``flags``. Raises like ``enqueue``."""
        return self.append(draft(request, self._clock, flags))

    def append(self, made: Draft) -> Receipt:
        """Append one request that is checked already. Raises like ``enqueue``."""
        (receipt,) = self._append([made])
        if receipt.state == "conflict":
            raise self._conflict(made)
        return receipt

    def enqueue_many(self, requests: Sequence[Request | Mapping[str, Any]]) -> list[Receipt]:
        """Append many requests in order; one receipt each.

        All are validated first: MalformedRequest names each violation behind its index, and
        nothing was appended. A conflict of references does not raise here: see
        ``Receipt.state``. LogFull carries the receipts of those that were accepted before.
        """
        return self._append(drafts(requests, self._clock))

    def status(
        self,
        *,
        reference: str | None = None,
        id: str | None = None,
    ) -> Outcome:
        """The present outcome of a request, by its reference or by its id: one of the two.

        id: of any request, ``txn_…`` or ``bulk_…``; or of a ledger, balance or identity: that of
        its creation. What the log does not know by its id is asked of a worker.

        Raises NotFound when the log knows nothing of it, or no longer; LogUnavailable; with an
        id OutcomeUnknown when no worker answers.
        """
        receipt, value = self._find(name_of(reference, id))
        return outcome_for(receipt, value)

    def outcome_of(self, receipt: Receipt) -> Outcome | None:
        """The present outcome of a receipt; None when the log has forgotten it."""
        (value,) = self._outcomes([receipt.key])
        return None if value is None else outcome_for(receipt, value)

    def wait(
        self,
        receipt: Receipt | None = None,
        timeout: float | None = None,
        *,
        reference: str | None = None,
        id: str | None = None,
    ) -> Outcome:
        """The outcome of a receipt, waited for up to ``timeout`` seconds.

        Instead of the receipt, ``reference`` or ``id`` as in ``status``. SCHEDULED is an answer
        too: it comes at once, not when the transaction is due. Raises OutcomeUnknown when the time
        is up; with a name what ``status`` raises.
        """
        seconds = _seconds(timeout)
        if _by_name(receipt, reference, id):
            receipt, value = self._find(name_of(reference, id))
            outcome = outcome_for(receipt, value)
            if outcome.settled:
                return outcome
        assert receipt is not None
        (found,) = self.wait_many([receipt], seconds)
        if found is None:
            raise _unknown(receipt, seconds)
        return found

    def wait_many(self, receipts: Sequence[Receipt], timeout: float) -> list[Outcome | None]:
        """The outcomes of many receipts, in their order; None for those still queued in the end.

        timeout: seconds for all of them together.
        """
        waiting = _Waiting(receipts)
        started = time.monotonic()
        while True:
            for slice_ in waiting.slices():
                left = max(0.0, timeout - (time.monotonic() - started))
                keys = [receipts[i].key for i in slice_]
                waiting.take(slice_, self._outcomes(keys, left))
            waited = time.monotonic() - started
            if waiting.done or waited >= timeout:
                return waiting.outcomes
            time.sleep(_pause(waited, timeout))

    def _append(self, made: Sequence[Draft]) -> list[Receipt]:
        receipts: list[Receipt] = []
        for part in append_slices(made):
            reach(Point.DRAFTED)
            try:
                results, bells = self._append_part(part)
            except LogFull as fault:
                fault.accepted = tuple(receipts)
                raise
            reach(Point.APPENDED)
            self._doorbell.ring(bells)
            reach(Point.RUNG)
            receipts += _receipts(part, results, receipts, self)
        return receipts

    def _append_part(self, part: Sequence[Draft]) -> tuple[list[Appended], list[int]]:
        entries = [item.entry for item in part]
        return patiently(lambda: self._log.append(entries), self._settings.retry_seconds_max)

    def _outcomes(
        self, keys: Sequence[str], seconds_max: float | None = None
    ) -> list[bytes | None]:
        """What stands under outcome keys. seconds_max: a closer bound for trying again."""
        bound = self._settings.retry_seconds_max
        bound = bound if seconds_max is None else min(bound, seconds_max)
        return patiently(lambda: self._log.outcomes(keys), bound)

    def _conflict(self, made: Draft) -> Exception:
        (value,) = self._outcomes([made.entry.key])
        if value is None:  # it expired a moment ago
            return not_in_log(
                Name(made.reference, None if made.reference else made.entry.request_id)
            )
        state = read_value(value)
        body = None
        if state.position is not None:
            with suppress(LogRefused):  # a producer that may not read the log
                partition = original_slot(made, state) % self._log.partitions_at(state.position)
                body = self._log.body_at(partition, state.position)
        return conflict(made, value.decode(), body)

    def _find(self, name: Name) -> tuple[Receipt, bytes]:
        """What a name stands for, and what stands under its key. Raises NotFound."""
        key = name.key
        (value,) = self._outcomes([key])
        receipt = found_by(name, key, value)
        if receipt is None and name.id is not None:
            key = self._log.pointed_to(name.id) or key
            (value,) = self._outcomes([key])
            receipt = found_by(name, key, value)
        if receipt is None and name.id is not None:
            known = find(self._doorbell, self._log.take_answer, name.id)
            if known.key is not None:
                (value,) = self._outcomes([known.key])
                value = known.value or value
                receipt = found_by(name, known.key, value)
        if receipt is None or value is None:
            raise not_in_log(name)
        return receipt, value


class AsyncClient(Asking[Coroutine[Any, Any, Receipt]]):
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
        made = draft(_given(request, fields), self._clock, BY_ID)
        (receipt,) = await self._append([made])
        if receipt.state == "conflict":
            raise await self._conflict(made)
        return receipt

    @property
    def dry_run(self) -> AsyncLookingAhead:
        """See ``Client.dry_run``."""
        self._check_loop()
        return AsyncLookingAhead(self._doorbell, self._take_answer, self._clock)

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
        seconds = _seconds(timeout)
        if _by_name(receipt, reference, id):
            receipt, value = await self._find(name_of(reference, id))
            outcome = outcome_for(receipt, value)
            if outcome.settled:
                return outcome
        assert receipt is not None
        (found,) = await self.wait_many([receipt], seconds)
        if found is None:
            raise _unknown(receipt, seconds)
        return found

    async def wait_many(self, receipts: Sequence[Receipt], timeout: float) -> list[Outcome | None]:
        """See ``Client.wait_many``."""
        waiting = _Waiting(receipts)
        started = time.monotonic()
        while True:
            for slice_ in waiting.slices():
                left = max(0.0, timeout - (time.monotonic() - started))
                keys = [receipts[i].key for i in slice_]
                waiting.take(slice_, await self._outcomes(keys, left))
            waited = time.monotonic() - started
            if waiting.done or waited >= timeout:
                return waiting.outcomes
            await asyncio.sleep(_pause(waited, timeout))

    async def _append(self, made: Sequence[Draft]) -> list[Receipt]:
        receipts: list[Receipt] = []
        for part in append_slices(made):
            try:
                results, bells = await self._patiently(partial(self._append_part, part))
            except LogFull as fault:
                fault.accepted = tuple(receipts)
                raise
            await asyncio.to_thread(self._doorbell.ring, bells)
            receipts += _receipts(part, results, receipts, None)
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


class _Waiting:
    """Which of many receipts still have no outcome."""

    def __init__(self, receipts: Sequence[Receipt]) -> None:
        self._receipts = receipts
        self._open = list(range(len(receipts)))
        self.outcomes: list[Outcome | None] = [None] * len(receipts)

    @property
    def done(self) -> bool:
        return not self._open

    def slices(self) -> list[list[int]]:
        """Indexes of the open receipts, in slices of a bounded length."""
        return [
            self._open[i : i + OUTCOMES_SLICE] for i in range(0, len(self._open), OUTCOMES_SLICE)
        ]

    def take(self, indexes: Sequence[int], values: Sequence[bytes | None]) -> None:
        """Note what was found for these receipts."""
        for index, value in zip(indexes, values, strict=True):
            if value is not None:
                outcome = outcome_for(self._receipts[index], value)
                if outcome.settled:
                    self.outcomes[index] = outcome
        self._open = [index for index in self._open if self.outcomes[index] is None]


def _receipts(
    part: Sequence[Draft],
    results: Sequence[Appended],
    before: Sequence[Receipt],
    client: Client | None,
) -> list[Receipt]:
    """Receipts for one append. Raises LogFull with all that was accepted so far."""
    receipts: list[Receipt] = []
    for made, appended in zip(part, results, strict=True):
        if appended.state == "full":
            raise LogFull(
                "the log is full: workers must catch up before more is accepted",
                accepted=(*before, *receipts),
            )
        receipts.append(receipt_of(made, appended, client))
    return receipts


def _pause(waited: float, timeout: float) -> float:
    """Seconds until the next look."""
    pause = min(max(POLL_SECONDS_MIN, waited * POLL_SHARE), POLL_SECONDS_MAX)
    return min(pause, timeout - waited)


def _seconds(timeout: float | None) -> float:
    if timeout is None:
        raise TypeError("say how many seconds to wait: timeout=…")
    return timeout


def _by_name(
    receipt: Receipt | None,
    reference: str | None,
    id: str | None,
) -> bool:
    """Whether a name was given in place of a receipt. Raises TypeError for both, or for text."""
    if receipt is None:
        return True
    if not isinstance(receipt, Receipt) or reference is not None or id is not None:
        raise TypeError("give a receipt, or reference=… or id=…, one of them")
    return False


def _unknown(receipt: Receipt, timeout: float) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"no outcome of {receipt.reference or receipt.id} after {timeout} s: it is in the log and "
        "may still be posted; wait again, or send the same request again"
    )


def _given(
    request: Request | Mapping[str, Any] | None, fields: dict[str, Any]
) -> Request | Mapping[str, Any]:
    if request is None:
        return fields
    if fields:
        raise TypeError("give a request or keyword arguments, not both")
    return request


__all__ = ["AsyncClient", "Client", "Outcome", "Receipt", "TransactionRequest"]
