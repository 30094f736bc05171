"""Producers die, and replies are lost: what was accepted is whole, and sending again is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from daybook import AsyncClient, Client
from daybook.client.drafts import APPEND_ENTRIES_MAX, draft
from daybook.client.receipts import Receipt
from daybook.errors import LogRefused, LogUnavailable
from daybook.settings import Settings
from tests.fault.producing import POINTS, Cutter, die_producing
from tests.fault.proof import assert_proved
from tests.fault.requests import bulk, deposit, make_balances, move
from tests.harness import Installation
from tests.tls import dial

MANY = 600
"""Requests of one ``enqueue_many``: three appends."""

PARTS = {
    "before-append": {0},
    "half-sent": {0},
    "sent": {0, 1},
    "second-appended": {2},
    "second-rung": {2},
}
"""Appends that may have been accepted when the producer died there; of the other points: one."""


def known_before(
    installation: Installation, requests: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """The ids of those requests that are in the log, by their outcome keys."""
    keys = [draft(request, lambda: 0.0).entry.key for request in requests]
    values = installation.log.outcomes(keys)
    return {
        key: value.decode()[65:].split(" ")[0]
        for key, value in zip(keys, values, strict=True)
        if value is not None
    }


def sent_again(
    installation: Installation, requests: Sequence[Mapping[str, Any]], before: Mapping[str, str]
) -> list[Receipt]:
    """Another process sends everything again: each is new, or the original."""
    receipts = installation.client.enqueue_many(requests)
    for receipt in receipts:
        assert receipt.state == ("duplicate" if receipt.key in before else "accepted")
        assert receipt.id == before.get(receipt.key, receipt.id)
    return receipts


@pytest.mark.parametrize("point", POINTS)
def test_a_producer_killed_at_any_point_leaves_nothing_half(
    installation: Installation, point: str
) -> None:
    """The parts of an ``enqueue_many`` are in the log whole or not at all; all reach one outcome.

    The second time everything is sent by another process, which gets the originals.
    """
    (a, b), _ = make_balances(installation, 2)
    requests = [deposit(f"in-{number}", (a, b)[number % 2], 2) for number in range(MANY)]
    die_producing(installation, point, requests)
    before = known_before(installation, requests)
    assert len(before) // APPEND_ENTRIES_MAX in PARTS.get(point, {1})
    assert len(before) % APPEND_ENTRIES_MAX == 0
    installation.drain()
    receipts = sent_again(installation, requests, before)
    installation.drain()
    outcomes = installation.client.wait_many(receipts, 30)
    assert {outcome and outcome.status for outcome in outcomes} == {"APPLIED"}
    assert installation.rows(
        "SELECT sum(credit_balance) FROM balances WHERE indicator IS NULL"
    ) == [(2 * MANY,)]
    assert_proved(installation)


@pytest.mark.parametrize("point", ["half-sent", "sent", "appended"])
def test_a_producer_killed_with_a_bulk_leaves_all_of_it_or_nothing(
    installation: Installation, point: str
) -> None:
    """A bulk over balances of both partitions, its barriers included."""
    balances, _ = make_balances(installation, 4)
    installation.client.enqueue_many([deposit(f"fund-{own}", own, 100) for own in balances])
    items = [move(f"item-{own}", own, "@Shop", 7) for own in balances]
    requests = [bulk("order", items, atomic=True)]
    die_producing(installation, point, requests)
    before = known_before(installation, requests)
    assert len(before) == {"half-sent": 0, "appended": 1}.get(point, len(before))
    receipts = sent_again(installation, requests, before)
    installation.drain()
    assert receipts[0].wait(30).status == "APPLIED"
    shop = installation.rows("SELECT credit_balance FROM balances WHERE indicator = '@Shop'")
    assert shop == [(28,)]
    assert_proved(installation)


def through(installation: Installation, door: Cutter, **settings: Any) -> Settings:
    """Settings of a producer behind a cutter, its broker left alone."""
    number = installation.redis_url.partition("db=")[2]
    return installation.settings.model_copy(
        update={
            "redis_url": f"redis://127.0.0.1:{door.port}/{number}",
            "broker_url": installation.redis_url,
            **settings,
        }
    )


def test_a_lost_reply_is_made_good_by_the_client_itself(installation: Installation) -> None:
    """Each of three appends is cut off from its reply: all are accepted, once each, in order."""
    (a,), _ = make_balances(installation, 1)
    requests = [deposit(f"in-{number}", a, 1) for number in range(MANY)]
    with (
        Cutter(dial(installation.redis_url), cuts=3) as door,
        Client(settings=through(installation, door)) as client,
    ):
        receipts = client.enqueue_many(requests)
    assert (door.cuts, {receipt.state for receipt in receipts}) == (0, {"accepted"})
    positions = [receipt.position for receipt in receipts if receipt.position is not None]
    assert positions == sorted(set(positions))
    assert len(positions) == MANY
    installation.drain()
    outcomes = installation.client.wait_many(receipts, 30)
    assert {(o.status, o.duplicate) for o in outcomes if o} == {("APPLIED", False)}
    assert_proved(installation)


def test_the_async_client_makes_a_lost_reply_good(installation: Installation) -> None:
    """The same, awaited; creations and requests with an id of their own too."""

    async def produce(door: Cutter) -> list[Receipt]:
        async with AsyncClient(settings=through(installation, door)) as client:
            door.cuts = 1
            ledger = await client.create_ledger("Lost")
            door.cuts = 1
            return [ledger, await client.enqueue(deposit("in", "@Till", 1))]

    installation.client.create_ledger("the script is loaded")
    with Cutter(dial(installation.redis_url)) as door:
        receipts = asyncio.run(produce(door))
    assert (door.cuts, [receipt.state for receipt in receipts]) == (0, ["accepted"] * 2)
    installation.drain()
    assert [o and o.status for o in installation.client.wait_many(receipts, 5)] == ["APPLIED"] * 2
    assert_proved(installation)


def test_a_server_that_is_away_for_a_moment_is_waited_for(installation: Installation) -> None:
    """Connections that are closed at once are made again, by both clients and for both ways."""
    with (
        Cutter(dial(installation.redis_url), closes=4) as door,
        Client(settings=through(installation, door)) as client,
    ):
        assert client.enqueue(deposit("one", "@Till", 1)).state == "accepted"
        assert door.connections >= 5

        async def produce() -> str:
            async with AsyncClient(settings=through(installation, door)) as asynchronous:
                door.closes = 4
                return (await asynchronous.enqueue(deposit("two", "@Till", 1))).state

        assert asyncio.run(produce()) == "accepted"
    installation.drain()
    with (
        Cutter(dial(installation.redis_url), closes=3) as door,
        Client(settings=through(installation, door)) as client,
    ):
        assert client.wait(reference="one", timeout=30).status == "APPLIED"


def test_without_patience_the_answer_is_unknown_and_safe_to_ask_again(
    installation: Installation,
) -> None:
    """Sent once only; another process sends the same, at once and when Redis has forgotten it."""
    request = deposit("paid", "@Till", 5)
    installation.client.create_ledger("the script is loaded")
    with (
        Cutter(dial(installation.redis_url), cuts=9) as door,
        Client(settings=through(installation, door, retry_seconds_max=0.0)) as client,
    ):
        with pytest.raises(LogUnavailable):
            client.enqueue(request)
        assert door.connections == 1
    again = installation.client.enqueue(request)
    assert again.state == "duplicate"
    installation.drain()
    original = again.wait(5)
    forgotten(installation, again.key)
    for _ in range(2):
        last = installation.client.enqueue(request)
        assert last.state == "accepted"
        installation.drain()
        outcome = last.wait(5)
        assert (outcome.transaction_id, outcome.status) == (original.transaction_id, "APPLIED")
        assert outcome.duplicate
        forgotten(installation, again.key)
    assert installation.rows("SELECT credit_balance FROM balances WHERE indicator = '@Till'") == [
        (5,)
    ]


def forgotten(installation: Installation, key: str) -> None:
    """The retention of the outcome and of the log is over."""
    installation.redis.delete(installation.log.keys.outcome(key))
    for partition, cursor in installation.rows("SELECT partition, cursor FROM partitions"):
        installation.redis.xtrim(installation.log.keys.log(partition), maxlen=0, approximate=False)
        assert installation.log.count_unread(partition, cursor) == 0


def test_what_was_refused_is_not_sent_again(installation: Installation) -> None:
    """A wrong password: one connection, and the fault says what it is, not the password."""
    with Cutter(dial(installation.redis_url)) as door:
        settings = through(installation, door)
        number = (settings.redis_url or "").rpartition("/")[2]
        wrong = f"redis://:wr%40ng@127.0.0.1:{door.port}/{number}"
        with Client(wrong, settings=settings) as client:
            with pytest.raises(LogRefused, match="password") as caught:
                client.enqueue(deposit("one", "@Till", 1))
            assert "wr" not in str(caught.value)
        assert door.connections == 1
