"""What a worker takes from a queue: messages of one form, whatever was pushed there."""

from __future__ import annotations

import base64
import itertools
import json
import random
import zlib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.transport.virtual import Message
from tests.envelopes import EMBEDDED, envelope, strange_messages

from daybook.queue.doorbell import INTAKE_QUEUE, queue_of
from daybook.worker.broker import DELAYED_MAX, DistrustfulChannel
from daybook.worker.envelopes import HANDED_ON, HELD_SECONDS_MAX, Unreadable, envelope_of

MESSAGES = 2_500
REQUEST = '{"amount": 19.990, "precise_amount": 123456789012345678901234567890, "x": [1e2]}'


def intake(body: str | None = None, **headers: Any) -> dict[str, Any]:
    """A message to the intake, with this body and these headers."""
    made = envelope("daybook.enqueue", [], {"request": {}}, "r-1", INTAKE_QUEUE)
    made["headers"] |= headers
    if body is not None:
        made["body"] = base64.b64encode(body.encode()).decode()
    return made


def taken(message: Any, queue: str = INTAKE_QUEUE) -> dict[str, Any]:
    """What a worker makes of it."""
    return envelope_of(json.dumps(message).encode(), queue)


def body_of(made: dict[str, Any]) -> str:
    """Its body, as text."""
    return base64.b64decode(made["body"]).decode()


def test_numbers_stay_as_they_were_written() -> None:
    """A float or a long integer of a request is not read and written again."""
    made = taken(intake(f' [ [ ] , {{"request": {REQUEST}}} , null ] '))
    assert body_of(made) == f'[[ ], {{"request": {REQUEST}}}, {{}}]'


def test_the_first_protocol_is_written_anew_as_the_second() -> None:
    """Clients in other languages put everything into the body."""
    old = f'{{"task": "daybook.enqueue", "id": "r-1", "kwargs": {{"request": {REQUEST}}}}}'
    made = taken({**intake(old), "headers": {}})
    assert made["headers"]["id"] == "r-1"
    assert body_of(made) == f'[[], {{"request": {REQUEST}}}, {{}}]'


def test_a_compressed_body_is_read_up_to_its_bound() -> None:
    """As Celery compresses it; what grows beyond measure, or is compressed otherwise, is not."""
    small, bomb = zlib.compress(b'[[], {"request": {}}, {}]'), zlib.compress(b" " * (65 << 20))
    message = intake(compression="application/x-gzip")
    message["body"] = base64.b64encode(small).decode()
    assert body_of(taken(message)) == '[[], {"request": {}}, {}]'
    message["body"] = base64.b64encode(bomb).decode()
    with pytest.raises(Unreadable, match="longer than"):
        taken(message)
    with pytest.raises(Unreadable, match="compression"):
        taken(intake(compression="bzip2"))


def test_nothing_of_a_stranger_makes_a_worker_send_messages_or_end_its_children() -> None:
    """Callbacks, chains, chords, time limits and addresses of replies are left out."""
    body = json.dumps([[], {"request": {}}, EMBEDDED])
    message = intake(body, timelimit=[0.001, 0.001], group="g", stamps={"a": 1})
    message["properties"]["delivery_info"] = {"exchange": "other", "routing_key": "elsewhere"}
    made = taken(message)
    assert body_of(made) == '[[], {"request": {}}, {}]'
    assert made["headers"]["timelimit"] == [None, None]
    assert made["headers"]["group"] is None
    assert "stamps" not in made["headers"]
    assert made["properties"]["reply_to"] is None
    where = made["properties"]["delivery_info"]
    assert (where["exchange"], where["routing_key"]) == ("", INTAKE_QUEUE)
    assert made["properties"]["delivery_tag"] != message["properties"]["delivery_tag"]


def test_what_is_to_be_handed_on_is_known_however_often_a_message_comes() -> None:
    """A link that is put back, or tried again, is refused as it was the first time."""
    first = taken(intake(json.dumps([[], {"request": {}}, EMBEDDED])))
    wanted = ["link", "link_error", "chain", "chord"]
    assert first["headers"][HANDED_ON] == wanted
    again = taken(taken(first))
    assert again["headers"][HANDED_ON] == wanted
    for strange in ("link", {"link": 1}, ["shell", 5, None, ["link"]], None):
        headers: dict[str, Any] = {HANDED_ON: strange}
        assert taken(intake(**headers))["headers"][HANDED_ON] == []


