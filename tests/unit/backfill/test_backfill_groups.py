"""Rows that are one of a bookkeeper's entries become one request, or none."""

from __future__ import annotations

import io
import tomllib
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.backfill.builders import NOW, builder_of

from daybook.backfill.checks import Checks
from daybook.backfill.groups import STAND_INS
from daybook.backfill.lines import Line, Reject, balance_id_of
from daybook.backfill.loading import check_mapping
from daybook.backfill.mapped_lines import LineBuilder
from daybook.backfill.rows import Row
from daybook.backfill.source import Source
from daybook.requests import BulkRequest, TransactionRequest

JOURNAL = """
[ledger]
name = "Books"
[group]
by = "{entry}"
reference = "entry-{entry}"
[transaction]
reference = "entry-{entry}-{group_row}"
currency = "{currency}"
amount = [
  { when = { debit = { empty = false } }, value = "{debit}" },
  { when = { credit = { empty = false } }, value = "{credit}" },
]
precision = 100
description = "{text}"
allow_overdraft = true
source = [{ when = { debit = { empty = false } }, balance = "{account}" }]
destination = [{ when = { credit = { empty = false } }, balance = "{account}" }]
"""
BUILDER = builder_of(JOURNAL)


def row(
    number: int, group: str, account: str, taken: str, given: str, text: str = "", **cells: Any
) -> Row:
    columns = {
        "entry": group, "account": account, "debit": taken, "credit": given, "text": text,
        "currency": "EUR",
    } | cells  # fmt: skip
    return Row(number, columns, None, [str(value) for value in columns.values()])


def items_of(line: Line | Reject) -> tuple[TransactionRequest, ...]:
    assert isinstance(line, Line), line
    assert isinstance(line.request, BulkRequest)
    assert line.request.atomic
    return line.request.transactions


def named(account: str) -> str:
    return balance_id_of(BUILDER.ledger_id, account)


def test_postings_are_paired_into_one_request() -> None:
    """Several sources, several destinations: amounts go over in the order of the rows."""
    salaries = [
        row(2, "7", "Bank", "70.00", "", "net"),
        row(3, "7", "Taxes", "30.00", "", "tax"),
        row(4, "7", "Ann", "", "60.00"),
        row(5, "7", "Bob", "", "40.00"),
        row(6, "8", "Bank", "5", ""),
        row(7, "8", "Fees", "", "5.00"),
    ]
    first, second = BUILDER.lines(salaries)
    assert [
        (i.reference, i.source, i.destination, i.minor_amount(), i.description)
        for i in items_of(first)
    ] == [
        ("entry-7-3", named("Bank"), named("Ann"), 6000, ""),
        ("entry-7-1", named("Bank"), named("Bob"), 1000, "net"),
        ("entry-7-2", named("Taxes"), named("Bob"), 3000, "tax"),
    ]
    assert isinstance(first, Line)
    assert (first.reference, first.number, len(first.rows)) == ("entry-7", 2, 4)
    assert first.currencies[named("Bob")] == "EUR"
    assert len(items_of(second)) == 1
    again, _ = BUILDER.lines(salaries)
    assert isinstance(again, Line)
    assert again.request.body() == first.request.body()


def test_a_blank_in_the_text_of_a_group_is_named() -> None:
    """It keeps a row from its group, which then does not add up: nobody sees why."""
    builder = builder_of(JOURNAL.replace('"entry-{entry}', '"entry-{entry}-of-2026'))
    parted = [row(2, "10", "A", "1", ""), row(3, "10 ", "B", "", "1")]
    reasons = [one.reason for one in builder.lines(parted) if isinstance(one, Reject)]
    assert reasons == [
        "the rows of its group take 1 and give 0 EUR",
        "the rows of its group take 0 and give 1 EUR: by '10 ' ends with U+0020 (SPACE); remove "
        "it; or write normalise = true into the mapping",
    ]


amounts = st.lists(st.integers(1, 500), min_size=1, max_size=6)


