"""A reference belongs to what is recorded first, in whatever table and partition that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from tests.fault.proof import assert_proved
from tests.fault.requests import bulk, move
from tests.harness import Installation, wait_until

from daybook.apply import decoding
from daybook.apply.due import append_due
from daybook.client.quarantine import discarding, retrying
from daybook.client.receipts import Receipt
from daybook.ledger.instructions import Transaction
from daybook.ledger.posting.kinds import KINDS
from daybook.queue.entries import NewEntry
from daybook.requests import decode, fingerprint_of, mint_id, slot_of
from daybook.steps import Point, watched
from daybook.store.batch.references import ReferenceTaken, take_references
from daybook.store.read.quarantine import find_quarantined
from daybook.store.read.queries import find_transaction

BULK_ITEMS = 1_000
RACED_REFERENCES = 3_000
RACES = 5


def internal(partition: int, name: str = "Till") -> str:
    """An internal balance whose requests lie in this one of two partitions."""
    names = (f"@{name}{number}" for number in range(100))
    return next(each for each in names if slot_of(each) % 2 == partition)


def payment(reference: str, partition: int, **more: Any) -> dict[str, Any]:
    """A transaction of this partition that needs nothing."""
    return move(reference, internal(partition), "@Sink", 5, allow_overdraft=True, **more)


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def scheduled(at: Installation, partition: int) -> Receipt:
    return at.client.enqueue(payment("R", partition, scheduled_for=in_an_hour()))


def single(at: Installation, partition: int) -> Receipt:
    return at.client.enqueue(payment("R", partition))


def refused(at: Installation, partition: int) -> Receipt:
    """A transaction that the journal records as refused."""
    at.client.enqueue(payment("before", partition))
    return at.client.enqueue(payment("R", partition) | {"precision": 10})


def atomic(at: Installation, partition: int, number: int = BULK_ITEMS) -> Receipt:
    items = [payment("R" if n == 500 else f"item-{n}", partition) for n in range(number)]
    return at.client.enqueue(bulk("the-bulk", items, atomic=True))


def each_alone(at: Installation, partition: int) -> Receipt:
    items = [payment(reference, partition) for reference in ("first", "R", "last")]
    return at.client.enqueue(bulk("the-bulk", items, atomic=False))


def quarantined(at: Installation, partition: int) -> Receipt:
    return at.client.enqueue(payment("R", partition, description="boom"))


def undecodable(at: Installation, partition: int) -> Receipt | None:
    """An entry that is no request, and has a reference."""
    body = b'{"kind":"transaction","reference":"R","v":1,"what":"is this"}'
    slot = slot_of(internal(partition))
    broken_id = mint_id("txn", slot)
    at.log.append([NewEntry(slot, "t:broken", fingerprint_of(body), broken_id, body)])
    return None


def forgotten(at: Installation) -> None:
    """Redis forgets that R is queued, or what became of it: it is only a cache."""
    at.redis.delete(*at.log.keys.known(["t:R"]))


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Descriptions of transactions for which the decision raises."""
    raising = {"boom"}
    decide = KINDS[Transaction].post

    def raise_for_some(book: Any, entry: Any, wanted: Transaction) -> Any:
        if wanted.description in raising:
            raise ZeroDivisionError("a fault of ours")
        return decide(book, entry, wanted)

    monkeypatch.setitem(KINDS, Transaction, replace(KINDS[Transaction], post=raise_for_some))
    return raising


@contextmanager
def overtaken(at: Installation, partition: int, point: Point, times: int) -> Iterator[None]:
    """Apply this partition while the other one stands at a point, at the so manieth time."""
    seen: list[Point] = []

    def watcher(reached: Point) -> None:
        if reached is point:
            seen.append(reached)
            if len(seen) == times:
                at.applier().drain(partition)

    with watched(watcher):
        yield
    assert len(seen) >= times, "nobody was overtaken"


Sender = Callable[[Installation, int], Receipt | None]

