"""The judge finds what it is there to find: each tampering below breaks a property by number."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from tests.oracle.judge import audit
from tests.oracle.scenario import FIRST_POSITION, Parser
from tests.oracle.shelf import Shelf, accepted_rows, entry_of

TABLE = """
balance A USD                               => APPLIED
balance B USD                               => APPLIED
in: @World > A 10 USD overdraft             => APPLIED
h: A > B 6 USD hold                         => INFLIGHT
commit h 2                                  => APPLIED
void h                                      => VOID
no: A > B 9 USD                             => REJECTED insufficient_funds
out: A > B 8 USD                            => APPLIED
"""
IN, HOLD, COMMIT, VOID, NO, OUT = range(6)


@pytest.fixture(scope="module")
def court() -> dict[str, Any]:
    """What the judge is given of a ledger that is right."""
    steps = Parser().steps(TABLE)
    entries = [
        entry_of(step.request, step.request_id, FIRST_POSITION + number)
        for number, step in enumerate(steps)
        if step.request is not None
    ]
    shelf = Shelf()
    shelf.apply(entries)
    return {
        "records": shelf.rows(),
        "balances": shelf.balances,
        "holds": shelf.holds,
        "accepted": accepted_rows(entries),
        "done": shelf.done(),
    }


def change(part: str, key: Any, **fields: Any) -> Callable[[dict[str, Any]], None]:
    """A tampering that changes fields of one row."""
    return lambda court: court[part][key].update(fields)


def first_balance(court: dict[str, Any]) -> dict[str, Any]:
    """The figures of A."""
    return dict(court["balances"])[court["records"][IN]["destination_id"]]


def both_sides(court: dict[str, Any]) -> None:
    """A and B move together, so that the sum stays zero."""
    for row in (court["records"][OUT]["source_id"], court["records"][OUT]["destination_id"]):
        court["balances"][row]["credit"] += 1
        court["balances"][row]["debit"] += 1


TAMPERINGS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "a credit from nowhere": ("1", lambda court: first_balance(court).update(credit=11)),
    "figures off the journal": ("2", both_sides),
    "an amount edited": ("2", change("records", OUT, precise_amount=7)),
    "a negative amount": ("2", change("records", OUT, precise_amount=-8)),
    "another currency": ("2", change("records", OUT, currency="EUR")),
    "a balance lost": ("2", lambda court: court["balances"].pop(court["records"][IN]["source_id"])),
    "a reference twice": ("3", change("records", OUT, reference="in")),
    "an id twice": ("3", lambda court: court["records"].append(court["records"][IN])),
    "never accepted": ("3", lambda court: court["accepted"].pop()),
    "nothing recorded": ("4", lambda court: court["records"].pop()),
    "a refusal that moved": ("2, 5", change("records", NO, status="APPLIED", reason=None)),
    "a gap": ("6", change("records", OUT, sequence=7)),
    "an overtaking": ("6", change("records", OUT, position=FIRST_POSITION)),
    "a slot in two places": ("6", change("records", OUT, partition=1, sequence=1)),
    "an overdraft": ("7", change("records", IN, status="REJECTED", reason="unknown_balance")),
    "a hold overdrawn": ("8", change("records", COMMIT, precise_amount=3)),
    "a hold without a row": ("8", change("records", HOLD, status="APPLIED")),
    "a hold lost": ("8", lambda court: court["holds"].clear()),
    "a refusal with money there": ("12", change("records", NO, precise_amount=8)),
}


def test_what_is_right_has_no_violations(court: dict[str, Any]) -> None:
    """A ledger that nobody touched passes."""
    assert audit(**court) == []


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(court: dict[str, Any], name: str) -> None:
    """The violated property is named."""
    number, tamper = TAMPERINGS[name]
    broken = deepcopy(court)
    tamper(broken)
    if name == "an overdraft":
        first_balance(broken)["credit"] = 0
    assert [found for found in audit(**broken) if found.startswith(f"{number}:")] or [
        found for found in audit(**broken) if found.startswith(number)
    ]