@given(amounts, st.lists(st.integers(1, 3_000), max_size=6), st.randoms())
def test_what_is_paired_adds_up(takes: list[int], cuts: list[int], chance: Random) -> None:
    """Each row gives or takes what it says, each transaction has a reference of its own."""
    total = sum(takes)
    ends = sorted({*(cut for cut in cuts if cut < total), total})
    gives = [end - start for start, end in pairwise([0, *ends])]
    rows = [row(n, "1", f"T{n}", f"{a / 100:.2f}", "") for n, a in enumerate(takes)]
    rows += [row(n, "1", f"G{n}", "", f"{a / 100:.2f}") for n, a in enumerate(gives)]
    chance.shuffle(rows)
    (line,) = BUILDER.lines(rows)
    moved: Counter[str | None] = Counter()
    items = items_of(line)
    for item in items:
        moved[item.source] -= item.minor_amount()
        moved[item.destination] += item.minor_amount()
    expected = {named(f"T{n}"): -a for n, a in enumerate(takes)}
    assert moved == expected | {named(f"G{n}"): a for n, a in enumerate(gives)}
    assert len({item.reference for item in items}) == len(items) < len(rows)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(2, "1", "A", "5.00", ""), row(3, "1", "B", "", "4.99")],
         {2: "the rows of its group take 5 and give 4.99 EUR",
          3: "the rows of its group take 5 and give 4.99 EUR"}),
        ([row(2, "1", "A", "5.00", ""), row(3, "1", "B", "", "five")],
         {2: "line 3 of its group is refused", 3: "amount: 'five' in column 'credit'"}),
        ([row(2, "1", "A", "5.00", ""), row(3, "1", "B", "", "")],
         {2: "line 3 of its group is refused", 3: "no rule of the mapping fits this line"}),
        ([row(2, "1", "A", "5.00", ""), Row(3, {}, "not CSV"), row(4, "1", "B", "", "5.00")],
         {2: "line 3 of its group", 3: "not CSV", 4: "line 3 of its group"}),
        ([row(2, "1", "A", "5.00", ""), row(3, "1", "A", "", "5.00")],
         {2: "cannot be the same balance", 3: "cannot be the same balance"}),
        ([row(2, "1", "A", "5.00", ""), Row(3, {}, "not CSV"), row(4, "2", "A", "7.00", ""),
          row(5, "2", "B", "", "7.00")],
         {2: "line 3 of its group", 3: "not CSV", 4: "line 3, which may be of its group",
          5: "line 3, which may be of its group"}),
        ([Row(2, {}, "not CSV"), row(3, "1", "A", "5.00", ""), row(4, "1", "B", "", "5.00")],
         {2: "not CSV", 3: "line 2, which may be of its group",
          4: "line 2, which may be of its group"}),
        ([row(2, "1", "A", "5.00", ""), row(3, "1", "B", "", "5.00", entry=["1"])],
         {2: "line 3 of its group", 3: "by: column 'entry' is a JSON list"}),
        ([row(2, "1", "A", "5.00", ""), row(3, "1", "B", "", "5.00", debit={})],
         {2: "line 3 of its group", 3: "column 'debit' is a JSON dict"}),
    ],
)  # fmt: skip
def test_a_group_is_posted_whole_or_not(rows: list[Row], said: dict[int, str]) -> None:
    """Each of its rows is refused, and says which of them is wrong, or what does not add up."""
    rejects = list(BUILDER.lines(rows))
    assert len(rejects) == len(rows)
    assert all(isinstance(reject, Reject) for reject in rejects)
    for reject in rejects:
        assert isinstance(reject, Reject)
        assert said[reject.number] in reject.reason


