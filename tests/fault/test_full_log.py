"""A full log: refused with a clear error, emptied by the workers, and open again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from daybook import AsyncClient
from daybook.client.receipts import Receipt
from daybook.errors import LogFull
from tests.fault.proof import assert_proved
from tests.fault.requests import deposit, make_balances
from tests.harness import Installation

MANY = 2_000


@pytest.fixture
def full_memory(installation: Installation) -> Iterator[Callable[[int], None]]:
    """Sets how many bytes the server may still take; lifts the bound afterwards."""

    def leave(spare_bytes: int) -> None:
        used = int(installation.redis.info("memory")["used_memory"])
        installation.redis.config_set("maxmemory", used + spare_bytes)

    yield leave
    installation.redis.config_set("maxmemory", 0)


def fill(installation: Installation, name: str, balance: str) -> list[Receipt]:
    """Enqueue until the log is full; the receipts of what was accepted."""
    receipts: list[Receipt] = []
    for round_ in range(100):
        requests = [deposit(f"{name}-{round_}-{i}", balance, 1) for i in range(MANY)]
        try:
            receipts += installation.client.enqueue_many(requests)
        except LogFull as full:
            return receipts + list(full.accepted)
    raise AssertionError("the log never became full")


@pytest.mark.parametrize("entries_max", [1, 2, 700])
def test_a_log_at_its_length_opens_again(
    install_daybook: Callable[[int], Installation], entries_max: int
) -> None:
    """LogFull carries what was accepted; after it was applied there is room at once."""
    installation = install_daybook(1)
    installation.redis.hset(installation.log.keys.state, "entries_max", entries_max)
    for name in ("first", "second"):
        with pytest.raises(LogFull, match="workers must catch up") as caught:
            installation.client.enqueue_many(
                [{**deposit(f"{name}-{i}", "@Till", 1)} for i in range(1_000)]
            )
        receipts = caught.value.accepted
        assert [receipt.reference for receipt in receipts] == [
            f"{name}-{i}" for i in range(entries_max)
        ]
        with pytest.raises(LogFull):
            installation.client.enqueue(deposit("alone", "@Till", 1))
        installation.drain()
        outcomes = installation.client.wait_many(receipts, 5)
        assert {o and o.status for o in outcomes} == {"APPLIED"}
    assert installation.rows("SELECT count(*) FROM transactions WHERE subject IS NULL") == [
        (2 * entries_max,)
    ]


def test_an_async_producer_hears_the_same(installation: Installation) -> None:
    """AsyncClient raises LogFull with what was accepted before."""
    installation.redis.hset(installation.log.keys.state, "entries_max", 300)

    async def produce() -> tuple[Receipt, ...]:
        async with AsyncClient(settings=installation.settings) as client:
            requests = [deposit(f"r{i}", "@Till", 1) for i in range(500)]
            with pytest.raises(LogFull) as caught:
                await client.enqueue_many(requests)
            return caught.value.accepted

    assert len(asyncio.run(produce())) == 300


def test_a_server_without_memory_still_lets_workers_finish(
    installation: Installation, full_memory: Callable[[int], None]
) -> None:
    """Out of memory: producers hear LogFull, workers apply and reply, applied entries make room."""
    (a,), made = make_balances(installation, 1)
    full_memory(3_000_000)
    receipts = fill(installation, "first", a)
    assert len(receipts) > MANY
    installation.drain()
    outcomes = installation.client.wait_many([*made, *receipts], 5)
    assert {o and o.status for o in outcomes} == {"APPLIED"}
    more = installation.client.enqueue_many([deposit(f"more-{i}", a, 1) for i in range(100)])
    installation.drain()
    assert {o and o.status for o in installation.client.wait_many(more, 5)} == {"APPLIED"}
    recorded = installation.rows("SELECT count(*) FROM transactions WHERE subject IS NULL")
    assert recorded == [(len(receipts) + len(more),)]
    assert_proved_figures(installation, a, len(receipts) + len(more))


def assert_proved_figures(installation: Installation, balance: str, cents: int) -> None:
    """The balance holds one cent for each deposit that was accepted."""
    rows = installation.rows(
        "SELECT credit_balance FROM balances WHERE balance_id = %s", balance[4:]
    )
    assert rows == [(cents,)]


def test_nothing_is_half_accepted(
    installation: Installation, full_memory: Callable[[int], None]
) -> None:
    """Every reference that was refused for memory is free, and can be sent again later."""
    (a,), _ = make_balances(installation, 1)
    full_memory(1_000_000)
    receipts = fill(installation, "first", a)
    known = {receipt.reference for receipt in receipts}
    installation.redis.config_set("maxmemory", 0)
    again = installation.client.enqueue_many(
        [deposit(f"first-{r}-{i}", a, 1) for r in range(2) for i in range(MANY)]
    )
    states = {receipt.reference: receipt.state for receipt in again}
    expected = {name: "duplicate" if name in known else "accepted" for name in states}
    assert states == expected
    installation.drain()
    assert_proved(installation)
