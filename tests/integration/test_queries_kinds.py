"""The read path shows every kind of record: parts, actions, schedules, owners and changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, text
from tests.harness import Installation
from tests.integration.posting import FEES, WORLD, Posting, divided, move

from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.ledger.ids import part_id
from daybook.ledger.instructions import Bulk, Commit, Refund, Void
from daybook.store.read import queries
from daybook.store.read.due import list_holds, list_schedules
from daybook.store.read.recorded import PARTS_SHOWN_MAX
from daybook.store.read.views import IdentityView, TransactionView

SCORE = "0.1234567890123456789012345"
HOUR_MICROS = 3_600_000_000
LATER = datetime(2100, 1, 1, tzinfo=UTC)
LATER_MICROS = int(LATER.timestamp()) * 1_000_000


@pytest.fixture
def posting(installation: Installation) -> Posting:
    return Posting(installation)


def bulk_id() -> str:
    """An id of a bulk: a UUID of version 8 and variant 8."""
    bare = str(uuid4())
    return f"bulk_{bare[:14]}8{bare[15:19]}8{bare[20:]}"


def reading(posting: Posting) -> Any:
    return queries.reading(posting.installation.engine)


def find(
    posting: Posting, request_id: str | None = None, *, reference: str | None = None
) -> TransactionView:
    with reading(posting) as connection:
        found = queries.find_transaction(connection, reference=reference, id=request_id)
    assert isinstance(found, TransactionView)
    return found


def listed(posting: Posting, **filters: Any) -> list[TransactionView]:
    with reading(posting) as connection:
        return queries.list_transactions(connection, **filters)


def test_pages_lack_nothing_that_was_deferred(posting: Posting) -> None:
    """An entry that waited is recorded behind younger ones: each record stands on one page, in its
    place, whatever the size of a page and the filter."""
    ann = posting.balance()
    moves = [move(f"m{number}", ann, 1) for number in range(8)]
    for number, back in enumerate((0, 0, 0, -30, 0, -60, 0, -90)):
        posting._milliseconds += 10 + back
        posting.post(moves[number])
        posting._milliseconds -= back
    for filters in ({}, {"ledger_id": "general_ledger_id"}, {"balance_id": ann}):
        whole = [view.reference for view in listed(posting, **filters)]
        assert sorted(whole) == [f"m{number}" for number in range(8)]
        for size in (1, 2, 3):
            pages: list[TransactionView] = []
            while more := listed(
                posting,
                limit=size,
                after=pages[-1].transaction_id if pages else None,
                **filters,
            ):
                pages += more
            assert [view.reference for view in pages] == whole
            assert [view.created_at for view in pages] == sorted(
                (view.created_at for view in pages), reverse=True
            )


def test_pages_lack_nothing_behind_what_waited_long(posting: Posting) -> None:
    """However many have overtaken it."""
    ann = posting.balance()
    for number, back in enumerate((0, 0, 0, 0, 0, 0, 0, -60, -60)):
        posting._milliseconds += back
        posting.post(move(f"m{number}", ann, 1))
        posting._milliseconds -= back
    shown: list[str] = []
    after = None
    while page := listed(posting, limit=1, after=after):
        shown.append(page[0].reference)
        after = page[0].transaction_id
    assert shown == ["m6", "m5", "m4", "m3", "m2", "m1", "m0", "m8", "m7"]


def test_a_request_with_legs_shows_them(posting: Posting) -> None:
    """The request has its total and its shared side, its legs the other side and their part."""
    ann, bob = posting.balance(), posting.balance()
    done = posting.post(divided("salaries", {ann: 700, bob: 300}))

    view = find(posting, reference="salaries")

    assert (view.transaction_id, view.parts, view.part) == (done.transaction_id, 2, None)
    assert (view.source, view.destination, view.amount_string) == (WORLD, None, "10")
    assert [
        (leg.part, leg.reference, leg.destination, leg.precise_amount) for leg in view.records
    ] == [(1, "salaries_1", ann, 700), (2, "salaries_2", bob, 300)]
    assert {leg.parent_transaction for leg in view.records} == {view.transaction_id}
    assert (view.hold, view.refunded_by) == (None, None)
    assert [leg.part for leg in listed(posting, parent=view.transaction_id)] == [2, 1]
    assert [leg.reference for leg in listed(posting, balance_id=ann)] == ["salaries_1"]


def test_a_group_of_holds_shows_the_sum_of_their_states(posting: Posting) -> None:
    """Commits of one leg and of the whole add up; each leg shows its own state and actions."""
    ann, bob = posting.balance(), posting.balance()
    holds = divided("rooms", {ann: 700, bob: 300}, inflight=True)
    whole = posting.post(holds).transaction_id
    leg = part_id(whole, 1)
    posting.post(Commit(leg, precise_amount=200))
    before = find(posting, whole).hold
    void = posting.post(Void(whole)).transaction_id

    group, first = find(posting, whole), find(posting, leg)
    action = find(posting, void)

    assert before is not None
    assert (before.amount, before.committed, before.remaining, before.commits) == (
        1000,
        200,
        800,
        1,
    )
    assert group.hold is not None
    assert (group.hold.committed, group.hold.voided, group.hold.remaining) == (200, 800, 0)
    assert [each.transaction_id for each in group.actions] == [void]
    assert first.hold is not None
    assert (first.hold.committed, first.hold.voided) == (200, 500)
    assert [(each.kind, each.precise_amount) for each in first.actions] == [
        ("void", 500),
        ("commit", 200),
    ]
    assert action.parent_transaction == whole
    assert [part.part for part in action.records] == [1, 2]
    assert {(part.parent_transaction, part.precise_amount) for part in action.records} == {
        (leg, 500),
        (part_id(whole, 2), 300),
    }


def test_a_bulk_shows_its_items_and_the_refused_one(posting: Posting) -> None:
    """Ids of bulks begin with bulk_, also as parents; items keep their own references."""
    ann = posting.balance()
    items = (move("one", ann, 10), move("two", FEES, 10**9), move("three", ann, 30))
    refused = items[1]._replace(
        source_id=ann, source_indicator=None, allow_overdraft=False, destination_indicator="@Fees"
    )
    wanted = Bulk("batch", (items[0], refused, items[2]), atomic=False)
    done = posting.post(wanted, bulk_id())

    by_id, by_reference = find(posting, done.transaction_id), find(posting, reference="batch")

    assert by_id == by_reference
    assert (by_id.transaction_id[:5], by_id.kind, by_id.parts) == ("bulk_", "bulk", 3)
    assert (by_id.precise_amount, by_id.currency) == (None, "")
    assert [(item.reference, item.status) for item in by_id.records] == [
        ("one", "APPLIED"),
        ("two", "REJECTED"),
        ("three", "APPLIED"),
    ]
    assert {item.parent_transaction for item in by_id.records} == {done.transaction_id}
    assert find(posting, reference="three").parent_transaction == done.transaction_id
    assert len(listed(posting, parent=done.transaction_id)) == 3


def test_a_long_bulk_is_shown_in_part(posting: Posting) -> None:
    """No more items than the bound are shown with the bulk; the list shows all."""
    ann = posting.balance()
    number = PARTS_SHOWN_MAX + 5
    items = tuple(move(f"item-{each}", ann, 1) for each in range(number))
    done = posting.post(Bulk("many", items, atomic=True), bulk_id())

    view = find(posting, reference="many")

    assert view.parts == number
    assert [item.part for item in view.records] == list(range(1, PARTS_SHOWN_MAX + 1))
    assert len(listed(posting, parent=done.transaction_id, limit=10_000)) == number


def test_a_bulk_in_two_currencies_has_no_sum(posting: Posting) -> None:
    """Holds of a bulk are summed in one currency; figures of several are never added."""
    ann = posting.balance()
    dollars = move("dollars", ann, 5, inflight=True)
    euros = dollars._replace(
        reference="euros",
        currency="EUR",
        source_id="bln_" + str(uuid4()),
        source_indicator="@World",
        destination_id="bln_" + str(uuid4()),
        destination_indicator="@Fees",
    )
    one = posting.post(Bulk("one", (dollars,), atomic=True), bulk_id()).transaction_id
    both = Bulk("both", (dollars._replace(reference="more"), euros), atomic=True)
    two = posting.post(both, bulk_id()).transaction_id

    summed, mixed = find(posting, one), find(posting, two)

    assert summed.hold is not None
    assert summed.hold.remaining == 5
    assert mixed.status == "INFLIGHT"
    assert mixed.hold is None


def test_a_refund_is_found_from_its_original(posting: Posting) -> None:
    """The original names its refund, also behind refused ones, and the refund its original."""
    ann, bob = posting.balance(), posting.balance()
    single = posting.post(move("sale", ann, 500)).transaction_id
    refund = posting.post(Refund(single)).transaction_id
    refused = posting.post(Refund(single))
    group = posting.post(divided("sales", {ann: 7, bob: 3})).transaction_id
    posting.post(Refund(group, reference="back"))

    original, reverse = find(posting, single), find(posting, refund)
    whole = find(posting, group)

    assert refused.reason == "already_refunded"
    assert original.refunded_by == refund
    assert [action.status for action in original.actions] == ["REJECTED", "APPLIED"]
    assert (reverse.kind, reverse.parent_transaction) == ("refund", single)
    assert (reverse.source, reverse.destination) == (ann, WORLD)
    assert whole.refunded_by == find(posting, reference="back").transaction_id
    leg = find(posting, part_id(group, 2))
    assert leg.refunded_by == part_id(whole.refunded_by or "", 2)


def test_a_hold_shows_its_dates(posting: Posting) -> None:
    """A hold keeps both of its dates, to the microsecond."""
    ann = posting.balance()
    posting.post(
        move("room", ann, 5, inflight=True, expires_micros=LATER_MICROS + 1, commits_micros=0)
    )
    view = find(posting, reference="room")
    assert view.inflight_expiry_date == LATER + timedelta(microseconds=1)
    assert view.inflight_commit_date == datetime(1970, 1, 1, tzinfo=UTC)
    assert view.scheduled_for is None


def test_a_scheduled_transaction_is_shown_before_its_time(posting: Posting) -> None:
    """By id and by reference it is SCHEDULED, with what was merged onto it since."""
    ann = posting.balance()
    wanted = move("rent", ann, 90, scheduled_micros=LATER_MICROS, meta_data='{"a":1,"b":1}')
    body = {"currency": "USD", "precise_amount": "90", "precision": "100"}
    accepted = posting.post(wanted, body=body)
    posting.change(accepted.transaction_id, meta_data=f'{{"b":{SCORE}}}')

    by_id, by_reference = find(posting, accepted.transaction_id), find(posting, reference="rent")
    (record,) = listed(posting, status="SCHEDULED")
    with reading(posting) as connection:
        (waiting,) = queries.list_schedules(connection)
        assert queries.list_schedules(connection, due_before=LATER) == []

    assert accepted.status == "SCHEDULED"
    assert by_id == by_reference
    assert (by_id.transaction_id, by_id.kind) == (accepted.transaction_id, "transaction")
    assert (by_id.status, by_id.reference, by_id.scheduled_for) == ("SCHEDULED", "rent", LATER)
    assert (by_id.destination, by_id.precise_amount) == (ann, 90)
    assert by_id.meta_data == {"a": 1, "b": Decimal(SCORE)}
    assert (record.kind, record.parent_transaction) == ("schedule", accepted.transaction_id)
    assert record.reference == "rent_scheduled"
    assert find(posting, reference="rent_scheduled") == record
    assert (waiting.transaction_id, waiting.reference) == (accepted.transaction_id, "rent")
    assert (waiting.scheduled_for, waiting.created_at) == (LATER, by_id.created_at)
    assert waiting.request == body


def test_a_cancelled_transaction_is_shown_as_refused(installation: Installation) -> None:
    """Through the log: scheduled with its request as sent, then refused, with the cancel on it."""
    client = installation.client
    ann, bob = (client.create_balance("general_ledger_id", "USD").id for _ in range(2))
    legs = [{"identifier": ann, "distribution": "50%"}, {"identifier": bob, "distribution": "left"}]
    rent = client.enqueue(
        {
            "reference": "rent",
            "source": "@World",
            "destinations": legs,
            "currency": "USD",
            "amount": Decimal("90.50"),
            "precision": 100,
            "allow_overdraft": True,
            "scheduled_for": LATER,
            "meta_data": {"flat": 7},
        }
    ).id
    installation.drain()
    with queries.reading(installation.engine) as connection:
        before = queries.find_transaction(connection, reference="rent")
        (waiting,) = queries.list_schedules(connection)
    cancel = client.enqueue({"kind": "cancel", "transaction_id": rent}).id
    installation.drain()
    with queries.reading(installation.engine) as connection:
        after = queries.find_transaction(connection, reference="rent")
        rest = queries.list_schedules(connection)

    assert isinstance(before, TransactionView)
    assert (before.transaction_id, before.status, before.records) == (rent, "SCHEDULED", ())
    assert (before.precise_amount, before.meta_data) == (9050, {"flat": 7})
    assert int(waiting.request["precise_amount"]) == 9050
    assert [leg["identifier"] for leg in waiting.request["destinations"]] == [ann, bob]
    assert isinstance(after, TransactionView)
    assert (after.transaction_id, after.status, after.reason) == (rent, "REJECTED", "cancelled")
    assert [action.transaction_id for action in after.actions] == [cancel]
    assert rest == []


def test_names_are_shown_of_what_was_never_created(posting: Posting) -> None:
    """Of a scheduled transaction while it waits, when it is cancelled, and of any rejection."""
    client = posting.installation.client
    ann = client.create_balance(client.create_ledger("L").id, "USD").id
    money: dict[str, Any] = {"currency": "USD", "precise_amount": 5, "precision": 100}
    given: dict[str, Any] = {
        "source": "@World",
        "destination": ann,
        "allow_overdraft": True,
        **money,
    }
    client.enqueue(reference="money", **given)
    never = money | {"source": "@Nobody", "destination": "@Never", "scheduled_for": LATER}
    waits = client.enqueue(reference="plan", **never).id
    gone = client.enqueue(reference="gone", **never).id
    client.cancel(gone)
    sale = money | {"source": ann, "destination": "@Never"}
    for wrong in ({"currency": "EUR"}, {"precision": 1}, {"source": f"bln_{uuid4()}"}):
        client.enqueue(reference=min(wrong), **sale | wrong)
    posting.installation.drain()

    found = listed(posting)
    names = {each.reference: (each.source_indicator, each.destination_indicator) for each in found}
    both, to = ("@Nobody", "@Never"), (None, "@Never")
    assert names == {
        "plan_scheduled": both,
        "gone_scheduled": both,
        "gone": both,
        f"{gone}_cancel": (None, None),
        "money": ("@World", None),
        "currency": to,
        "precision": to,
        "source": to,
    }
    assert find(posting, waits).destination_indicator == "@Never"


def test_schedules_come_in_the_order_of_their_times(posting: Posting) -> None:
    """The next one first, whatever was accepted first, and no more than the limit."""
    ann = posting.balance()
    for hours in (3, 1, 2):
        posting.post(
            move(f"in-{hours}", ann, 1, scheduled_micros=LATER_MICROS + hours * HOUR_MICROS),
            body={},
        )
    with reading(posting) as connection:
        found = queries.list_schedules(connection)
        first = queries.list_schedules(connection, limit=1)
        early = queries.list_schedules(connection, due_before=LATER + timedelta(hours=2, seconds=1))

    assert [each.reference for each in found] == ["in-1", "in-2", "in-3"]
    assert first == found[:1]
    assert early == found[:2]


def test_open_holds_come_in_the_order_of_their_dates(posting: Posting) -> None:
    """Holds with a date first, by the earlier of two; ended ones never; the rest of a part."""
    ann, bob = posting.balance(), posting.balance()
    plain = posting.post(move("plain", ann, 50, inflight=True)).transaction_id
    late = move("late", ann, 60, inflight=True, expires_micros=LATER_MICROS + 2 * HOUR_MICROS)
    posting.post(late)
    both = {"commits_micros": LATER_MICROS + HOUR_MICROS, "expires_micros": 9 * LATER_MICROS // 8}
    group = posting.post(divided("soon", {ann: 3, bob: 4}, inflight=True, **both)).transaction_id
    gone = posting.post(move("gone", ann, 70, inflight=True)).transaction_id
    posting.post(Void(gone))
    posting.post(Commit(plain, precise_amount=20))

    with reading(posting) as connection:
        found = queries.list_holds(connection)
        dated = queries.list_holds(connection, due_before=LATER + timedelta(hours=1, seconds=1))
        cut = queries.list_holds(connection, limit=3)
        counted = queries.count_dates(connection)

    assert [hold.amount for hold in found[2:]] == [60, 50]
    assert {hold.request for hold in found[:2]} == {group}
    assert {hold.transaction_id for hold in dated} == {part_id(group, 1), part_id(group, 2)}
    assert cut == found[:3]
    assert (found[3].transaction_id, found[3].remaining) == (plain, 30)
    plain_one = found[3]
    assert (plain_one.inflight_expiry_date, plain_one.request, plain_one.bulk) == (None,) * 3
    assert (counted.holds, counted.holds_due) == (3, 0)
    assert (counted.schedules, counted.schedules_due) == (0, 0)


def test_what_has_one_date_has_an_order_all_the_same(posting: Posting) -> None:
    """By id, whatever was recorded first: any limit cuts the list at the same place."""
    ann = posting.balance()
    ids = [f"txn_{digit}a{'0' * 6}-0000-7000-8000-{'0' * 12}" for digit in (3, 1, 2)]
    for name in ids:
        hold = move(name, ann, 1, inflight=True, expires_micros=LATER_MICROS)
        posting.post(hold, request_id=name)
    with reading(posting) as connection:
        found = [each.transaction_id for each in queries.list_holds(connection)]
    assert found == sorted(ids)


def test_what_is_due_is_counted(posting: Posting) -> None:
    """A date in the past that nothing has seen to yet counts as due."""
    ann = posting.balance()
    posting.post(move("late", ann, 5, inflight=True, expires_micros=LATER_MICROS))
    posting.post(move("rent", ann, 5, scheduled_micros=LATER_MICROS), body={})
    posting.installation.rows("UPDATE holds SET inflight_commit_date = now()")
    posting.installation.rows("UPDATE schedules SET scheduled_for = now()")
    with reading(posting) as connection:
        counted = queries.count_dates(connection)
    assert (counted.schedules, counted.schedules_due) == (1, 1)
    assert (counted.holds, counted.holds_due) == (1, 1)


def test_owners_and_their_balances(posting: Posting) -> None:
    """An identity is found with its fields, and its balances by it, also when linked later."""
    ann = posting.identity('{"tier":1}', first_name="Ann", last_name="Lee", country="NL")
    firm = posting.identity(organization_name="Firm")
    own, linked, other = posting.balance(identity_id=ann), posting.balance(), posting.balance()
    posting.change(linked, fields=f'{{"identity_id":"{ann}"}}')

    with reading(posting) as connection:
        view = queries.find_identity(connection, ann)
        pages = queries.list_identities(connection, limit=1)
        pages += queries.list_identities(connection, after=pages[0].identity_id)
        owned = queries.list_balances(connection, identity_id=ann)
        none = queries.list_balances(connection, identity_id=firm)
        alone = queries.find_balance(connection, other)
        missing = [queries.find_identity(connection, name) for name in ("idt_x", "", own)]

    assert view is not None
    assert (view.name, view.country, view.email_address) == ("Ann Lee", "NL", None)
    assert view.meta_data == {"tier": 1}
    assert {each.identity_id for each in pages} == {ann, firm}
    assert {each.name for each in pages} == {"Ann Lee", "Firm"}
    assert {each.balance_id for each in owned} == {own, linked}
    assert {each.identity_id for each in owned} == {ann}
    assert none == []
    assert alone is not None
    assert alone.identity_id is None
    assert missing == [None, None, None]


def test_an_identity_shows_every_field() -> None:
    """The view has each field that an identity may have."""
    assert set(IDENTITY_FIELDS) <= set(IdentityView.__dataclass_fields__)


def test_changes_of_a_thing_say_who_and_what(posting: Posting) -> None:
    """The creation and each change of it, newest first, with exact numbers; of nothing else."""
    ann = posting.identity('{"tier":1}', first_name="Ann")
    posting.identity(first_name="Bob")
    changed = posting.change(
        ann, fields='{"first_name":"Anna"}', meta_data=f'{{"tier":{SCORE}}}', made_by="carol"
    )
    with reading(posting) as connection:
        change, creation = queries.list_changes(connection, ann)
        assert queries.list_changes(connection, ann, limit=1) == [change]
        view = queries.find_identity(connection, ann)

    assert (change.transaction_id, change.made_by) == (changed.transaction_id, "carol")
    assert (change.fields, change.meta_data) == ({"first_name": "Anna"}, {"tier": Decimal(SCORE)})
    assert (creation.transaction_id, creation.kind) == (ann, "identity")
    assert (creation.fields, creation.meta_data) == ({"first_name": "Ann"}, {"tier": 1})
    assert creation.made_by is None
    assert creation.created_at < change.created_at
    assert view is not None
    assert (view.first_name, view.meta_data) == ("Anna", {"tier": Decimal(SCORE)})


def test_meta_data_of_a_transaction_shows_what_was_merged(posting: Posting) -> None:
    """Merged by key over its own, in lists too, while the journal's row stays as it was."""
    ann = posting.balance()
    sale = posting.post(move("sale", ann, 5, meta_data='{"a":1,"b":{"c":2}}')).transaction_id
    posting.change(sale, meta_data='{"b":3}')
    posting.change(sale, meta_data='{"d":null}', made_by="bob")

    merged = {"a": 1, "b": 3, "d": None}
    assert find(posting, sale).meta_data == merged
    assert listed(posting, reference="sale")[0].meta_data == merged
    (row,) = posting.installation.rows(
        "SELECT meta_data::text FROM transactions WHERE reference = 'sale'"
    )
    assert row == ('{"a":1,"b":{"c":2}}',)
    with reading(posting) as connection:
        assert len(queries.list_changes(connection, sale)) == 2


