"""Requests that spend from balances of several partitions, and the barriers that they leave."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import pytest

from daybook.apply.attempt import Attempt
from daybook.apply.sweep import sweep_partitions
from daybook.client.receipts import Receipt
from daybook.errors import LogFull
from daybook.ledger.ids import part_id
from daybook.ledger.instructions import Bulk, MultiLeg
from daybook.ledger.posting import bulk as posting_bulk
from daybook.ledger.posting.kinds import KINDS
from daybook.ledger.posting.transactions import post_transaction
from daybook.queue.entries import BARRIER, NewEntry, entry_id_of, key_of_reference
from daybook.requests import fingerprint_of, mint_bulk_id, slot_of
from tests.fault.dying import POINTS, die_at
from tests.fault.killer import Killer
from tests.fault.proof import assert_proved
from tests.fault.requests import bulk, deposit, legs, make_balances, move
from tests.fault.restoring import copy_of, restore
from tests.fault.test_kills import feed
from tests.fault.test_rights import drain_together
from tests.fault.wallets import assert_turns, balance_in, wallets
from tests.harness import Installation, wait_ended, wait_until
from tests.traffic.purses import turns

Install = Callable[[int], Installation]
NAME = {"bulk": Bulk, "legs": MultiLeg}


def wide(reference: str, sources: list[str], cents: int = 1, *, form: str = "bulk") -> Any:
    """A request that spends ``cents`` of each; its home is the partition of the first."""
    if form == "bulk":
        items = [move(f"{reference}-{n}", a, "@Shop", cents) for n, a in enumerate(sources)]
        return bulk(reference, items, atomic=True)
    shares = dict.fromkeys(sources, f"{cents / 100:.2f}")
    return legs(reference, "source", shares, "@Shop", cents * len(sources))


def barriers(installation: Installation, partition: int) -> int:
    """How many barriers stand in a partition's stream."""
    entries = installation.stream(installation.log.keys.log(partition))
    return sum(fields[b"c"] == BARRIER.encode() for _, fields in entries)


def is_free(installation: Installation, partition: int) -> bool:
    """Whether nobody has its lock; it is drained then."""
    return not installation.applier().drain(partition).busy


def statuses(receipts: list[Receipt], installation: Installation) -> list[str | None]:
    """Their outcomes, of which every one must be there."""
    return [o.status if o else None for o in installation.client.wait_many(receipts, 5)]


# Turns


@pytest.mark.parametrize(
    "partitions", [8, *(pytest.param(p, marks=pytest.mark.campaign) for p in (2, 4))]
)
def test_every_spend_takes_its_turn(install_daybook: Install, partitions: int) -> None:
    """Singles, bulks and several sources spend the same balances: each outcome as one by one."""
    installation = install_daybook(partitions)
    names = [name for some in wallets(installation, 2, 60, seed=partitions) for name in some]
    requests, expected = turns(Random(partitions), names, 60, 80)
    installation.client.enqueue_many(requests)
    drain_together(installation, 3, partitions)
    assert_turns(installation, expected)
    assert set(expected.values()) == {"APPLIED", "INFLIGHT", "REJECTED"}
    assert_proved(installation)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("partitions", [2, 3, 8])
def test_every_spend_takes_its_turn_while_producers_go_on(
    install_daybook: Install, partitions: int, seed: int
) -> None:
    """The same with producers and appliers at once, in batches of one entry and of many."""
    installation = install_daybook(partitions)
    names = [name for some in wallets(installation, 3, 90, seed=seed) for name in some]
    requests, expected = turns(Random(seed), names, 90, 400)
    done = threading.Event()
    faults: list[BaseException] = []

    def work(number: int) -> None:
        random = Random(number)
        size = 1 + number * 7
        applier = installation.applier(batch_entries_min=size, batch_entries_max=size)
        try:
            while not done.is_set():
                applier.drain(random.randrange(partitions))
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for start in range(0, len(requests), 7):
        installation.client.enqueue_many(requests[start : start + 7])
    wait_until(
        lambda: faults or installation.open_entries() == 0,
        "everything applied",
        progress=installation.progress,
    )
    done.set()
    wait_ended(threads, installation.progress)
    assert faults == []
    assert_turns(installation, expected)
    assert_proved(installation)