SLOW: Mapping[str, tuple[Sender, Point, int]] = {
    "a bulk": (atomic, Point.DECIDED, 1),
    "items one by one": (each_alone, Point.DECIDED, 1),
    "a schedule": (scheduled, Point.DECIDED, 1),
    "a transaction": (single, Point.DECIDED, 1),
    "what is quarantined": (quarantined, Point.DECIDED, 2),
    "what is no request": (undecodable, Point.DECIDED, 1),
}
"""Who has looked whether R is taken, and writes it too late. What raises is decided twice."""

FAST: Mapping[str, Sender] = {
    "a schedule": scheduled,
    "a transaction": single,
    "a refused one": refused,
    "what is quarantined": quarantined,
    "what is no request": undecodable,
}


@pytest.mark.parametrize("fast", FAST)
@pytest.mark.parametrize("slow", SLOW)
def test_who_writes_first_has_the_reference(
    installation: Installation, broken: set[str], slow: str, fast: str
) -> None:
    """The other is refused, naming the owner; whatever the kinds of both."""
    send_late, point, times = SLOW[slow]
    late = send_late(installation, 0)
    forgotten(installation)
    first = FAST[fast](installation, 1)
    with overtaken(installation, 1, point, times):
        installation.applier().drain(0)
    installation.drain()
    owner = owner_of(installation, "R")
    if first is not None:
        assert owner == first.id
    if late is not None:
        outcome = late.wait(5)
        if slow == "items one by one":
            assert outcome.status == "APPLIED"
            assert "1 of 3 refused" in (outcome.detail or "")
        else:
            assert (outcome.status, outcome.reason) == ("REJECTED", "reference_conflict")
        assert owner is None or owner in (outcome.detail or "")
    assert_once(installation)


def owner_of(at: Installation, reference: str) -> str | None:
    """The id of what has the reference, as a reader finds it."""
    with at.owner.connect() as connection:
        found = find_transaction(connection, reference=reference)
    if found is None:
        return None
    return getattr(found, "transaction_id", None) or getattr(found, "request_id", None)


def assert_once(at: Installation) -> None:
    """The reference has one owner, and everything is proved."""
    used = at.rows(
        "SELECT transaction_id::text FROM transactions WHERE reference = 'R' AND NOT derived "
        "UNION SELECT transaction_id::text FROM schedules WHERE reference = 'R' "
        "UNION SELECT right(request_id, 36) FROM rejected_requests "
        "WHERE reference = 'R' AND uses_reference"
    )
    assert len(used) == 1, used
    assert_proved(at)


def test_the_owner_can_be_cancelled(installation: Installation) -> None:
    """A schedule that was first is cancelled; the bulk that came too late leaves nothing behind."""
    late = atomic(installation, 0)
    schedule = scheduled(installation, 1)
    with overtaken(installation, 1, Point.DECIDED, 1):
        installation.applier().drain(0)
    cancel = installation.client.cancel(schedule.id)
    installation.drain()
    assert late.wait(5).reason == "reference_conflict"
    assert cancel.wait(5).status == "APPLIED"
    ((status, reason),) = installation.rows(
        "SELECT status, reason FROM transactions WHERE reference = 'R' AND NOT derived"
    )
    assert (status, reason) == ("REJECTED", "cancelled")
    assert_once(installation)


def test_the_loser_is_no_schedule(installation: Installation) -> None:
    """A schedule that came too late can't be cancelled: it says what it is, and nothing waits."""
    late = scheduled(installation, 0)
    forgotten(installation)
    first = single(installation, 1)
    with overtaken(installation, 1, Point.DECIDED, 1):
        installation.applier().drain(0)
    cancel = installation.client.cancel(late.id)
    installation.drain()
    assert first.wait(5).status == "APPLIED"
    assert late.wait(5).reason == "reference_conflict"
    assert cancel.wait(5).reason == "not_scheduled"
    assert installation.rows("SELECT count(*) FROM schedules") == [(0,)]
    assert_once(installation)


