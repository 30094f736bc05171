"""An answer belongs to the message that asked: a service that sends by name, and its results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult
from tests.harness import Installation, wait_until

from daybook.apply.due import append_due
from daybook.ledger.money import amount_text
from daybook.queue.doorbell import INTAKE_QUEUE
from daybook.settings import celery_url

SECONDS_MAX = 60


class Service:
    """A service with Celery only, on the broker of the workers."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        url = celery_url(installation.redis_url)
        self.app = Celery("elsewhere", broker=url, backend=url, set_as_current=False)

    def send(
        self, task_id: str | None, amount: str = "1.00", options: Any = None, **changes: Any
    ) -> AsyncResult:
        """Send a request, a deposit unless ``changes`` say otherwise."""
        deposit = {
            "source": "@World",
            "destination": "@C",
            "currency": "USD",
            "amount": amount,
            "precision": 100,
            "allow_overdraft": True,
        }
        request = {**({} if "kind" in changes else deposit), **changes}
        return self.app.send_task(
            "daybook.enqueue",
            task_id=task_id,
            queue=INTAKE_QUEUE,
            kwargs={"request": request},
            **(options or {}),
        )

    def meta(self, task_id: str) -> dict[str, Any]:
        """What anybody who has the id reads, at this moment."""
        return dict(self.app.backend.get_task_meta(task_id))

    def becomes(self, task_id: str, state: str, says: str) -> dict[str, Any]:
        """The result of ``task_id`` once it is ``state`` and its text contains ``says``."""

        def found() -> dict[str, Any] | None:
            meta = self.meta(task_id)
            fits = meta["status"] == state and says in repr(meta["result"])
            return meta if fits else None

        return dict(wait_until(found, f"{task_id} {state} {says}", SECONDS_MAX))

    def posted(self) -> dict[str, tuple[str, int]]:
        """Status and minor units of each recorded transaction, by reference."""
        rows = self.installation.rows(
            "SELECT reference, status, precise_amount::bigint FROM transactions"
            " WHERE kind = 'transaction' AND NOT derived"
        )
        return {reference: (status, amount) for reference, status, amount in rows}

    def happen(self) -> None:
        """Append what is due."""
        installation = self.installation
        bell = installation.client._doorbell
        append_due(installation.store, installation.log, lambda at: bell.ring([at]))


@pytest.fixture
def service(installation: Installation) -> Iterator[Service]:
    """A service, and one worker without beat."""
    found = Service(installation)
    installation.workers(1, beat=False)
    yield found
    found.app.close()


def test_a_conflict_is_the_answer_of_the_message_that_made_it(service: Service) -> None:
    """Another amount under a used id fails, naming the original; the older answer is not kept."""
    first = service.send("C").get(timeout=SECONDS_MAX)
    assert first["status"] == "APPLIED"
    service.send("C", "500.00")
    meta = service.becomes("C", "FAILURE", "differs in precise_amount")
    assert type(meta["result"]).__name__ == "ReferenceConflict"
    assert first["transaction_id"] in str(meta["result"])
    assert service.posted() == {"C": ("APPLIED", 100)}
    service.send("C")
    again = service.becomes("C", "SUCCESS", "APPLIED")["result"]
    assert again == {**first, "duplicate": True}


def test_an_entry_with_the_key_of_another_request_answers_nobody(service: Service) -> None:
    """A stranger's, that is no request and names somebody's reference: his result stays."""
    first = service.send("R").get(timeout=SECONDS_MAX)
    installation = service.installation
    entry = {"i": "x", "k": "t:whatever", "c": "c", "b": '{"reference":"R"}'}
    for partition in (0, 1):
        installation.put(installation.log.keys.log(partition), entry)
        installation.client._doorbell.ring([partition])
    installation.wait_applied()
    assert service.send("later").get(timeout=SECONDS_MAX)["status"] == "APPLIED"
    assert service.becomes("R", "SUCCESS", "APPLIED")["result"] == first


def test_an_accepted_request_replaces_an_older_failure(service: Service) -> None:
    """The corrected request is answered with its own outcome, no matter who reads it and when."""
    with pytest.raises(Exception, match="amount: must be greater than zero"):
        service.send("A", "0").get(timeout=SECONDS_MAX)
    service.send("A", "5.00")
    outcome = service.becomes("A", "SUCCESS", "APPLIED")["result"]
    assert (outcome["amount"], outcome["duplicate"]) == ("5", False)
    assert service.posted() == {"A": ("APPLIED", 500)}
    service.send("A", "-1")
    assert "amount" in str(service.becomes("A", "FAILURE", "amount")["result"])


