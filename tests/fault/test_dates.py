"""What falls due, under faults: every time is kept once, in the order of the times."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from daybook.apply import due as clockwork
from daybook.apply.sweep import sweep_partitions
from daybook.client.receipts import Receipt
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.ledger.ids import part_id
from daybook.queue.entries import NewEntry, key_of_id
from daybook.queue.log import Log
from daybook.requests import deadline_body, fingerprint_of, slot_of_transaction
from daybook.steps import Point
from daybook.store.proof.verify import verify
from tests.fault.dying import die_sweeping
from tests.fault.proof import assert_proved
from tests.fault.requests import legs, move
from tests.fault.restoring import copy_of, restore
from tests.fault.sweeping import drain_due, sweep_due
from tests.fault.test_rights import drain_together
from tests.fault.wallets import wallets
from tests.harness import Installation, wait_ended, wait_until

Install = Callable[[int], Installation]
HOUR_MS = 3_600_000


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[Installation, float], None]:
    """Lets time pass for the log, and for the sweeper, which asks the log's server for it."""
    ahead_ms = [0]
    now_ms = Log.now_ms
    monkeypatch.setattr(Log, "now_ms", lambda self: now_ms(self) + ahead_ms[0])

    def passed(installation: Installation, seconds: float) -> None:
        ahead_ms[0] += int(seconds * 1000)
        installation.log.forward_clock(installation.log.now_ms() << POSITION_COUNTER_BITS)

    return passed


