"""History: figures at a time and statements are those of the journal, whatever was backdated."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from tests.harness import Installation, wait_until

from daybook.errors import MalformedRequest
from daybook.ledger.balance import internal_balance_id
from daybook.requests import slot_of
from daybook.store.proof.verify import verify
from daybook.store.read import history, queries
from daybook.store.read import trial_balance as trial_balances
from daybook.store.read.history import balance_at
from daybook.store.read.snapshots import SnapshotView, take_snapshot
from daybook.store.read.statements import Statement, StatementLine, open_statement
from daybook.store.read.trial_balance import trial_balance

INSTANT = timedelta(microseconds=1)
DAY = timedelta(days=1)


class Book:
    """Two customers whose spends and deposits carry dates."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.client = installation.client
        self.ledger = self.client.create_ledger("Customers").id
        self.count = 0

    def customer(self, partition: int | None = None) -> str:
        """A new balance, of this partition."""
        for _ in range(1_000):
            receipt = self.client.create_balance(self.ledger, "USD")
            if partition is None or self.partition_of(receipt.id) == partition:
                return receipt.id
        raise AssertionError("no balance of that partition")

    def partition_of(self, balance_id: str) -> int:
        return slot_of(balance_id) % self.installation.partitions

    def move(
        self, source: str, destination: str, amount: int, when: datetime | None = None, **more: Any
    ) -> str:
        """Ask for a transfer that counts from ``when``."""
        self.count += 1
        fields: dict[str, Any] = {
            "reference": f"move-{self.count}",
            "source": source,
            "destination": destination,
            "currency": "USD",
            "precise_amount": amount,
            "precision": 100,
            "allow_overdraft": True,
            **more,
        }
        if when is not None:
            fields["effective_date"] = when.isoformat()
        return self.client.enqueue(**fields).id

    def bulk(self, sides: list[list[str]], when: datetime | None) -> None:
        """Ask for transfers of one cent that count from ``when``, as one request."""
        items = []
        for source, destination in sides:
            self.count += 1
            items.append(
                {
                    "reference": f"move-{self.count}",
                    "source": source,
                    "destination": destination,
                    "currency": "USD",
                    "precise_amount": 1,
                    "precision": 100,
                    "allow_overdraft": True,
                }
            )
        self.client.bulk(items, effective_date=when, description="of a bulk")

    def snapshot(self, at: datetime | None = None) -> SnapshotView | None:
        """Take one, with a worker's rights; of this moment, unless there is one."""
        with suppress(MalformedRequest):
            return take_snapshot(self.installation.engine, self.installation.log, at)
        return None

    def folded(self, balance_id: str) -> list[tuple[datetime, int, int, int]]:
        """Effective date, position, sequence and amount of all that moved a balance, in order."""
        shown = balance_id.removeprefix("bln_")
        rows = self.installation.rows(
            "SELECT effective_date, position, sequence, "
            "CASE WHEN destination = %s THEN precise_amount ELSE -precise_amount END "
            "FROM transactions WHERE %s IN (source, destination) AND parts IS NULL "
            "AND status = 'APPLIED' AND kind IN ('transaction', 'commit', 'refund')",
            shown,
            shown,
        )
        return sorted((row[0].astimezone(UTC), row[1], row[2], int(row[3])) for row in rows)

    def at(self, balance_id: str, moment: datetime, *, from_journal: bool = False) -> Any:
        """The view of a balance at a time."""
        with queries.reading(self.installation.engine) as connection:
            return balance_at(connection, balance_id, moment, from_journal=from_journal)

    def statement(self, balance_id: str, **span: Any) -> tuple[Statement, list[StatementLine]]:
        """A statement, read to its end."""
        with queries.reading(self.installation.engine) as connection:
            found = open_statement(connection, balance_id, **span)
            assert found is not None
            return found, list(found)


@pytest.fixture
def book(installation: Installation) -> Book:
    return Book(installation)


