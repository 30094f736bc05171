"""Every kind of request through the whole pipeline: the log, a worker, Postgres, the outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from tests.fault.proof import assert_proved
from tests.fault.requests import deposit, make_balances, move
from tests.harness import Installation, wait_until

from daybook.apply.due import append_due
from daybook.client.receipts import Outcome
from daybook.installation.install import install
from daybook.requests import mint_id
from daybook.store.proof.verify import verify
from daybook.store.read import queries
from daybook.store.read.queries import reading
from daybook.store.read.views import TransactionView

FAR = datetime(2200, 1, 1, tzinfo=UTC)


def funded(installation: Installation, number: int = 3, amount: int = 1_000) -> list[str]:
    """Application balances with money."""
    balances, _ = make_balances(installation, number)
    for balance in balances:
        installation.client.enqueue(deposit(f"fund-{balance}", balance, amount))
    return balances


def outcome(installation: Installation, request: dict[str, Any]) -> Outcome:
    """Send one request, apply everything, and answer its outcome."""
    receipt = installation.client.enqueue(request)
    installation.drain()
    return receipt.wait(5)


def figures(installation: Installation, balance_id: str) -> tuple[int, int, int]:
    """Credit, debit and inflight debit of a balance."""
    ((credit, debit, held),) = installation.rows(
        "SELECT credit_balance, debit_balance, inflight_debit_balance FROM balances "
        "WHERE balance_id = %s",
        balance_id[4:],
    )
    return int(credit), int(debit), int(held)


def sweep_due(installation: Installation) -> int:
    """What the sweeper does for due things, then everything applied."""
    appended = append_due(installation.store, installation.log, lambda partition: None)
    installation.drain()
    return appended


def split(reference: str, source: str, shares: dict[str, str], total: int, **more: Any) -> Any:
    """A request with several destinations, in cents."""
    return {
        "reference": reference,
        "source": source,
        "destinations": [
            {"identifier": name, "distribution": share} for name, share in shares.items()
        ],
        "currency": "USD",
        "precise_amount": total,
        "precision": 100,
        **more,
    }


def test_legs_take_effect_together(installation: Installation) -> None:
    """A split is one outcome, a row for the whole and one for each leg; refused, nothing moves."""
    first, second, third = funded(installation)
    shares = {second: "50%", third: "1.00", "@Fees": "left"}
    assert outcome(installation, split("s1", first, shares, 501)).status == "APPLIED"
    assert figures(installation, first) == (1_000, 501, 0)
    assert figures(installation, second) == (1_250, 0, 0)
    rows = installation.rows(
        "SELECT reference, parts, part, precise_amount FROM transactions "
        "WHERE reference LIKE 's1%%' ORDER BY sequence"
    )
    assert [(ref, parts, part, int(amount)) for ref, parts, part, amount in rows] == [
        ("s1", 3, None, 501),
        ("s1_1", None, 1, 250),
        ("s1_2", None, 2, 100),
        ("s1_3", None, 3, 151),
    ]
    refused = outcome(installation, split("s2", first, shares, 50_000))
    assert (refused.status, refused.reason) == ("REJECTED", "insufficient_funds")
    assert figures(installation, second) == (1_250, 0, 0)
    assert_proved(installation)


def test_a_hold_with_legs_is_committed_leg_by_leg_or_together(installation: Installation) -> None:
    """One leg by its own id, in part; the rest by the id of the request."""
    first, second, third = funded(installation)
    request = split("h1", first, {second: "50%", third: "50%"}, 600, inflight=True)
    held = installation.client.enqueue(request)
    installation.drain()
    assert figures(installation, first) == (1_000, 0, 600)
    ((leg,),) = installation.rows(
        "SELECT 'txn_' || transaction_id FROM transactions WHERE reference = 'h1_1'"
    )
    part = outcome(installation, {"kind": "commit", "transaction_id": leg, "precise_amount": 100})
    assert part.status == "APPLIED"
    assert figures(installation, first) == (1_000, 100, 500)
    rest = outcome(installation, {"kind": "commit", "transaction_id": held.id, "reference": "c1"})
    assert rest.status == "APPLIED"
    assert figures(installation, first) == (1_000, 600, 0)
    again = outcome(installation, {"kind": "void", "transaction_id": held.id})
    assert again.reason == "already_committed"
    assert_proved(installation)


def test_several_sources_pay_together(install_daybook: Callable[[int], Installation]) -> None:
    """Sources of several partitions are debited in one unit of work, or none is."""
    installation = install_daybook(4)
    balances = funded(installation, 5, 100)
    target = balances.pop()
    request = {
        "reference": "m1",
        "sources": [{"identifier": name, "precise_distribution": "75"} for name in balances],
        "destination": target,
        "currency": "USD",
        "precise_amount": 300,
        "precision": 100,
    }
    assert outcome(installation, request).status == "APPLIED"
    assert figures(installation, target) == (400, 0, 0)
    refused = outcome(installation, request | {"reference": "m2"})
    assert refused.reason == "insufficient_funds"
    assert [figures(installation, name)[1] for name in balances] == [75] * 4
    assert_proved(installation)


def test_several_pay_several(install_daybook: Callable[[int], Installation]) -> None:
    """Held, committed, refunded and rejected as one, over several partitions; history shows it."""
    installation = install_daybook(4)
    first, second, third, fourth = funded(installation, 4, 100)
    request = {
        "reference": "j1",
        "sources": [
            {"identifier": name, "precise_distribution": amount}
            for name, amount in ((first, 40), (second, 60), (first, 30))
        ],
        "destinations": [
            {"identifier": name, "precise_distribution": amount}
            for name, amount in ((third, 80), (fourth, 50))
        ],
        "currency": "USD",
        "precise_amount": 130,
        "precision": 100,
        "inflight": True,
    }
    held = installation.client.enqueue(request)
    installation.drain()
    assert [figures(installation, name)[2] for name in (first, second)] == [70, 60]
    rows = installation.rows(
        "SELECT part, precise_amount FROM transactions WHERE part IS NOT NULL ORDER BY part"
    )
    assert [(part, int(amount)) for part, amount in rows] == [(1, 70), (2, 10), (3, 50)]
    assert_proved(installation)
    done = outcome(installation, {"kind": "commit", "transaction_id": held.id, "reference": "c"})
    assert done.status == "APPLIED"
    again = outcome(installation, request | {"reference": "j2", "inflight": False})
    assert again.reason == "insufficient_funds"
    applied = {**request, "reference": "j3", "inflight": False, "allow_overdraft": True}
    made = outcome(installation, applied)
    assert figures(installation, third) == (260, 0, 0)
    outcome(
        installation, {"kind": "refund", "transaction_id": made.transaction_id, "reference": "back"}
    )
    found = [figures(installation, name) for name in (first, second, third, fourth)]
    assert [credit - debit for credit, debit, _ in found] == [30, 40, 180, 150]
    with reading(installation.engine) as connection:
        view = queries.find_transaction(connection, reference="j3")
    assert isinstance(view, TransactionView)
    assert (view.transaction_id, view.source, view.destination) == (made.transaction_id, None, None)
    assert_proved(installation)


@pytest.mark.parametrize("atomic", [True, False])
def test_bulk(installation: Installation, *, atomic: bool) -> None:
    """Atomic: all or nothing, with each item's own outcome. Else each on its own, in order."""
    first, second, _ = funded(installation)
    items = [
        move("b1", first, second, 600),
        move("b2", first, second, 600),
        move("b3", second, first, 100),
    ]
    request = {"kind": "bulk", "atomic": atomic, "reference": "bulk", "transactions": items}
    receipt = installation.client.enqueue(request)
    assert receipt.id.startswith("bulk_")
    installation.drain()
    made = receipt.wait(5)
    rows = installation.rows(
        "SELECT reference, status, reason FROM transactions WHERE part IS NOT NULL ORDER BY part"
    )
    assert made.detail is not None
    assert "item 2 (b2): insufficient_funds" in made.detail
    if atomic:
        assert (made.status, made.reason) == ("REJECTED", "insufficient_funds")
        assert rows == [
            ("b1", "REJECTED", "bulk_aborted"),
            ("b2", "REJECTED", "insufficient_funds"),
            ("b3", "REJECTED", "bulk_aborted"),
        ]
        assert figures(installation, first) == (1_000, 0, 0)
    else:
        assert (made.status, made.reason) == ("APPLIED", None)
        assert [row[1] for row in rows] == ["APPLIED", "REJECTED", "APPLIED"]
        assert figures(installation, first) == (1_100, 600, 0)
    assert outcome(installation, request).duplicate
    assert_proved(installation)


