"""Callers of one event loop who share calls: each has its own answer, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, ParamSpec

import pytest

from daybook.client.drafts import Draft, draft
from daybook.client.gathering import SharedAppends, SharedWaits
from daybook.client.receipts import Receipt, receipt_of
from daybook.errors import LogFull, LogUnavailable, OutcomeUnknown
from daybook.queue.wire import Appended

AWAY = LogUnavailable("away")
TIMEOUT = 5.0

P = ParamSpec("P")


def in_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **named: P.kwargs) -> None:
        asyncio.run(test(*args, **named))

    return run


def draft_of(reference: str) -> Draft:
    fields = {
        "reference": reference, "source": "@World", "destination": "@Sales", "currency": "USD",
        "precise_amount": 5, "precision": 100,
    }  # fmt: skip
    return draft(fields, lambda: 1_700_000_000.0)


def accepted(made: Draft) -> Receipt:
    return receipt_of(made, Appended("accepted", 7))


class Log:
    """Appends as it is told; a call goes on only when ``go`` is set."""

    def __init__(self) -> None:
        self.calls: list[list[str | None]] = []
        self.go = asyncio.Event()
        self.room: int | None = None
        self.fault: Exception | None = None

    async def append_many(self, made: Sequence[Draft]) -> list[Receipt]:
        self.calls.append([one.reference for one in made])
        await self.go.wait()
        if self.fault:
            raise self.fault
        receipts = [accepted(one) for one in made[: self.room]]
        if len(receipts) < len(made):
            raise LogFull("full", accepted=receipts, retry_after_seconds=3.0)
        return receipts


async def soon(is_so: Callable[[], object]) -> None:
    """Let the others go on until something is so."""
    for _ in range(1_000):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be so")


def appending(shared: SharedAppends, *references: str) -> list[asyncio.Task[Receipt]]:
    return [asyncio.create_task(shared.append(draft_of(one))) for one in references]


@in_a_loop
async def test_what_comes_meanwhile_goes_with_the_next_call() -> None:
    """In order, and in one call however many they are."""
    log = Log()
    shared = SharedAppends(log.append_many)
    first = appending(shared, "a")
    await soon(lambda: log.calls)
    later = appending(shared, "b", "c", "d")
    await asyncio.sleep(0)
    log.go.set()
    receipts = await asyncio.gather(*first, *later)
    assert log.calls == [["a"], ["b", "c", "d"]]
    assert [receipt.reference for receipt in receipts] == ["a", "b", "c", "d"]


@in_a_loop
async def test_who_has_gone_before_a_call_begins_is_not_in_it() -> None:
    """Nobody waits for it any more: it is as if it had never been sent."""
    log = Log()
    shared = SharedAppends(log.append_many)
    first = appending(shared, "a")
    await soon(lambda: log.calls)
    gone, stays = appending(shared, "b", "c")
    await asyncio.sleep(0)
    gone.cancel()
    log.go.set()
    await asyncio.gather(*first, stays)
    assert log.calls == [["a"], ["c"]]
    assert gone.cancelled()


@in_a_loop
async def test_who_goes_while_a_call_is_under_way_leaves_the_others_theirs() -> None:
    """The call goes on without it, and the next ones too."""
    log = Log()
    shared = SharedAppends(log.append_many)
    gone, stays = appending(shared, "a", "b")
    await soon(lambda: log.calls)
    gone.cancel()
    log.go.set()
    assert (await stays).reference == "b"
    assert (await shared.append(draft_of("c"))).reference == "c"


@in_a_loop
async def test_a_full_log_tells_nobody_of_what_others_sent() -> None:
    """Those before the bound are accepted; the others hear of no receipt but their own."""
    log = Log()
    log.room = 1
    shared = SharedAppends(log.append_many)
    tasks = appending(shared, "a", "b")
    log.go.set()
    first, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, Receipt)
    assert isinstance(second, LogFull)
    assert (second.accepted, second.retry_after_seconds) == ((), 3.0)


@in_a_loop
async def test_a_fault_of_a_call_is_told_to_all_of_it_and_to_nobody_else() -> None:
    """Who comes afterwards is served."""
    log = Log()
    log.fault = AWAY
    shared = SharedAppends(log.append_many)
    tasks = appending(shared, "a", "b")
    log.go.set()
    assert await asyncio.gather(*tasks, return_exceptions=True) == [AWAY, AWAY]
    log.fault = None
    assert (await shared.append(draft_of("c"))).reference == "c"


def test_an_event_loop_may_be_closed_while_a_call_is_under_way() -> None:
    """What is left of the call is let go in silence."""
    log, told = Log(), []

    async def beginning() -> None:
        appending(shared, "a", "b")
        await soon(lambda: log.calls)

    shared = SharedAppends(log.append_many)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: told.append(context.get("exception")))
    loop.run_until_complete(beginning())
    serving = shared.serving
    assert serving is not None
    loop.close()
    serving.get_coro().close()  # as the collector of garbage does
    assert told == []


def outcome_of(made: Draft) -> bytes:
    fingerprint = made.entry.fingerprint.hex()
    return f'{fingerprint}R{{"status":"APPLIED","id":"{made.entry.request_id}"}}'.encode()


class Outcomes:
    """What is known of outcome keys. looks: keys of each look."""

    def __init__(self) -> None:
        self.known: dict[str, bytes] = {}
        self.looks: list[list[str]] = []
        self.fault: Exception | None = None

    async def values_of(
        self, keys: Sequence[str], seconds_max: float | None = None
    ) -> list[bytes | None]:
        self.looks.append(list(keys))
        await asyncio.sleep(0)
        if self.fault:
            raise self.fault
        return [self.known.get(key) for key in keys]


@in_a_loop
async def test_all_that_wait_share_one_look() -> None:
    """However many they are; each has its own outcome."""
    found = Outcomes()
    shared = SharedWaits(found.values_of)
    made = [draft_of(name) for name in "abc"]
    waiting = [asyncio.create_task(shared.wait(accepted(one), TIMEOUT)) for one in made]
    await soon(lambda: found.looks)
    found.known = {one.entry.key: outcome_of(one) for one in made}
    outcomes = await asyncio.gather(*waiting)
    assert [outcome.reference for outcome in outcomes] == ["a", "b", "c"]
    assert found.looks[0] == [one.entry.key for one in made]


@pytest.mark.parametrize("timeout", [0.0, -1.0])
@in_a_loop
async def test_without_any_time_there_is_still_one_look(timeout: float) -> None:
    """What is known is told, and what is not is unknown."""
    found, made = Outcomes(), draft_of("a")
    shared = SharedWaits(found.values_of)
    with pytest.raises(OutcomeUnknown, match="no outcome of a after"):
        await shared.wait(accepted(made), timeout)
    found.known = {made.entry.key: outcome_of(made)}
    assert (await shared.wait(accepted(made), timeout)).status == "APPLIED"


@in_a_loop
async def test_who_comes_to_those_who_wait_for_long_is_looked_for_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It doesn't wait for their next look."""
    monkeypatch.setattr("daybook.client.gathering.pause_before", lambda waited, timeout: 60.0)
    found, made = Outcomes(), draft_of("b")
    shared = SharedWaits(found.values_of)
    first = asyncio.create_task(shared.wait(accepted(draft_of("a")), TIMEOUT))
    await soon(lambda: found.looks)
    found.known = {made.entry.key: outcome_of(made)}
    assert (await shared.wait(accepted(made), TIMEOUT)).status == "APPLIED"
    first.cancel()


@in_a_loop
async def test_nobody_is_looked_for_who_has_gone() -> None:
    """A look that nobody waits for would open the connections of a client that is closed."""
    found = Outcomes()
    shared = SharedWaits(found.values_of)
    waiting = asyncio.create_task(shared.wait(accepted(draft_of("a")), TIMEOUT))
    await soon(lambda: found.looks)
    waiting.cancel()
    serving = shared.serving
    assert serving is not None
    await asyncio.wait_for(serving, TIMEOUT)
    assert len(found.looks) == 1


@in_a_loop
async def test_a_log_that_is_away_is_told_to_all_that_wait() -> None:
    """At once, and also to one whose time is up."""
    found = Outcomes()
    found.fault = AWAY
    shared = SharedWaits(found.values_of)
    waiting: list[Coroutine[Any, Any, Any]] = [
        shared.wait(accepted(draft_of(name)), timeout)
        for name, timeout in (("a", TIMEOUT), ("b", 0))
    ]
    assert await asyncio.gather(*waiting, return_exceptions=True) == [AWAY, AWAY]