def random_date(chosen: random.Random, moments: list[datetime]) -> datetime | None:
    """Mostly none; else about a moment that matters, or days from now."""
    if chosen.random() < 0.4:
        return None
    if chosen.random() < 0.6:
        jitter = timedelta(microseconds=chosen.choice([-1000, -999, -1, 0, 1, 500, 1000]))
        return chosen.choice(moments) + jitter
    return datetime.now(UTC) + chosen.choice([-400, -3, -1, 0.5]) * DAY


def check_history(book: Book, balance_id: str, moments: list[datetime], bases: set[str]) -> None:
    """Answers by any way at each moment are those of a fold of the journal."""
    rows = book.folded(balance_id)
    with queries.reading(book.installation.engine) as connection:
        for moment in moments:
            expected = sum(amount for date, _, _, amount in rows if date <= moment)
            found = balance_at(connection, balance_id, moment)
            plain = balance_at(connection, balance_id, moment, from_journal=True)
            assert found is not None
            assert plain is not None
            bases.add(found.based_on)
            assert (found.balance, plain.balance) == (expected, expected), moment
            assert found.credit_balance == plain.credit_balance


def check_trial_balance(book: Book, moments: list[datetime]) -> None:
    """All balances at once are each as it is by itself, and their sums are those of the lines."""
    with queries.reading(book.installation.engine) as connection:
        for moment in [*moments, None]:
            found = trial_balance(connection, at=moment, limit=10_000)
            assert len(found.balances) == found.balances_total
            alone = {}
            for line in found.balances:
                at = moment or datetime.max.replace(tzinfo=UTC)
                one = balance_at(connection, line.balance_id, at, from_journal=True)
                assert one is not None
                alone[line.balance_id] = (one.credit_balance, one.debit_balance)
            assert alone == {
                line.balance_id: (line.credit_balance, line.debit_balance)
                for line in found.balances
            }, moment
            assert [total.balance for total in found.currencies] in ([], [0])
            assert sum(total.balance for total in found.ledgers) == 0


@pytest.mark.parametrize("seed", range(4))
def test_history_is_the_fold_of_the_journal_whatever_is_backdated(book: Book, seed: int) -> None:
    """Random dates, snapshots and partitions that lag: snapshots never change an answer."""
    chosen = random.Random(seed)
    balances = [book.customer(0), book.customer(1), internal_balance_id("@World", "USD")]
    moments = [datetime.now(UTC)]
    book.installation.drain()
    names = [*balances[:2], "@World"]
    for _ in range(12):
        for _ in range(chosen.randint(0, 6)):
            source, destination = chosen.sample(names, 2)
            hold = book.move(
                source,
                destination,
                chosen.randint(1, 999),
                random_date(chosen, moments),
                inflight=chosen.random() < 0.2,
            )
            when = random_date(chosen, moments)
            if chosen.random() < 0.2:  # refused unless it is a hold
                book.client.commit(hold, precise_amount=1, effective_date=when)
            if chosen.random() < 0.2:  # refused if it is one
                book.client.refund(hold, effective_date=when)
        book.bulk([chosen.sample(names, 2) for _ in range(2)], random_date(chosen, moments))
        book.installation.drain(*chosen.choice([(0,), (1,), (0, 1)]))
        if chosen.random() < 0.5:
            taken = book.snapshot()
            if taken is not None:
                moments.append(taken.moment)
        if chosen.random() < 0.4:  # of a history that was brought in later
            book.snapshot(chosen.choice(moments) - chosen.choice([DAY, 2 * INSTANT, 100 * DAY]))
        moments.append(datetime.now(UTC))
        moments = moments[-8:]
    book.installation.drain()
    bases: set[str] = set()
    for balance_id in balances:
        dates = {date for date, _, _, _ in book.folded(balance_id)}
        around = [date + step for date in dates for step in (-INSTANT, timedelta(0), INSTANT)]
        check_history(book, balance_id, [*moments, *around], bases)
    assert "snapshot" in bases
    check_trial_balance(book, [*moments, *chosen.sample(around, 4)])
    assert verify(book.installation.engine).violations == []