def test_results_say_what_they_are_of(service: Service) -> None:
    """Reference, amount, currency and fingerprint: a caller can compare them with its request."""
    made = service.installation.client.enqueue
    outcome = service.send(None, "19.9", reference="say").get(timeout=SECONDS_MAX)
    assert outcome["reference"] == "say"
    assert (outcome["amount"], outcome["currency"]) == (amount_text(1990, 100), "USD")
    assert (outcome["precise_amount"], outcome["precision"]) == (1990, 100)
    poor = service.send(None, "2.00", source="@Poor", allow_overdraft=False, reference="poor")
    refused = poor.get(timeout=SECONDS_MAX)
    assert (refused["reason"], refused["amount"]) == ("insufficient_funds", "2")
    hold = service.send(None, "3.00", inflight=True, reference="hold").get(timeout=SECONDS_MAX)
    part = {"transaction_id": hold["transaction_id"], "precise_amount": 100}
    commit = service.send(None, kind="commit", **part).get(timeout=SECONDS_MAX)
    void = service.send(
        None, kind="void", reference="rest", transaction_id=hold["transaction_id"]
    ).get(timeout=SECONDS_MAX)
    assert [one["amount"] for one in (hold, commit, void)] == ["3", "1", "2"]
    assert {one["currency"] for one in (hold, commit, void)} == {"USD"}
    receipt = made(
        reference="say", source="@World", destination="@C", currency="USD", amount="19.90",
        precision=100, allow_overdraft=True,
    )  # fmt: skip
    assert receipt.fingerprint == outcome["fingerprint"]
    assert receipt.wait(SECONDS_MAX).as_dict() == {**outcome, "duplicate": True}


def test_any_task_id_may_ask_for_a_reference(service: Service) -> None:
    """Each message has its own id and its own answer, also while the original is queued."""
    results = [service.send(None, "7.00", reference="shared") for _ in range(8)]
    outcomes = [result.get(timeout=SECONDS_MAX) for result in results]
    assert {one["status"] for one in outcomes} == {"APPLIED"}
    assert {one["reference"] for one in outcomes} == {"shared"}
    assert len({one["transaction_id"] for one in outcomes}) == 1
    other = service.send(None, "8.00", reference="shared")
    with pytest.raises(Exception, match=outcomes[0]["transaction_id"]):
        other.get(timeout=SECONDS_MAX)
    for result in results:
        assert service.meta(result.id)["status"] == "SUCCESS"
    late = service.send(None, "7.00", reference="shared").get(timeout=SECONDS_MAX)
    assert late["duplicate"]
    assert service.posted() == {"shared": ("APPLIED", 700)}


def test_who_asks_for_what_came_another_way_is_answered_when_it_happens(
    service: Service,
) -> None:
    """A schedule of the client: its outcome goes to the message that asked for it later."""
    later = {"reference": "rent", "scheduled_for": "2200-01-01T00:00:00Z"}
    first = service.send("first", **later)
    client = service.installation.client
    wait_until(lambda: service.installation.rows("SELECT 1 FROM schedules"), "the schedule")
    second = service.send("second", **later)
    wait_until(lambda: service.meta("second")["status"] == "STARTED", "the intake took it")
    assert not first.ready()
    client.cancel(client.status(reference="rent").transaction_id)
    for result, duplicate in ((first, False), (second, True)):
        outcome = result.get(timeout=SECONDS_MAX)
        assert (outcome["reason"], outcome["duplicate"]) == ("cancelled", duplicate)


def test_a_late_outcome_never_answers_a_younger_message(service: Service) -> None:
    """An id that another message has taken meanwhile keeps that one's answer."""
    service.send("T", "1.00", reference="older", scheduled_for="2200-01-01T00:00:00Z")
    wait_until(lambda: service.installation.rows("SELECT 1 FROM schedules"), "the schedule")
    service.send("T", "2.00", reference="younger")
    service.becomes("T", "SUCCESS", "younger")
    client = service.installation.client
    cancel = client.cancel(client.status(reference="older").transaction_id)
    assert cancel.wait(SECONDS_MAX).status == "APPLIED"
    behind = service.send(None, "3.00", reference="behind")  # same worker, so after that reply
    assert behind.get(timeout=SECONDS_MAX)["status"] == "APPLIED"
    assert service.meta("T")["result"]["reference"] == "younger"


