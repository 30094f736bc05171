"""The engine against the model, and in any batches against one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.oracle.judge import audit
from tests.oracle.model import BalanceKey, Model
from tests.oracle.shelf import Shelf, accepted_rows
from tests.oracle.workload import anything, entries_of, valid_in_order

Requests = list[tuple[dict[str, Any], str]]


def key_of(shelf: Shelf, balance_id: str) -> BalanceKey:
    """What the model calls a balance."""
    stored = shelf.balances[balance_id]
    return (stored["indicator"], stored["currency"]) if stored["indicator"] else balance_id


def figures(shelf: Shelf) -> dict[BalanceKey, tuple[int, ...]]:
    """All figures of the shelf, as the model shows them."""
    names = ("credit", "debit", "inflight_credit", "inflight_debit", "version")
    return {
        key_of(shelf, balance_id): tuple(stored[name] for name in names)
        for balance_id, stored in shelf.balances.items()
    }


def one_by_one(requests: Requests, *, mixed_precision: bool = False) -> Shelf:
    """Each request in a unit of work of its own, checked against the model as it goes."""
    shelf, model = Shelf(mixed_precision=mixed_precision), Model(mixed_precision)
    for entry, (request, request_id) in zip(entries_of(requests), requests, strict=True):
        (outcome,) = shelf.apply([entry])
        expected = model.take(request, request_id)
        assert (outcome.status, outcome.reason, outcome.duplicate) == (
            expected.status,
            expected.reason,
            expected.duplicate,
        ), request
        assert outcome.transaction_id == expected.original
        assert figures(shelf) == {key: kept.shown() for key, kept in model.balances.items()}
    return shelf


@given(anything(), st.booleans())
def test_engine_agrees_with_the_model(requests: Requests, mixed_precision: bool) -> None:
    """Every outcome, reason and figure is the model's, and the judge has nothing to say."""
    shelf = one_by_one(requests, mixed_precision=mixed_precision)
    log = accepted_rows(entries_of(requests))
    assert audit(shelf.rows(), shelf.balances, shelf.holds, log, done=shelf.done()) == []


@given(
    st.one_of(anything(), valid_in_order()),
    st.lists(st.integers(1, 12), max_size=30),
)
def test_any_batches_equal_one_by_one(requests: Requests, sizes: list[int]) -> None:
    """However the log is cut into batches: the same records, chain heads, outcomes and figures."""
    alone = one_by_one(requests)
    batched, rest = Shelf(), entries_of(requests)
    for size in [*sizes, len(rest)]:
        batch, rest = rest[:size], rest[size:]
        if batch:
            batched.apply(batch)
    assert batched.journals[0].records == alone.journals[0].records
    assert batched.journals[0].head == alone.journals[0].head
    assert batched.outcomes == alone.outcomes
    assert (batched.balances, batched.holds) == (alone.balances, alone.holds)
    assert batched.ledgers == alone.ledgers