def test_a_snapshot_counts_nothing_that_an_open_entry_could_precede(book: Book) -> None:
    """While a partition lags, the snapshot ends before its oldest open entry, and is right."""
    quick, slow = book.customer(0), book.customer(1)
    book.move("@World", quick, 100)
    book.installation.drain()
    first = book.snapshot()
    book.move("@World", slow, 7)
    book.move("@World", quick, 50)
    book.installation.drain(0)
    unread = book.installation.log.first_unread(
        dict(book.installation.rows("SELECT partition, cursor FROM partitions"))
    )
    second = book.snapshot()
    book.installation.drain(1)
    third = book.snapshot()

    assert first is not None
    assert second is None or second.position <= unread[1]
    assert third is not None
    assert third.position > unread[1]
    check_history(book, slow, [first.moment, third.moment], set())
    check_history(book, quick, [first.moment, third.moment], set())


def test_what_is_deferred_keeps_a_snapshot_back(book: Book) -> None:
    """An entry behind the cursor that waits for another partition is open, too."""
    spender, giver = book.customer(0), book.customer(1)
    book.installation.drain()
    book.snapshot()
    book.move("@World", giver, 10)
    book.move(giver, spender, 10, allow_overdraft=False)
    book.move(spender, "@Shop", 10, allow_overdraft=False)
    # Partition 0 cannot refuse before partition 1 has been read; nobody helps it here.
    book.installation.applier().apply_batch(0, 100)
    held = book.installation.rows("SELECT min(position) FROM deferred_entries")[0][0]
    taken = book.snapshot()
    assert held is not None
    assert taken is None or taken.position <= held
    book.installation.drain()
    after = book.snapshot()
    assert after is not None
    check_history(book, spender, [after.moment], set())


def test_only_what_changed_is_kept(book: Book) -> None:
    """A balance has a row in the snapshots between which its figures changed, and no other."""
    ann, bob = book.customer(), book.customer()
    book.move("@World", ann, 5)
    book.move("@World", bob, 5)
    book.move(ann, bob, 1, inflight=True)
    book.installation.drain()
    taken = [book.snapshot()]
    book.move("@World", bob, 2)
    book.installation.drain()
    taken.append(book.snapshot())
    taken.append(book.snapshot())
    rows = book.installation.rows("SELECT balances FROM snapshots ORDER BY moment")
    kept = book.installation.rows(
        "SELECT balance_id::text, credit_balance::int FROM balance_snapshots "
        "WHERE balance_id = ANY(%s::uuid[]) ORDER BY moment, credit_balance",
        [ann[4:], bob[4:]],
    )
    assert [view.balances for view in taken if view] == [3, 2, 0]
    assert [row[0] for row in rows] == [3, 2]
    assert sorted(kept[:2]) == sorted([(ann[4:], 5), (bob[4:], 5)])
    assert kept[2:] == [(bob[4:], 7)]


def test_a_forward_dated_record_counts_from_its_date(book: Book) -> None:
    """Accepted before a snapshot, effective after it: no answer counts it too early or twice."""
    ann = book.customer()
    later = datetime.now(UTC) + timedelta(hours=20)
    book.move("@World", ann, 3, later)
    book.move("@World", ann, 4)
    book.installation.drain()
    taken = book.snapshot()
    assert taken is not None
    moments = [taken.moment, later - INSTANT, later, later + DAY]
    assert [book.at(ann, moment).balance for moment in moments] == [4, 4, 7, 7]
    found, lines = book.statement(ann, until=later - INSTANT, last=10)
    assert (found.opening, found.closing, len(lines)) == (0, 4, 1)
    found, lines = book.statement(ann)
    assert [line.balance for line in lines] == [4, 7]


