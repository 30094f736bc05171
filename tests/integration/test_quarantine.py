"""What was quarantined: seen, tried again, given up; exactly once in every order of events."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.fault.proof import assert_proved
from tests.fault.requests import deposit, make_balances, move
from tests.fault.restoring import copy_of, restore
from tests.harness import Installation, wait_until

from daybook.apply.due import append_due
from daybook.client.quarantine import discarding, retrying
from daybook.client.receipts import Receipt
from daybook.ledger.instructions import Bulk, Change, MultiLeg, NewBalance, Transaction, Void
from daybook.ledger.posting.kinds import KINDS
from daybook.queue.entries import RETRY
from daybook.store.read.quarantine import count_quarantined, find_quarantined


@pytest.fixture
def one(install_daybook: Callable[[int], Installation]) -> Installation:
    return install_daybook(1)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Descriptions for which the decision of a transaction raises, half-way through its changes."""
    raising: set[str] = set()
    decide = KINDS[Transaction].post

    def raise_for_some(book: Any, entry: Any, wanted: Transaction) -> Any:
        outcome = decide(book, entry, wanted)
        if wanted.description in raising:
            raise ZeroDivisionError("a fault of ours")
        return outcome

    monkeypatch.setitem(KINDS, Transaction, replace(KINDS[Transaction], post=raise_for_some))
    return raising


def poisoned(installation: Installation, broken: set[str], reference: str = "poison") -> str:
    """Make a request that is quarantined, beside one that is applied; returns the balance."""
    (a,), _ = make_balances(installation, 1)
    broken.add("boom")
    receipts = installation.client.enqueue_many(
        [deposit("before", a, 100), deposit(reference, a, 1000, description="boom")]
    )
    installation.drain()
    outcomes = installation.client.wait_many(receipts, 5)
    assert [o and o.reason for o in outcomes] == [None, "quarantined"]
    return a


def credit_of(installation: Installation, balance_id: str) -> int:
    ((credit,),) = installation.rows(
        "SELECT credit_balance FROM balances WHERE balance_id = %s", balance_id[4:]
    )
    return int(credit)


def quarantined(installation: Installation, *more: str) -> list[dict[str, Any]]:
    done = installation.run("quarantine", "list", "--json", *more)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_what_raised_half_way_leaves_nothing_behind(one: Installation, broken: set[str]) -> None:
    """A decision that raises after it has changed the book moves no money and no sum."""
    a = poisoned(one, broken)
    assert credit_of(one, a) == 100
    assert one.rows("SELECT count(*) FROM transactions WHERE reference = 'poison'") == [(0,)]
    assert_proved(one)


def test_a_retry_posts_it_once_under_its_own_reference(one: Installation, broken: set[str]) -> None:
    """Mended code decides it under the same id and reference, and who asked is kept."""
    a = poisoned(one, broken)
    ((request_id,),) = one.rows("SELECT request_id FROM rejected_requests")
    broken.clear()
    done = one.run("quarantine", "retry", "poison", "--by", "anna", "--why", "mended", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "accepted"
    one.drain()
    assert one.client.status(reference="poison").status == "APPLIED"
    assert credit_of(one, a) == 1100
    assert one.rows("SELECT status FROM transactions WHERE reference = 'poison'") == [("APPLIED",)]
    assert quarantined(one) == []
    (resolved,) = quarantined(one, "--all")
    assert (resolved["transaction_id"], resolved["state"]) == (request_id, "retried")
    assert (resolved["resolved_by"], resolved["resolved_why"]) == ("anna", "mended")
    assert resolved["resolved_at"] >= resolved["accepted_at"]
    assert_proved(one)


def test_what_is_quarantined_can_be_seen(one: Installation, broken: set[str]) -> None:
    """`list` and `show` name it, its kind, its fault; nothing else can be found there."""
    poisoned(one, broken)
    (listed,) = quarantined(one)
    assert (listed["reference"], listed["kind"], listed["state"]) == (
        "poison",
        "transaction",
        "open",
    )
    assert listed["error"] == "ZeroDivisionError: a fault of ours"
    assert "poison" in one.run("quarantine", "list").stdout
    for name in ("poison", listed["transaction_id"], listed["entry"]):
        shown = one.run("quarantine", "show", name)
        assert '"reference":"poison"' in shown.stdout
        assert "Traceback (most recent call last)" in shown.stdout
    assert one.run("quarantine", "show", "before").returncode == 1


def test_a_producer_that_sends_it_again_does_not_retry_it(
    one: Installation, broken: set[str]
) -> None:
    """Only an operator may: the outcome stays what it was, also when Redis has forgotten it."""
    a = poisoned(one, broken)
    broken.clear()
    same = deposit("poison", a, 1000, description="boom")
    assert one.client.enqueue(same).wait(5).reason == "quarantined"
    forget(one, "t:poison")
    again = one.client.enqueue(same)
    one.drain()
    assert (again.wait(5).reason, again.wait(5).duplicate) == ("quarantined", True)
    assert credit_of(one, a) == 100
    assert len(quarantined(one)) == 1


def test_a_retry_typed_by_many_at_once_posts_it_once(
    install_daybook: Callable[[int], Installation], broken: set[str]
) -> None:
    """Eight at once, on two partitions with outcomes that Redis forgets between them."""
    two = install_daybook(2)
    a = poisoned(two, broken)
    broken.clear()
    found = find(two)

    def type_it(number: int) -> None:
        if number % 3 == 0:
            forget(two, "t:poison")
        two.log.append(retrying(*found, two.log.now_ms(), f"p{number}", ""))
        two.applier().drain(number % 2)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(type_it, range(8)))
    two.drain()
    assert credit_of(two, a) == 1100
    assert two.client.status(reference="poison").status == "APPLIED"
    assert two.rows("SELECT resolved FROM rejected_requests") == [("retried",)]
    assert_proved(two)


