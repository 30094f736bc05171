"""Lines beside one another: their order, their dates, and references that are there twice."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path
from typing import Any

import pytest

from daybook.backfill import Line, LineBuilder, Mapping, Reject, RequestLines, Row, Source, dry_run
from daybook.backfill.checks import Checks
from daybook.backfill.loading import check_mapping
from daybook.backfill.ordering import SeenReferences, natural_key
from daybook.errors import ConfigError

MAPPING = """
{more}
[transaction]
reference = "{{id}}"
source = "@World"
destination = "@F"
currency = "EUR"
amount = "{{amount}}"
precision = 100
effective_date = {{ column = "day", format = "%d.%m.%Y" }}
"""
FILE = b"""id,amount,day
9,1,03.02.2026
10,1,01.03.2026
8,1,31.12.2025
x,1,soon
7,1,01.03.2026
"""


def source_of(content: bytes, more: str = "", *, is_reversed: bool = False) -> Source:
    mapping = check_mapping(tomllib.loads(MAPPING.format(more=more)))
    key = LineBuilder(mapping).order_key
    return Source(io.BytesIO(content), mapping, "csv", order_key=key, is_reversed=is_reversed)


def ids(source: Source) -> list[str]:
    return [row.columns["id"] for row in source]


def test_rows_come_in_the_order_that_is_asked_for() -> None:
    """Of the file, backwards, by date, by number; equal keys as they stand, and so backwards."""
    assert ids(source_of(FILE)) == ["9", "10", "8", "x", "7"]
    assert ids(source_of(FILE, is_reversed=True)) == ["7", "x", "8", "10", "9"]
    by_day = 'order_by = "day"'
    assert ids(source_of(FILE, by_day)) == ["x", "8", "9", "10", "7"]
    assert ids(source_of(FILE, by_day, is_reversed=True)) == ["7", "10", "9", "8", "x"]
    assert ids(source_of(FILE, 'order_by = "id"')) == ["7", "8", "9", "10", "x"]
    assert [row.number for row in source_of(FILE, 'order_by = "id"')] == [6, 4, 2, 3, 5]


@pytest.mark.parametrize("day", ["03.02.2026", "2/3/26", "03-02-2026 10:15", "3 Feb 2026"])
def test_dates_that_are_ordered_as_text_are_told_once(day: str) -> None:
    """The year last, and the column no date of the mapping: it says how to order by time."""
    told: list[str] = []
    text = MAPPING.format(more='order_by = "booked"')
    builder = LineBuilder(check_mapping(tomllib.loads(text)), warn=told.append)
    assert builder.order_key is not None
    for number in (2, 3):
        assert builder.order_key(Row(number, {"booked": day}))
    (said,) = told
    assert f"order_by = 'booked' orders by text, and {day!r} looks like a date" in said
    assert 'effective_date = { column = "booked", format = ' in said


@pytest.mark.parametrize("text", ["2026-02-03", "10", "1.5", "12-2026", "A 1.2.2026", "1.2.3.4567"])
def test_texts_that_order_themselves_are_not_told(text: str) -> None:
    """Numbers, names and dates that begin with the year."""
    told: list[str] = []
    mapping = check_mapping(tomllib.loads(MAPPING.format(more='order_by = "booked"')))
    key = LineBuilder(mapping, warn=told.append).order_key
    assert key is not None
    assert key(Row(2, {"booked": text}))
    assert not told


def test_faults_and_cells_survive_another_order() -> None:
    """A broken line stays one, with its number; bytes that are no text stay what they are."""
    content = FILE + b"\xff,1,01.01.2026\n1,2\n"
    forwards = {row.number: (row.columns, row.fault) for row in source_of(content)}
    backwards = {
        row.number: (row.columns, row.fault) for row in source_of(content, is_reversed=True)
    }
    assert forwards == backwards
    assert forwards[8][1] == "has 2 columns, the header has 3"


GROUPED = """
order_by = "day"
[group]
by = "{entry}"
reference = "{entry}"
[transaction]
reference = "{entry}-{group_row}"
source = "@World"
destination = "@F"
currency = "EUR"
amount = "1"
precision = 100
effective_date = { column = "day", format = "%d.%m.%Y" }
"""


def grouped_source(content: bytes, mapping: Mapping, data_format: str = "csv") -> Source:
    builder = LineBuilder(mapping)
    return Source(
        io.BytesIO(content), mapping, data_format,
        order_key=builder.order_key, group_key=builder.group_key,
    )  # fmt: skip


@pytest.mark.parametrize("broken", [b"7,soon\n", b"7\n", b"7,\n"])
def test_a_row_whose_place_cannot_be_told_ends_a_run_of_groups(broken: bytes) -> None:
    """Any group may lack it: sorted first, it would leave its own to be posted without it."""
    mapping = check_mapping(tomllib.loads(GROUPED))
    content = b"entry,day\n7,02.01.2026\n7,01.01.2026\n" + broken * 12
    source = grouped_source(content, mapping)
    said = "can't tell the place of line 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, and more: .* no line was"
    with pytest.raises(ConfigError, match=said):
        next(iter(source))
    by_entry = check_mapping(tomllib.loads(GROUPED.replace('"day"', '"entry"', 1)))
    source = grouped_source(b"entry,day\n7,1\n,2\n", by_entry)
    with pytest.raises(ConfigError, match="the place of line 3:"):
        next(iter(source))
    no_group = b'{"entry": 7, "day": "01.01.2026"}\n{"entry": [7], "day": "01.01.2026"}\n'
    with pytest.raises(ConfigError, match=r"line 2: .* or its group can't be told"):
        next(iter(grouped_source(no_group, mapping, "ndjson")))


def test_numbers_in_texts_order_as_numbers() -> None:
    """9 before 10, wherever they stand."""
    texts = ["inv-10-2", "inv-9-11", "inv-9-2", "a", "007", "8"]
    assert sorted(texts, key=natural_key) == ["007", "8", "a", "inv-9-2", "inv-9-11", "inv-10-2"]


def test_a_disk_without_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends with the way out, not with a traceback."""
    monkeypatch.setattr("daybook.backfill.spool.CACHE_KIB", 16)
    monkeypatch.setattr("daybook.backfill.spool.PAGES_MAX", 20)
    rows = (Row(n, {}, None, ["x" * 500]) for n in range(1_000))
    source = source_of(b"id,amount,day\n", is_reversed=True)
    monkeypatch.setattr(source, "_in_file_order", lambda: rows)
    with pytest.raises(ConfigError, match="set SQLITE_TMPDIR to a folder with room"):
        list(source)


