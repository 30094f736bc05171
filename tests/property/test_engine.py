"""The engine against the model, and in any batches against one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.engine.compare import assert_same_outcome, assert_same_rows, assert_same_state, take
from tests.engine.said import missaid
from tests.engine.shelf import Shelf
from tests.oracle.model import Model
from tests.property.workload import Sent, anything, entries_of, valid_in_order


def one_by_one(requests: list[Sent]) -> Shelf:
    """Each request in a unit of work of its own, checked against the model as it goes."""
    shelf, model = Shelf(), Model()
    for entry, (request, _) in zip(entries_of(requests), requests, strict=True):
        (outcome,) = shelf.apply([entry])
        assert_same_outcome(outcome, take(model, entry, request), request)
        assert_same_state(shelf, model)
    assert_same_rows(shelf, model)
    return shelf


@given(anything())
def test_engine_agrees_with_the_model(requests: list[Sent]) -> None:
    """Every outcome, reason, figure and row is the model's, and the judge has nothing to say."""
    shelf, entries = one_by_one(requests), entries_of(requests)
    assert shelf.violations(entries) == []
    assert missaid(entries, shelf.journals[0].records, shelf.outcomes) == []


@given(
    st.one_of(anything(), valid_in_order()),
    st.lists(st.integers(1, 12), max_size=30),
)
def test_any_batches_equal_one_by_one(requests: list[Sent], sizes: list[int]) -> None:
    """However the log is cut into batches: the same records, chain heads, outcomes and figures."""
    alone, entries = Shelf(), entries_of(requests)
    for entry in entries:
        alone.apply([entry])
    batched, rest = Shelf(), entries
    for size in [*sizes, len(rest)]:
        batch, rest = rest[:size], rest[size:]
        if batch:
            batched.apply(batch)
    assert batched.journals[0].records == alone.journals[0].records
    assert batched.journals[0].head == alone.journals[0].head
    assert batched.outcomes == alone.outcomes
    assert (batched.balances, batched.holds) == (alone.balances, alone.holds)
    assert batched.schedules == alone.schedules
    assert batched.things() == alone.things()