def later(seconds: float) -> datetime:
    """A moment that lies ahead."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def dated(random: Random, names: Sequence[str], number: int, name: str = "d") -> list[Any]:
    """Things with dates between 10 and 20 minutes ahead, in no order: each of one cent."""
    made: list[Any] = []
    for index in range(number):
        source, destination, third = random.sample(list(names), 3)
        when, chance = later(600 + random.random() * 600), random.random()
        reference = f"{name}-{index}"
        if chance < 0.5:
            made.append(move(reference, source, destination, 1, scheduled_for=when))
        elif chance < 0.6:
            shares = {source: "50%", third: "left"}
            made.append(legs(reference, "source", shares, destination, 2, scheduled_for=when))
        elif chance < 0.7:
            shares = {destination: "50%", third: "left"}
            dates = {"inflight": True, "inflight_expiry_date": when}
            made.append(legs(reference, "destination", shares, source, 2, **dates))
        else:
            date = random.choice(["inflight_expiry_date", "inflight_commit_date"])
            made.append(move(reference, source, destination, 1, inflight=True, **{date: when}))
    return made


def due_times(installation: Installation) -> list[datetime]:
    """The times of everything that the sweeper appended, in the order of (first) acceptance."""
    when: dict[str, datetime] = {}
    for own, moment in installation.rows(
        "SELECT 'txn_' || parent_transaction, scheduled_for FROM transactions "
        "WHERE kind = 'schedule' UNION ALL SELECT 'txn_' || coalesce(leg_of, transaction_id), "
        "LEAST(inflight_expiry_date, inflight_commit_date) FROM holds"
    ):
        when[own] = when[part_id(own, "deadline")] = moment
    found: dict[str, tuple[int, datetime]] = {}
    for partition in range(installation.partitions):
        for raw in installation.log.read(partition, 0, 100_000, 1 << 30):
            if "d" in raw.flags:
                found.setdefault(raw.request_id, (raw.position, when[raw.request_id]))
    return [moment for _, moment in sorted(found.values())]


def assert_all_decided(installation: Installation, number: int) -> None:
    """Everything with a date came to its end, once."""
    open_ones = installation.rows(
        "SELECT (SELECT count(*) FROM schedules), "
        "(SELECT count(*) FROM holds WHERE amount > committed + voided)"
    )
    assert open_ones == [(0, 0)]
    times = due_times(installation)
    assert len(times) == number


# The sweeper


@pytest.mark.long
@pytest.mark.parametrize("number", [100, pytest.param(2_000, marks=pytest.mark.campaign)])
def test_sweepers_at_once_apply_every_date_once(
    install_daybook: Install, let_pass: Callable[[Installation, float], None], number: int
) -> None:
    """Four of them, beside appliers: each time is kept once, though it may be asked for twice."""
    installation = install_daybook(4)
    names = [name for some in wallets(installation, 3, 10_000) for name in some]
    receipts = installation.client.enqueue_many(dated(Random(1), names, number))
    installation.drain()
    let_pass(installation, 1_800)
    faults: list[BaseException] = []
    appended: list[int] = []

    def sweep_and_apply(seed: int) -> None:
        applier = installation.applier(batch_entries_min=8)
        try:
            for partition in Random(seed).choices(range(4), k=8):
                appended.append(sweep_due(installation))
                applier.drain(partition)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=sweep_and_apply, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    wait_ended(threads, installation.progress)
    assert faults == []
    drain_due(installation)
    drain_together(installation, 2, 1)
    assert sweep_due(installation) == 0
    assert sum(appended) >= number
    assert_all_decided(installation, number)
    assert due_times(installation) == sorted(due_times(installation))
    outcomes = installation.client.wait_many(receipts, 5)
    assert {o and o.status for o in outcomes} == {"APPLIED", "INFLIGHT"}
    assert_proved(installation)


def test_after_a_long_absence_the_order_of_the_times_is_kept(
    install_daybook: Install,
    let_pass: Callable[[Installation, float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In slices, over schedules and holds of all partitions, and again after a full log."""
    monkeypatch.setattr(clockwork, "DUE_MAX", 20)
    installation = install_daybook(2)
    names = [name for some in wallets(installation, 3, 10_000) for name in some]
    installation.client.enqueue_many(dated(Random(2), names, 120))
    installation.drain()
    let_pass(installation, HOUR_MS / 1000)
    installation.redis.hset(installation.log.keys.state, "entries_max", 12)
    applier, append = installation.applier(), Log.append

    def append_and_apply(self: Log, entries: Sequence[NewEntry]) -> Any:
        """Room comes between two slices of one sweep."""
        answer = append(self, entries)
        applier.drain(0)
        applier.drain(1)
        return answer

    monkeypatch.setattr(Log, "append", append_and_apply)
    sweeps = 0
    while sweep_due(installation):
        sweeps += 1
        assert sweeps < 200
    assert sweeps > 1
    installation.drain()
    rows = installation.rows(
        "SELECT LEAST(h.inflight_expiry_date, h.inflight_commit_date), t.position "
        "FROM transactions t JOIN holds h ON h.transaction_id = t.parent_transaction "
        "WHERE t.kind IN ('commit', 'void') UNION ALL SELECT scheduled_for, position "
        "FROM transactions WHERE kind = 'transaction' AND scheduled_for IS NOT NULL "
        "AND part IS NULL"
    )
    assert len(rows) > 120  # the legs of a hold have rows of their own
    by_position = [moment for moment, _ in sorted(rows, key=lambda row: (row[1], row[0]))]
    assert by_position == sorted(by_position)
    assert verify(installation.owner).violations == []