def judged(content: bytes) -> tuple[list[Line | Reject], Checks]:
    source = source_of(content)
    assert source.mapping is not None
    checks = Checks()
    return list(checks.judged(LineBuilder(source.mapping).lines(source))), checks


def test_a_reference_stands_in_a_file_once() -> None:
    """A second coffee is not lost in silence: the line is refused, and names the first one."""
    coffee = b"coffee,4.50,01.03.2026\n"
    lines, _ = judged(b"id,amount,day\n" + coffee + b"tea,3.00,01.03.2026\n" + coffee)
    assert [type(line) for line in lines] == [Line, Line, Reject]
    reject = lines[2]
    assert isinstance(reject, Reject)
    assert (reject.number, reject.code, reject.reference) == (4, "reference_conflict", "coffee")
    assert reject.reason.startswith("reference: coffee is that of line 2, too")


def test_a_refused_line_keeps_its_reference() -> None:
    """Corrected, it will be sent with it: whatever else has it is refused, too."""
    lines, _ = judged(
        b"id,amount,day\n"
        b"tea,?,01.03.2026\ntea,4.50,01.03.2026\ntea,?,01.03.2026\nmilk,1,02.03.2026\n"
    )
    reasons = [line.reason if isinstance(line, Reject) else None for line in lines]
    assert [str(reason)[:32] for reason in reasons] == [
        "amount: '?' in column 'amount' i",
        "reference: tea is that of line 2",
        "amount: '?' in column 'amount' i",
        "None",
    ]