def test_a_zero_in_the_column_that_is_not_used() -> None:
    """It is not empty, which the reason says; a rule that asks for the sign takes it as unused."""
    rows = [row(2, "1", "A", "5.00", "0.00"), row(3, "1", "B", "0.00", "5.00")]
    for reject in BUILDER.lines(rows):
        assert isinstance(reject, Reject)
        assert "'0.00' in column" in reject.reason
        assert 'a zero is not empty, so ask for sign = "positive" in place of' in reject.reason
    by_sign = builder_of(JOURNAL.replace("empty = false", 'sign = "positive"'))
    (line,) = by_sign.lines([*rows[:1], row(3, "1", "B", "", "5.00")])
    (item,) = items_of(line)
    assert (item.source, item.destination, item.amount) == (named("A"), named("B"), None)
    assert [type(one) for one in by_sign.lines([row(2, "1", "A", "0.00", "")])] == [Reject]


BOTH_SIDES = """
[group]
by = "{entry}"
reference = "entry-{entry}"
[transaction]
reference = "entry-{entry}-{group_row}"
currency = "EUR"
amount = "{amount}"
precision = 100
allow_overdraft = true
source = "@Bank"
destination = "@{account}"
effective_date = { column = "day" }
"""
"""Each row balances: no sum tells that a part of an entry is missing."""


def posted_of(entries: str, more: str = "", *, is_reversed: bool = False) -> list[list[int] | str]:
    """The lines of each entry that is posted, and why the others are not, in order."""
    mapping = check_mapping(tomllib.loads(f"{more}\n{BOTH_SIDES}"))
    builder = LineBuilder(mapping, now=lambda: NOW)
    content = f"entry,day,account,amount\n{entries}".encode()
    source = Source(
        io.BytesIO(content), mapping, "csv",
        order_key=builder.order_key, group_key=builder.group_key, is_reversed=is_reversed,
    )  # fmt: skip
    return [
        f"{line.number}: {line.reason}" if isinstance(line, Reject)
        else [row.number for row in line.rows]
        for line in Checks().judged(builder.lines(source))
    ]  # fmt: skip


INTERLEAVED = """7,2026-01-01,A,1
07,2026-01-01,B,2
7,2026-01-01,C,3
6,2026-01-01,D,4
07,2026-01-01,E,5
"""


def test_entries_of_one_place_in_the_order_stay_whole() -> None:
    """Numbers that are equal, or one day: the rows of each are together, in their order."""
    assert posted_of(INTERLEAVED, 'order_by = "entry"') == [[5], [2, 4], [3, 6]]
    assert posted_of(INTERLEAVED, 'order_by = "day"') == [[2, 4], [3, 6], [5]]
    backwards = posted_of(INTERLEAVED, 'order_by = "day"', is_reversed=True)
    assert backwards == [[5], [6, 3], [4, 2]]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_an_entry_that_comes_again_is_not_posted_in_part(is_reversed: bool) -> None:
    """No row of it, those that came first neither; the reason has the way out."""
    told = posted_of(INTERLEAVED, is_reversed=is_reversed)
    said = "the rows of its group begin in line {} and again in line {}, with others between them"
    fix = ': order_by = "entry" in the mapping brings them together'
    seven, other = (said.format(*lines) + fix for lines in ((2, 4), (3, 6)))
    rejects = [f"2: {seven}", f"3: {other}", f"4: {seven}", [5], f"6: {other}"]
    assert told == (rejects[::-1] if is_reversed else rejects)


def test_an_entry_of_two_days_is_not_posted_by_day_in_part() -> None:
    """The order that the mapping asks for takes its rows apart."""
    entries = "7,2026-01-01,A,1\n8,2026-01-02,B,2\n7,2026-01-03,C,3\n"
    first, whole, last = posted_of(entries, 'order_by = "day"')
    assert whole == [3]
    for number, told in ((2, first), (4, last)):
        assert str(told).startswith(f"{number}: the rows of its group begin in line 2 and again in")
        assert "by day, the column of order_by, they are not together: give them one" in str(told)
    assert posted_of(entries, 'order_by = "entry"') == [[2, 4], [3]]