def forget(installation: Installation, key: str) -> None:
    """Redis forgets the outcome, and that something is queued: it is only a cache."""
    installation.redis.delete(*installation.log.keys.known([key]))


def find(installation: Installation, name: str = "poison") -> tuple[str, int, bytes]:
    with installation.owner.connect() as connection:
        found = find_quarantined(connection, name)
    assert found is not None
    return found[0].transaction_id, found[0].position, found[1]


def test_what_raises_again_is_quarantined_again(one: Installation, broken: set[str]) -> None:
    """Each try is a row of its own, and the last may still be retried."""
    a = poisoned(one, broken)
    for _ in range(2):
        assert one.run("quarantine", "retry", "poison").returncode == 0
        one.drain()
    assert [row["state"] for row in quarantined(one, "--all")] == ["open", "retried", "retried"]
    broken.clear()
    assert one.run("quarantine", "retry", "poison").returncode == 0
    one.drain()
    assert credit_of(one, a) == 1100
    assert quarantined(one) == []
    assert_proved(one)


def test_a_retry_may_be_refused_by_a_rule(one: Installation, broken: set[str]) -> None:
    """Then the rule's code is its outcome, permanently, in the journal."""
    (a,), _ = make_balances(one, 1)
    broken.add("boom")
    one.client.enqueue(move("poor", a, "@Shop", 5, description="boom"))
    one.drain()
    broken.clear()
    one.run("quarantine", "retry", "poor")
    one.drain()
    assert one.client.status(reference="poor").reason == "insufficient_funds"
    assert one.rows("SELECT reason FROM transactions WHERE reference = 'poor'") == [
        ("insufficient_funds",)
    ]
    assert one.run("quarantine", "retry", "poor").returncode == 0
    one.drain()
    assert one.client.status(reference="poor").reason == "insufficient_funds"
    assert_proved(one)


