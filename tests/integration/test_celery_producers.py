"""A service that speaks Celery: its own application and worker, and ``daybook.celery.enqueue``."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from celery import Celery, chain, chord, group
from celery.result import AsyncResult
from tests.harness import Cluster, Installation, wait_until
from tests.integration import shop

from daybook import celery as daybook_celery
from daybook.apply.due import append_due
from daybook.celery import enqueue
from daybook.errors import MalformedRequest, OutcomeUnknown, ReferenceConflict, RevokeRefused
from daybook.requests import mint_id
from daybook.settings import celery_url

SECONDS_MAX = 60


class Shop(NamedTuple):
    """The service: its application in this process, and its worker beside it."""

    app: Celery
    installation: Installation
    same_redis: bool


@pytest.fixture(scope="module", params=["same redis", "own redis"])
def running(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """A service on the ledger's Redis database, or with a broker and results of its own."""
    installation = Installation(cluster, 2, tmp_path_factory.mktemp("shop"))
    same = request.param == "same redis"
    url = celery_url(installation.redis_url if same else cluster.empty_redis())
    with (installation.folder / "shop.log").open("ab") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.integration.shop", "worker", "-c", "2"],
            env={**installation.environment, "SHOP_BROKER": url, "SHOP_BACKEND": url},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    installation.workers(1, beat=False)
    app = shop.make_app(url, url)
    yield Shop(app, installation, same)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    gc.collect()  # results unsubscribe when they go: while there is a server to tell
    app.backend.result_consumer.stop()
    app.close()
    installation.close()