def test_spends_keep_their_order_around_bulks(
    install_daybook: Callable[[int], Installation],
) -> None:
    """Bulks over all partitions between single spends, applied by several workers at once.

    Each balance is emptied in the order of acceptance: with any other order one would be refused.
    """
    installation = install_daybook(4)
    random = Random(7)
    balances = funded(installation, 8, 10_000)
    receipts = []
    for number in range(60):
        if number % 4 == 0:
            pairs = [random.sample(balances, 2) for _ in range(6)]
            items = [move(f"n{number}-{i}", a, b, 3) for i, (a, b) in enumerate(pairs)]
            receipts.append(
                installation.client.enqueue({"kind": "bulk", "atomic": True, "transactions": items})
            )
        source, destination = random.sample(balances, 2)
        receipts.append(installation.client.enqueue(move(f"n{number}", source, destination, 5)))
    faults: list[BaseException] = []

    def work(seed: int) -> None:
        applier, order = installation.applier(batch_entries_min=4), Random(seed)
        try:
            wait_until(
                lambda: (
                    applier.drain(order.randrange(4)) is not None
                    and installation.open_entries() == 0
                ),
                "everything applied",
                pause=0,
            )
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert faults == []
    outcomes = installation.client.wait_many(receipts, 5)
    assert {made.status for made in outcomes if made} == {"APPLIED"}
    assert_proved(installation)