def test_an_id_whose_message_expired_can_be_used_again(installation: Installation) -> None:
    """What expired unread is revoked, is not posted, and blocks nothing."""
    service = Service(installation)
    past = {"expires": datetime.now(UTC) - timedelta(hours=1)}
    expired = [service.send(f"old-{number}", options=past) for number in range(3)]
    installation.workers(1, beat=False)
    for result in expired:
        with pytest.raises(TaskRevokedError):
            result.get(timeout=SECONDS_MAX)
    for result in expired:
        service.send(result.id)
        assert service.becomes(result.id, "SUCCESS", "APPLIED")["result"]["amount"] == "1"
    assert len(service.posted()) == 3
    service.app.close()


def test_a_delay_of_a_message_becomes_a_schedule_of_the_ledger(service: Service) -> None:
    """No worker sits on it: it can be cancelled, and its result comes when it is due."""
    never = service.send("never", options={"countdown": 3_600})
    soon = service.send("soon", options={"countdown": 1})
    rows = "SELECT reference FROM schedules"
    wait_until(lambda: ("never",) in service.installation.rows(rows), "the schedule")
    assert not never.ready()

    def due() -> bool:
        service.happen()
        return bool(soon.ready())

    wait_until(due, "applied when it is due", SECONDS_MAX)
    assert soon.get(timeout=SECONDS_MAX)["status"] == "APPLIED"
    scheduled = service.installation.client.status(reference="never")
    service.send(None, kind="cancel", transaction_id=scheduled.transaction_id)
    assert never.get(timeout=SECONDS_MAX)["reason"] == "cancelled"
    both = service.send(None, options={"countdown": 9}, scheduled_for="2200-01-01T00:00:00Z")
    with pytest.raises(Exception, match="one of scheduled_for, eta and countdown"):
        both.get(timeout=SECONDS_MAX)


def test_a_message_that_the_intake_cannot_hand_on_is_refused(service: Service) -> None:
    """A link would wait for ever: the task fails, saying what to use, and nothing is posted."""
    link = service.app.signature("shop.receipt", queue="shop")
    with pytest.raises(Exception, match=r"link: .*daybook\.celery"):
        service.send("linked", options={"link": link}).get(timeout=SECONDS_MAX)
    chained = service.app.signature(
        "daybook.enqueue", kwargs={"request": {}}, queue=INTAKE_QUEUE, task_id="chained"
    )
    (chained | link).apply_async()
    assert "chain: " in str(service.becomes("chained", "FAILURE", "chain")["result"])
    assert service.posted() == {}


def test_nobody_waits_for_what_was_answered(service: Service) -> None:
    """Who was answered, and who failed, is not remembered."""
    service.send("one").get(timeout=SECONDS_MAX)
    with pytest.raises(Exception, match="already used"):
        service.send(None, "2.00", reference="one").get(timeout=SECONDS_MAX)
    service.send("ignored", options={"ignore_result": True})
    wait_until(lambda: "ignored" in service.posted(), "posted")
    assert service.meta("ignored")["status"] == "PENDING"
    keys = service.installation.log.keys
    wait_until(lambda: not service.installation.redis.hgetall(keys.asked), "nobody asks")


def test_a_swept_answer(service: Service) -> None:
    """A worker that died between its reply and the answer: the sweeper answers."""
    result = service.send("swept")
    outcome = result.get(timeout=SECONDS_MAX)
    redis = service.installation.redis
    log = service.installation.log
    asker = {"id": "orphan", "at": 1, "mark": "m", "fingerprint": outcome["fingerprint"]}
    redis.hset(log.keys.asked, "t:swept", json.dumps([asker]))
    redis.hset(log.keys.asked, "t:nobody", json.dumps([{**asker, "id": "gone"}]))
    service.app.send_task("daybook.sweep", queue=INTAKE_QUEUE)
    assert service.becomes("orphan", "SUCCESS", "APPLIED")["result"] == outcome
    wait_until(lambda: not redis.hexists(log.keys.asked, "t:swept"), "forgotten")
    wait_until(lambda: not redis.hexists(log.keys.asked, "t:nobody"), "forgotten")