@pytest.fixture
def service(running: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The service, with its application as the current one of this process."""
    with producer(running.installation, monkeypatch):
        running.app.set_current()
        yield running
        shop.app.set_current()


@contextmanager
def producer(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as a producer on the installation."""
    monkeypatch.setenv("DAYBOOK_REDIS_URL", installation.redis_url)
    daybook_celery._client_of.cache_clear()
    yield
    daybook_celery.client().close()
    daybook_celery._client_of.cache_clear()


def fields(reference: str, **changes: Any) -> dict[str, Any]:
    """A deposit of 19.99."""
    return {
        "reference": reference,
        "source": "@World",
        "destination": "@Shop",
        "currency": "USD",
        "amount": "19.99",
        "precision": 100,
        "allow_overdraft": True,
        **changes,
    }


def statuses(service: Shop, start: str) -> dict[str, str]:
    """The recorded statuses of references that begin with ``start``."""
    query = "SELECT reference, status FROM transactions WHERE reference ^@ %s"
    return dict(service.installation.rows(query, start))


def test_calls_behave_like_those_of_any_task(service: Shop) -> None:
    """delay and apply_async become the outcome under the reference; a repetition is harmless."""
    first = enqueue.delay(**fields("order-1"))
    outcome = first.get(timeout=SECONDS_MAX)
    assert first.id == "order-1"
    assert outcome["status"] == "APPLIED"
    assert outcome["transaction_id"].startswith("txn_")
    without = fields("-")
    del without["reference"]
    named = enqueue.apply_async(kwargs=without, task_id="order-2")
    assert named.get(timeout=SECONDS_MAX)["reference"] == "order-2"
    assert enqueue.delay(fields("order-3")).get(timeout=SECONDS_MAX)["status"] == "APPLIED"
    nested = enqueue.apply_async(kwargs={"request": fields("order-4")})
    assert nested.get(timeout=SECONDS_MAX)["status"] == "APPLIED"
    again = enqueue.delay(**fields("order-1")).get(timeout=SECONDS_MAX)
    assert again["transaction_id"] == outcome["transaction_id"]
    assert enqueue.AsyncResult("order-1").successful()
    if service.same_redis:
        assert AsyncResult("order-1", app=service.app).get(timeout=SECONDS_MAX) == outcome
    assert statuses(service, "order-") == {f"order-{i}": "APPLIED" for i in range(1, 5)}


def test_what_is_wrong_is_said_to_the_caller(service: Shop) -> None:
    """A conflict and a malformed request raise where they are called."""
    enqueue.delay(**fields("used")).get(timeout=SECONDS_MAX)
    with pytest.raises(ReferenceConflict, match="'used' is already used by txn_"):
        enqueue.delay(**fields("used", amount="20.00"))
    with pytest.raises(MalformedRequest, match=r"source.*is required") as caught:
        enqueue.delay(reference="x", amount="0")
    assert {error.field for error in caught.value.errors} >= {"source", "amount", "currency"}
    with pytest.raises(MalformedRequest, match=r"amount: 30\.001 .* send 30 or 30\.01, or set"):
        enqueue.delay(**fields("inexact", amount="30.001"))
    with pytest.raises(MalformedRequest, match="precision: is required"):
        enqueue.delay(**fields("bare", precision=None))
    rounded = enqueue.delay(**fields("rounded", amount="30.001", rounding="half_up"))
    assert rounded.get(timeout=SECONDS_MAX)["status"] == "APPLIED"
    with pytest.raises(MalformedRequest, match="one mapping"):
        enqueue.delay(17)
    with pytest.raises(MalformedRequest, match="one mapping"):
        enqueue.delay(request=[])
    with pytest.raises(MalformedRequest, match="one of scheduled_for, eta and countdown"):
        enqueue.apply_async(kwargs=fields("used later", scheduled_for="2200-01-01"), countdown=10)
    with pytest.raises(MalformedRequest, match="countdown: must be a number of seconds"):
        enqueue.apply_async(kwargs=fields("used later"), countdown=float("inf"))
    with pytest.raises(MalformedRequest, match="scheduled_for: is not a field"):
        enqueue.apply_async(kwargs={"kind": "ledger", "name": "Later"}, countdown=10)
    assert statuses(service, "used") == {"used": "APPLIED"}


def test_a_delay_is_kept_by_the_ledger(service: Shop) -> None:
    """eta and countdown become scheduled_for: results and links wait, a cancel is in time."""
    soon = datetime.now(UTC) + timedelta(seconds=1)
    later = enqueue.apply_async(kwargs=fields("later"), eta=soon)
    linked = chain(enqueue.s(**fields("later-link")).set(countdown=1), shop.receipt_text.s())
    link = linked.apply_async()
    never = enqueue.apply_async(kwargs=fields("later-never"), countdown=3_600)
    again = enqueue.apply_async(kwargs=fields("later"), eta=soon.replace(tzinfo=None))
    client = daybook_celery.client()
    scheduled = client.wait(reference="later-never", timeout=SECONDS_MAX)
    assert (scheduled.status, never.ready(), again.id) == ("SCHEDULED", False, later.id)
    cancel = enqueue.delay(kind="cancel", transaction_id=scheduled.transaction_id)
    assert cancel.get(timeout=SECONDS_MAX)["status"] == "APPLIED"
    assert never.get(timeout=SECONDS_MAX)["reason"] == "cancelled"

    def swept() -> bool:
        installation = service.installation
        append_due(installation.store, installation.log, lambda at: client._doorbell.ring([at]))
        return bool(later.ready() and link.ready())

    wait_until(swept, "both applied when they are due", SECONDS_MAX)
    assert later.get(timeout=SECONDS_MAX)["status"] == "APPLIED"
    assert link.get(timeout=SECONDS_MAX) == "later-link is APPLIED"


def test_what_expires_is_refused(service: Shop) -> None:
    """An append happens at once: neither a past nor a coming expiry can be kept."""
    for expires in (datetime(2020, 1, 1, tzinfo=UTC), 3_600):
        with pytest.raises(MalformedRequest, match=r"expires: .*kind cancel"):
            enqueue.apply_async(kwargs=fields("expires"), expires=expires)
    in_chain = chain(
        shop.price.s(fields("expires")), enqueue.s(**fields("expires")).set(expires=3_600)
    ).apply_async()
    with pytest.raises(MalformedRequest, match="expires: "):
        in_chain.get(timeout=SECONDS_MAX)
    assert statuses(service, "expires") == {}


def test_a_revoke_comes_in_time_or_says_that_it_does_not(service: Shop) -> None:
    """What waits for its time is cancelled when revoke returns; what is posted is not revoked."""
    later = enqueue.apply_async(kwargs=fields("revoke-later"), countdown=3_600)
    later.revoke()
    assert later.get(timeout=SECONDS_MAX)["reason"] == "cancelled"
    later.revoke()  # nothing is left to do
    posted = enqueue.delay(**fields("revoke-posted"))
    posted.get(timeout=SECONDS_MAX)
    with pytest.raises(RevokeRefused, match=r"APPLIED.*kind refund"):
        posted.revoke()
    with pytest.raises(RevokeRefused, match="kind cancel"):
        posted.revoke_by_stamped_headers({"a": "b"})
    with pytest.raises(RevokeRefused):
        enqueue.delay(kind="ledger", name="Shop").revoke()
    posted.forget()
    assert posted.get(timeout=SECONDS_MAX)["status"] == "APPLIED"
    found = statuses(service, "revoke-")
    assert (found["revoke-later"], found["revoke-posted"]) == ("REJECTED", "APPLIED")


def test_a_task_may_wait_for_an_outcome(service: Shop) -> None:
    """Workers of the ledger record it, so that no place of the caller's pool is needed."""
    paid = shop.pay.delay(fields("waited for"))
    assert paid.get(timeout=SECONDS_MAX) == "waited for is APPLIED"


def test_results_are_named_by_reference_or_by_id(service: Shop) -> None:
    """A reference that looks like the id of a balance is a reference."""
    made = enqueue.delay(kind="balance", ledger_id="general_ledger_id", currency="USD")
    balance_id = made.get(timeout=SECONDS_MAX)["transaction_id"]
    refused = fields(balance_id, source=mint_id("bln", 0, 1))
    assert enqueue.delay(**refused).get(timeout=SECONDS_MAX)["reason"] == "unknown_balance"
    assert enqueue.AsyncResult(balance_id).get(timeout=SECONDS_MAX)["reason"] == "unknown_balance"
    assert enqueue.AsyncResult(id=balance_id).get(timeout=SECONDS_MAX)["status"] == "APPLIED"
    with pytest.raises(TypeError, match="one of them"):
        enqueue.AsyncResult(balance_id, id=balance_id)


def test_calls_may_ask_for_any_kind(service: Shop) -> None:
    """A call that names nothing gets a name by which its outcome is found."""

    def done(**request: Any) -> dict[str, Any]:
        return dict(enqueue.delay(**request).get(timeout=SECONDS_MAX))

    ledger = done(kind="ledger", name="Shop")
    owner = done(kind="identity", first_name="Ada")
    balance = enqueue.apply_async(
        kwargs={
            "kind": "balance",
            "ledger_id": ledger["transaction_id"],
            "identity_id": owner["transaction_id"],
            "currency": "USD",
        },
        task_id="a balance",
    ).get(timeout=SECONDS_MAX)
    into = {"destination": balance["transaction_id"]}
    bulk = done(transactions=[fields("kind-1", **into), fields("kind-2", **into)], atomic=True)
    hold = done(**fields("kind-hold", inflight=True, **into))
    refund = enqueue.apply_async(
        kwargs={"kind": "refund", "transaction_id": bulk["transaction_id"]}, task_id="a refund"
    ).get(timeout=SECONDS_MAX)
    void = done(kind="void", transaction_id=hold["transaction_id"])
    change = done(kind="change", subject_id=ledger["transaction_id"], fields={"name": "Store"})
    outcomes = [ledger, owner, balance, bulk, hold, refund, void, change]
    statuses = [outcome["status"] for outcome in outcomes]
    assert statuses == ["APPLIED"] * 4 + ["INFLIGHT", "APPLIED", "VOID", "APPLIED"]
    assert refund["reference"] == "a refund"


def test_a_chain_hands_outcomes_on(service: Shop) -> None:
    """A request may be the first, a middle and the last link; each sees the outcome before it."""
    first = chain(enqueue.s(**fields("link-first")), shop.receipt_text.s())
    assert first.apply_async().get(timeout=SECONDS_MAX) == "link-first is APPLIED"
    middle = chain(shop.price.s(fields("link-middle")), enqueue.s(), shop.receipt_text.s())
    assert middle.apply_async().get(timeout=SECONDS_MAX) == "link-middle is APPLIED"
    last = chain(shop.price.s(fields("ignored")), enqueue.s(**fields("link-last")))
    assert last.apply_async().get(timeout=SECONDS_MAX)["reference"] == "link-last"
    unnamed = chain(shop.price.s(fields("link-made")), enqueue.s())
    assert unnamed.apply_async().get(timeout=SECONDS_MAX)["reference"] == "link-made"
    second = enqueue.s(**fields("link-2", amount=Decimal("4.35")))
    two = chain(enqueue.s(**fields("link-1")), second)
    assert two.apply_async().get(timeout=SECONDS_MAX)["reference"] == "link-2"
    assert statuses(service, "link-") == dict.fromkeys(
        [f"link-{name}" for name in ("first", "middle", "last", "made", "1", "2")], "APPLIED"
    )
    assert statuses(service, "ignored") == {}


def test_a_chain_stops_at_a_request_that_is_refused_at_the_door(service: Shop) -> None:
    """Nobody calls the middle of a chain: its fault becomes the result, and nothing follows."""
    broken = chain(shop.price.s({}), enqueue.s(**fields("broken", amount="0"))).apply_async()
    with pytest.raises(MalformedRequest, match="amount"):
        broken.get(timeout=SECONDS_MAX)
    stopped = chain(
        shop.price.s({}), enqueue.s(**fields("stopped", amount="0")), enqueue.s(**fields("after"))
    ).apply_async()
    with pytest.raises(MalformedRequest, match="amount"):
        stopped.parent.get(timeout=SECONDS_MAX)
    assert statuses(service, "broken") | statuses(service, "stopped") == {}
    assert statuses(service, "after") == {}


def test_groups_and_chords_gather_outcomes(service: Shop) -> None:
    """Requests in a group, beside other tasks, and in the header and the body of a chord."""
    some = group(enqueue.s(**fields(f"group-{i}")) for i in range(5)).apply_async()
    assert [o["reference"] for o in some.get(timeout=SECONDS_MAX)] == [
        f"group-{i}" for i in range(5)
    ]
    mixed = group(shop.price.s({"status": "x"}), enqueue.s(**fields("mixed"))).apply_async()
    assert [o["status"] for o in mixed.get(timeout=SECONDS_MAX)] == ["x", "APPLIED"]
    refused = enqueue.s(**fields("refused", allow_overdraft=False, source="@Empty"))
    counted = chord([*(enqueue.s(**fields(f"head-{i}")) for i in range(4)), refused])(
        shop.count.s()
    )
    assert counted.get(timeout=SECONDS_MAX) == {"APPLIED": 4, "REJECTED": 1}
    body = chord([shop.price.s({}), shop.price.s({})])(enqueue.s(**fields("body")))
    assert body.get(timeout=SECONDS_MAX)["reference"] == "body"
    linked = enqueue.apply_async(kwargs=fields("linked"), link=shop.receipt_text.s())
    assert linked.get(timeout=SECONDS_MAX)["status"] == "APPLIED"


def test_a_task_can_be_called_like_a_function(service: Shop) -> None:
    """Called directly it appends and waits; a rejection is an outcome, not an exception."""
    assert enqueue(**fields("direct"))["status"] == "APPLIED"
    refused = enqueue(**fields("poor", source="@Empty", allow_overdraft=False))
    assert (refused["status"], refused["reason"]) == ("REJECTED", "insufficient_funds")
    assert enqueue.apply(kwargs=fields("applied")).get()["status"] == "APPLIED"


def test_a_wait_that_times_out_says_that_the_outcome_is_unknown(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a worker a direct call raises OutcomeUnknown, and the request stays in the log."""
    monkeypatch.setattr(daybook_celery, "WAIT_SECONDS_MAX", 0.05)
    with producer(installation, monkeypatch):
        with pytest.raises(OutcomeUnknown, match="may still be posted"):
            enqueue(**fields("late"))
        assert installation.client.status(reference="late").status == "QUEUED"
        with pytest.raises(ReferenceConflict, match="differs in precise_amount"):
            enqueue.delay(**fields("late", amount="20.00"))