@pytest.mark.long
@pytest.mark.campaign
@pytest.mark.parametrize(
    ("partitions", "number", "kills"), [(4, 500, 6), (2, 2_000, 25), (8, 2_000, 25)]
)
def test_spends_take_their_turns_while_workers_are_killed(
    install_daybook: Install,
    monkeypatch: pytest.MonkeyPatch,
    partitions: int,
    number: int,
    kills: int,
) -> None:
    """Nothing is refused that had its money when it was accepted, and nothing else is applied."""
    monkeypatch.setenv("DAYBOOK_BATCH_ENTRIES_MIN", "2")
    monkeypatch.setenv("DAYBOOK_BATCH_ENTRIES_MAX", "8")
    installation = install_daybook(partitions)
    names = [name for some in wallets(installation, 4, 300) for name in some]
    requests, expected = turns(Random(partitions), names, 300, number)
    workers = installation.workers(2)
    with Killer(installation, workers, 0.3, seed=partitions) as killer:
        feed(installation, requests, killer, kills)
    assert killer.kills >= kills
    installation.wait_applied()
    assert_turns(installation, expected)
    assert_proved(installation)


# Deaths


@pytest.mark.parametrize("form", ["bulk", "legs"])
def test_a_worker_dies_between_any_two_steps_of_a_wide_request(
    install_daybook: Install, form: str
) -> None:
    """Whatever was done of it is gone, or all of it is there; its other partitions go on."""
    installation = install_daybook(3)
    home, *others = wallets(installation, 1, 100)
    names = [*home, *(name for some in others for name in some)]
    installation.drain()
    for number, point in enumerate(POINTS):
        request = wide(f"w{number}", names, form=form)
        older = installation.client.enqueue(move(f"older-{number}", names[1], "@Shop", 1))
        receipts = [older, installation.client.enqueue(request)]
        behind = [move(f"behind-{number}-{name}", name, "@Shop", 1) for name in names]
        receipts += installation.client.enqueue_many(behind)
        assert die_at(installation, point, 0), f"no batch came to {point}"
        for other in (1, 2, 0):  # the sweep rings for those whose outcomes are not told yet
            wait_until(partial(is_free, installation, other), "the dead is rolled back")
        assert installation.open_entries() == 0, point
        assert statuses(receipts, installation) == ["APPLIED"] * len(receipts)
    assert_proved(installation)


