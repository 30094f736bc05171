"""What both clients do, step by step, without a word of how they wait for the network.

Each flow is a coroutine over a ``Transport``. That of ``AsyncClient`` suspends; that of ``Client``
blocks instead, so that ``run`` can take a flow from its start to its end in one go.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import uuid4

from daybook.client.awaiting import Waiting, pause_before, still_unknown
from daybook.client.drafts import Draft, append_slices, conflict, original_slot
from daybook.client.names import Name, not_in_log
from daybook.client.receipts import (
    Outcome,
    Receipt,
    Waits,
    found_by,
    outcome_for,
    receipts_of,
)
from daybook.errors import LogFull, LogRefused, OutcomeUnknown
from daybook.ledger.preview import Preview
from daybook.ledger.record import Status
from daybook.queue.doorbell import Doorbell
from daybook.queue.entries import NewEntry, read_value
from daybook.queue.keys import Keys
from daybook.queue.patience import patiently
from daybook.queue.wire import (
    Appended,
    Call,
    Entry,
    ReplyT,
    answer_call,
    decided_call,
    entry_call,
    installation_call,
    outcomes_call,
    partitions_call,
    pointer_call,
    unread_call,
)
from daybook.steps import Point, reach

ANSWER_SECONDS_MAX = 10.0
"""How long a dry run, or a look-up by id, waits for a worker."""

POLL_SECONDS = 0.005

_ONE_RUNS = "one runs and takes the queue daybook.intake (`daybook status`)"

T = TypeVar("T")


class Transport(Protocol):
    """The network as a client has it. Every method may raise LogUnavailable."""

    async def call(self, call: Call[ReplyT]) -> ReplyT:
        """What Redis replies to one command, as that reads it."""
        ...

    async def append(self, entries: Sequence[NewEntry]) -> tuple[list[Appended], list[int]]:
        """Append in one step; what became of each entry, and the partitions to ring."""
        ...

    async def ring(self, doorbell: Doorbell, partitions: Sequence[int]) -> None:
        """Wake a worker for each partition, now or a moment later."""
        ...

    async def message(self, send: Callable[[], None]) -> None:
        """Call ``send``, which hands a message to the broker and blocks meanwhile."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Queued(NamedTuple):
    """A request that is accepted and not recorded.

    body: its canonical form; None where the log has it no more: then it is deferred.
    """

    receipt: Receipt
    position: int
    body: bytes | None


def run(flow: Coroutine[Any, Any, T]) -> T:
    """The result of a flow over a transport that blocks: it ends before it is ever suspended."""
    try:
        flow.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    flow.close()
    raise RuntimeError("a flow was suspended, and nothing here could wake it")


