"""The read path shows what was recorded: exact, by every name it has, page by page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from tests.harness import Cluster, Installation

from daybook.errors import SchemaOutdated, StoreUnavailable
from daybook.ledger.balance import GENERAL_LEDGER_ID, internal_balance_id
from daybook.ledger.money import FIGURE_MAX
from daybook.store.engine import make_engine
from daybook.store.read import queries
from daybook.store.read.views import RejectionView, TransactionView

SCORE = "0.1234567890123456789012345"
UNKNOWN_BALANCE = "bln_00000000-0000-4000-8000-000000000000"


class Book:
    """A small ledger: two customers, deposits, a hold in parts, and a rejection."""

    def __init__(self, installation: Installation) -> None:
        self.client = client = installation.client
        self.installation = installation
        self.ledger = client.create_ledger("Customers", meta_data={"tier": 1}).id
        self.ann, self.bob = (
            client.create_balance(
                self.ledger, "USD", meta_data={"external_id": name, "score": Decimal(SCORE)}
            ).id
            for name in ("ann", "bob")
        )
        self.deposit(self.ann, "deposit-ann", 10_000)
        self.deposit(self.bob, "deposit-bob", 5_000)
        self.hold = self.send("hold", self.ann, "@Revenue", 900, inflight=True)
        client.commit(self.hold, precise_amount=200)
        client.commit(self.hold, precise_amount=100, reference="second-part")
        installation.drain()

    def deposit(self, balance_id: str, reference: str, amount: int) -> str:
        return self.send(reference, "@World", balance_id, amount, allow_overdraft=True)

    def send(self, reference: str, source: str, destination: str, amount: int, **more: Any) -> str:
        fields = {"currency": "USD", "precise_amount": amount, "precision": 100, **more}
        return self.client.enqueue(
            reference=reference, source=source, destination=destination, **fields
        ).id

    def reading(self) -> Any:
        return queries.reading(self.installation.engine)


@pytest.fixture
def book(installation: Installation) -> Book:
    return Book(installation)


def test_a_balance_shows_its_figures(book: Book) -> None:
    """All figures, derived ones too, follow from what was posted and held."""
    with book.reading() as connection:
        view = queries.find_balance(connection, book.ann)

    assert view is not None
    assert (view.credit_balance, view.debit_balance, view.balance) == (10_000, 300, 9_700)
    assert (view.inflight_credit_balance, view.inflight_debit_balance) == (0, 600)
    assert (view.inflight_balance, view.available, view.version) == (-600, 9_100, 4)
    assert (view.ledger_id, view.currency, view.indicator) == (book.ledger, "USD", None)
    assert (view.balance_id, view.precision) == (book.ann, 100)
    assert datetime.now(UTC) - view.created_at < timedelta(hours=1)


def test_numbers_in_meta_data_are_not_rounded(book: Book) -> None:
    """A decimal in meta_data comes back digit by digit."""
    with book.reading() as connection:
        view = queries.find_balance(connection, book.ann)
    assert view is not None
    assert str(view.meta_data["score"]) == SCORE


def test_an_internal_balance_is_found_by_its_derived_id(book: Book) -> None:
    """The id that follows from indicator and currency is that of the row."""
    with book.reading() as connection:
        view = queries.find_balance(connection, internal_balance_id("@Revenue", "USD"))
    assert view is not None
    assert (view.indicator, view.ledger_id) == ("@Revenue", GENERAL_LEDGER_ID)
    assert (view.credit_balance, view.inflight_credit_balance) == (300, 600)


@pytest.mark.parametrize("name", ["bln_x", "nonsense", UNKNOWN_BALANCE, ""])
def test_an_unknown_balance_is_none(installation: Installation, name: str) -> None:
    """An id that does not exist, or is none, finds nothing and raises nothing."""
    with queries.reading(installation.engine) as connection:
        assert queries.find_balance(connection, name) is None


def test_balances_are_filtered(book: Book) -> None:
    """Each filter alone and together with another selects exactly what fits."""
    with book.reading() as connection:

        def found(**filters: Any) -> set[str]:
            return {view.balance_id for view in queries.list_balances(connection, **filters)}

        assert found(ledger_id=book.ledger) == {book.ann, book.bob}
        assert found(external_id="bob") == {book.bob}
        assert found(external_id="bob", currency="EUR") == set()
        assert found(indicator="@World") == {internal_balance_id("@World", "USD")}
        assert len(found(currency="USD")) == 4


def pages(connection: Connection, limit: int) -> list[str]:
    """All balance ids, read page by page."""
    ids: list[str] = []
    after = None
    for _ in range(100):
        page = queries.list_balances(connection, after=after, limit=limit)
        ids += [view.balance_id for view in page]
        if len(page) < limit:
            break
        after = page[-1].balance_id
    return ids


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_of_balances_join_up(book: Book, limit: int) -> None:
    """Whatever the size of a page, nothing is missing and nothing comes twice."""
    with book.reading() as connection:
        ids = pages(connection, limit)
    assert len(ids) == len(set(ids)) == 4


def test_ledgers_are_listed(book: Book) -> None:
    """The General Ledger and those that were created, with a page behind an id."""
    with book.reading() as connection:
        listed = queries.list_ledgers(connection)
        rest = queries.list_ledgers(connection, after=listed[0].ledger_id)
    assert {view.ledger_id: view.name for view in listed} == {
        GENERAL_LEDGER_ID: "General Ledger",
        book.ledger: "Customers",
    }
    assert listed[1:] == rest


def test_a_transaction_is_found_by_id_and_reference(book: Book) -> None:
    """Both names lead to the same record, with its amount in both units."""
    with book.reading() as connection:
        by_id = queries.find_transaction(connection, id=book.hold)
        by_reference = queries.find_transaction(connection, reference="hold")

    assert isinstance(by_id, TransactionView)
    assert by_id == by_reference
    assert (by_id.status, by_id.kind, by_id.amount_string) == ("INFLIGHT", "transaction", "9")
    assert (by_id.source, by_id.precise_amount) == (book.ann, 900)
    assert by_id.destination == internal_balance_id("@Revenue", "USD")
    assert len(bytes.fromhex(by_id.hash)) == 32


def test_a_hold_shows_its_state(book: Book) -> None:
    """Committed, voided and remaining add up to the amount, before and after the void."""
    with book.reading() as connection:
        before = queries.find_hold(connection, book.hold)
    book.client.void(book.hold)
    book.installation.drain()
    with book.reading() as connection:
        after = queries.find_hold(connection, book.hold)
        actions = queries.list_transactions(connection, parent=book.hold)

    assert before is not None
    assert (before.amount, before.committed, before.voided, before.remaining) == (900, 300, 0, 600)
    assert after is not None
    assert (after.voided, after.remaining, after.commits) == (600, 0, 2)
    assert [(a.kind, a.precise_amount) for a in actions] == [
        ("void", 600),
        ("commit", 100),
        ("commit", 200),
    ]


def test_a_callers_reference_comes_before_a_derived_one(book: Book) -> None:
    """A caller's own ``<hold>_void`` is found before the label of the ledger's void row."""
    label = f"{book.hold}_void"
    book.client.void(book.hold)
    book.installation.drain()
    with book.reading() as connection:
        derived = queries.find_transaction(connection, reference=label)
    book.deposit(book.bob, label, 7)
    book.installation.drain()
    with book.reading() as connection:
        own = queries.find_transaction(connection, reference=label)
        both = queries.list_transactions(connection, reference=label)

    assert isinstance(derived, TransactionView)
    assert derived.kind == "void"
    assert isinstance(own, TransactionView)
    assert own.precise_amount == 7
    assert {view.transaction_id for view in both} == {
        own.transaction_id,
        derived.transaction_id,
    }


def test_what_the_journal_cannot_show_is_found_among_rejections(book: Book) -> None:
    """A balance in a ledger that does not exist is refused, and found by its id with its bytes."""
    receipt = book.client.create_balance("ldg_00000000-0000-4000-8000-000000000000", "USD")
    book.installation.drain()
    with book.reading() as connection:
        found = queries.find_transaction(connection, id=receipt.id)

    assert isinstance(found, RejectionView)
    assert (found.transaction_id, found.status) == (receipt.id, "REJECTED")
    assert found.reason == "unknown_ledger"
    assert '"kind":"balance"' in found.request


def test_transactions_of_a_balance_show_both_sides_newest_first(book: Book) -> None:
    """Debits and credits of a balance come in one list, and a limit cuts the oldest."""
    book.send("ann-to-bob", book.ann, book.bob, 50)
    book.send("bob-to-ann", book.bob, book.ann, 20)
    book.installation.drain()
    with book.reading() as connection:
        listed = queries.list_transactions(connection, balance_id=book.bob)
        cut = queries.list_transactions(connection, balance_id=book.bob, limit=2)

    assert [view.reference for view in listed] == ["bob-to-ann", "ann-to-bob", "deposit-bob"]
    assert cut == listed[:2]


def test_newest_transactions_of_all_partitions_are_merged(book: Book) -> None:
    """Without a balance, the list goes by acceptance over all partitions."""
    for number in range(20):
        book.deposit((book.ann, book.bob)[number % 2], f"r{number}", 1)
    book.installation.drain()
    with book.reading() as connection:
        listed = queries.list_transactions(connection, limit=12)

    assert [view.reference for view in listed] == [f"r{number}" for number in range(19, 7, -1)]


def test_transactions_are_filtered(book: Book) -> None:
    """Status and time of acceptance select, also together with a balance."""
    book.send("too-much", book.bob, book.ann, 10**9)
    book.installation.drain()
    later = datetime.now(UTC) + timedelta(days=1)
    with book.reading() as connection:
        rejected = queries.list_transactions(connection, status="REJECTED")
        held = queries.list_transactions(connection, status="INFLIGHT", balance_id=book.bob)
        future = queries.list_transactions(connection, since=later)
        since = queries.list_transactions(connection, since=later - timedelta(days=2))

    assert [view.reference for view in rejected] == ["too-much"]
    assert rejected[0].reason == "insufficient_funds"
    assert held == future == []
    assert len(since) == 6


def test_amounts_of_any_size_are_exact(book: Book) -> None:
    """The largest amount comes back to its last digit, as a figure and as text."""
    big = book.client.create_balance(book.ledger, "BIG").id
    fields = {"currency": "BIG", "precision": 10**18}
    book.send("big", "@World", big, FIGURE_MAX, allow_overdraft=True, **fields)
    book.send("part", big, "@Revenue", 1, overdraft_limit=Decimal("1.50"), **fields)
    book.installation.drain()
    with book.reading() as connection:
        view = queries.find_transaction(connection, reference="big")
        part = queries.find_transaction(connection, reference="part")
        balance = queries.find_balance(connection, big)

    assert isinstance(view, TransactionView)
    assert isinstance(part, TransactionView)
    assert balance is not None
    assert view.precise_amount == FIGURE_MAX
    assert view.amount_string == "9" * 82 + "." + "9" * 18
    assert balance.balance == FIGURE_MAX - 1
    assert part.overdraft_limit == Decimal("1.5")
    assert part.amount_string == "0.000000000000000001"


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
def test_moments_are_utc_at_the_ends_of_time(book: Book, zone: str) -> None:
    """The first second of the calendar can be read, whatever the session's time zone."""
    book.send(
        "old", "@World", book.ann, 1, allow_overdraft=True, effective_date="0001-01-01T00:00:00Z"
    )
    book.installation.drain()
    url = make_url(book.installation.worker_url).update_query_dict(
        {"options": f"-ctimezone={zone}"}
    )
    engine = make_engine(url.render_as_string(hide_password=False))
    try:
        with queries.reading(engine) as connection:
            view = queries.find_transaction(connection, reference="old")
    finally:
        engine.dispose()
    assert isinstance(view, TransactionView)
    assert view.effective_date == datetime(1, 1, 1, tzinfo=UTC)


