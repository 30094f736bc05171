"""The clients: Redis is all they need, and both say the same."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.harness import Installation

from daybook import AsyncClient, Client, TransactionRequest
from daybook.errors import (
    LogUnavailable,
    MalformedRequest,
    NotFound,
    OutcomeUnknown,
    WrongEventLoop,
)
from daybook.errors import ReferenceConflict as Conflict
from daybook.ledger.balance import internal_balance_id
from daybook.requests import mint_id
from daybook.settings import Settings


def fields(reference: str, **changes: Any) -> dict[str, Any]:
    return {
        "reference": reference,
        "source": "@World",
        "destination": "@Till",
        "currency": "USD",
        "amount": "19.99",
        "precision": 100,
        "allow_overdraft": True,
        **changes,
    }


def test_a_producer_needs_neither_sqlalchemy_nor_psycopg(installation: Installation) -> None:
    """A process in which both are missing enqueues a request."""
    program = (
        "import sys; sys.modules['sqlalchemy'] = sys.modules['psycopg'] = None\n"
        "from daybook import Client\n"
        f"with Client() as client: print(client.enqueue(**{fields('bare')!r}).state)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=installation.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("accepted", 0), done.stderr


def test_a_request_may_be_written_in_three_ways(installation: Installation) -> None:
    """Keywords, a mapping and a model of the same content are the same request."""
    client = installation.client
    first = client.enqueue(**fields("same"))
    again = client.enqueue(fields("same", amount=Decimal("19.990")))
    model = client.enqueue(TransactionRequest(**fields("same", amount=None, precise_amount=1999)))
    assert (first.state, again.state, model.state) == ("accepted", "duplicate", "duplicate")
    assert again.id == model.id == first.id
    with pytest.raises(Conflict, match="differs in precise_amount") as caught:
        client.enqueue(**fields("same", amount="20"))
    assert (caught.value.original_id, caught.value.fields) == (first.id, ("precise_amount",))


def test_many_are_validated_before_any_is_sent(installation: Installation) -> None:
    """Each violation is named behind its index, and nothing reached the log."""
    with pytest.raises(MalformedRequest) as caught:
        installation.client.enqueue_many([fields("a"), fields("b", amount="0"), fields("c", x=1)])
    assert [error.field for error in caught.value.errors] == ["[1].amount", "[2].x"]
    with pytest.raises(NotFound):
        installation.client.status(reference="a")
    with pytest.raises(MalformedRequest, match="more than 10000"):
        installation.client.enqueue_many([fields("a")] * 10_001)
    receipts = installation.client.enqueue_many(
        [fields("a"), fields("a"), fields("a", amount="1"), fields("b")]
    )
    states = [receipt.state for receipt in receipts]
    assert states == ["accepted", "duplicate", "conflict", "accepted"]
    installation.drain()
    outcomes = installation.client.wait_many(receipts, 5)
    assert [o and o.reason for o in outcomes] == [None, None, "reference_conflict", None]


def test_waiting_in_vain_says_that_the_outcome_is_unknown(installation: Installation) -> None:
    """Nobody applies it: queued, unknown after the time-out, and known once it is applied."""
    receipt = installation.client.enqueue(**fields("slow"))
    with pytest.raises(OutcomeUnknown, match="may still be posted"):
        receipt.wait(0.02)
    assert not installation.client.status(reference="slow").final
    with pytest.raises(NotFound, match="daybook transaction --reference nobody"):
        installation.client.wait(reference="nobody", timeout=1)
    installation.drain()
    assert installation.client.wait(reference="slow", timeout=5) == receipt.wait(5)


def test_the_async_client_says_the_same(installation: Installation) -> None:
    """The same calls, awaited: receipts, conflicts, holds, outcomes and time-outs."""

    async def produce() -> list[Any]:
        async with AsyncClient(settings=installation.settings) as client:
            ledger = await client.create_ledger("Async")
            balance = await client.create_balance(ledger.id, "USD")
            deposit = await client.enqueue(**fields("in", destination=balance.id))
            hold = await client.enqueue(
                fields("hold", source=balance.id, amount="5", allow_overdraft=False, inflight=True)
            )
            spring = datetime(2024, 3, 1, tzinfo=UTC)
            part = await client.commit(
                hold.id, amount="1.995", rounding="half_up", effective_date=spring
            )
            void = await client.void(hold.id, effective_date="2024-03-02T00:00:00Z")
            with pytest.raises(Conflict, match="differs in precise_amount"):
                await client.enqueue(**fields("in", destination=balance.id, amount="1"))
            with pytest.raises(OutcomeUnknown):
                await client.wait(deposit, 0.02)
            assert (await client.status(reference="in")).status == "QUEUED"
            await asyncio.to_thread(installation.drain)
            receipts = [ledger, balance, deposit, hold, part, void]
            outcomes = await client.wait_many(receipts, 5)
            assert await client.wait(reference="in", timeout=5) == outcomes[2]
            return [o and o.status for o in outcomes]

    statuses = asyncio.run(produce())
    assert statuses == ["APPLIED", "APPLIED", "APPLIED", "INFLIGHT", "APPLIED", "VOID"]


def test_both_clients_ask_for_every_kind(installation: Installation) -> None:
    """A method for each; what is sent again is the same; a schedule is an answer."""

    async def produce() -> list[Any]:
        async with AsyncClient(settings=installation.settings) as client:
            ledger = await client.create_ledger("Kinds")
            owner = await client.create_identity(first_name="Ada", meta_data={"vip": True})
            balance = await client.create_balance(ledger.id, "USD", identity_id=owner.id)
            bulk = await client.bulk(
                [fields("one", destination=balance.id), TransactionRequest(**fields("two"))],
                atomic=True,
            )
            held = await client.bulk([fields("three", destination=balance.id)], inflight=True)
            later = await client.enqueue(
                **fields("later", destination=balance.id, scheduled_for="2200-01-01T00:00:00Z")
            )
            await asyncio.to_thread(installation.drain)
            assert (await client.wait(reference="later", timeout=5)).status == "SCHEDULED"
            receipts = [
                ledger, owner, balance, bulk, held, later,
                await client.commit(held.id),
                await client.refund(bulk.id, meta_data={"why": "returned"}),
                await client.cancel(later.id),
                await client.rename_ledger(ledger.id, "Sorts", made_by="ada"),
                await client.link_identity(balance.id, owner.id),
                await client.merge_meta_data(bulk.id, {"seen": True}),
            ]  # fmt: skip
            await asyncio.to_thread(installation.drain)
            return [o and o.status for o in await client.wait_many(receipts, 5)]

    statuses = asyncio.run(produce())
    assert statuses == [*["APPLIED"] * 4, "INFLIGHT", "REJECTED", *["APPLIED"] * 6]
    client = installation.client
    again = client.bulk(
        [fields("three", destination=client.create_balance("general_ledger_id", "USD").id)],
        inflight=True,
    )
    assert again.state == "accepted"
    same = [fields("four"), fields("five")]
    assert [client.bulk(same).state for _ in range(2)] == ["accepted", "duplicate"]
    with pytest.raises(Conflict, match="differs in atomic"):
        client.bulk(same, atomic=True, reference=client.bulk(same).reference)
    with pytest.raises(MalformedRequest, match="shoe_size: is not a field"):
        client.create_identity(shoe_size="44")


def test_the_longest_bulk_goes_through_in_one_piece(installation: Installation) -> None:
    """10,000 transactions and some megabytes, between small requests: all posted, in order."""
    note = "x" * 1_000
    bulk = {"transactions": [fields(f"b{n}", description=note) for n in range(10_000)]}
    receipts = installation.client.enqueue_many([fields("before"), bulk, fields("after")])
    assert receipts[1].position is not None
    assert receipts[2].position == receipts[1].position + 1
    installation.drain()
    outcomes = installation.client.wait_many(receipts, 5)
    assert [o and o.status for o in outcomes] == ["APPLIED"] * 3
    assert installation.rows("SELECT count(*) FROM transactions WHERE source IS NOT NULL") == [
        (10_002,)
    ]


def test_without_a_server_the_fault_is_named(installation: Installation) -> None:
    """No Redis: LogUnavailable from both clients, quickly."""
    nowhere = Settings(
        home=installation.folder, redis_url="redis://127.0.0.1:1/0", redis_timeout_seconds=0.5
    )
    with Client(settings=nowhere) as client, pytest.raises(LogUnavailable):
        client.enqueue(**fields("x"))

    async def produce() -> None:
        async with AsyncClient(settings=nowhere) as client:
            with pytest.raises(LogUnavailable):
                await client.enqueue(**fields("x"))

    asyncio.run(produce())


def test_a_broker_that_is_silent_holds_no_producer(installation: Installation) -> None:
    """A doorbell that can't be rung is given up; the request was accepted all the same."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        settings = installation.settings.model_copy(update={"broker_url": address})
        with Client(settings=settings) as client:
            receipt = client.enqueue(fields("silent"))
    assert receipt.state == "accepted"
    installation.drain()
    assert installation.client.wait(receipt, 5).status == "APPLIED"