@pytest.mark.parametrize("point", [Point.DUE_APPENDED, Point.DUE_READ])
def test_a_sweeper_that_dies_leaves_nothing_out(
    installation: Installation,
    let_pass: Callable[[Installation, float], None],
    point: Point,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the middle of its slices, before it rang for anybody: the next one goes on."""
    monkeypatch.setattr(clockwork, "DUE_MAX", 10)
    names = [name for some in wallets(installation, 3, 10_000) for name in some]
    installation.client.enqueue_many(dated(Random(3), names, 45))
    installation.drain()
    let_pass(installation, 1_800)
    assert die_sweeping(installation, point, hits=3)
    rung: list[int] = []
    sweep_partitions(installation.store, installation.log, installation.applier(), rung.append)
    assert rung == [0, 1]
    if point is Point.DUE_APPENDED:
        installation.drain(0)  # some of it is applied already when the next one looks
    assert sweep_due(installation) == (15 if point is Point.DUE_APPENDED else 25)
    installation.drain()
    assert_all_decided(installation, 45)
    assert due_times(installation) == sorted(due_times(installation))
    assert_proved(installation)


@pytest.mark.parametrize("number", [1_200, pytest.param(5_000, marks=pytest.mark.campaign)])
def test_thousands_that_are_due_at_once(
    installation: Installation, let_pass: Callable[[Installation, float], None], number: int
) -> None:
    """Schedules of one moment: one sweep appends all of them, in their order."""
    names = [name for some in wallets(installation, 3, 100_000) for name in some]
    moment = later(900)
    requests = [
        move(f"m-{n}", names[n % 6], names[(n + 1) % 6], 1, scheduled_for=moment)
        for n in range(number)
    ]
    installation.client.enqueue_many(requests)
    installation.drain()
    assert sweep_due(installation) == 0
    let_pass(installation, 1_000)
    assert sweep_due(installation) == number
    installation.drain()
    rows = installation.rows(
        "SELECT reference FROM transactions WHERE kind = 'transaction' AND status = 'APPLIED' "
        "AND scheduled_for IS NOT NULL ORDER BY position"
    )
    assert [reference for (reference,) in rows] == [request["reference"] for request in requests]
    assert installation.rows("SELECT count(*) FROM schedules") == [(0,)]


def test_a_deadline_that_was_asked_for_too_early_is_not_the_last(
    installation: Installation, let_pass: Callable[[Installation, float], None]
) -> None:
    """A server with a slower clock took over between two looks: the hold still expires."""
    (first, *_), (second, *_) = wallets(installation, 1, 100)
    hold = installation.client.enqueue(
        move("h", first, second, 10, inflight=True, inflight_expiry_date=later(600))
    )
    installation.drain()
    body = deadline_body(hold.id)
    own = part_id(hold.id, "deadline")
    slot = slot_of_transaction(hold.id)
    early = NewEntry(slot, key_of_id(own), fingerprint_of(body), own, body, "d")
    assert installation.log.append([early])[0][0].state == "accepted"
    installation.drain()
    assert installation.rows("SELECT voided FROM holds") == [(0,)]
    let_pass(installation, 900)
    assert drain_due(installation) == 1
    assert installation.rows("SELECT voided FROM holds") == [(10,)]
    assert sweep_due(installation) == 0
    assert_proved(installation)


# Races


def statuses(receipts: Sequence[Receipt], installation: Installation) -> list[Any]:
    """Status and reason of each outcome."""
    return [o and (o.status, o.reason) for o in installation.client.wait_many(receipts, 5)]


def race(installation: Installation, made: Sequence[Receipt], kind: str) -> list[Receipt]:
    """Act on each, one by one, while the dates pass and a sweeper and an applier work."""
    done = threading.Event()
    faults: list[BaseException] = []

    def sweep() -> None:
        applier = installation.applier(batch_entries_min=4)
        try:
            while not done.is_set():
                sweep_due(installation)
                for partition in range(installation.partitions):
                    applier.drain(partition)
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        acts = [
            installation.client.enqueue({"kind": kind, "transaction_id": receipt.id})
            for receipt in made
        ]
        wait_until(
            lambda: (
                faults
                or installation.rows(
                    "SELECT count(*) FROM schedules UNION ALL "
                    "SELECT count(*) FROM holds WHERE amount > committed + voided"
                )
                == [(0,), (0,)]
            ),
            "everything is decided",
            progress=installation.progress,
        )
    finally:
        done.set()
        wait_ended([thread], installation.progress)
    assert faults == []
    installation.drain()
    return acts


def test_of_a_cancel_and_the_time_exactly_one_wins(installation: Installation) -> None:
    """Cancels accepted around the times of what they name: cancelled or applied, never both."""
    first, second = (some[0] for some in wallets(installation, 1, 10_000))
    start = datetime.now(UTC)
    made = installation.client.enqueue_many(
        [
            move(
                f"s-{n}",
                first,
                second,
                1,
                scheduled_for=start + timedelta(milliseconds=400 + 3 * n),
            )
            for n in range(200)
        ]
    )
    installation.drain()
    wait_until(lambda: datetime.now(UTC) > start + timedelta(milliseconds=500), "the first times")
    cancels = race(installation, list(reversed(made)), "cancel")
    pairs = list(
        zip(reversed(statuses(cancels, installation)), statuses(made, installation), strict=True)
    )
    won, lost = ("APPLIED", None), ("REJECTED", "not_scheduled")
    assert {pair for pair in pairs if pair[0] == won} <= {(won, ("REJECTED", "cancelled"))}
    assert {pair for pair in pairs if pair[0] != won} <= {(lost, ("APPLIED", None))}
    assert_proved(installation)


@pytest.mark.parametrize("kind", ["commit", "void"])
def test_of_an_action_and_the_date_of_a_hold_exactly_one_wins(
    installation: Installation, kind: str
) -> None:
    """Commits around the expiry of holds, voids around their commit date."""
    first, second = (some[0] for some in wallets(installation, 1, 10_000))
    date = "inflight_expiry_date" if kind == "commit" else "inflight_commit_date"
    start = datetime.now(UTC)
    made = installation.client.enqueue_many(
        [
            move(
                f"h-{n}",
                first,
                second,
                1,
                inflight=True,
                **{date: start + timedelta(milliseconds=400 + 3 * n)},
            )
            for n in range(200)
        ]
    )
    installation.drain()
    wait_until(lambda: datetime.now(UTC) > start + timedelta(milliseconds=500), "the first dates")
    acts = race(installation, list(reversed(made)), kind)
    found = statuses(acts, installation)
    won = ("APPLIED" if kind == "commit" else "VOID", None)
    lost = ("REJECTED", "already_voided" if kind == "commit" else "already_committed")
    assert set(found) <= {won, lost}
    ((committed, voided),) = installation.rows("SELECT sum(committed), sum(voided) FROM holds")
    assert committed + voided == 200
    assert found.count(won) == (committed if kind == "commit" else voided)
    assert_proved(installation)


# Loss and restoration


def test_an_emptied_log_loses_no_date(
    installation: Installation, let_pass: Callable[[Installation, float], None]
) -> None:
    """Emptied before the dates, between append and applying, and after: each is kept once."""
    names = [name for some in wallets(installation, 3, 10_000) for name in some]
    number = 60
    installation.client.enqueue_many(dated(Random(4), names, number))
    installation.drain()

    def empty() -> None:
        installation.redis.flushdb()
        applier = installation.applier()
        sweep_partitions(installation.store, installation.log, applier, lambda partition: None)
        let_pass(installation, 0)

    empty()
    assert sweep_due(installation) == 0
    let_pass(installation, 1_800)
    assert sweep_due(installation) == number
    empty()
    assert sweep_due(installation) == number
    for partition in range(2):
        installation.applier().apply_batch(partition, 15)
    empty()
    left = sweep_due(installation)
    assert 0 < left < number
    installation.drain()
    empty()
    assert sweep_due(installation) == 0
    assert_all_decided(installation, 0)
    moved = installation.rows(
        "SELECT count(*) FROM transactions WHERE scheduled_for IS NOT NULL AND part IS NULL "
        "AND kind = 'transaction' AND status = 'APPLIED'"
    )
    scheduled = installation.rows("SELECT count(*) FROM transactions WHERE kind = 'schedule'")
    assert moved == scheduled
    assert verify(installation.owner).violations == []


@pytest.mark.parametrize("point", ["before", "accepted", "due"])
def test_a_restored_database_keeps_every_date_once(
    installation: Installation, let_pass: Callable[[Installation, float], None], point: str
) -> None:
    """Restored to before the requests, after them, or when half was due: the log has the rest."""
    names = [name for some in wallets(installation, 3, 10_000) for name in some]
    number = 60
    installation.drain()
    backup = copy_of(installation) if point == "before" else ""
    receipts = installation.client.enqueue_many(dated(Random(6), names, number))
    installation.drain()
    backup = copy_of(installation) if point == "accepted" else backup
    let_pass(installation, 1_800)
    sweep_due(installation)
    if point == "due":
        installation.drain(0)
        backup = copy_of(installation)
    installation.drain()
    goal = installation.rows("SELECT * FROM balances ORDER BY balance_id")
    restore(installation, backup)
    applier = installation.applier()
    sweep_partitions(installation.store, installation.log, applier, lambda partition: None)
    sweep_due(installation)
    installation.drain(1, 0)
    drain_due(installation)
    assert installation.rows("SELECT * FROM balances ORDER BY balance_id") == goal
    assert sweep_due(installation) == 0
    assert_all_decided(installation, number)
    assert {o and o.final for o in installation.client.wait_many(receipts, 5)} == {True}
    assert_proved(installation)
