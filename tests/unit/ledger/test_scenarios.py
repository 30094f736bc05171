"""The rules of the ledger as tables of requests and outcomes (``scenarios.txt``)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.oracle.judge import audit
from tests.oracle.model import AT_THE_DOOR, ORDER, Model
from tests.oracle.scenario import FIRST_POSITION, Parser, Step, id_of
from tests.oracle.shelf import Shelf, accepted_rows, entry_of

from daybook.errors import MalformedRequest
from daybook.ledger.rejection import Reason
from daybook.ledger.transaction import Entry

TABLES = Path(__file__).with_name("scenarios.txt").read_text(encoding="utf-8")
NINES = "9" * 100


def scenarios() -> Iterable[object]:
    """Every scenario of the file, named by its title."""
    for part in TABLES.replace("{NINES}", NINES).split("\n== ")[1:]:
        title, _, lines = part.partition("\n")
        yield pytest.param(lines, id=title.strip())


def balance_id(shelf: Shelf, name: str) -> str | None:
    """The id of the balance that a figures line names."""
    indicator, slash, currency = name.partition("/")
    if not slash:
        return id_of("bln", name)
    found = [
        key
        for key, stored in shelf.balances.items()
        if (stored["indicator"], stored["currency"]) == (indicator, currency)
    ]
    return found[0] if found else None


def check_figures(shelf: Shelf, model: Model, step: Step) -> None:
    """The balance stands as the line says, in the store and in the model."""
    indicator, _, currency = step.balance.partition("/")
    key = (indicator, currency) if currency else id_of("bln", step.balance)
    found = balance_id(shelf, step.balance)
    if not step.figures:
        assert found is None
        assert key not in model.balances
        return
    names = ("credit", "debit", "inflight_credit", "inflight_debit", "version")
    assert found is not None
    assert tuple(shelf.balances[found][name] for name in names) == step.figures, step.line
    assert model.balances[key].shown() == step.figures, step.line


def accepted(step: Step, position: int) -> Entry | str:
    """The entry that the request becomes, or the code that it is refused with at the door."""
    assert step.request is not None
    try:
        return entry_of(step.request, step.request_id, position)
    except MalformedRequest as fault:
        return fault.code


def play(steps: list[Step]) -> tuple[Shelf, list[Entry]]:
    """Apply the requests one by one and check each line."""
    shelf, model = Shelf(), Model()
    entries: list[Entry] = []
    for number, step in enumerate(steps):
        if step.request is None:
            check_figures(shelf, model, step)
            continue
        entry = accepted(step, FIRST_POSITION + number)
        if isinstance(entry, str):
            assert f"refused {entry}" == step.expected, step.line
            if step.request["kind"] == "transaction":
                assert model.take(step.request, step.request_id).reason == entry
            continue
        entries.append(entry)
        (outcome,) = shelf.apply([entry])
        words = ("same" if outcome.duplicate else "", outcome.status, outcome.reason or "")
        assert " ".join(word for word in words if word) == step.expected, step.line
        expected = model.take(step.request, step.request_id)
        assert (expected.status, expected.reason, expected.duplicate, expected.original) == (
            outcome.status,
            outcome.reason,
            outcome.duplicate,
            outcome.transaction_id,
        ), step.line
    return shelf, entries


@pytest.mark.parametrize("text", list(scenarios()))
def test_scenario(text: str) -> None:
    """Each line has the outcome it says, in the engine and in the model, and the books balance."""
    shelf, entries = play(Parser().steps(text))
    log = accepted_rows(entries)
    assert audit(shelf.rows(), shelf.balances, shelf.holds, log, done=shelf.done()) == []


@pytest.mark.parametrize("text", list(scenarios()))
def test_scenario_in_one_batch(text: str) -> None:
    """The whole scenario as one batch gives the same records, figures and chain."""
    one_by_one, entries = play(Parser().steps(text))
    at_once = Shelf()
    at_once.apply(entries)
    assert at_once.journals[0].records == one_by_one.journals[0].records
    assert at_once.journals[0].head == one_by_one.journals[0].head
    assert at_once.outcomes == one_by_one.outcomes
    assert (at_once.balances, at_once.holds) == (one_by_one.balances, one_by_one.holds)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_derived_name_is_no_reference(batch_size: int) -> None:
    """A caller's own reference never collides with the derived name of a commit or a void."""
    hold = Parser().steps("h: @World > @A 10 USD hold overdraft")[0].request_id
    text = f"""
        h: @World > @A 10 USD hold overdraft
        commit h 1
        void h
        {hold}_commit_1: @World > @A 1 USD overdraft
        {hold}_void: @World > @A 1 USD overdraft
    """
    entries = [
        entry_of(step.request, step.request_id, FIRST_POSITION + number)
        for number, step in enumerate(Parser().steps(text))
        if step.request is not None
    ]
    shelf = Shelf()
    for start in range(0, len(entries), batch_size):
        shelf.apply(entries[start : start + batch_size])
    records = shelf.journals[0].records
    assert [record.status for record in records] == [
        "INFLIGHT",
        "APPLIED",
        "VOID",
        "APPLIED",
        "APPLIED",
    ]
    assert [r.reference for r in records[1:3]] == [r.reference for r in records[3:]]
    assert [record.derived for record in records] == [False, True, True, False, False]


def test_every_code_of_this_ledger_has_a_line() -> None:
    """Each rejection code that the kinds so far can cause is the outcome of some line."""
    later = {"invalid_distribution", "unknown_identity", "not_refundable", "already_refunded"}
    below_the_models = {"malformed", "unsupported_version"}
    shown = {line.split()[-1] for line in TABLES.splitlines() if "=>" in line}
    assert set(ORDER) - later - below_the_models - {"bulk_aborted"} <= shown


def test_precedence_is_that_of_the_semantics() -> None:
    """The engine's codes stand in the order of section 11, a fault of ours after them."""
    assert [reason.value for reason in Reason] == [*ORDER, "quarantined"]
    assert set(ORDER) >= AT_THE_DOOR