def test_lists_show_money_unless_asked_otherwise(posting: Posting) -> None:
    """Creations and changes come by kind, by subject, or with all; ids have their prefixes."""
    ann = posting.identity(first_name="Ann")
    own = posting.balance(identity_id=ann)
    posting.post(move("sale", own, 5))
    posting.change(own, meta_data='{"a":1}')

    everything = listed(posting, kind="all")

    assert [view.reference for view in listed(posting)] == ["sale"]
    assert [view.kind for view in everything] == ["change", "transaction", "balance", "identity"]
    assert [view.transaction_id for view in everything[2:]] == [own, ann]
    assert [view.subject for view in everything] == [own, None, own, ann]
    assert [view.kind for view in listed(posting, subject=own)] == ["change", "balance"]
    assert [view.kind for view in listed(posting, subject=own, kind="change")] == ["change"]
    assert [view.kind for view in listed(posting, kind="identity")] == ["identity"]
    assert listed(posting, kind="balance")[0].change == {
        "currency": "USD",
        "identity_id": ann,
        "ledger_id": "general_ledger_id",
    }
    assert find(posting, own).kind == "balance"


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda connection: list_holds(connection, due_before=LATER), "holds_due_idx"),
        (lambda connection: list_schedules(connection, due_before=LATER), "schedules_due_idx"),
        (lambda connection: queries.list_changes(connection, "x"), "transactions_subject_idx"),
        (
            lambda connection: queries.list_balances(connection, identity_id=f"idt_{uuid4()}"),
            "balances_identity_id_idx",
        ),
        (
            lambda connection: queries.find_hold(connection, f"bulk_{uuid4()}"),
            "holds_bulk_idx",
        ),
        (
            lambda connection: queries.list_transactions(connection, parent=f"bulk_{uuid4()}"),
            "transactions_parent_transaction_idx",
        ),
    ],
)
def test_lists_read_an_index(installation: Installation, ask: Any, index: str) -> None:
    """The conditions are those of the indexes: a reader of much does not read everything."""
    asked: list[tuple[str, Any]] = []
    with installation.owner.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        event.listen(
            connection,
            "before_cursor_execute",
            lambda _, __, statement, values, *___: asked.append((statement, values)),
        )
        ask(connection)
        plans = [
            str(row[0])
            for statement, values in asked.copy()
            for row in connection.exec_driver_sql(f"EXPLAIN {statement}", values)
        ]
    assert index in "\n".join(plans)