def test_five_refunds_at_once_refund_once(installation: Installation) -> None:
    """Of a plain transaction; and again with references of their own."""
    first, second, _ = funded(installation)
    paid = installation.client.enqueue(move("paid", first, second, 400))
    refunds = [
        installation.client.enqueue({"kind": "refund", "transaction_id": paid.id}) for _ in range(5)
    ]
    installation.drain()
    outcomes = [refund.wait(5) for refund in refunds]
    assert sorted(made.status for made in outcomes) == ["APPLIED"] + ["REJECTED"] * 4
    assert {made.reason for made in outcomes} == {None, "already_refunded"}
    assert figures(installation, first) == (1_400, 400, 0)
    refund = next(made for made in outcomes if made.status == "APPLIED")
    again = outcome(installation, {"kind": "refund", "transaction_id": refund.transaction_id})
    assert again.reason == "not_refundable"
    assert_proved(installation)


def test_refunds_of_requests_with_parts(installation: Installation) -> None:
    """Legs and bulks are refunded whole; a hold's commits are, the hold itself is not."""
    first, second, third = funded(installation)
    legs = installation.client.enqueue(split("s", first, {second: "50%", third: "left"}, 300))
    bulk = installation.client.enqueue(
        {
            "kind": "bulk",
            "atomic": True,
            "transactions": [move("i1", second, third, 10), split("i2", third, {first: "left"}, 9)],
        }
    )
    hold = installation.client.enqueue(move("h", first, second, 100, inflight=True))
    commit = installation.client.commit(hold.id, precise_amount=40)
    installation.drain()
    refused = outcome(installation, {"kind": "refund", "transaction_id": hold.id})
    assert refused.reason == "not_refundable"
    assert commit.id in (refused.detail or "")
    for original in (legs.id, bulk.id, commit.id):
        refund = {"kind": "refund", "transaction_id": original}
        assert outcome(installation, refund).status == "APPLIED"
        assert outcome(installation, refund).reason == "already_refunded"
    balance = {
        name: c - d for name in (first, second, third) for c, d, _ in [figures(installation, name)]
    }
    assert set(balance.values()) == {1_000}
    assert_proved(installation)