def test_joined_partitions_keep_marks_of_their_own(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that takes two partitions replies for each by its own batches."""
    (poor,), (rich,) = wallets(installation, 1, 100)
    installation.drain()
    for number in range(3):  # one partition is some batches ahead of the other
        installation.client.enqueue(move(f"ahead-{number}", poor, "@Shop", 1))
        installation.drain(0)
    cursors = dict(installation.rows("SELECT partition, cursor FROM partitions"))
    assert installation.log.cursor_marks() == cursors
    receipt = installation.client.enqueue(wide("w", [poor, rich]))
    with monkeypatch.context() as dead:
        dead.setattr(installation.log, "reply", lambda *_: None)  # after its commit
        installation.applier().drain(1)
    assert installation.log.cursor_marks() == cursors
    installation.drain()
    assert receipt.wait(5).status == "APPLIED"
    assert installation.log.cursor_marks() == dict(
        installation.rows("SELECT partition, cursor FROM partitions")
    )
    assert installation.log.replied_batches() == dict(
        installation.rows("SELECT partition, batch FROM partitions")
    )


def test_what_is_deferred_waits_for_what_a_joined_batch_leaves_unread(
    installation: Installation,
) -> None:
    """Two partitions decided together may stop before the money that a deferred entry needs."""
    (poor,), (rich,) = wallets(installation, 1, 100)
    installation.drain()
    fillers = [move(f"filler-{n}", rich, "@Shop", 1) for n in range(8)]
    younger = [move("fund", rich, poor, 50), move("held", poor, "@Shop", 150)]
    installation.client.enqueue_many([*fillers, *younger, wide("w", [poor, rich])])
    applier = installation.applier()
    assert applier.apply_batch(0, 1).deferred == 1
    report = applier.apply_batch(0, 8)
    assert (report.outcomes, report.deferred) == ({"applied": 8}, 1)
    installation.drain()
    assert installation.client.wait(reference="held", timeout=5).status == "APPLIED"
    assert_proved(installation)


# Barriers


@pytest.mark.parametrize(("home", "other"), [(0, 1), (1, 0), (2, 3), (3, 0)])
def test_who_waits_at_a_barrier_helps_its_home(
    install_daybook: Install, home: int, other: int
) -> None:
    """One worker that was woken for the other partition alone gets past the barrier.

    There is one at the same position in every partition, where help would be in vain.
    """
    installation = install_daybook(4)
    made = wallets(installation, 1, 10)
    installation.drain()
    third, fourth = {0, 1, 2, 3} - {home, other}
    receipts = [
        installation.client.enqueue(
            wide("w", made[home] + made[third] + made[fourth] + made[other])
        ),
        installation.client.enqueue(move("behind", made[other][0], "@Shop", 1)),
    ]
    applier = installation.applier()
    drained = applier.drain(other)
    assert home in drained.helped
    assert statuses(receipts, installation) == ["APPLIED", "APPLIED"]
    assert barriers(installation, other) == 1
    assert barriers(installation, home) == 0


def test_a_barrier_at_the_end_of_a_stream_is_passed_without_the_sweeper(
    install_daybook: Install,
) -> None:
    """Workers without beat: the doorbells of the append alone bring everything to its end."""
    installation = install_daybook(4)
    made = wallets(installation, 1, 50)
    names = [name for some in made for name in some]
    installation.workers(1, beat=False, concurrency=2)
    receipts = [
        installation.client.enqueue(wide(f"w{number}", names[number:] + names[:number]))
        for number in range(4)
    ]
    assert [receipt.wait(60).status for receipt in receipts] == ["APPLIED"] * 4
    installation.wait_applied()


NONSENSE: list[dict[bytes | str, bytes | str]] = [
    {"b": "99"},
    {"b": "text"},
    {"b": ""},
    {},
    {"b": "-1"},
    {"b": "0"},
    {"b": "9" * 50_000},
    {"b": b"\xff\x00\xb2"},
    {"b": "1", "i": b"\xff"},
    {"b": "1", "c": "bcd"},
]


def test_barriers_of_nobody_hold_up_nobody(installation: Installation) -> None:
    """Written by hand with nonsense, for an idle partition, or left behind by a lost request."""
    made = wallets(installation, 1, 100)
    installation.drain()
    for number, fields in enumerate(NONSENSE):
        given = {"i": "x", "k": "", "c": BARRIER} | fields
        installation.put(installation.log.keys.log(0), given)
        behind = installation.client.enqueue(move(f"behind-{number}", made[0][0], "@Shop", 1))
        installation.applier().drain(0)
        assert behind.wait(5).status == "APPLIED", fields
    lost = installation.client.enqueue(wide("lost", made[0] + made[1]))
    assert lost.position is not None
    installation.redis.xdel(installation.log.keys.log(0), entry_id_of(lost.position))
    behind = installation.client.enqueue(move("behind-lost", made[1][0], "@Shop", 1))
    installation.applier().drain(1)
    assert behind.wait(5).status == "APPLIED"
    assert installation.rows("SELECT count(*) FROM rejected_requests") == [(0,)]
    installation.drain()
    assert installation.open_entries() == 0


def test_a_forged_barrier_waits_for_the_partition_that_it_names(
    installation: Installation,
) -> None:
    """And no longer than until that has read so far."""
    made = wallets(installation, 1, 100)
    installation.drain()
    older = installation.client.enqueue(move("older", made[1][0], "@Shop", 1))
    forged = {"i": "x", "k": "", "c": BARRIER, "b": "1"}
    installation.put(installation.log.keys.log(0), forged)
    behind = installation.client.enqueue(move("behind", made[0][0], "@Shop", 1))
    installation.applier().drain(0)
    assert statuses([older, behind], installation) == ["APPLIED", "APPLIED"]
    assert installation.open_entries() == 0


def test_barriers_open_when_the_request_is_no_request(installation: Installation) -> None:
    """Broken at its home: it is refused there, and its other partition goes on without a sweep."""
    made = wallets(installation, 1, 10)
    installation.drain()
    for number, body in enumerate((b'{"kind":"bulk"', b"", b'{"v":7,"kind":"bulk"}')):
        slots = (slot_of(made[0][0]), slot_of(made[1][0]))
        made_up = mint_bulk_id(slots[0])
        key = key_of_reference(f"broken-{number}")
        entry = NewEntry(slots[0], key, fingerprint_of(body), made_up, body, "", slots)
        ((appended,), _) = installation.log.append([entry])
        assert appended.state == "accepted"
        behind = installation.client.enqueue(move(f"behind-{number}", made[1][0], "@Shop", 1))
        installation.applier().drain(1)
        assert behind.wait(5).status == "APPLIED"
    reasons = installation.rows("SELECT reason FROM rejected_requests ORDER BY position")
    assert reasons == [("malformed",), ("malformed",), ("unsupported_version",)]
    assert installation.open_entries() == 0


@pytest.mark.parametrize("form", ["bulk", "legs"])
def test_a_wide_request_that_makes_the_code_raise_is_quarantined(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Nothing of it stays; spends before and behind it, in both partitions, are applied."""
    made = wallets(installation, 1, 10)
    names = [made[1][0], made[0][0]]
    decide = KINDS[NAME[form]].post

    def raise_afterwards(book: Any, entry: Any, wanted: Any) -> Any:
        decide(book, entry, wanted)
        raise ZeroDivisionError("a fault of ours")

    def raise_before(book: Any, entry: Any, wanted: Any) -> Any:
        raise ZeroDivisionError("a fault of ours")

    broken = raise_before if form == "legs" else raise_afterwards
    if form == "bulk":  # the fault is in its second item

        def raise_for_one(book: Any, entry: Any, item: Any, *more: Any) -> Any:
            if item.reference == "w-1":
                raise ZeroDivisionError("a fault of ours")
            return post_transaction(book, entry, item, *more)

        monkeypatch.setattr(posting_bulk, "post_transaction", raise_for_one)
    else:
        monkeypatch.setitem(KINDS, NAME[form], replace(KINDS[NAME[form]], post=broken))
    receipts = installation.client.enqueue_many(
        [
            *(move(f"before-{name}", name, "@Shop", 1) for name in names),
            wide("w", names, form=form),
            *(move(f"behind-{name}", name, "@Shop", 9) for name in names),
        ]
    )
    installation.applier().drain(0)
    assert statuses(receipts, installation) == ["APPLIED"] * 2 + ["REJECTED"] + ["APPLIED"] * 2
    assert receipts[2].wait(5).reason == "quarantined"
    assert installation.open_entries() == 0
    assert_proved(installation)


def test_a_wide_request_that_postgres_refuses_is_quarantined(installation: Installation) -> None:
    """Its partitions are free again, and what is around it in a large batch is applied."""
    made = wallets(installation, 1, 1_000)
    names = [made[0][0], made[1][0]]
    installation.rows(
        "CREATE FUNCTION refuse_bulk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'too odd' USING ERRCODE = 'data_exception'; END $$"
    )
    installation.rows(
        "CREATE TRIGGER refuse_bulk BEFORE INSERT ON transactions FOR EACH ROW "
        "WHEN (NEW.kind = 'bulk') EXECUTE FUNCTION refuse_bulk()"
    )
    singles = [move(f"s-{n}", names[n % 2], "@Shop", 1) for n in range(300)]
    receipts = installation.client.enqueue_many([*singles[:150], wide("w", names), *singles[150:]])
    applier = installation.applier(batch_entries_min=8192)
    installation.drain(applier=applier)
    found = statuses(receipts, installation)
    assert found.pop(150) == "REJECTED"
    assert set(found) == {"APPLIED"}
    assert installation.open_entries() == 0
    assert_proved(installation)


def test_only_the_refused_entry_is_quarantined_though_an_older_one_became_ripe(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another partition goes on between two tries: what waited is decided, not quarantined."""
    made = wallets(installation, 1, 0)
    installation.drain()
    installation.client.enqueue(deposit("late", made[1][0], 100))
    funding = installation.client.enqueue(move("funding", made[1][0], made[0][0], 50))
    waits = installation.client.enqueue(move("waits", made[0][0], "@Shop", 50))
    applier = installation.applier()
    assert applier.apply_batch(0, 10).deferred == 1
    installation.rows(
        "CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'too odd' USING ERRCODE = 'data_exception'; END $$"
    )
    installation.rows(
        "CREATE TRIGGER refuse_one BEFORE INSERT ON transactions FOR EACH ROW "
        "WHEN (NEW.reference = 'poison') EXECUTE FUNCTION refuse_one()"
    )
    elsewhere = balance_in(Random("other"), 0, 2)
    installation.client.create_balance("general_ledger_id", "USD", balance_id=elsewhere)
    poison = installation.client.enqueue(deposit("poison", elsewhere, 1))
    run = Attempt.run
    helped: list[bool] = []

    def run_and_help(self: Attempt) -> Any:
        if self.tactics.refused is not None and not helped:
            helped.append(True)
            installation.applier().apply_batch(1, 10)
        return run(self)

    monkeypatch.setattr(Attempt, "run", run_and_help)
    installation.drain(0, applier=applier)
    assert helped
    assert poison.wait(5).reason == "quarantined"
    assert statuses([funding, waits], installation) == ["APPLIED", "APPLIED"]


# Deferred


@pytest.mark.parametrize("form", ["bulk", "legs"])
def test_a_wide_request_waits_for_what_is_deferred_before_it(
    installation: Installation, form: str
) -> None:
    """An older spend of the same balance waits for its money: it comes first all the same."""
    (rich,), (poor,) = wallets(installation, 1, 0)
    installation.drain()
    client = installation.client
    receipts = [
        client.enqueue(deposit("money", rich, 60)),
        client.enqueue(move("funding", rich, poor, 50)),
        client.enqueue(move("older", poor, "@Shop", 41)),
        client.enqueue(wide("w", [poor, rich], 9, form=form)),
        client.enqueue(move("younger", poor, "@Shop", 1)),
    ]
    applier = installation.applier()
    report = applier.apply_batch(1, 10)
    assert report.deferred == 1
    applier.drain(1)
    assert statuses(receipts, installation) == ["APPLIED"] * 4 + ["REJECTED"]
    assert_proved(installation)


# The log


def test_a_wide_request_is_accepted_in_all_of_its_partitions_or_not_at_all(
    install_daybook: Install,
) -> None:
    """One full partition is enough to refuse it; nothing of it stands anywhere, then it fits."""
    installation = install_daybook(4)
    made = wallets(installation, 1, 100)
    names = [name for some in made for name in some]
    installation.drain()
    streams = [installation.log.keys.log(partition) for partition in range(4)]
    installation.redis.hset(installation.log.keys.state, "entries_max", 3)
    for number in range(20):
        try:
            installation.client.enqueue(move(f"fill-{number}", names[2], "@Shop", 1))
        except LogFull:
            break
    lengths = [installation.redis.xlen(stream) for stream in streams]
    request = wide("w", names)
    with pytest.raises(LogFull):
        installation.client.enqueue(request)
    with pytest.raises(LogFull) as caught:
        installation.client.enqueue_many([move("fits", names[0], "@Shop", 1), request])
    assert [receipt.reference for receipt in caught.value.accepted] == ["fits"]
    after = [installation.redis.xlen(stream) for stream in streams]
    assert after[1:] == lengths[1:]
    installation.drain()
    assert installation.client.enqueue(request).state == "accepted"
    assert [barriers(installation, partition) for partition in range(4)] == [0, 1, 1, 1]
    installation.drain()
    assert installation.client.wait(reference="w", timeout=5).status == "APPLIED"


def test_a_restored_database_replays_wide_requests_in_their_turns(
    install_daybook: Install,
) -> None:
    """With barriers in the gap, whatever partition is woken first: the same outcomes again."""
    installation = install_daybook(4)
    names = [name for some in wallets(installation, 2, 80) for name in some]
    requests, expected = turns(Random(5), names, 80, 60)
    installation.client.enqueue_many(requests[:25])
    drain_together(installation, 2, 1)
    backup = copy_of(installation)
    installation.client.enqueue_many(requests[25:])
    drain_together(installation, 3, 2)
    assert_turns(installation, expected)
    restore(installation, backup)
    rung: list[int] = []
    sweep_partitions(installation.store, installation.log, installation.applier(), rung.append)
    assert set(rung) == {0, 1, 2, 3}
    drain_together(installation, 3, 3)
    assert_turns(installation, expected)
    assert_proved(installation)


def test_a_wide_request_of_one_partition_leaves_no_barrier(installation: Installation) -> None:
    """Its slots are many, its partition is one: nothing has to wait for it."""
    random = Random(3)
    (first, *_), _ = wallets(installation, 1, 10)
    other = balance_in(random, 0, 2)
    client = installation.client
    client.create_balance("general_ledger_id", "USD", balance_id=other)
    client.enqueue(deposit("money", other, 10))
    receipt = client.enqueue(wide("w", [first, other]))
    assert barriers(installation, 1) == 0
    installation.drain()
    assert receipt.wait(5).status == "APPLIED"


@pytest.mark.parametrize("together", [True, False])
def test_parts_of_an_action_are_numbered_alike_however_they_are_batched(
    installation: Installation, *, together: bool
) -> None:
    """A part that the batch names itself is read first, and is not the first part for that."""
    (source, *targets), _ = make_balances(installation, 4)
    client = installation.client
    client.enqueue(deposit("money", source, 100))
    shares = dict.fromkeys(targets, "25%") | {targets[-1]: "left"}
    hold = client.enqueue(legs("hold", "destination", shares, source, 100, inflight=True))
    installation.drain()
    leg = part_id(hold.id, 2)
    client.enqueue({"kind": "commit", "transaction_id": leg, "precise_amount": 5, "reference": "p"})
    if not together:
        installation.drain()
    client.enqueue({"kind": "commit", "transaction_id": hold.id, "reference": "all"})
    installation.drain()
    parts = installation.rows(
        "SELECT 'bln_' || destination FROM transactions WHERE reference LIKE 'all_%%' ORDER BY part"
    )
    assert [name for (name,) in parts] == targets
    assert_proved(installation)