def test_partitions_show_cursor_and_what_is_deferred(book: Book) -> None:
    """Sequence and head are those of the last record; a deferred entry is counted."""
    with book.reading() as connection:
        listed = queries.list_partitions(connection)
        newest = queries.list_transactions(connection, limit=1)[0]
    assert [view.partition for view in listed] == [0, 1]
    assert listed[newest.partition].sequence >= newest.sequence
    assert max(view.cursor for view in listed) == book.installation.log.clock()
    assert [view.deferred for view in listed] == [0, 0]

    book.installation.rows(
        "INSERT INTO deferred_entries (partition, position, slot, request_id, may_credit, body, "
        "flags) VALUES (1, 70, 0, 'x', '{}', '', ''), (1, 60, 0, 'y', '{}', '', '')"
    )
    with book.reading() as connection:
        (_, second) = queries.list_partitions(connection)
    assert (second.deferred, second.oldest_deferred) == (2, 60)


def test_reading_cannot_write(installation: Installation) -> None:
    """A connection of the read path refuses to change anything, even as the owner."""
    with (
        pytest.raises(StoreUnavailable, match="read-only"),
        queries.reading(installation.owner) as connection,
    ):
        connection.execute(text("UPDATE partitions SET cursor = 0"))


def test_a_database_without_tables_says_what_to_do(cluster: Cluster) -> None:
    """An empty database is told from one that is down."""
    url = cluster.empty_database()
    engine = make_engine(url)
    try:
        with (
            pytest.raises(SchemaOutdated, match="daybook migrate"),
            queries.reading(engine) as connection,
        ):
            queries.list_ledgers(connection)
    finally:
        engine.dispose()
        cluster.drop_database(url)


def test_pages_of_a_balance_lack_nothing_of_a_bulk(installation: Installation) -> None:
    """Items of a bulk have one position, and their order is that of the journal, all the same."""
    client = installation.client
    ann = client.create_balance(client.create_ledger("L").id, "USD").id
    references = [f"b{bulk}-{item}" for bulk in range(10) for item in range(40)]
    fields = {"source": "@World", "destination": ann, "currency": "USD", "allow_overdraft": True}
    money = {"precise_amount": 1, "precision": 100}
    for start in range(0, len(references), 40):
        items = [{"reference": each, **fields, **money} for each in references[start : start + 40]]
        client.bulk(items, atomic=True)
    installation.drain()
    shown: list[str] = []
    after = None
    with queries.reading(installation.engine) as connection:
        while page := queries.list_transactions(connection, balance_id=ann, after=after, limit=7):
            shown += [each.reference for each in page]
            after = page[-1].transaction_id
    assert shown == references[::-1]