def test_a_schedule_is_applied_once_at_its_time(installation: Installation) -> None:
    """Not before, in the order of the times, also when Redis has lost everything meanwhile."""
    first, second, _ = funded(installation)
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    later = installation.client.enqueue(
        move("later", first, second, 700, scheduled_for=soon + timedelta(milliseconds=1))
    )
    sooner = installation.client.enqueue(move("sooner", first, second, 700, scheduled_for=soon))
    far = installation.client.enqueue(move("far", first, second, 1, scheduled_for=FAR))
    past = installation.client.enqueue(
        move("past", second, first, 1, scheduled_for=datetime(2020, 1, 1, tzinfo=UTC))
    )
    installation.drain()
    assert [r.wait(5).status for r in (later, sooner, far, past)] == ["SCHEDULED"] * 3 + ["APPLIED"]
    assert sweep_due(installation) == 0
    installation.redis.flushdb()
    install(
        installation.owner_url,
        installation.redis_url,
        installation.partitions,
        installation.settings,
    )
    wait_until(lambda: datetime.now(UTC) > soon + timedelta(milliseconds=50), "the time has come")
    assert sweep_due(installation) == 2
    assert sweep_due(installation) == 0
    rows = installation.rows(
        "SELECT reference, status FROM transactions WHERE reference IN ('later', 'sooner', 'far')"
        " ORDER BY position"
    )
    assert rows == [("sooner", "APPLIED"), ("later", "REJECTED")]
    assert outcome(installation, move("far", first, second, 1, scheduled_for=FAR)).duplicate
    assert verify(installation.owner).violations == []


def test_a_schedule_can_be_cancelled_until_its_time(installation: Installation) -> None:
    """Then its reference is used up, and a second cancel comes too late."""
    first, second, _ = funded(installation)
    receipt = installation.client.enqueue(move("s", first, second, 10, scheduled_for=FAR))
    cancel = {"kind": "cancel", "transaction_id": receipt.id, "reference": "stop"}
    assert outcome(installation, cancel).status == "APPLIED"
    made = receipt.wait(5)
    assert (made.status, made.reason) == ("REJECTED", "cancelled")
    assert outcome(installation, cancel | {"reference": "again"}).reason == "not_scheduled"
    assert installation.rows("SELECT count(*) FROM schedules") == [(0,)]
    assert_proved(installation)


def test_deadlines_of_holds(installation: Installation) -> None:
    """Expiry voids exactly the remainder, a commit date commits it; late commits find it over."""
    first, second, _ = funded(installation)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    expires = move("e", first, second, 100, inflight=True, inflight_expiry_date=soon)
    commits = move(
        "c", first, second, 50, inflight=True, inflight_commit_date=soon, inflight_expiry_date=soon
    )
    legs = split("l", first, {second: "50%", "@Fees": "left"}, 30, inflight=True)
    expired, _, _ = (
        installation.client.enqueue(request)
        for request in (expires, commits, legs | {"inflight_expiry_date": soon})
    )
    installation.client.commit(expired.id, precise_amount=30)
    installation.drain()
    assert figures(installation, first) == (1_000, 30, 150)
    wait_until(lambda: datetime.now(UTC) > soon + timedelta(milliseconds=50), "the time has come")
    late = outcome(installation, {"kind": "commit", "transaction_id": expired.id})
    assert late.reason == "already_voided"
    assert sweep_due(installation) == 2
    assert figures(installation, first) == (1_000, 80, 0)
    rows = installation.rows(
        "SELECT kind, precise_amount FROM transactions WHERE kind IN ('commit', 'void')"
        " AND status <> 'REJECTED' ORDER BY kind, precise_amount"
    )
    assert [(kind, int(amount)) for kind, amount in rows] == [
        ("commit", 30),
        ("commit", 50),
        ("void", 15),
        ("void", 15),
        ("void", 70),
    ]
    assert sweep_due(installation) == 0
    assert_proved(installation)