def test_a_schedule_that_is_due_has_its_reference(installation: Installation) -> None:
    """What has its reference already takes it no second time, and nobody else gets it."""
    soon = datetime.fromtimestamp(installation.log.now_ms() / 1000 + 1.5, UTC)
    receipt = installation.client.enqueue(payment("R", 0, scheduled_for=soon.isoformat()))
    installation.drain()
    wait_until(lambda: append_due(installation.store, installation.log, lambda _: None), "due")
    forgotten(installation)
    stranger = single(installation, 1)
    with overtaken(installation, 1, Point.DECIDED, 1):
        installation.applier().drain(0)
    installation.drain()
    assert stranger.wait(5).reason == "reference_conflict"
    assert owner_of(installation, "R") == receipt.id
    assert_once(installation)


def found_quarantined(at: Installation) -> tuple[str, int, bytes]:
    with at.owner.connect() as connection:
        found = find_quarantined(connection, "R")
    assert found is not None
    return found[0].transaction_id, found[0].position, found[1]


def test_what_is_quarantined_does_not_take_the_reference_of_a_schedule(
    installation: Installation, broken: set[str]
) -> None:
    """A request that raises is answered with the conflict, as one that doesn't would be."""
    schedule = scheduled(installation, 1)
    installation.drain()
    forgotten(installation)
    late = quarantined(installation, 0)
    installation.drain()
    assert late.wait(5).reason == "reference_conflict"
    assert owner_of(installation, "R") == schedule.id
    assert_once(installation)


def test_a_retry_keeps_its_reference(installation: Installation, broken: set[str]) -> None:
    """Nobody takes it between the resolution and the request, nor when they are read apart."""
    receipt = quarantined(installation, 0)
    installation.drain()
    broken.clear()
    resolve, again = retrying(*found_quarantined(installation), installation.log.now_ms(), "", "")
    installation.log.append([resolve])
    installation.drain()
    forgotten(installation)
    stranger = single(installation, 1)
    installation.drain()
    assert stranger.wait(5).reason == "reference_conflict"
    assert receipt.id in (stranger.wait(5).detail or "")
    assert_once(installation)
    forgotten(installation)
    installation.log.append([again])
    installation.drain()
    assert installation.rows(
        "SELECT 'txn_' || transaction_id, status FROM transactions WHERE reference = 'R'"
    ) == [(receipt.id, "APPLIED")]
    assert_once(installation)


@pytest.mark.parametrize("how", ["retry", "discard"])
def test_what_was_quarantined_without_its_reference_can_be_resolved(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Its reading raised, and another has its reference: its retry is a conflict."""
    first = single(installation, 1)
    installation.drain()
    forgotten(installation)

    def raise_for_some(body: bytes, *more: Any) -> Any:
        if b"boom" in body:
            raise ZeroDivisionError("a fault of ours")
        return decode(body, *more)

    with monkeypatch.context() as patched:
        patched.setattr(decoding, "decode", raise_for_some)
        quarantined(installation, 0)
        installation.drain()
    make = retrying if how == "retry" else discarding
    entries = make(*found_quarantined(installation), installation.log.now_ms(), "", "")
    forgotten(installation)
    installation.log.append(entries)
    installation.drain()
    reasons = [
        r for (r,) in installation.rows("SELECT reason FROM rejected_requests ORDER BY position")
    ]
    assert reasons == ["quarantined", "reference_conflict"][: 2 if how == "retry" else 1]
    assert owner_of(installation, "R") == first.id
    assert_once(installation)


def test_units_that_take_the_same_references_never_deadlock(installation: Installation) -> None:
    """Whatever the order in which they come: the second waits for the first, and is told."""
    start = Barrier(2)

    def take(race: int, partition: int) -> str:
        claims = [(f"{race}-{number}", mint_id("txn")) for number in range(RACED_REFERENCES)]
        with installation.store.units() as begin:
            unit = begin()
            unit.lock([partition])
            start.wait(60)
            try:
                take_references(unit.cursor, dict(claims if partition else claims[::-1]))
                unit.commit()
            except ReferenceTaken:
                return "taken"
            finally:
                unit.rollback()
        return "had"

    with ThreadPoolExecutor(2) as pool:
        for race in range(RACES):
            got = pool.map(take, [race] * 2, range(2))
            assert sorted(got) == ["had", "taken"]