def test_the_other_references_of_a_refused_bulk_are_kept() -> None:
    """One of them stood in the file before; the others may not come again, either."""
    item: dict[str, Any] = {
        "source": "@World", "destination": "@F", "currency": "EUR", "precise_amount": 1,
        "precision": 100,
    }  # fmt: skip
    first, second = item | {"reference": "a"}, item | {"reference": "b"}
    bulk = {"transactions": [first, second], "reference": "c"}
    requests: list[dict[str, Any]] = [first, bulk, second]
    rows = [Row(number, columns) for number, columns in enumerate(requests, 1)]
    rejects: list[Reject] = []
    *_, summary = dry_run(rows, RequestLines(), rejects.append)
    assert [reject.number for reject in rejects] == [2, 3]
    assert summary.valid == 1


@pytest.mark.parametrize(("column", "cell"), [("day", ["x"]), ("note", {"a": 1})])
def test_a_cell_that_orders_nothing_is_named(column: str, cell: Any) -> None:
    """A list or an object: the row is refused for it, and the others are posted."""
    mapping = check_mapping(tomllib.loads(MAPPING.format(more=f'order_by = "{column}"')))
    builder = LineBuilder(mapping)
    assert builder.order_key is not None
    row = Row(1, {"id": "1", "amount": "1", "day": "01.02.2026", column: cell})
    assert builder.order_key(row) is None
    (reject,) = builder.lines([row])
    assert isinstance(reject, Reject)
    assert f"order_by: column '{column}' is a JSON {type(cell).__name__}" in reject.reason


@pytest.mark.parametrize("column", ["day", "note"])
def test_an_empty_cell_has_no_place_in_an_order(column: str) -> None:
    """Also where a date is optional: the row would be posted before all others."""
    text = MAPPING.format(more=f'order_by = "{column}"')
    builder = LineBuilder(
        check_mapping(tomllib.loads(text.replace('"%d.%m.%Y"', '"%d.%m.%Y", optional = true')))
    )
    row = Row(1, {"id": "1", "amount": "1", "day": "", "note": " "})
    (reject,) = builder.lines([row])
    assert isinstance(reject, Reject)
    assert f"order_by: column '{column}' is empty" in reject.reason


def test_bytes_that_are_no_text_order_rows_too() -> None:
    """They stand behind what is text."""
    content = b"id,amount,day\n\xff,1,01.01.2026\n2,1,01.01.2026\n"
    assert ids(source_of(content, 'order_by = "id"')) == ["2", "\udcff"]


def test_the_references_within_a_bulk_count_too() -> None:
    """Another line may not have that of a transaction of a bulk."""
    item = {
        "reference": "a", "source": "@World", "destination": "@F", "currency": "EUR",
        "precise_amount": 1, "precision": 100,
    }  # fmt: skip
    requests: list[dict[str, Any]] = [{"transactions": [item], "reference": "b"}, item]
    rows = [Row(number, columns) for number, columns in enumerate(requests, 1)]
    rejects: list[Reject] = []
    *_, summary = dry_run(rows, RequestLines(), rejects.append)
    assert (summary.valid, summary.rejects) == (1, 1)
    assert rejects[0].reason.startswith("reference: a is that of line 1, too")


def test_what_was_seen_is_kept_on_disk_beyond_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reference is found again, though hardly any of them fits into the memory."""
    monkeypatch.setattr("daybook.backfill.spool.CACHE_KIB", 16)
    seen = SeenReferences()
    assert [seen.add(f"r{n}", n) for n in range(5_000)] == [None] * 5_000
    assert [seen.add(f"r{n}", -1) for n in range(0, 5_000, 7)] == list(range(0, 5_000, 7))
    seen.close()


def test_dates_that_run_backwards_are_counted() -> None:
    """The newest first: every line but the first, and the first of those is named."""
    newest_first = (
        b"id,amount,day\n3,1,03.03.2026\n2,1,02.03.2026\n1,1,02.03.2026\n0,1,01.03.2026\n"
    )
    _, checks = judged(newest_first)
    assert (checks.backwards, checks.first_backwards) == (2, 3)
    _, checks = judged(b"id,amount,day\n0,1,01.03.2026\n1,1,01.03.2026\n")
    assert (checks.backwards, checks.first_backwards) == (0, None)
