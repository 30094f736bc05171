"""What a dry run says of a request: the balances before and after, and the records."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine
from tests.engine.entries import body_of, entry_of
from tests.engine.shelf import Shelf
from tests.oracle.scenario import FIRST_MS, FIRST_POSITION, Parser, id_of

from daybook.apply import dry_run
from daybook.apply.dry_run import DryRun
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.book import Book
from daybook.ledger.entry import LogEntry
from daybook.ledger.preview import BalancePreview, Figures, Preview, RecordPreview

A, B = id_of("bln", "A"), id_of("bln", "B")
SHOP, WORLD = internal_balance_id("@Shop", "USD"), internal_balance_id("@World", "USD")
NOTHING = Figures(0, 0, 0, 0, 0, 0)
BEFORE = """
balance A USD
balance B USD
in: @World > A 10.00 USD@100 overdraft
held: A > B 2.50 USD@100 hold
"""
AT = "2023-11-14T22:13:20.000000+00:00"


class Seen(Shelf):
    """A shelf that notes what was read for. read: the entries."""

    def book_for(self, entries: Any) -> Any:
        self.read = list(entries)
        return super().book_for(self.read)


def dry_run_on(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> DryRun:
    """A dry run that reads a shelf instead of the database."""
    engine = create_engine("postgresql+psycopg://nowhere")

    def book_for(asked: Any, entry: LogEntry) -> Book:
        assert asked is engine
        return shelf.book_for([entry])

    monkeypatch.setattr(dry_run, "_book_for", book_for)
    return DryRun(engine, lambda: FIRST_MS / 1000)


def previewed(line: str, monkeypatch: pytest.MonkeyPatch) -> Preview:
    """What a dry run says of the last of these requests."""
    parser, shelf = Parser(), Seen()
    *before, last = parser.steps(f"{BEFORE}\n{line}")
    for number, step in enumerate(before):
        assert step.request is not None
        shelf.apply([entry_of(step.request, step.request_id, FIRST_POSITION - 99 + number)])
    assert last.request is not None
    asked = dry_run_on(shelf, monkeypatch)
    preview = asked.look_ahead(last.request_id, body_of(last.request, last.request_id))
    (entry,) = shelf.read
    assert entry == entry_of(last.request, last.request_id, FIRST_POSITION)
    return preview


def test_a_hold_is_shown_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A balance that is there, and one that it would create."""
    line = "x: A > @Shop 1.25 USD@100 hold note=tea meta=a:1"
    preview = previewed(line, monkeypatch)
    source = BalancePreview(
        A,
        None,
        "USD",
        100,
        True,
        Figures(1000, 750, 1000, 0, 0, 250),
        Figures(1000, 625, 1000, 0, 0, 375),
    )
    shop = BalancePreview(SHOP, "@Shop", "USD", 100, False, NOTHING, Figures(0, 0, 0, 0, 125, 0))
    record = RecordPreview(
        *("transaction", "x", None, "INFLIGHT", None, None, A, SHOP, "USD", 100, 125, "1.25"),
        *(AT, "tea"),
    )
    assert preview == Preview(True, "INFLIGHT", False, None, None, (source, shop), (record,))
    assert [type(each) for each in (preview.status, record.kind, record.status)] == 3 * [str]


def test_a_rejection_changes_nothing_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the code and the sentence; of what is not there nothing is shown."""
    preview = previewed("x: A > @Shop 99 USD@100", monkeypatch)
    code = "insufficient_funds"
    why = f"source: {A} has 750 available, 9900 needed for @Shop (minor units)"
    figures = Figures(1000, 750, 1000, 0, 0, 250)
    assert preview.balances == (
        BalancePreview(A, None, "USD", 100, True, figures, figures),
        BalancePreview(SHOP, "@Shop", "USD", None, False, NOTHING, NOTHING),
    )
    (record,) = preview.records
    said = (preview.would_apply, preview.status, preview.duplicate, preview.reason, preview.detail)
    assert said == (False, "REJECTED", False, code, why)
    assert (record.status, record.reason, record.detail) == ("REJECTED", code, why)
    assert [type(each) for each in (preview.reason, record.reason)] == [str, str]
    unknown = previewed("x: A > Z 1 USD@100", monkeypatch)
    assert (unknown.reason, [each.balance_id for each in unknown.balances]) == (
        "unknown_balance",
        [A],
    )


def test_a_repetition_is_shown_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens, and the status is the original's."""
    preview = previewed("in: @World > A 10.00 USD@100 overdraft", monkeypatch)
    assert (preview.would_apply, preview.status, preview.duplicate) == (False, "APPLIED", True)
    assert preview.records == ()
    assert [(each.balance_id, each.before == each.after) for each in preview.balances] == [
        (WORLD, True),
        (A, True),
    ]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("x: A > @Shop=50%,B=left 2 USD@100", [A, SHOP, B]),
        ("bulk b\n- i: B > @Shop 1 USD@100 overdraft\n- j: A > @Shop 1 USD@100", [B, SHOP, A]),
        ("refund in", [A, WORLD]),
        ("commit held", [A, B]),
    ],
)
def test_balances_are_shown_in_the_order_of_the_request(
    line: str, named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once; those that it touches without naming them come in any order."""
    preview = previewed(line, monkeypatch)
    found = [each.balance_id for each in preview.balances]
    assert (found if line[0] in "xb" else sorted(found)) == (
        named if line[0] in "xb" else sorted(named)
    )
    assert preview.would_apply


def test_what_moves_no_money_has_no_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of what is not money has a record without sides."""
    preview = previewed("change balance A meta=a:1 ref=c", monkeypatch)
    assert preview.records == (
        RecordPreview(
            *("change", "c", None, "APPLIED", None, None, None, None, "", None, None, None, AT, "")
        ),
    )
    assert preview.balances == ()


def test_what_is_refused_without_an_amount_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit of the remainder, of a hold that has ended, is about the hold's balances."""
    preview = previewed("void held\ncommit held", monkeypatch)
    (record,) = preview.records
    assert (record.reason, record.precision) == ("already_voided", 100)
    assert (record.precise_amount, record.amount_string) == (None, None)


def test_dates_are_judged_by_the_time_of_the_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were accepted then."""
    assert previewed("x: @W > @X 1 USD overdraft date=-5", monkeypatch).would_apply
    assert previewed("x: @W > @X 1 USD overdraft scheduled=9", monkeypatch).status == "SCHEDULED"


def test_it_has_the_methods_of_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is drafted as if it were sent."""
    shelf = Seen()
    preview = dry_run_on(shelf, monkeypatch).create_ledger("Fees")
    (entry,) = shelf.read
    assert entry.request_id.startswith("ldg_")
    assert preview.would_apply
    assert preview.records[0].reference == entry.request_id


def test_parts_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The legs of a request follow it."""
    preview = previewed("x: A > @Shop=50%,B=left 2 USD@100", monkeypatch)
    assert [record.part for record in preview.records] == [None, 1, 2]


def test_what_is_no_request_is_refused_before_anything_is_read() -> None:
    """At the door: by the shape of it alone. A draft is made of a request that is one."""
    asked = DryRun(create_engine("postgresql+psycopg://nowhere"), lambda: FIRST_MS / 1000)
    preview = asked.look_ahead(f"txn_{A[4:]}", b"{")
    assert preview.detail
    assert preview == Preview(False, "REJECTED", False, "malformed", preview.detail, (), ())
    assert type(preview.reason) is str
