"""What monitors are told of requests, and that nobody waits for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.events.state import State
from structlog.testing import capture_logs

from daybook.client.receipts import Outcome
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.worker.events import EVENTS_IN_A_MESSAGE, QUIET_SECONDS, RequestEvents

NOW = 1_700_000_000.0
ACCEPTED = NOW - 0.25
POSITION = int(ACCEPTED * 1000) << POSITION_COUNTER_BITS


def outcome(status: str, reference: str | None = "order-1", **more: Any) -> Outcome:
    """An outcome of 19.99 USD."""
    money = {"precise_amount": 1999, "precision": 100, "currency": "USD"}
    return Outcome("txn_1", reference, status, **{**money, **more})


def shown(state: State, *events: tuple[str, dict[str, Any]]) -> Any:
    """The task that a monitor shows after these events, all of one request."""
    for number, (kind, fields) in enumerate(events, 1):
        known = {"type": kind, "hostname": "w", "timestamp": NOW, "local_received": NOW}
        state.event({**known, "clock": number, **fields})
    return state.tasks[events[0][1]["uuid"]]


def gathered(*outcomes: Outcome) -> list[tuple[str, dict[str, Any]]]:
    """The events of outcomes that were accepted a quarter of a second ago."""
    events = RequestEvents(Celery(), every_request=True, clock=lambda: NOW)
    for one in outcomes:
        events.add(one, POSITION)
    return events._gathered


@pytest.mark.parametrize(
    ("told", "state", "text"),
    [
        (outcome("APPLIED"), "SUCCESS", "APPLIED 19.99 USD"),
        (outcome("INFLIGHT"), "SUCCESS", "INFLIGHT 19.99 USD"),
        (outcome("VOID"), "SUCCESS", "VOID 19.99 USD"),
        (
            outcome("REJECTED", reason="insufficient_funds", detail="12.00 are there"),
            "FAILURE",
            "REJECTED insufficient_funds: 12.00 are there",
        ),
        (outcome("REJECTED", reason="cancelled"), "FAILURE", "REJECTED cancelled"),
    ],
)
def test_one_event_says_all_of_a_transaction(told: Outcome, state: str, text: str) -> None:
    """A monitor shows it as a task of its reference, with what became of it, and how long."""
    task = shown(State(), *gathered(told))
    assert (task.uuid, task.name, task.state) == ("order-1", "daybook.transaction", state)
    assert text in (task.result, task.exception)
    assert (task.received, task.runtime) == (ACCEPTED, 0.25)
    assert "txn_1" in task.kwargs


def test_what_is_scheduled_is_received_until_it_has_an_end() -> None:
    """It is neither a success nor a failure before its time."""
    state = State()
    assert shown(state, *gathered(outcome("SCHEDULED"))).state == "RECEIVED"
    assert shown(state, *gathered(outcome("APPLIED"))).state == "SUCCESS"


def test_what_has_no_reference_is_shown_under_its_id() -> None:
    """Creations are shown as what they are."""
    created = Outcome("bln_1", None, "APPLIED")
    task = shown(State(), *gathered(created))
    assert (task.uuid, task.name, task.result) == ("bln_1", "daybook.balance", "APPLIED")


@pytest.fixture(params=["refuses", "is silent"])
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a broker that takes nothing."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        if request.param == "is silent":
            door.listen()
        yield f"redis://127.0.0.1:{door.getsockname()[1]}/0"


def test_a_broker_that_is_away_costs_its_events_alone(broker: str) -> None:
    """They are lost with a line in the log, and none are tried for a while."""
    now = [NOW]
    events = RequestEvents(Celery(broker=broker), every_request=True, clock=lambda: now[0])

    def lost() -> list[Any]:
        for _ in range(EVENTS_IN_A_MESSAGE + 1):
            events.add(outcome("APPLIED"), POSITION)
        with capture_logs() as logged:
            events.send()
        assert not events._gathered
        return [line["events"] for line in logged if line["event"] == "events.lost"]

    assert lost() == [EVENTS_IN_A_MESSAGE + 1]
    assert lost() == []
    now[0] += QUIET_SECONDS
    assert lost() == [EVENTS_IN_A_MESSAGE + 1]
