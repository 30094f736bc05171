"""The result of an id that several messages use: whose it is, whatever is delivered again."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context
from tests.harness import Installation

from daybook.errors import LogFull, ReferenceConflict
from daybook.queue import waiting as asked_module
from daybook.queue.entries import outcome_value
from daybook.queue.waiting import Asked, Asker
from daybook.settings import celery_url
from daybook.worker.answering import mark_of
from daybook.worker.answers import LOOKUPS_A_SLICE_MAX, Answers
from daybook.worker.app import app
from daybook.worker.events import RequestEvents
from daybook.worker.intake import Desk, take

ID = "order-1"
FINGERPRINT = "0" * 64


@pytest.fixture
def desk(installation: Installation) -> Iterator[Desk]:
    """An intake on an installation without workers."""
    url = celery_url(installation.redis_url)
    app = Celery("intake", broker=url, backend=url, set_as_current=False)
    app.loader.override_backends = {"redis": "daybook.worker.answering:AnsweringBackend"}
    yield Desk(installation.client, Asked(installation.log), app.backend)
    app.backend.client.close()
    app.close()


def message(
    amount: str, *, retries: int = 0, redelivered: bool = False, ignores: bool = False
) -> Context:
    """A deposit under ``ID``, as Celery shows it to the intake."""
    request = {
        "source": "@World",
        "destination": "@C",
        "currency": "USD",
        "amount": amount,
        "precision": 100,
        "allow_overdraft": True,
    }
    return Context(
        id=ID,
        task="daybook.enqueue",
        args=[],
        kwargs={"request": request},
        retries=retries,
        ignore_result=ignores,
        delivery_info={"redelivered": redelivered},
    )


def meta(desk: Desk) -> tuple[str, Any]:
    """What is read under ``ID``."""
    found = json.loads(desk.results.client.get(desk.results.get_key_for_task(ID)))
    return found["status"], found["result"]


def applied(desk: Desk, asked: Context) -> None:
    """Answer a message that was taken, as the worker that applies it does."""
    stored = desk.results.answer(ID, mark_of(asked), asked.daybook_at, asked.kwargs, "SUCCESS")
    assert stored


def fail(desk: Desk, asked: Context) -> None:
    """Take a message that conflicts, and store that, as Celery does."""
    with pytest.raises(ReferenceConflict) as caught:
        take(desk, asked)
    desk.results.mark_as_failure(ID, caught.value, request=asked)


@pytest.mark.parametrize("again", [{"retries": 1}, {"redelivered": True}])
def test_an_older_message_that_comes_again_leaves_the_result_of_a_younger_one(
    desk: Desk, again: dict[str, Any]
) -> None:
    """Tried again or delivered again: its failure doesn't hide that the other one was applied."""
    desk.results.claim(ID, mark_of(message("1.00")))
    younger = message("2.00")
    assert take(desk, younger) is None
    applied(desk, younger)
    fail(desk, message("1.00", **again))
    assert meta(desk) == ("SUCCESS", younger.kwargs)


@pytest.mark.parametrize("again", [{"retries": 1}, {"redelivered": True}])
def test_a_message_that_never_claimed_its_result_does_so_when_it_comes_again(
    desk: Desk, again: dict[str, Any]
) -> None:
    """Its worker died, or the server was away, before the claim: what is there is older."""
    older = message("1.00")
    assert take(desk, older) is None
    applied(desk, older)
    fail(desk, message("2.00", **again))
    assert meta(desk)[0] == "FAILURE"
    fail(desk, message("2.00", retries=2))
    assert meta(desk)[0] == "FAILURE"


def test_what_never_claimed_a_result_gives_way_when_its_worker_is_lost(desk: Desk) -> None:
    """The parent stores the failure, and knows of no claim."""
    desk.results.claim(ID, mark_of(message("1.00")))
    younger = message("2.00")
    take(desk, younger)
    applied(desk, younger)
    lost = message("1.00", retries=1)
    desk.results.mark_as_failure(ID, RuntimeError("lost"), request=lost)
    assert meta(desk)[0] == "SUCCESS"


def test_a_message_that_is_sent_again_replaces_its_own_failure(desk: Desk) -> None:
    """Anyone who sends the same again waits for it, instead of reading the old failure at once."""
    failed = message("1.00")
    desk.results.mark_as_failure(ID, LogFull("for an hour"), request=failed)
    assert meta(desk)[0] == "FAILURE"
    again = message("1.00")
    assert take(desk, again) is None
    assert meta(desk)[0] == "STARTED"
    applied(desk, again)
    take(desk, message("1.00"))
    assert meta(desk)[0] == "SUCCESS"