def test_a_hold_that_expires_while_its_request_is_queued(installation: Installation) -> None:
    """It is held and then voided; a commit accepted after the expiry is refused."""
    first, second, _ = funded(installation)
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    hold = installation.client.enqueue(
        move("q", first, second, 100, inflight=True, inflight_expiry_date=soon)
    )
    wait_until(lambda: datetime.now(UTC) > soon + timedelta(milliseconds=50), "the time has come")
    commit = installation.client.commit(hold.id)
    installation.drain()
    assert hold.wait(5).status == "INFLIGHT"
    assert commit.wait(5).reason == "already_voided"
    assert figures(installation, first) == (1_000, 0, 0)
    assert_proved(installation)


def test_identities_and_changes(installation: Installation) -> None:
    """An owner is created and linked; concurrent merges of different keys lose nothing."""
    client = installation.client
    identity = client.enqueue({"kind": "identity", "first_name": "Ada", "meta_data": {"a": 1}})
    ledger = client.create_ledger("L")
    owned = client.enqueue(
        {"kind": "balance", "ledger_id": ledger.id, "currency": "USD", "identity_id": identity.id}
    )
    other = client.create_balance(ledger.id, "USD")
    paid = client.enqueue(deposit("d", other.id, 5, meta_data={"old": 1}))
    client.enqueue(
        {"kind": "change", "subject_id": other.id, "fields": {"identity_id": identity.id}}
    )
    client.enqueue({"kind": "change", "subject_id": ledger.id, "fields": {"name": "M"}})
    client.enqueue({"kind": "change", "subject_id": identity.id, "fields": {"last_name": "L"}})
    for number in range(6):
        for subject in (ledger.id, other.id, identity.id, paid.id):
            client.enqueue(
                {
                    "kind": "change",
                    "subject_id": subject,
                    "meta_data": {f"k{number}": number},
                    "made_by": f"user {number}",
                }
            )
    unknown = client.enqueue(
        {"kind": "change", "subject_id": mint_id("idt"), "meta_data": {"k": 1}}
    )
    threads = [
        threading.Thread(
            target=lambda: installation.drain(applier=installation.applier(batch_entries_min=3))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    installation.drain()
    assert owned.wait(5).status == "APPLIED"
    assert unknown.wait(5).reason == "unknown_identity"
    merged = {f"k{number}": number for number in range(6)}
    assert installation.rows("SELECT name, meta_data FROM ledgers WHERE name = 'M'") == [
        ("M", merged)
    ]
    assert installation.rows("SELECT first_name, last_name, meta_data FROM identities") == [
        ("Ada", "L", {"a": 1, **merged})
    ]
    owners = installation.rows("SELECT count(*) FROM balances WHERE identity_id IS NOT NULL")
    assert owners == [(2,)]
    assert installation.rows("SELECT meta_data FROM transaction_metadata") == [(merged,)]
    assert installation.rows("SELECT meta_data FROM transactions WHERE reference = 'd'") == [
        ({"old": 1},)
    ]
    assert_proved(installation)


def test_an_id_that_something_else_has_is_refused(installation: Installation) -> None:
    """A balance whose UUID is a transaction's: refused, and the partition goes on."""
    balances = funded(installation, 1)
    paid = installation.client.enqueue(deposit("d", balances[0], 5))
    installation.drain()
    bare = paid.id[4:]
    ledger = installation.client.create_ledger("L", ledger_id=f"ldg_{bare}")
    installation.drain()
    refused = ledger.wait(5)
    assert refused.reason == "reference_conflict"
    assert "by a thing of another kind" in (refused.detail or "")


def test_a_leg_is_found_by_its_label(installation: Installation) -> None:
    """``<reference>_<n>`` is the n-th leg, unless a caller has that reference."""
    first, second, third = funded(installation)
    outcome(installation, split("s", first, {second: "50%", third: "left"}, 300))
    outcome(installation, move("s_1", first, second, 7))
    with reading(installation.engine) as connection:
        leg = queries.find_transaction(connection, reference="s_2")
        own = queries.find_transaction(connection, reference="s_1")
        listed = queries.list_transactions(connection, reference="s_1")
        assert queries.find_transaction(connection, reference="s_3") is None
    assert isinstance(leg, TransactionView)
    assert (leg.part, leg.precise_amount) == (2, 150)
    assert isinstance(own, TransactionView)
    assert own.precise_amount == 7
    assert [view.precise_amount for view in listed] == [7, 150]
