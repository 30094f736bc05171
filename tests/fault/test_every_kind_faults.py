"""Requests of every kind under the faults that a single process can bring about; then the judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from daybook.apply.sweep import sweep_partitions
from daybook.client.receipts import Receipt
from daybook.errors import LogFull
from tests.fault.dying import POINTS, die_at
from tests.fault.proof import assert_proved
from tests.fault.requests import make_balances
from tests.fault.restoring import copy_of, restore
from tests.fault.sweeping import decide_all, drain_due, sweep_due
from tests.fault.test_rights import drain_together
from tests.harness import Installation
from tests.traffic.mix import mixed

Install = Callable[[int], Installation]
ROUNDS_MAX = 2_000


def campaign(*short: tuple[int, int, int]) -> list[Any]:
    """Partitions, seed and number of requests: a short run, and many long ones on demand."""
    long = [(partitions, seed, 600) for partitions in (1, 2, 4, 8) for seed in range(10, 14)]
    return [*short, *(pytest.param(*each, marks=pytest.mark.campaign) for each in long)]


def load(installation: Installation, seed: int, number: int) -> tuple[list[Any], list[Receipt]]:
    """The requests of a seed, and the receipts of what they need."""
    balances, made = make_balances(installation, 12, seed=seed)
    return mixed(Random(seed), balances, number, "m"), made


def slices(requests: list[Any], number: int) -> Iterator[list[Any]]:
    """The requests in about so many slices, in order."""
    step = max(1, len(requests) // number)
    for start in range(0, len(requests), step):
        yield requests[start : start + step]


def sweep(installation: Installation) -> None:
    """What the sweeper does beside appending what is due."""
    applier = installation.applier()
    sweep_partitions(installation.store, installation.log, applier, lambda partition: None)


def assert_all_told(installation: Installation, receipts: list[Receipt]) -> None:
    """Everything came to its end, its producers were told, and the judge finds nothing."""
    decide_all(installation)
    outcomes = installation.client.wait_many(receipts, 5)
    assert {o and o.final for o in outcomes} == {True}
    assert_proved(installation)


@pytest.mark.parametrize(("partitions", "seed", "number"), campaign((2, 1, 80)))
def test_workers_die_at_every_point(
    install_daybook: Install, partitions: int, seed: int, number: int
) -> None:
    """One after the other, at a drawn point of a drawn batch, while producers go on."""
    installation = install_daybook(partitions)
    requests, receipts = load(installation, seed, number)
    random = Random(f"deaths-{seed}")
    deaths = 0
    for some in slices(requests, max(12, number // 15)):
        receipts += installation.client.enqueue_many(some)
        sweep_due(installation)
        order = random.sample(range(partitions), partitions)
        point, hits = random.choice(POINTS), random.randint(1, 3)
        deaths += die_at(installation, point, *order, hits=hits, batch_entries_min=8)
    assert deaths > 3
    assert_all_told(installation, receipts)


@pytest.mark.long
@pytest.mark.parametrize(("partitions", "seed", "number"), campaign((4, 2, 60)))
def test_the_database_is_restored_to_an_earlier_point(
    install_daybook: Install, partitions: int, seed: int, number: int
) -> None:
    """What came after the backup is applied again from the log, holds and schedules too."""
    installation = install_daybook(partitions)
    requests, receipts = load(installation, seed, number)
    before, after = requests[: number // 2], requests[number // 2 :]
    receipts += installation.client.enqueue_many(before)
    drain_due(installation)
    backup = copy_of(installation)
    for some in slices(after, 4):
        receipts += installation.client.enqueue_many(some)
        drain_due(installation)
    restore(installation, backup)
    sweep(installation)
    drain_together(installation, 2, seed)
    assert_all_told(installation, receipts)


@pytest.mark.parametrize(("partitions", "seed", "number"), campaign((2, 3, 80)))
def test_the_log_comes_back_without_outcomes_and_clock(
    install_daybook: Install, partitions: int, seed: int, number: int
) -> None:
    """Everything is asked again: the journal answers, and nothing happens twice."""
    installation = install_daybook(partitions)
    requests, _ = load(installation, seed, number)
    installation.client.enqueue_many(requests[: number // 2])
    installation.drain()
    streams = {
        stream: installation.stream(stream)
        for stream in (installation.log.keys.log(p) for p in range(partitions))
    }
    installation.redis.flushdb()
    sweep(installation)
    for stream, entries in streams.items():  # so that the judge knows what was accepted
        for entry_id, fields in entries:
            installation.put(stream, fields, entry_id)
    receipts = installation.client.enqueue_many(requests)
    assert_all_told(installation, receipts)


@pytest.mark.long
@pytest.mark.parametrize(("partitions", "seed", "number"), campaign((2, 4, 90)))
def test_the_log_is_full_again_and_again(
    install_daybook: Install, partitions: int, seed: int, number: int
) -> None:
    """What was refused is sent again once there is room; what is due waits for room, too."""
    installation = install_daybook(partitions)
    requests, receipts = load(installation, seed, number)
    installation.drain()
    installation.redis.hset(installation.log.keys.state, "entries_max", 24)
    kept: dict[str, dict[bytes, Any]] = {}
    applier = installation.applier(batch_entries_min=4, batch_entries_max=16)
    random, refused = Random(f"full-{seed}"), 0
    for _ in range(ROUNDS_MAX):
        keep_streams(installation, kept)
        if not requests:
            break
        try:
            receipts += installation.client.enqueue_many(requests[:40])
            requests = requests[40:]
        except LogFull as full:
            refused += 1
            receipts += full.accepted
            requests = requests[len(full.accepted) :]
            keep_streams(installation, kept)
            applier.apply_batch(random.randrange(partitions), 8)
    assert refused > 3
    assert not requests
    installation.redis.hset(installation.log.keys.state, "entries_max", 100_000)
    decide_all(installation)
    keep_streams(installation, kept)
    for stream, entries in kept.items():  # what went for room, so that the judge knows of it
        installation.redis.delete(stream)
        for entry_id in sorted(entries, key=lambda own: tuple(map(int, own.split(b"-")))):
            installation.redis.xadd(stream, entries[entry_id], id=entry_id)
    assert_all_told(installation, receipts)


def keep_streams(installation: Installation, kept: dict[str, dict[bytes, Any]]) -> None:
    """Remember the entries that stand in the log now."""
    for partition in range(installation.partitions):
        stream = installation.log.keys.log(partition)
        kept.setdefault(stream, {}).update(installation.stream(stream))