def test_a_reference_may_look_like_an_id(installation: Installation) -> None:
    """Nobody guesses: what is asked for by reference and by id are two things."""
    client = installation.client
    balance = client.create_balance("general_ledger_id", "USD")
    unknown = mint_id("bln", 0, 1)
    refused = client.enqueue(fields(balance.id, source=unknown))
    like_a_transaction = client.enqueue(fields(refused.id))
    installation.drain()
    assert client.status(reference=balance.id).reason == "unknown_balance"
    assert client.status(id=balance.id).status == "APPLIED"
    assert client.wait(reference=refused.id, timeout=5).transaction_id == like_a_transaction.id
    assert client.wait(id=refused.id, timeout=5).reason == "unknown_balance"
    for wrong in ({}, {"reference": "a", "id": "b"}, {"id": 7}):
        with pytest.raises(TypeError, match=r"reference=… or id=…"):
            client.status(**wrong)
    with pytest.raises(TypeError, match=r"reference=… or id=…"):
        client.wait(refused.id, 5)  # type: ignore[arg-type]  # that is what is tried
    with pytest.raises(TypeError, match="how many seconds"):
        client.wait(refused)


def test_a_client_of_another_event_loop_sends_nothing(installation: Installation) -> None:
    """Its connections are of the first loop: it says so, and what to do, before it sends."""
    client = AsyncClient(settings=installation.settings)
    first = asyncio.run(client.enqueue(fields("first")))

    async def look_ahead() -> Any:
        return await client.dry_run.refund(first.id)

    calls = [
        lambda: client.enqueue(fields("second")),
        lambda: client.enqueue_many([fields("third")]),
        lambda: client.status(reference="first"),
        lambda: client.wait(first, 1),
        look_ahead,
    ]
    for call in calls:
        with pytest.raises(WrongEventLoop, match="make one in each loop"):
            asyncio.run(call())
    installation.drain()
    references = installation.rows("SELECT reference FROM transactions WHERE subject IS NULL")
    assert references == [("first",)]