def test_more_outcomes_than_the_bound_are_not_waited_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is full for the next one, which is tried again; those that wait are untouched."""
    monkeypatch.setattr(asked_module, "KEYS_MAX", 2)
    first = Asker("a", "f", 1, "m")
    for key in ("t:1", "t:2"):
        desk.asked.add(key, first)
    desk.asked.add("t:2", first._replace(task_id="b"))
    with pytest.raises(LogFull, match="2 outcomes"):
        take(desk, message("1.00"))
    assert {key for key, _ in desk.asked.everybody(0)[1]} == {"t:1", "t:2"}
    assert take(desk, message("1.00", ignores=True)) is None  # it can do without
    desk.asked.remove("t:1", first)
    assert take(desk, message("1.00")) is None


def test_a_message_that_ignores_its_result_ends_as_its_request(
    desk: Desk, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Monitors are told, and nothing is stored; nor is the place of one that waits taken."""
    events = RequestEvents(app, every_request=False)
    monkeypatch.setattr(events, "send", lambda: None)
    answers = Answers(installation.log, desk.results, 60, events)

    def told(reason: str | None) -> list[tuple[str, str]]:
        ((key, found),) = desk.asked.everybody(0)[1]
        (asker,) = asked_module.askers_in(found)
        status = "REJECTED" if reason else "APPLIED"
        value = outcome_value(asker.fingerprint, "txn_1", status, reason)
        answers.tell([(key, value)], [], [(key, found)])
        said = [(kind, fields["uuid"]) for kind, fields in events._gathered]
        events._gathered.clear()
        return said

    take(desk, message("1.00", ignores=True))
    assert told("insufficient_funds") == [("task-failed", ID)]
    assert desk.results.client.get(desk.results.get_key_for_task(ID)) is None
    assert desk.asked.everybody(0)[1] == []
    for ignores in (False, True):
        take(desk, message("1.00", ignores=ignores))
    assert told(None) == [("task-succeeded", ID)]
    assert meta(desk)[0] == "SUCCESS"


@pytest.mark.parametrize(("first", "second"), [(True, True), (True, False), (False, True)])
def test_a_conflict_forgets_nobody_who_came_before(
    desk: Desk, *, first: bool, second: bool
) -> None:
    """Whether a message ignores its result or not: it goes, and not another under the same id.

    But where both want one: the younger has claimed it, and the older has nobody to answer to.
    """
    take(desk, message("1.00", ignores=first))
    known = desk.asked.everybody(0)[1]
    with pytest.raises(ReferenceConflict):
        take(desk, message("2.00", ignores=second))
    assert len(known) == 1
    assert desk.asked.everybody(0)[1] == known


def test_who_wants_no_result_takes_no_place_of_one_who_does(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither among those who ask for one outcome, nor among the outcomes that are asked for."""
    monkeypatch.setattr(asked_module, "ASKERS_MAX", 2)
    monkeypatch.setattr(asked_module, "KEYS_MAX", 2)

    def waiting() -> list[str]:
        found = desk.asked.everybody(0)[1]
        return [one.task_id for _, text in found for one in asked_module.askers_in(text)]

    for task_id, mark in (("a", "m"), ("b", ""), ("c", "m"), ("d", "")):
        desk.asked.add("t:1", Asker(task_id, "f", 1, mark))
    assert waiting() == ["a", "c"]
    desk.asked.add("t:1", Asker("e", "f", 1, "m"))
    assert waiting() == ["c", "e"]
    with pytest.raises(LogFull, match="1 outcomes"):
        desk.asked.add("t:2", Asker("f", "f", 1, ""))
    desk.asked.add("t:2", Asker("g", "f", 1, "m"))


def test_a_sweep_asks_the_ledger_for_some_of_those_who_wait_long(
    desk: Desk, installation: Installation
) -> None:
    """Thousands of schedules keep no worker busy, and each has its turn."""
    number = 5 * LOOKUPS_A_SLICE_MAX
    for index in range(number):
        desk.asked.add(f"t:{index}", Asker(f"id-{index}", FINGERPRINT, 1, "m"))
    events = RequestEvents(app, every_request=False)
    chance = random.Random(7)
    answers = Answers(installation.log, desk.results, 60, events, chance=chance)
    looked: list[str] = []

    def scheduled(key: str) -> str:
        looked.append(key)
        return outcome_value(FINGERPRINT, "txn_1", "SCHEDULED")

    answers.sweep(scheduled)
    assert len(looked) <= LOOKUPS_A_SLICE_MAX * 2  # a small hash may come in one slice or two
    for _ in range(100):
        answers.sweep(scheduled)
    assert len(set(looked)) == number