def test_actions_and_bulks_count_at_their_own_dates(book: Book) -> None:
    """At once and behind a snapshot: a history that is brought over is right at its dates."""
    ann = book.customer()
    start = datetime(2024, 3, 1, 12, tzinfo=UTC)
    days = [start + day * DAY for day in range(8)]
    hold = book.move("@World", ann, 100, days[0], inflight=True)
    paid = book.move("@World", ann, 1000, days[1])
    book.installation.drain()
    taken = book.snapshot()
    assert taken is not None
    part = book.client.commit(hold, precise_amount=30, effective_date=days[2])
    book.client.void(hold, effective_date=days[3].isoformat())
    book.client.refund(paid, effective_date=days[4])
    book.client.refund(part.id, effective_date=days[5], description="back")
    book.bulk([["@World", ann], ["@World", ann]], days[6])
    book.installation.drain()
    expected = [0, 1000, 1030, 1030, 30, 0, 2, 2]
    for _ in range(2):
        for read_all in (False, True):
            found = [book.at(ann, day, from_journal=read_all).balance for day in days]
            assert found == expected
        book.snapshot()
    statement, lines = book.statement(ann, since=days[2])
    assert (statement.opening, [line.balance for line in lines]) == (1000, [1030, 30, 0, 1, 2])
    assert [line.effective_date for line in lines] == [*days[2:3], *days[4:6], days[6], days[6]]
    assert [line.description for line in lines] == ["", "", "back", "of a bulk", "of a bulk"]
    assert verify(book.installation.engine).violations == []


@pytest.fixture
def dated(book: Book) -> tuple[Book, str]:
    """A customer with a row for each of ten days, accepted in another order, and two today."""
    ann = book.customer()
    first = datetime(2025, 3, 1, 12, tzinfo=UTC)
    for day in (3, 9, 0, 1, 8, 2, 4, 7, 6, 5):
        book.move("@World", ann, day + 1, first + day * DAY, description=f"day, {day}")
    book.move(ann, "@Shop", 20)
    book.move(ann, "@Shop", 10**9, allow_overdraft=False)
    book.installation.drain()
    return book, ann


def all_statements(ann: str, book: Book) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """Spans, and the running balances that a fold of the journal gives for them."""
    rows = book.folded(ann)
    dates = [date for date, *_ in rows]
    running = [sum(row[3] for row in rows[: n + 1]) for n in range(len(rows))]
    for since in (None, dates[2], dates[2] + INSTANT, dates[-1]):
        for until in (None, dates[7], dates[7] - INSTANT, dates[0] - DAY):
            if since and until and until < since:
                continue
            for last in (None, 1, 4, 100):
                inside = [
                    balance
                    for date, balance in zip(dates, running, strict=True)
                    if (since is None or date >= since) and (until is None or date <= until)
                ]
                shown = inside if last is None else inside[-last:]
                yield {"since": since, "until": until, "last": last}, shown


def test_a_span_that_ends_before_it_begins_is_refused(dated: tuple[Book, str]) -> None:
    """It would look like a span in which nothing moved."""
    book, ann = dated
    later = datetime(2026, 1, 2, tzinfo=UTC)
    with pytest.raises(MalformedRequest, match=r"until: .* lies before since"):
        book.statement(ann, since=later, until=later - INSTANT)
    book.statement(ann, since=later, until=later)


def test_a_statement_runs_from_opening_to_closing(dated: tuple[Book, str]) -> None:
    """For any span and any number of last rows: in order, and each row adds up from the opening."""
    book, ann = dated
    for taking in range(2):
        for span, expected in all_statements(ann, book):
            found, lines = book.statement(ann, **span)
            assert [line.balance for line in lines] == expected, (taking, span)
            moved = sum(line.credit - line.debit for line in lines)
            assert found.closing == found.opening + moved
            assert [line.effective_date for line in lines] == sorted(
                line.effective_date for line in lines
            )
        book.snapshot()  # and the same with a snapshot


def test_statements_are_printed_in_three_ways(dated: tuple[Book, str]) -> None:
    """Table, CSV and JSON agree; a day means all of it; the other side is named."""
    book, ann = dated
    span = ("--from", "2025-03-02", "--to", "2025-03-04")
    table = book.installation.run("statement", ann, *span)
    as_csv = book.installation.run("statement", ann, *span, "--csv")
    as_json = book.installation.run("statement", ann, *span, "--json")
    rows = list(csv.DictReader(io.StringIO(as_csv.stdout)))
    value = json.loads(as_json.stdout)

    assert [row["balance"] for row in rows] == ["1", "3", "6", "10", "10"]
    assert [rows[0]["kind"], rows[-1]["kind"]] == ["opening", "closing"]
    assert (rows[1]["description"], rows[1]["other_indicator"]) == ("day, 1", "@World")
    assert (rows[1]["debit"], rows[1]["credit"], rows[1]["balance_string"]) == ("0", "2", "0.03")
    assert (value["opening_balance"], value["closing_balance"]) == (1, 10)
    assert [row["balance"] for row in value["lines"]] == [3, 6, 10]
    assert value["lines"][0]["effective_date"] == "2025-03-02T12:00:00Z"
    words = table.stdout.split()
    assert [word for word in words if word.startswith("0.")] == (
        ["0.01", "0.02", "0.03", "0.03", "0.06", "0.04", "0.10", "0.10"]
    )
    both = book.installation.run("statement", ann, "--csv", "--json")
    assert both.returncode == 2


