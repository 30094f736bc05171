"""Several partitions side by side: nothing refused for money that was there, nothing stuck."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.engine.partitions import Town
from tests.engine.shelf import Shelf
from tests.oracle.model import Model
from tests.oracle.scenario import id_of
from tests.property.workload import (
    WALLETS,
    Sent,
    anything,
    entries_of,
    openings,
    transaction,
    valid_in_order,
)

from daybook.ledger.record import Status

MORE_THAN_ANYBODY_HAS = 10**6

towns = st.fixed_dictionaries(
    {
        "partitions": st.integers(2, 5),
        "batch_max": st.integers(1, 6),
        "deferred_max": st.sampled_from([1, 2, 3, 100]),
    }
)
moves = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4)), max_size=120)
"""What happens: (0, _) a kill, (1, _) an append, (2, _) and (3, _) a whole unit of work of a
partition, otherwise one step of it."""


def judged_at_every_commit(town: Town) -> None:
    """What a reader sees after a commit may stand; and no partition defers too much."""
    assert town.shelf.violations(town.entries, drained=False) == []
    assert all(len(journal.held) <= town.deferred_max for journal in town.shelf.journals)


def played(requests: list[Sent], town: dict[str, Any], plot: list[tuple[int, int]]) -> Town:
    """The town after these moves and then until nothing is open."""
    here = Town(entries_of(requests), on_commit=judged_at_every_commit, **town)
    for what, number in plot:
        if what == 0:
            here.kill(number % here.partitions)
        elif what == 1:
            here.append(number)
        elif what < 4:
            here.run(number % here.partitions)
        else:
            here.step(number % here.partitions)
    here.drain()
    assert here.shelf.violations(here.entries) == []
    assert not any(journal.held for journal in here.shelf.journals)
    return here


@given(valid_in_order(), towns, moves)
def test_what_is_valid_in_order_is_applied(
    requests: list[Sent], town: dict[str, Any], plot: list[tuple[int, int]]
) -> None:
    """Requests that are valid in order are all applied, with any partitions, kills and delays."""
    here = played(requests, town, plot)
    refused = [outcome for outcome in here.shelf.outcomes.values() if outcome.reason]
    assert refused == []
    model = Model()
    for request, request_id in requests:
        model.take(request, request_id)
    for wallet in WALLETS:
        assert _figures(here.shelf, wallet) == model.balances[wallet].shown()


def _figures(shelf: Shelf, balance_id: str) -> tuple[int, ...]:
    names = ("credit", "debit", "inflight_credit", "inflight_debit", "version")
    return tuple(shelf.balances[balance_id][name] for name in names)


@st.composite
def with_hopeless_spends(draw: Any) -> tuple[list[Sent], set[str]]:
    """Valid requests, among them spends that nothing could ever fund, and the ids of those."""
    requests, hopeless = draw(valid_in_order()), set()
    for number in range(draw(st.integers(1, 8))):
        source, destination = draw(st.permutations(WALLETS))[:2]
        more = draw(st.sampled_from([{}, {"overdraft_limit": "1"}, {"inflight": True}]))
        spend = transaction(1000 + number, source, destination, MORE_THAN_ANYBODY_HAS, **more)
        requests.insert(draw(st.integers(len(openings()), len(requests))), spend)
        hopeless.add(spend[1])
    ghost = transaction(2000, WALLETS[0], id_of("bln", "nobody"), 1)
    requests.append(ghost)
    return requests, hopeless | {ghost[1]}


@given(with_hopeless_spends(), towns, moves)
def test_the_same_is_refused_as_with_one_partition(
    drawn: tuple[list[Sent], set[str]], town: dict[str, Any], plot: list[tuple[int, int]]
) -> None:
    """What lacks funds or a balance for ever is refused, and only that, as with one partition."""
    requests, hopeless = drawn
    here = played(requests, town, plot)
    alone = Shelf()
    alone.apply(entries_of(requests))
    for shelf in (here.shelf, alone):
        refused = {o.request_id for o in shelf.outcomes.values() if o.status == Status.REJECTED}
        assert refused == hopeless


@given(anything(), towns, moves)
def test_anything_reaches_an_outcome(
    requests: list[Sent], town: dict[str, Any], plot: list[tuple[int, int]]
) -> None:
    """Whatever is sent, every commit passes the judge, and nothing stays deferred."""
    here = played(requests, town, plot)
    assert len(here.shelf.outcomes) == len(requests)
