"""Partitions that meet: rejections that wait, foreign rights, and internal balances of all."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest

from daybook.client.receipts import Outcome
from daybook.store.batch import writing
from daybook.store.batch.deferred import write_deferred
from tests.fault.proof import assert_proved
from tests.fault.requests import deposit, make_balances, move
from tests.fault.wallets import wallets
from tests.harness import Installation, wait_ended
from tests.traffic.mix import mixed

ROUNDS_MAX = 500


def drain_together(installation: Installation, threads: int, seed: int, **settings: Any) -> None:
    """Several appliers at once, each with its own connections, over partitions in random order."""
    faults: list[BaseException] = []

    def work(number: int) -> None:
        random = Random(f"{seed}-{number}")
        applier = installation.applier(batch_entries_min=8, batch_entries_max=64, **settings)
        try:
            for _ in range(ROUNDS_MAX):
                applier.drain(random.randrange(installation.partitions))
                if installation.open_entries() == 0:
                    return
        except BaseException as fault:
            faults.append(fault)

    working = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in working:
        thread.start()
    wait_ended(working, installation.progress)
    assert faults == []
    assert installation.open_entries() == 0


def outcomes_of(
    installation: Installation, seed: int, drain: Callable[[], None]
) -> list[tuple[str, str | None]]:
    """What becomes of one seeded load of spends that earlier transfers fund, or do not."""
    random = Random(seed)
    balances, made = make_balances(installation, 12)
    requests = [deposit(f"open-{i}", balances[i], 1_000) for i in range(4)]
    for i in range(400):
        source, destination = random.sample(balances, 2)
        requests.append(move(f"t-{i}", source, destination, random.randint(1, 900)))
    receipts = made + installation.client.enqueue_many(requests)
    drain()
    outcomes = installation.client.wait_many(receipts, 5)
    assert None not in outcomes
    return [(o.status, o.reason) for o in outcomes if isinstance(o, Outcome)]


@pytest.mark.campaign
@pytest.mark.parametrize("seed", [1, 2])
def test_rejections_do_not_depend_on_the_number_of_partitions(
    install_daybook: Callable[[int], Installation], seed: int
) -> None:
    """With 2, 4 and 8 partitions, in adverse orders and together: never refused more than with 1.

    A spend may also succeed by a credit that was accepted a moment later, so each load is judged
    by itself: no rejection was undue.
    """
    one = install_daybook(1)
    alone = outcomes_of(one, seed, one.drain)
    assert ("REJECTED", "insufficient_funds") in alone
    for partitions in (2, 4, 8):
        some = install_daybook(partitions)
        backwards = list(reversed(range(partitions)))
        outcomes_of(some, seed, partial(some.drain, *backwards))
        assert some.rows("SELECT count(*) FROM deferred_entries") == [(0,)]
        assert_proved(some)
        together = install_daybook(partitions)
        outcomes_of(together, seed, partial(drain_together, together, 3, seed))
        assert_proved(together)


def test_the_same_spends_are_refused_whatever_the_partitions(
    install_daybook: Callable[[int], Installation],
) -> None:
    """Where no later credit can help (all of them come first), the very same set is refused."""
    answers = []
    for partitions in (1, 2, 4, 8):
        installation = install_daybook(partitions)
        random = Random(7)
        balances, _ = make_balances(installation, 20)
        requests = [deposit(f"open-{i}", b, 1_000) for i, b in enumerate(balances)]
        for i in range(300):
            amount = random.randint(100, 400)
            requests.append(move(f"t-{i}", random.choice(balances), "@Shop", amount))
        receipts = installation.client.enqueue_many(requests)
        drain_together(installation, 3, partitions)
        outcomes = installation.client.wait_many(receipts, 5)
        answers.append([o and o.status for o in outcomes])
        assert_proved(installation)
    assert answers[0].count("REJECTED") > 50
    assert answers[1:] == [answers[0]] * 3


def test_a_rejection_waits_and_is_bounded_when_asked(installation: Installation) -> None:
    """A spend whose money may still come is deferred; with a bound in time it is refused."""
    (a,), (b,) = wallets(installation, 1, 0)
    installation.drain()
    installation.client.enqueue(deposit("older", a, 500))
    spend = installation.client.enqueue(move("younger", b, "@Shop", 100))
    applier = installation.applier()
    report = applier.apply_batch(1, 10)
    assert (report.deferred, report.outcomes) == (1, {})
    assert installation.client.status(reference="younger").status == "QUEUED"
    again = applier.apply_batch(1, 10)
    assert (again.deferred, again.progress) == (1, False)
    time.sleep(0.03)  # the bound is a time of the log's clock
    quick = installation.applier(rejection_wait_seconds_max=0.02)
    assert quick.apply_batch(1, 10).outcomes == {"rejected": 1}
    assert spend.wait(5).reason == "insufficient_funds"
    installation.drain()
    assert_proved(installation)


def test_a_deferred_bound_cuts_the_batch(installation: Installation) -> None:
    """At the bound the rest stays unread; once the past is applied everything goes on."""
    (a,), (b,) = wallets(installation, 1, 0)
    installation.drain()
    funding = [deposit("in", a, 600), move("fund", a, b, 600)]
    spends = [move(f"s-{i}", b, "@Shop", 10) for i in range(60)]
    receipts = installation.client.enqueue_many([*funding, *spends])
    report = installation.applier(deferred_max=5).apply_batch(1, 1_000)
    assert report.deferred == 5
    assert installation.open_entries() == 62
    installation.drain(1, applier=installation.applier(deferred_max=5))
    assert {o and o.status for o in installation.client.wait_many(receipts, 5)} == {"APPLIED"}
    assert_proved(installation)


@pytest.mark.parametrize("partitions", [2, 4])
def test_foreign_rights_never_overspend(
    install_daybook: Callable[[int], Installation], partitions: int
) -> None:
    """Debits of one balance under many ordering keys: from all partitions, never below zero."""
    installation = install_daybook(partitions)
    (a, b), _ = make_balances(installation, 2)
    installation.client.enqueue_many([deposit("a", a, 500), deposit("b", b, 500)])
    installation.drain()
    keyed = [
        move(f"k-{i}", *((a, b) if i % 3 else (b, "@Shop")), 20, ordering_key=f"key {i % 16}")
        for i in range(200)
    ]
    receipts = installation.client.enqueue_many(keyed)
    drain_together(installation, 4, partitions)
    outcomes = installation.client.wait_many(receipts, 5)
    assert {o and o.status for o in outcomes} == {"APPLIED", "REJECTED"}
    assert_proved(installation)
    assert installation.rows(
        "SELECT count(*) FROM balances WHERE indicator IS NULL AND "
        "credit_balance - debit_balance < 0"
    ) == [(0,)]


def test_an_internal_balance_is_debited_from_everywhere_and_never_overspent(
    install_daybook: Callable[[int], Installation],
) -> None:
    """@Pool without overdraft pays from all partitions at once: exactly what it had."""
    installation = install_daybook(4)
    balances, _ = make_balances(installation, 30)
    installation.client.enqueue(deposit("fund", "@Pool", 1_000))
    installation.client.enqueue(deposit("fund 2", "@Second", 1_000))
    requests = [
        move(f"p-{i}", ("@Pool", "@Second")[i % 2], balances[i % 30], 30) for i in range(300)
    ]
    receipts = installation.client.enqueue_many(requests)
    drain_together(installation, 4, 5)
    outcomes = installation.client.wait_many(receipts, 5)
    assert [o and o.status for o in outcomes].count("APPLIED") == 66
    rest = installation.rows(
        "SELECT credit_balance - debit_balance FROM balances "
        "WHERE indicator IN ('@Pool', '@Second')"
    )
    assert rest == [(10,), (10,)]
    assert_proved(installation)


def test_two_partitions_cannot_decide_over_the_same_internal_money(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both want to decide before either writes: one has to wait, and finds the money gone."""
    sides = [name for (name,) in wallets(installation, 1, 0)]
    installation.client.enqueue(deposit("fund", "@Pool", 30))
    installation.drain()
    receipts = installation.client.enqueue_many(
        [move(f"p-{i}", "@Pool", sides[i], 30) for i in (0, 1)]
    )
    both_decided = threading.Barrier(2)

    def meet(*arguments: Any) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both_decided.wait(0.5)
        write_deferred(*arguments)

    monkeypatch.setattr(writing, "write_deferred", meet)
    time.sleep(0.03)  # the bound is a time of the log's clock; beyond it nobody waits for a turn
    appliers = [installation.applier(rejection_wait_seconds_max=0.02) for _ in range(2)]
    working = [threading.Thread(target=appliers[p].drain, args=(p,)) for p in (0, 1)]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join(60)
    installation.drain()
    outcomes = installation.client.wait_many(receipts, 5)
    assert sorted(str(o and o.reason) for o in outcomes) == ["None", "insufficient_funds"]
    assert_proved(installation)