@pytest.mark.parametrize(
    ("task", "args", "queue", "may"),
    [
        ("daybook.apply", [3], queue_of(3), True),
        ("daybook.apply", [2], queue_of(3), False),
        ("daybook.apply", [True], queue_of(1), False),
        ("daybook.apply", [3], INTAKE_QUEUE, False),
        ("daybook.enqueue", [{}], INTAKE_QUEUE, True),
        ("daybook.enqueue", [{}], queue_of(3), False),
        ("daybook.sweep", [], INTAKE_QUEUE, True),
        ("daybook.sweep", [], "daybook.intake.mine", True),
        ("daybook.snapshot", [], queue_of(0), False),
        ("celery.chord_unlock", [], INTAKE_QUEUE, False),
        ("celery.backend_cleanup", [], INTAKE_QUEUE, False),
    ],
)
def test_only_what_is_meant_to_be_run_from_a_queue_is(
    task: str, args: list[Any], queue: str, may: bool
) -> None:
    """Doorbells of a partition from its queue, the other tasks of Daybook from the intake."""
    message = envelope(task, args, {}, "id", queue)
    if may:
        assert taken(message, queue)["headers"]["task"] == task
        return
    with pytest.raises(Unreadable):
        taken(message, queue)


def test_times_of_a_message_are_whole_or_it_is_dropped() -> None:
    """They are in UTC afterwards; none is later than every zone can say."""
    made = taken(intake(eta="2930-01-01T01:00:00+01:00", expires="2030-01-01T02:00:00"))
    assert made["headers"]["eta"] == "2930-01-01T00:00:00+00:00"
    assert made["headers"]["expires"] == "2030-01-01T02:00:00+00:00"
    for wrong in ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+14:00", "soon", 5, ["x"]):
        with pytest.raises(Unreadable):
            taken(intake(eta=wrong))


@pytest.mark.parametrize(
    ("task", "args", "queue", "retries", "held"),
    [
        ("daybook.enqueue", [{}], INTAKE_QUEUE, 1, True),
        ("daybook.apply", [3], queue_of(3), 0, True),
        ("daybook.dry_run", [], INTAKE_QUEUE, 0, False),
        ("daybook.find", [], INTAKE_QUEUE, 1, False),
        ("daybook.sweep", [], INTAKE_QUEUE, 1, False),
        ("daybook.snapshot", [], INTAKE_QUEUE, 0, False),
    ],
)
def test_no_message_is_held_for_longer_than_workers_themselves_ask(
    task: str, args: list[Any], queue: str, retries: int, held: bool
) -> None:
    """A stranger can't fill a worker with what is due in another millennium."""
    message = envelope(task, args, {}, "id", queue)
    message["headers"] |= {"retries": retries, "eta": "2999-01-01T00:00:00+00:00"}
    now = datetime(2030, 1, 1, tzinfo=UTC)

    def eta() -> str | None:
        made = envelope_of(json.dumps(message).encode(), queue, lambda: now)
        found: str | None = made["headers"]["eta"]
        return found

    latest = (now + timedelta(seconds=HELD_SECONDS_MAX)).isoformat()
    assert eta() == (latest if held else None)
    soon = (now + timedelta(seconds=1)).isoformat()
    message["headers"]["eta"] = soon
    assert eta() == (soon if held else None)


def test_a_worker_that_holds_enough_runs_the_next_message_at_once() -> None:
    """Nothing that was sent is dropped for it, and a request keeps the time that it is for."""
    channel = object.__new__(DistrustfulChannel)
    channel._qos = SimpleNamespace(_delivered=dict.fromkeys(range(DELAYED_MAX)))
    for retries, stays in ((1, False), (0, True)):
        message = intake(retries=retries, eta="2999-01-01T00:00:00+00:00")
        checked = channel._checked(INTAKE_QUEUE.encode(), json.dumps(message).encode())
        assert checked is not None
        assert (json.loads(checked[1])["headers"]["eta"] is not None) is stays


def test_whatever_is_pushed_is_taken_in_one_form_or_dropped() -> None:
    """Nothing but Unreadable is raised, and kombu can read all that is taken."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    channel = object.__new__(DistrustfulChannel)
    for queue, valid in (
        (INTAKE_QUEUE, intake()),
        (queue_of(0), envelope("daybook.apply", [0], {}, "bell", queue_of(0))),
    ):
        outcomes = {"taken": 0, "dropped": 0}
        for raw in itertools.islice(strange_messages(seed, queue, valid), MESSAGES):
            try:
                made = envelope_of(raw, queue)
            except Unreadable:
                outcomes["dropped"] += 1
                continue
            message = Message(made, channel=channel)
            assert isinstance(message.decode(), list)
            assert message.delivery_info["routing_key"] == queue
            outcomes["taken"] += 1
        assert min(outcomes.values()) > MESSAGES // 20, outcomes
