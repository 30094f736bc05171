"""The judge finds what it is there to find: each tampering below breaks a property by number."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from tests.engine.entries import accepted_rows, entry_of
from tests.engine.shelf import Shelf
from tests.oracle import ids
from tests.oracle.judge import audit
from tests.oracle.scenario import FIRST_POSITION, Parser, bulk_id_of, id_of

from daybook.ledger.balance import internal_balance_id
from daybook.ledger.ids import part_id
from daybook.requests import slot_of

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
IN, HOLD, COMMIT, VOID, NO, OUT = range(2, 8)


Court = dict[str, Any]
"""What the judge is given, by the names of its parameters."""


def court_of(table: str) -> tuple[Court, dict[str, str]]:
    """What the judge is given of a ledger that is right, and the ids that names stand for."""
    parser = Parser()
    entries = [
        entry_of(step.request, step.request_id, FIRST_POSITION + (step.seconds * 1000 << 20) + n)
        for n, step in enumerate(parser.steps(table))
        if step.request is not None
    ]
    shelf = Shelf()
    shelf.apply(entries)
    court = {
        "records": shelf.rows(),
        "balances": shelf.balances,
        "holds": shelf.holds,
        "accepted": accepted_rows(entries),
        "done": shelf.done(),
        "schedules": set(shelf.schedules),
        "things": shelf.things(),
    }
    return court, parser.ids


@pytest.fixture(scope="module")
def court() -> Court:
    """What the judge is given of plain requests."""
    return court_of(TABLE)[0]


def change(part: str, key: Any, **fields: Any) -> Callable[[Court], None]:
    """A tampering that changes fields of one row."""
    return lambda court: court[part][key].update(fields)


def first_balance(court: Court) -> dict[str, Any]:
    """The figures of A."""
    balances: dict[str, dict[str, Any]] = court["balances"]
    return balances[court["records"][IN]["destination_id"]]


def both_sides(court: Court) -> None:
    """A and B move together, so that the sum stays zero."""
    for row in (court["records"][OUT]["source_id"], court["records"][OUT]["destination_id"]):
        court["balances"][row]["credit"] += 1
        court["balances"][row]["debit"] += 1


TAMPERINGS: dict[str, tuple[str, Callable[[Court], Any]]] = {
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
    "a rejection that moved": ("2, 5", change("records", NO, status="APPLIED", reason=None)),
    "a gap": ("6", change("records", OUT, sequence=7)),
    "an overtaking": ("6", change("records", OUT, position=FIRST_POSITION)),
    "a slot in two places": ("6", change("records", OUT, partition=1, sequence=1)),
    "an overdraft": ("7", change("records", IN, status="REJECTED", reason="unknown_balance")),
    "a hold overdrawn": ("8", change("records", COMMIT, precise_amount=3)),
    "a hold without a row": ("8", change("records", HOLD, status="APPLIED")),
    "a hold lost": ("8", lambda court: court["holds"].clear()),
    "a rejection with money there": ("12", change("records", NO, precise_amount=8)),
}


def test_what_is_right_has_no_violations(court: Court) -> None:
    """A ledger that nobody touched passes."""
    assert audit(**court) == []


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(court: Court, name: str) -> None:
    """The violated property is named."""
    number, tamper = TAMPERINGS[name]
    broken = deepcopy(court)
    tamper(broken)
    if name == "an overdraft":
        first_balance(broken)["credit"] = 0
    assert [found for found in audit(**broken) if found.startswith(f"{number}:")] or [
        found for found in audit(**broken) if found.startswith(number)
    ]


EVERY_KIND = """
ledger L
identity P first_name=Ann
balance A USD owner=P
balance B USD
in: @World > A 100 USD overdraft
s: A > @X=4,@Y=left 10 USD
refund s id=r
g: A > @X=4,@Y=left 10 USD hold
commit g id=c
h: A > @X=4,@Y=left 10 USD hold expires=60
commit h.1
bulk all atomic
- i: A > B 1 USD
- j: A > @X=1,B=left 3 USD
- k: B > A 1 USD
bulk none atomic
- l: A > B 1 USD
- m: B > A 99 USD
bulk some
- n: B > A 99 USD
- o: A > B 1 USD
later: @World > A 1 USD overdraft scheduled=60
gone: @World > A 1 USD overdraft scheduled=60
waits: @World > A 1 USD overdraft scheduled=90
cancel gone id=x
change ledger L name=M meta=a:1
change transaction in meta=a:1
at 60
due later
deadline h
"""


@pytest.fixture(scope="module")
def high_court() -> tuple[Court, dict[str, str]]:
    """What the judge is given of requests of every kind."""
    return court_of(EVERY_KIND)


Tampering = Callable[[Court, Callable[[str], dict[str, Any]]], Any]


def edit(name: str, **fields: Any) -> Tampering:
    """A tampering that changes fields of the row that a name stands for."""
    return lambda court, row: row(name).update(fields)


def lose(name: str) -> Tampering:
    """A tampering that takes a row away and hides the gap."""

    def tamper(court: Court, row: Callable[[str], dict[str, Any]]) -> None:
        court["records"].remove(row(name))
        for sequence, each in enumerate(court["records"], 1):
            each["sequence"] = sequence

    return tamper


def swap(one: str, other: str) -> Tampering:
    """A tampering that exchanges the places of two rows."""

    def tamper(court: Court, row: Callable[[str], dict[str, Any]]) -> None:
        row(one)["sequence"], row(other)["sequence"] = row(other)["sequence"], row(one)["sequence"]

    return tamper


def left_open(court: Court, row: Callable[[str], dict[str, Any]]) -> None:
    """An older request that spends from one of the bulk's slots has no outcome."""
    (bulk,) = (
        entry for entry in court["accepted"] if entry["request_id"] == row("all")["transaction_id"]
    )
    slot = next(iter(bulk["slots"] - {bulk["slot"]}))
    court["accepted"].append(
        {**bulk, "kind": "Commit", "request_id": "txn_x", "position": FIRST_POSITION - 1}
        | {"slot": slot, "slots": frozenset(), "reference": None, "fingerprint": b""}
    )


