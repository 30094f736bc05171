"""The rules of the ledger as tables of requests and outcomes (``scenarios/*.txt``)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.engine.compare import (
    FIGURES,
    assert_same_outcome,
    assert_same_rows,
    assert_same_state,
    take,
)
from tests.engine.entries import entry_of
from tests.engine.said import missaid
from tests.engine.shelf import Shelf
from tests.oracle.facts import AT_THE_DOOR, ORDER
from tests.oracle.model import Model
from tests.oracle.scenario import FIRST_POSITION, Parser, Step, id_of

from daybook.errors import MalformedRequest
from daybook.ledger.entry import LogEntry
from daybook.ledger.rejection import Reason

TABLES = sorted(Path(__file__).with_name("scenarios").glob("*.txt"))
NINES = "9" * 100
NINE_LESS = str(int(NINES) - 9)


def scenarios() -> Iterable[object]:
    """Every scenario of the files, named by file and title."""
    for table in TABLES:
        text = table.read_text(encoding="utf-8")
        text = text.replace("{NINES}", NINES).replace("{NINE_LESS}", NINE_LESS)
        for part in text.split("\n== ")[1:]:
            title, _, lines = part.partition("\n")
            yield pytest.param(lines, id=f"{table.stem}: {title.strip()}")


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


def check_figures(shelf: Shelf, step: Step) -> None:
    """The balance stands as the line says."""
    found = balance_id(shelf, step.balance)
    if not step.figures:
        assert found is None, step.line
        return
    assert found is not None, step.line
    assert tuple(shelf.balances[found][name] for name in FIGURES) == step.figures, step.line


def check_known(shelf: Shelf, step: Step) -> None:
    """The thing, or what was merged onto a transaction, is what the line says."""
    meta_data = step.known.pop("meta_data")
    known = {"fields": step.known, "meta_data": meta_data}
    assert shelf.things()[step.subject] == known, step.line


def check_items(shelf: Shelf, step: Step) -> None:
    """The items of a bulk became what their lines say."""
    for item_id, expected in step.items:
        record = shelf.records.get(item_id)
        words = (record.status, record.reason) if record else ("none",)
        assert " ".join(word for word in words if word) == expected, (step.line, item_id)


def accepted(step: Step, position: int) -> LogEntry | str:
    """The entry that the request becomes, or the code that it is refused with at the door."""
    assert step.request is not None
    try:
        return entry_of(step.request, step.request_id, position)
    except MalformedRequest as fault:
        return fault.code


def play(steps: list[Step]) -> tuple[Shelf, list[LogEntry]]:
    """Apply the requests one by one and check each line."""
    shelf, model = Shelf(), Model()
    entries: list[LogEntry] = []
    for number, step in enumerate(steps):
        if step.request is None:
            check_figures(shelf, step) if step.balance else check_known(shelf, step)
            continue
        entry = accepted(step, FIRST_POSITION + (step.seconds * 1000 << 20) + number)
        if isinstance(entry, str):
            assert f"refused {entry}" == step.expected, step.line
            if step.request["kind"] == "transaction" and entry != "malformed":
                assert model.take(step.request, step.request_id).reason == entry, step.line
            continue
        entries.append(entry)
        (outcome,) = shelf.apply([entry])
        words = ("same" if outcome.duplicate else "", outcome.status, outcome.reason or "")
        assert " ".join(word for word in words if word) == step.expected, step.line
        if not outcome.duplicate and outcome.reason != "reference_conflict":
            check_items(shelf, step)
        assert_same_outcome(outcome, take(model, entry, step.request), step.line)
        assert_same_state(shelf, model)
        assert_same_rows(shelf, model)
    return shelf, entries


@pytest.mark.parametrize("text", list(scenarios()))
def test_scenario(text: str) -> None:
    """Each line ends as it says, in the engine and in the model, and the judge has no objection."""
    shelf, entries = play(Parser().steps(text))
    assert shelf.violations(entries) == []
    assert missaid(entries, shelf.journals[0].records, shelf.outcomes) == []


@pytest.mark.parametrize("text", list(scenarios()))
def test_scenario_in_one_batch(text: str) -> None:
    """The same requests as one batch give the same records, figures and chain."""
    one_by_one, entries = play(Parser().steps(text))
    at_once = Shelf()
    at_once.apply(entries)
    assert at_once.journals[0].records == one_by_one.journals[0].records
    assert at_once.journals[0].head == one_by_one.journals[0].head
    assert at_once.outcomes == one_by_one.outcomes
    assert (at_once.balances, at_once.holds) == (one_by_one.balances, one_by_one.holds)
    assert at_once.things() == one_by_one.things()


@pytest.mark.parametrize("batch_size", [1, 9])
def test_a_derived_name_is_no_reference(batch_size: int) -> None:
    """A caller's own reference never collides with the name of a commit, a void or a refund."""
    names = {step.line[0]: step.request_id for step in Parser().steps(LABELLED)}
    text = f"""{LABELLED}
        {names["h"]}_commit_1: @World > @A 1 USD overdraft
        {names["h"]}_void: @World > @A 1 USD overdraft
        {names["i"]}_refund: @World > @A 1 USD overdraft
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
    assert [record.derived for record in records] == [False] * 2 + [True] * 3 + [False] * 3
    assert [record.reference for record in records[2:5]] == [r.reference for r in records[5:]]
    assert not any(record.reason for record in records)


LABELLED = """
h: @World > @A 10 USD hold overdraft
i: @World > @A 10 USD overdraft
commit h 1
void h
refund i
"""


def test_every_code_has_a_line() -> None:
    """Each code that the engine can refuse with is the outcome of some line."""
    below_the_models = {"unsupported_version", "quarantined"}
    lines = "\n".join(table.read_text(encoding="utf-8") for table in TABLES).splitlines()
    shown = {line.split()[-1] for line in lines if "=>" in line}
    assert {reason.value for reason in Reason} - below_the_models <= shown


def test_precedence_is_that_of_the_semantics() -> None:
    """The engine's codes stand in the order of section 11, a fault of ours after them."""
    assert [reason.value for reason in Reason] == [*ORDER, "quarantined"]
    assert set(ORDER) >= AT_THE_DOOR