def test_an_entry_that_comes_again_keeps_its_references() -> None:
    """Also when a row of it is wrong, which says so itself."""
    builder = builder_of(BOTH_SIDES)
    columns = {"entry": "7", "day": "2026-01-01", "account": "A", "amount": "one"}
    for amount, said in (("one", "amount: 'one'"), ("1", "begin in line 2 and again in line 9")):
        again = Row(9, columns | {"amount": amount}, parted=(2, 9))
        (reject,) = builder.lines([again])
        assert isinstance(reject, Reject)
        assert set(reject.references) == {"entry-7", "entry-7-1"}
        assert said in reject.reason


@pytest.mark.parametrize("cell", ["4.99", "five"])
def test_a_refused_group_keeps_its_references(cell: str) -> None:
    """Its own and those of its rows, whether a row is wrong or their sum: it needs them later."""
    refused = [row(2, "1", "A", "5.00", ""), row(3, "1", "B", "", cell)]
    rejects = list(BUILDER.lines(refused))
    kept = {name for one in rejects if isinstance(one, Reject) for name in one.references}
    assert kept == {"entry-1", "entry-1-1", "entry-1-2"}
    between = [row(4, "2", "A", "5.00", ""), row(5, "2", "B", "", "5.00")]
    again = [row(6, "1", "A", "5.00", ""), row(7, "1", "B", "", "5.00")]
    judged = list(Checks().judged(BUILDER.lines(refused + between + again)))
    assert [type(one) for one in judged] == [Reject, Reject, Line, Reject, Reject]


def test_rows_without_the_text_of_a_group_are_none() -> None:
    """Two entries without a number are not one, even if it has a reference from elsewhere."""
    builder = builder_of(JOURNAL.replace('"entry-{entry}', '"entry-{text}'))
    rows = [row(n, "", "A", *sides, text=str(n)) for n, sides in enumerate([("5", ""), ("", "5")])]
    for reject in builder.lines(rows):
        assert isinstance(reject, Reject)
        assert "by: column 'entry' is empty" in reject.reason


def test_rows_that_name_both_sides_are_transactions_as_they_are() -> None:
    """An atomic bulk with one for each row."""
    given = 'destination = [{ when = { credit = { empty = false } }, balance = "{account}" }]'
    text = JOURNAL.replace(given, 'destination = "@Till"')
    (line,) = builder_of(text).lines([row(2, "1", "A", "5", ""), row(3, "1", "B", "7", "")])
    assert [item.reference for item in items_of(line)] == ["entry-1-1", "entry-1-2"]


@pytest.mark.parametrize(("bound", "most"), [("GROUP_ROWS_MAX", 3), ("GROUP_CHARACTERS_MAX", 20)])
def test_a_group_without_end_is_refused_in_bounded_memory(
    bound: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its rows, also those beyond the bound; the next group is not touched."""
    monkeypatch.setattr(f"daybook.backfill.groups.{bound}", most)
    rows = [row(n, "1", "A", "5", "") for n in range(10)]
    rows += [row(20, "2", "A", "5", ""), row(21, "2", "B", "", "5")]
    *rejects, line = BUILDER.lines(rows)
    assert [reject.number for reject in rejects if isinstance(reject, Reject)] == list(range(10))
    assert len(items_of(line)) == 1


@pytest.mark.parametrize("indicator", STAND_INS)
def test_no_name_of_a_balance_is_taken_by_the_side_that_a_row_leaves_open(indicator: str) -> None:
    """An internal balance may be called as it likes."""
    builder = builder_of(JOURNAL.replace('balance = "{account}"', 'indicator = "@{account}"'))
    for takes, gives in ((indicator[1:], "Other"), ("Other", indicator[1:])):
        (line,) = builder.lines([row(2, "1", takes, "5", ""), row(3, "1", gives, "", "5")])
        (item,) = items_of(line)
        assert (item.source, item.destination) == (f"@{takes}", f"@{gives}")