def test_a_balance_is_shown_at_a_time(dated: tuple[Book, str]) -> None:
    """``balance --at`` takes a moment or a day, and sums the journal alone when asked to."""
    book, ann = dated
    snapshot = book.installation.run("snapshot", "--json")
    assert json.loads(snapshot.stdout)["balances"] == 3
    for at, more, expected in (
        ("2025-03-03", (), 6),
        ("2025-03-03T11:59:59Z", ("--from-journal",), 3),
    ):
        shown = json.loads(
            book.installation.run("balance", ann, "--at", at, *more, "--json").stdout
        )
        assert shown["balance"] == expected
        assert (shown["based_on"] == "journal") >= bool(more)
    table = book.installation.run("balance", ann, "--at", "2025-03-03").stdout
    assert ("6  (0.06)" in table, "balance_string" in table) == (True, False)
    refused = book.installation.run("balance", ann, "--from-journal")
    assert refused.returncode == 2


@pytest.mark.parametrize(
    "moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
def test_the_ends_of_time_are_answered(dated: tuple[Book, str], moment: datetime) -> None:
    """The first and the last instant of the calendar are no special case."""
    book, ann = dated
    expected = 0 if moment.year == 1 else 35
    assert book.at(ann, moment).balance == expected
    assert book.at(ann, moment, from_journal=True).balance == expected
    found, lines = book.statement(ann, since=moment)
    assert (found.opening, len(lines)) == ((0, 11) if moment.year == 1 else (35, 0))


def test_acceptance_is_exact_to_the_millisecond(installation: Installation) -> None:
    """An undated record's two dates are equal, for milliseconds of two centuries.

    ``created_at`` goes through a double, ``effective_date`` is written as text.
    """
    wrong = installation.rows(
        "SELECT count(*) FROM (SELECT (random() * 7258118400000)::bigint AS ms "
        "FROM generate_series(1, 200000) UNION ALL "
        "SELECT generate_series(1792300000000, 1792300100000)) tried "
        "WHERE to_timestamp(ms::double precision / 1000::double precision) "
        "<> timestamptz '1970-01-01 00:00:00Z' + ms * interval '1 millisecond'"
    )
    assert wrong == [(0,)]


def test_beat_has_snapshots_taken(installation: Installation) -> None:
    """A worker takes a snapshot at the interval of the setting."""
    book = Book(installation)
    ann = book.customer()
    book.move("@World", ann, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAYBOOK_SNAPSHOT_INTERVAL_SECONDS", "1")
        installation.workers(1)
    wait_until(
        lambda: installation.rows(
            "SELECT moment FROM balance_snapshots WHERE balance_id = %s", ann.removeprefix("bln_")
        ),
        "a snapshot by beat",
    )


JOURNAL_OF_MANY = """
INSERT INTO balances (balance_id, ledger_id, currency)
    SELECT lpad(to_hex(n), 32, '0')::uuid, 'general_ledger_id', 'USD' FROM generate_series(0, 99) n;
INSERT INTO transactions (partition, sequence, transaction_id, kind, reference, derived, source,
    destination, currency, precision, precise_amount, status, description, allow_overdraft,
    position, effective_date, fingerprint, hash)
SELECT 0, n, gen_random_uuid(), 'transaction', n, false, lpad(to_hex(n % 100), 32, '0')::uuid,
    lpad(to_hex(n / 7 % 100), 32, '0')::uuid, 'USD', 100, 1, 'APPLIED', '', true,
    (1767225600000 + n * 60000::bigint) << 20, to_timestamp(1767225600 + n * 60)
        - CASE WHEN n % 5 = 0 THEN interval '9 days' ELSE interval '0' END, '', ''
FROM generate_series(1, 6000) n
"""
"""100 balances, and 6,000 records of four days, every fifth of them dated back."""


def indexes_in(plan: dict[str, Any]) -> Iterator[str]:
    """Where each read of the journal in a plan finds its rows."""
    if plan.get("Index Name", "").startswith("transactions_"):
        yield plan["Index Name"]
    elif plan.get("Relation Name") == "transactions" and plan["Node Type"] != "Bitmap Heap Scan":
        yield plan["Node Type"]
    for below in plan.get("Plans", ()):
        yield from indexes_in(below)


def plan_of(installation: Installation, statement: Any, values: dict[str, Any]) -> list[str]:
    """The indexes of the journal that a statement reads, in order."""
    explained = text(f"EXPLAIN (FORMAT JSON) {statement.text}")
    with installation.engine.connect() as connection:
        ((plan,),) = connection.execute(explained, values).all()
        return sorted(indexes_in(plan[0]["Plan"]))


def test_every_arm_reads_a_partial_index(installation: Installation) -> None:
    """Figures at a time, their ends and a trial balance read no more of the journal than they need:
    the plan of each arm is an index of its side, for records dated or not."""
    installation.rows(JOURNAL_OF_MANY)
    installation.rows("ANALYZE transactions, balances")
    names = {
        way: [f"transactions_{side}{way}_idx" for side in ("destination", "source")]
        for way in ("", "_dated")
    }
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    position = int(moment.timestamp() * 1000) << 20
    values = {
        "balance": UUID(int=7),
        "after": moment.isoformat(),
        "until": "infinity",
        "low": position,
        "high": 1 << 62,
        "late": position,
    }
    ends = plan_of(installation, history._ENDS, {"balance": UUID(int=7)})
    assert ends == sorted([*names[""], *names["_dated"]] * 2)
    sums = plan_of(installation, history._SUM, values)
    assert sums == sorted([*names[""], *names["_dated"]])
    whole = {"at": moment.isoformat(), "high": position, "prefix": None, "limit": 10}
    for statement, given in (
        (history._SUM_SINCE_SNAPSHOT, values),
        (trial_balances._AT, whole),
    ):
        found = plan_of(installation, statement, given)  # dated ones have two, either will do
        assert sorted(name.replace("_dated_position", "_dated") for name in found) == sorted(
            [*sums, *names["_dated"]]
        )
    present = plan_of(installation, trial_balances._PRESENT, {"prefix": None, "limit": 10})
    assert [name for name in present if name.startswith("transactions")] == []


def test_a_trial_balance_adds_up_by_currency_ledger_and_prefix(book: Book) -> None:
    """Names are grouped up to their next colon, and only those below a prefix are counted."""
    book.move("@World", "@Assets:Cash:Till", 70)
    book.move("@World", "@Assets:Cash:Safe", 20)
    book.move("@World", "@Assets:Bank", 10)
    book.move("@World", "@Other", 1, inflight=True)
    book.installation.drain()
    with queries.reading(book.installation.engine) as connection:
        whole = trial_balance(connection)
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "1h"
        below = trial_balance(connection, prefix="@Assets:", limit=2)
    assert [(each.name, each.balance) for each in whole.prefixes] == [
        ("@Assets:", 100),
        ("@World", -100),
    ]
    assert [(each.currency, each.balance, each.balances) for each in whole.currencies] == [
        ("USD", 0, 4)
    ]
    (ledger,) = whole.ledgers
    assert (ledger.name, ledger.ledger_id) == ("General Ledger", "general_ledger_id")
    assert ledger.balance == 0
    assert [(each.name, each.balance, each.balances) for each in below.prefixes] == [
        ("@Assets:Bank", 10, 1),
        ("@Assets:Cash:", 90, 2),
    ]
    assert (below.balances_total, len(below.balances)) == (3, 2)
    assert below.currencies[0].balance_string == "1"