EXAMPLES: dict[type, Callable[[Installation, list[str]], Receipt]] = {
    Bulk: lambda at, owned: at.client.bulk(
        [deposit("item-1", owned[0], 5), move("item-2", owned[0], owned[1], 5)], reference="kind"
    ),
    MultiLeg: lambda at, owned: at.client.enqueue(
        reference="kind",
        source="@World",
        destinations=[{"identifier": name, "distribution": "50%"} for name in owned],
        currency="USD",
        precise_amount=10,
        precision=100,
        allow_overdraft=True,
    ),
    NewBalance: lambda at, _: at.client.create_balance("general_ledger_id", "EUR"),
    Change: lambda at, owned: at.client.merge_meta_data(owned[0], {"tier": "gold"}),
}


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_every_kind_can_be_retried(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    """Of two partitions: what raised is posted once, with all of its parts."""
    owned, _ = make_balances(installation, 2, seed=4)
    installation.drain()
    decide = KINDS[kind].post

    def fail(*_: Any) -> Any:
        raise RuntimeError("not today")

    monkeypatch.setitem(KINDS, kind, replace(KINDS[kind], post=fail))
    receipt = EXAMPLES[kind](installation, owned)
    installation.drain()
    assert receipt.wait(5).reason == "quarantined"
    assert installation.rows("SELECT reason FROM transactions WHERE status = 'REJECTED'") == []
    monkeypatch.setitem(KINDS, kind, replace(KINDS[kind], post=decide))
    for _ in range(2):
        assert installation.run("quarantine", "retry", receipt.id).returncode == 0
    installation.drain()
    assert receipt.wait(5).status == "APPLIED"
    assert quarantined(installation) == []
    assert_proved(installation)


def test_a_scheduled_transaction_that_raises_when_it_is_due_can_be_retried(
    one: Installation, broken: set[str]
) -> None:
    """Its schedule is over; tried again after its time, it is applied at once."""
    (a,), _ = make_balances(one, 1)
    due = datetime.fromtimestamp(one.log.now_ms() / 1000 + 1.5, UTC)
    later = deposit("later", a, 50, description="boom", scheduled_for=due.isoformat())
    one.client.enqueue(later)
    one.drain()
    broken.add("boom")
    wait_until(lambda: append_due(one.store, one.log, lambda _: None), "it is due")
    one.drain()
    assert one.client.status(reference="later").reason == "quarantined"
    broken.clear()
    assert one.run("quarantine", "retry", "later").returncode == 0
    one.drain()
    assert one.client.status(reference="later").status == "APPLIED"
    assert credit_of(one, a) == 50
    assert_proved(one)


def test_what_was_discarded_stays_refused(one: Installation, broken: set[str]) -> None:
    """It can't be retried, its reference stays used up, nothing is deleted."""
    a = poisoned(one, broken)
    assert one.run("quarantine", "discard", "poison").returncode == 2  # who?
    assert one.run("quarantine", "discard", "poison", "--by", "ben").returncode == 0
    one.drain()
    broken.clear()
    assert one.run("quarantine", "retry", "poison").returncode == 1
    one.log.append(retrying(*find(one), one.log.now_ms(), "", ""))  # queued before it was discarded
    one.drain()
    assert credit_of(one, a) == 100
    assert one.client.status(reference="poison").reason == "quarantined"
    (resolved,) = quarantined(one, "--all")
    assert (resolved["state"], resolved["resolved_by"]) == ("discarded", "ben")
    again = one.run("quarantine", "discard", "poison", "--by", "ben")
    assert (again.returncode, "discarded already" in again.stderr) == (1, True)
    assert_proved(one)


def test_what_an_older_version_quarantined_is_only_discarded(
    one: Installation, broken: set[str]
) -> None:
    """Its row in the journal is there permanently: a retry says so and sends nothing."""
    a = poisoned(one, broken)
    request_id, position, _ = find(one)
    with one.owner.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE transactions DISABLE TRIGGER ALL")
        connection.exec_driver_sql(
            "INSERT INTO transactions (partition, sequence, transaction_id, kind, reference, "
            "derived, currency, status, reason, description, allow_overdraft, position, "
            "effective_date, fingerprint, hash) VALUES (0, 999, %s, 'transaction', 'poison', "
            "false, 'USD', 'REJECTED', 'quarantined', '', false, %s, now(), '', '')",
            (request_id[4:], position),
        )
    broken.clear()
    refused = one.run("quarantine", "retry", "poison")
    assert (refused.returncode, "another one" in refused.stderr) == (1, True)
    assert one.run("quarantine", "discard", "poison", "--by", "ben").returncode == 0
    one.drain()
    assert quarantined(one) == []
    assert credit_of(one, a) == 100


def test_a_retry_behind_a_stranger_under_its_reference_says_so(
    one: Installation, broken: set[str]
) -> None:
    """Redis forgot the outcome and took another request: typed again later, it is posted once."""
    a = poisoned(one, broken)
    broken.clear()
    forget(one, "t:poison")
    stranger = one.client.enqueue(deposit("poison", a, 7))
    refused = one.run("quarantine", "retry", "poison")
    assert (refused.returncode, "type the same again" in refused.stderr) == (1, True)
    one.drain()
    assert stranger.wait(5).reason == "reference_conflict"
    assert one.run("quarantine", "retry", "poison").returncode == 0
    one.drain()
    assert credit_of(one, a) == 1100
    assert_proved(one)


@pytest.mark.parametrize("first", ["retry", "discard"])
def test_of_a_retry_and_a_discard_the_first_counts(
    one: Installation, broken: set[str], first: str
) -> None:
    """Both in one batch: the ledger and what was quarantined tell the same story."""
    a = poisoned(one, broken)
    broken.clear()
    entries = {
        "retry": retrying(*find(one), one.log.now_ms(), "anna", ""),
        "discard": discarding(*find(one), one.log.now_ms(), "ben", ""),
    }
    one.log.append(entries.pop(first))
    one.log.append(*entries.values())
    one.drain()
    assert credit_of(one, a) == (1100 if first == "retry" else 100)
    assert one.rows("SELECT resolved FROM rejected_requests") == [
        ("retried" if first == "retry" else "discarded",)
    ]
    assert_proved(one)


@pytest.mark.parametrize("still_broken", [True, False])
def test_a_replay_after_a_restore_comes_to_the_same(
    one: Installation, broken: set[str], still_broken: bool
) -> None:
    """The log holds the request, the retry and the request again; replayed, it is posted once."""
    backup = copy_of(one)
    a = poisoned(one, broken)
    one.log.append(retrying(*find(one), one.log.now_ms(), "anna", ""))
    broken.clear()
    one.drain()
    restore(one, backup)
    broken.update({"boom"} if still_broken else ())
    one.drain()
    assert credit_of(one, a) == (100 if still_broken else 1100)
    assert one.client.status(reference="poison").status == (
        "REJECTED" if still_broken else "APPLIED"
    )
    states = one.rows("SELECT resolved FROM rejected_requests ORDER BY position")
    assert states == ([("retried",), (None,)] if still_broken else [])
    assert_proved(one)


def test_an_action_without_a_reference_is_kept_by_its_id(
    one: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A void that was quarantined is answered by its id, and retried under it."""
    (a,), _ = make_balances(one, 1)
    hold = one.client.enqueue(deposit("hold", a, 50, inflight=True))
    one.drain()
    decide = KINDS[Void].post

    def fail(*_: Any) -> Any:
        raise RuntimeError("no voids today")

    monkeypatch.setitem(KINDS, Void, replace(KINDS[Void], post=fail))
    voided = one.client.void(hold.id)
    one.drain()
    assert voided.wait(5).reason == "quarantined"
    monkeypatch.setitem(KINDS, Void, replace(KINDS[Void], post=decide))
    forget(one, voided.key)
    ((body,),) = one.rows("SELECT body FROM rejected_requests")
    (_, same) = retrying(voided.id, 0, bytes(body), one.log.now_ms(), "", "")
    one.log.append([same._replace(flags="")])
    one.drain()
    assert voided.wait(5).reason == "quarantined"
    assert one.run("quarantine", "retry", voided.id).returncode == 0
    one.drain()
    assert voided.wait(5).status == "VOID"
    assert same.flags == RETRY
    assert_proved(one)


def test_workers_retry_what_postgres_refused(one: Installation) -> None:
    """Real workers: data that the database would not take is posted once it does."""
    (a,), _ = make_balances(one, 1)
    one.rows(
        "CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'too odd' USING ERRCODE = 'data_exception'; END $$"
    )
    one.rows(
        "CREATE TRIGGER refuse_one BEFORE INSERT ON transactions FOR EACH ROW "
        "WHEN (NEW.reference = 'odd') EXECUTE FUNCTION refuse_one()"
    )
    with one.workers():
        assert one.client.enqueue(deposit("odd", a, 7)).wait(60).reason == "quarantined"
        assert json.loads(one.run("status", "--json", "--no-workers").stdout)["quarantined"] == 1
        one.rows("DROP TRIGGER refuse_one ON transactions")
        retried = one.run("quarantine", "retry", "odd", "--by", "anna", "--wait", "60", "--json")
        assert json.loads(retried.stdout)["status"] == "APPLIED", retried.stderr
        again = one.run("quarantine", "retry", "odd", "--wait", "60", "--json")
        assert json.loads(again.stdout)["state"] == "duplicate"
        one.wait_applied()
    assert credit_of(one, a) == 7
    with one.owner.connect() as connection:
        assert count_quarantined(connection) == 0
    assert_proved(one)