class Flows:
    """The flows of one client. retry_seconds_max: how long Redis may be away."""

    def __init__(
        self, transport: Transport, keys: Keys, doorbell: Doorbell, retry_seconds_max: float
    ) -> None:
        self._transport = transport
        self._keys = keys
        self._doorbell = doorbell
        self._retry_seconds_max = retry_seconds_max

    async def append(self, made: Draft, client: Waits | None) -> Receipt:
        """Append one draft. Raises ReferenceConflict, LogFull, LogUnavailable."""
        (receipt,) = await self.append_many([made], client)
        return await self.unless_conflict(made, receipt)

    async def unless_conflict(self, made: Draft, receipt: Receipt) -> Receipt:
        """The receipt of a draft. Raises ReferenceConflict, LogUnavailable."""
        if receipt.state == "conflict":
            raise await self._conflict(made)
        return receipt

    async def append_many(self, made: Sequence[Draft], client: Waits | None) -> list[Receipt]:
        """Append drafts in order. client: what their receipts wait with.

        Raises LogFull with the receipts of those that were accepted, LogUnavailable.
        """
        receipts: list[Receipt] = []
        for part in append_slices(made):
            reach(Point.DRAFTED)
            entries = [item.entry for item in part]
            try:
                results, bells = await self._patiently(partial(self._transport.append, entries))
            except LogFull as fault:
                fault.accepted = tuple(receipts)
                raise
            reach(Point.APPENDED)
            await self._transport.ring(self._doorbell, bells)
            reach(Point.RUNG)
            receipts += receipts_of(part, results, receipts, client)
        return receipts

    async def status(self, name: Name) -> Outcome:
        """The present outcome under a name. Raises NotFound, LogUnavailable, OutcomeUnknown."""
        receipt, value = await self._find(name)
        return outcome_for(receipt, value)

    async def outcome_of(self, receipt: Receipt) -> Outcome | None:
        """The present outcome of a receipt; None when the log has forgotten it."""
        (value,) = await self.values_of([receipt.key])
        return None if value is None else outcome_for(receipt, value)

    async def queued(self, name: Name) -> Queued | None:
        """A request that waits in the log, by its name; None for one that is recorded or unknown.

        No worker is asked. Raises LogUnavailable.
        """
        found = await self._find_in_log(name)
        if found is None:
            return None
        receipt, value = found
        state = read_value(value)
        if state.status != Status.QUEUED or state.position is None or state.partition is None:
            return None
        call = entry_call(self._keys, state.partition, state.position)
        entry = await self._patiently(partial(self._transport.call, call))
        if entry is not None and entry.request_id != receipt.id:
            return None  # a producer may write marks, and this one stands for another's
        return Queued(receipt, state.position, entry.body if entry else None)

    async def owner(self) -> bytes | None:
        """Of which installation the log is, if anything says so. Raises LogUnavailable."""
        return await self._transport.call(installation_call(self._keys))

    async def unread(self, partition: int, cursor: int, count: int) -> list[Entry]:
        """What waits in the log of a partition behind a cursor, ``count`` entries at most.

        Raises LogUnavailable.
        """
        call = unread_call(self._keys, partition, cursor, count)
        return await self._patiently(partial(self._transport.call, call))

    async def wait(self, wanted: Receipt | Name, timeout: float) -> Outcome:
        """The outcome, waited for up to ``timeout`` seconds.

        Raises OutcomeUnknown when the time is up, LogUnavailable; of a name what ``status`` raises.
        """
        if isinstance(wanted, Name):
            receipt, value = await self._find(wanted)
            outcome = outcome_for(receipt, value)
            if outcome.answered:
                return outcome
        else:
            receipt = wanted
        (found,) = await self.wait_many([receipt], timeout)
        if found is None:
            raise still_unknown(receipt, timeout)
        return found

    async def wait_many(self, receipts: Sequence[Receipt], timeout: float) -> list[Outcome | None]:
        """The outcomes of many receipts; None for those still queued after ``timeout`` seconds."""
        waiting = Waiting(receipts)
        started = time.monotonic()
        while True:
            for slice_ in waiting.slices():
                left = max(0.0, timeout - (time.monotonic() - started))
                keys = [receipts[i].key for i in slice_]
                waiting.take(slice_, await self.values_of(keys, left))
            waited = time.monotonic() - started
            if waiting.done or waited >= timeout:
                return waiting.outcomes
            await self._transport.sleep(pause_before(waited, timeout))

    async def preview(self, made: Draft) -> Preview:
        """What a worker says that a draft would do. Raises LogUnavailable, OutcomeUnknown."""
        request_id, body = made.entry.request_id, made.entry.body
        answer = await self._answer(
            lambda answer_id: self._doorbell.ask_for_dry_run(
                request_id, body, answer_id, ANSWER_SECONDS_MAX
            )
        )
        if answer is None:
            raise OutcomeUnknown(
                f"no worker has looked within {ANSWER_SECONDS_MAX:g} s; nothing was changed: see "
                f"that {_ONE_RUNS}, and ask again"
            )
        return Preview.from_dict(answer)

    async def _answer(self, ask: Callable[[str], None]) -> dict[str, Any] | None:
        """What a worker answers; None when none does in time. ask: is given the answer's id."""
        answer_id = uuid4().hex
        await self._transport.message(lambda: ask(answer_id))
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while time.monotonic() < deadline:
            answer = await self._transport.call(answer_call(self._keys, answer_id))
            if answer is not None:
                found: dict[str, Any] = json.loads(answer)
                return found
            await self._transport.sleep(POLL_SECONDS)
        return None

    async def _patiently(
        self, ask: Callable[[], Coroutine[Any, Any, T]], seconds_max: float | None = None
    ) -> T:
        """What ``ask`` answers, tried again while Redis is away. seconds_max: a closer bound."""
        bound = self._retry_seconds_max
        bound = bound if seconds_max is None else min(bound, seconds_max)
        return await patiently(ask, self._transport.sleep, bound)

    async def values_of(
        self, keys: Sequence[str], seconds_max: float | None = None
    ) -> list[bytes | None]:
        """What is known of outcome keys. seconds_max: how long Redis may be away."""
        call = outcomes_call(self._keys, keys)
        return await self._patiently(partial(self._transport.call, call), seconds_max)

    async def _conflict(self, made: Draft) -> Exception:
        (value,) = await self.values_of([made.entry.key])
        if value is None:  # it expired a moment ago
            return not_in_log(made.name)
        state = read_value(value)
        body = None
        if state.position is not None:
            with suppress(LogRefused):  # a producer that may not read the log
                partitions = await self._transport.call(partitions_call(self._keys, state.position))
                partition = original_slot(made, state) % partitions
                call = entry_call(self._keys, partition, state.position)
                entry = await self._transport.call(call)
                body = entry.body if entry else None
        return conflict(made, value.decode(), body)

    async def _find(self, name: Name) -> tuple[Receipt, bytes]:
        """What a name stands for, and what stands under its key.

        The log knows references, and the ids of what is queued; a worker knows all ids. Raises
        NotFound, LogUnavailable, OutcomeUnknown.
        """
        found = await self._find_in_log(name)
        if found is None and name.id is not None:
            found = await self._find_by_worker(name, name.id)
        if found is None:
            raise not_in_log(name)
        return found

    async def _find_in_log(self, name: Name) -> tuple[Receipt, bytes] | None:
        """What a name stands for in the log. Raises LogUnavailable."""
        found = await self._find_under(name, name.key)
        if found is None and name.id is not None:
            pointer = pointer_call(self._keys, name.id)
            key = await self._patiently(partial(self._transport.call, pointer))
            found = await self._find_under(name, key) if key is not None else None
        return found

    async def _find_by_worker(self, name: Name, request_id: str) -> tuple[Receipt, bytes] | None:
        answer = await self._answer(
            lambda answer_id: self._doorbell.ask_to_find(request_id, answer_id, ANSWER_SECONDS_MAX)
        )
        if answer is None:
            raise OutcomeUnknown(
                f"no worker has looked for the id {request_id!r} within {ANSWER_SECONDS_MAX:g} s: "
                f"see that {_ONE_RUNS}, and ask again, or ask by reference"
            )
        key, recorded = answer.get("key"), answer.get("value")
        if key is None:
            return None
        return await self._find_under(name, key, recorded.encode() if recorded else None)

    async def _find_under(
        self, name: Name, key: str, recorded: bytes | None = None
    ) -> tuple[Receipt, bytes] | None:
        """What stands under a key, if it is of that name. recorded: what a worker knows of it."""
        (value,) = await self.values_of([key])
        value = recorded or value
        receipt = found_by(name, key, value)
        if receipt is None or value is None:
            return None
        state = read_value(value)
        if state.status == Status.QUEUED and state.position is not None:
            decided = await self._patiently(partial(self._transport.call, decided_call(self._keys)))
            if state.position <= decided:
                return None  # a producer may write marks, and this one is not true any more
        return receipt, value