def test_first_uses_of_one_internal_balance_meet(
    install_daybook: Callable[[int], Installation],
) -> None:
    """Every partition uses @New first, at the same moment: one balance, all sums in it."""
    installation = install_daybook(8)
    balances, made = make_balances(installation, 40)
    opened = [deposit(f"d-{i}", b, 10) for i, b in enumerate(balances)]
    spent = [move(f"s-{i}", b, "@New", 10) for i, b in enumerate(balances)]
    receipts = made + installation.client.enqueue_many([*opened, *spent])
    drain_together(installation, 4, 9)
    assert {o and o.status for o in installation.client.wait_many(receipts, 5)} == {"APPLIED"}
    assert installation.rows(
        "SELECT credit_balance, version FROM balances WHERE indicator = '@New'"
    ) == [(400, 40)]
    assert_proved(installation)


def test_one_of_two_first_precisions_wins(install_daybook: Callable[[int], Installation]) -> None:
    """Two partitions fix the precision of @World differently at once: one holds, one is refused."""
    for attempt in range(5):
        installation = install_daybook(2)
        sides = [name for (name,) in wallets(installation, 1, 0)]
        installation.drain()
        receipts = installation.client.enqueue_many(
            [deposit(f"w-{i}", sides[i], 10, precision=(100, 1_000)[i]) for i in (0, 1)]
        )
        gate = threading.Barrier(2)

        def work(partition: int, gate: threading.Barrier, installation: Installation) -> None:
            applier = installation.applier()
            gate.wait(30)
            applier.drain(partition)

        working = [threading.Thread(target=work, args=(p, gate, installation)) for p in (0, 1)]
        for thread in working:
            thread.start()
        for thread in working:
            thread.join(60)
        installation.drain()
        outcomes = installation.client.wait_many(receipts, 5)
        answers = sorted((o.status, o.reason or "") for o in outcomes if o)
        assert answers == [("APPLIED", ""), ("REJECTED", "precision_mismatch")], attempt
        assert_proved(installation)


@pytest.mark.parametrize("partitions", [1, 2, 4])
def test_a_mixed_load_stands_the_judge(
    install_daybook: Callable[[int], Installation], partitions: int
) -> None:
    """Requests of every kind, repetitions and rejections, by several appliers at once."""
    installation = install_daybook(partitions)
    balances, made = make_balances(installation, 15, seed=partitions)
    requests = mixed(Random(partitions), balances, 300, "m")
    receipts = made + installation.client.enqueue_many(requests)
    drain_together(installation, 3, partitions)
    outcomes = installation.client.wait_many(receipts, 5)
    assert None not in outcomes
    assert {o.status for o in outcomes if o} >= {"APPLIED", "INFLIGHT", "REJECTED", "VOID"}
    assert_proved(installation)