def half_committed(court: Court, row: Callable[[str], dict[str, Any]]) -> None:
    """A commit of a request with legs says that it is whole, and left a leg out."""
    row("c")["parts"] = 1
    lose("c.2")(court, row)


A_MINUTE = FIRST_POSITION // (1 << 20) * 1000 + 60_000_000
OF_EVERY_KIND: dict[str, tuple[str, Tampering]] = {
    "a leg is missing": ("9: has legs", lose("s.2")),
    "legs of other amounts": ("9: that do not add up", edit("s.1", precise_amount=5)),
    "a leg is unlike its request": ("9: that is unlike it", edit("s.1", status="INFLIGHT")),
    "a leg has another number": ("9: says that it is part", edit("s.1", part=2)),
    "a leg has another label": ("9: labelled", edit("s.1", reference="s_2")),
    "the name of a leg is a reference": ("9: a reference of its own", edit("s.1", derived=False)),
    "legs in another order": ("9: is out of order", swap("s.1", "s.2")),
    "a leg of another request": ("9: another parent", edit("s.1", parent_id="txn_x")),
    "a leg from elsewhere": ("9: another source_id", edit("s.1", source_id="bln_x")),
    "legs to the same balance": (
        "9: two legs between the same balances",
        lambda court, row: row("s.1").update(destination_id=row("s.2")["destination_id"]),
    ),
    "nothing shared": ("9: several or one source_id", edit("s", source_id=None)),
    "a leg was recorded later": ("9: was recorded elsewhere", edit("s.2", position=FIRST_POSITION)),
    "a request moves money beside its legs": ("9: is a part of nothing", edit("s", parts=None)),
    "a refused request has legs": ("9: was refused and has legs", edit("s", status="REJECTED")),
    "an atomic bulk in part": ("9: is atomic, and 2 of 3", edit("k", status="REJECTED")),
    "a refused bulk in part": ("9: is REJECTED with 1 items", edit("l", status="APPLIED")),
    "a refused bulk without a reason": (
        "9: no item of it is why",
        edit("m", reason="bulk_aborted"),
    ),
    "neighbours refused for themselves": (
        "9: was refused for",
        edit("l", reason="unknown_balance"),
    ),
    "an item is missing": ("9: has no row for item", lose("k")),
    "an item of another name": ("9: shows x for item", edit("k", reference="x")),
    "an item of another bulk": ("9: of its own", edit("k", parent_id="bulk_x")),
    "a bulk says that it holds": ("9: unlike its items", edit("all", status="INFLIGHT")),
    "a bulk of more items": ("9: has 4 parts for 3", edit("all", parts=4)),
    "a bulk overtook": ("6: bulk_.* overtook txn_x", left_open),
    "a commit left a leg out": ("9: left", half_committed),
    "a commit of something else": ("9: is done to", edit("c.1", parent_id="txn_x")),
    "a part of a commit voids": ("9: that is unlike it", edit("c.1", kind="void")),
    "refunded twice": (
        "9: is the second of",
        lambda court, row: row("r.2").update(parent_id=row("r.1")["parent_id"]),
    ),
    "a refund of another amount": ("9: is not the reverse", edit("r.1", precise_amount=3)),
    "a refund goes the same way": (
        "9: is not the reverse",
        lambda court, row: row("r.1").update(source_id=row("s.1")["source_id"]),
    ),
    "a refund of a rejection": (
        "9: which moved nothing",
        lambda court, row: row("r.1").update(parent_id=row("m")["transaction_id"]),
    ),
    "a parent is missing": ("8: does not exist", edit("r.1", parent_id="txn_x")),
    "a parent comes later": ("8: comes before its parent", swap("g.1", "c.1")),
    "before its time": (
        "9: came before its time",
        edit("later.scheduled", scheduled_micros=A_MINUTE + 1),
    ),
    "never scheduled": ("9: never scheduled", edit("in", scheduled_micros=A_MINUTE)),
    "cancelled and applied": (
        "9: was cancelled and is",
        edit("gone", status="APPLIED", reason=None),
    ),
    "cancelled too late": (
        "9: after its time",
        edit("gone.scheduled", scheduled_micros=FIRST_POSITION // (1 << 20) * 1000),
    ),
    "cancelled out of nothing": ("9: was cancelled and never", edit("x", parent_id="txn_x")),
    "not what was scheduled": ("9: is not what was scheduled", edit("later", precise_amount=2)),
    "a schedule was lost": ("9: schedules", lambda court, row: court["schedules"].clear()),
    "the name of a schedule is a reference": (
        "3: is no label",
        edit("waits.scheduled", derived=False),
    ),
    "a transaction has only a label": ("3: no reference of its own", edit("in", derived=True)),
    "a commit after the expiry": ("8: after its void was due", edit("h.1", expires_micros=1)),
    "an expiry before its time": (
        "8: demand None",
        edit("h.2", expires_micros=A_MINUTE + 1_000_000),
    ),
    "an expiry where a commit was due": ("8: demand commit", edit("h.2", commits_micros=1)),
    "an expiry of a part": ("8: of it is closed", edit("h.2.deadline", precise_amount=1)),
    "a hold outlives its date": ("8: is open though", lose("h.2.deadline")),
    "a ledger of another name": (
        "2: its rows say",
        lambda court, row: court["things"].__setitem__(
            row("in")["transaction_id"], {"fields": {}, "meta_data": {"a": "2"}}
        ),
    ),
    "an identity is missing": (
        "2: is missing",
        lambda court, row: court["things"].pop(
            next(own for own in court["things"] if own.startswith("idt_"))
        ),
    ),
}


def test_every_kind_that_is_right_has_no_violations(
    high_court: tuple[Court, dict[str, str]],
) -> None:
    """A ledger with requests of every kind passes; what the tamperings rely on is there."""
    court, ids = high_court
    assert audit(**court) == []
    assert len({row["kind"] for row in court["records"]}) == 11
    assert court["schedules"] == {ids["waits"]}


@pytest.mark.parametrize("name", OF_EVERY_KIND)
def test_tampering_with_any_kind_is_found(
    high_court: tuple[Court, dict[str, str]], name: str
) -> None:
    """The violated property is named, and what violates it."""
    broken, ids = deepcopy(high_court[0]), high_court[1]
    parser = Parser()
    parser.ids = ids

    def row(name: str) -> dict[str, Any]:
        wanted = parser.id_named(name)
        return next(row for row in broken["records"] if row["transaction_id"] == wanted)

    expected, tamper = OF_EVERY_KIND[name]
    tamper(broken, row)
    number, words = expected.split(": ", 1)
    found = audit(**broken)
    assert [each for each in found if each.startswith(number) and re.search(words, each)], found


def test_the_oracle_shares_no_code_with_the_engine() -> None:
    """Judge and model import the standard library and each other, and nothing of Daybook's."""
    modules = sorted((Path(__file__).parents[2] / "oracle").glob("*.py"))
    assert len(modules) > 10
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                is_own = name.startswith("tests.oracle.")
                assert is_own or name.partition(".")[0] in sys.stdlib_module_names, (path, name)


@pytest.mark.parametrize("request_id", [id_of("txn", "one"), bulk_id_of("two", 4095)])
def test_both_derive_the_same_ids(request_id: str) -> None:
    """The judge knows the parts of a request, internal balances and slots by its own reckoning."""
    for part in (1, 2, 10_000, "deadline", "scheduled"):
        assert ids.part_id(request_id, part) == part_id(request_id, part)
    for name, currency in (("@World", "USD"), ("@Ünïcode", "€")):
        assert ids.internal_balance_id(name, currency) == internal_balance_id(name, currency)
        assert ids.slot_of(name + currency) == slot_of(name + currency)