def test_a_client_goes_on_in_a_forked_child(installation: Installation) -> None:
    """The child has connections of its own, also to the broker; the parent's are left alone."""
    client = installation.client
    client.enqueue(fields("parent"))
    child = os.fork()
    if child == 0:
        try:
            client.enqueue(fields("child"))
            client._doorbell.ring([0, 1])
            os._exit(0 if client.status(reference="child").status == "QUEUED" else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    client.enqueue(fields("parent again"))
    client._doorbell.ring([0, 1])
    installation.drain()
    assert client.status(reference="parent again").status == "APPLIED"
    assert client.status(reference="child").status == "APPLIED"


def test_the_id_of_an_internal_balance_is_reserved(installation: Installation) -> None:
    """Nobody can put another currency where ``@World`` will be."""
    with pytest.raises(MalformedRequest, match="version 8"):
        installation.client.create_balance(
            "general_ledger_id", "EUR", balance_id=internal_balance_id("@World", "USD")
        )


def test_a_conflict_with_a_recorded_request_names_what_differs(installation: Installation) -> None:
    """The original is still in the log after it was applied."""
    installation.client.enqueue(fields("twice"))
    installation.drain()
    with pytest.raises(Conflict) as conflict:
        installation.client.enqueue(fields("twice", description="another"))
    assert conflict.value.fields == ("description",)
