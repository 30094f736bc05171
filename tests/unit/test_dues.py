"""What falls due: in the order of the times, bounded, and each thing once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.simulation.place import Place, money
from tests.simulation.world import FIRST_MS

from daybook.apply import due
from daybook.apply.due import append_due
from daybook.ledger.ids import part_id
from daybook.queue.entries import CELERY_RESULT, NewEntry
from daybook.requests import fingerprint_of, slot_of_transaction


def at(seconds: int) -> str:
    return (datetime.fromtimestamp(FIRST_MS / 1000, UTC) + timedelta(seconds=seconds)).isoformat()


def schedule(reference: str, seconds: int, **more: Any) -> dict[str, Any]:
    return money(reference, scheduled_for=at(seconds), **more)


def hold(reference: str, seconds: int, **more: Any) -> dict[str, Any]:
    return money(reference, inflight=True, inflight_expiry_date=at(seconds), **more)


class Due:
    """A place in which these requests were applied, and the time of all of them has come."""

    def __init__(self, *requests: dict[str, Any], flags: str = "") -> None:
        self.place = Place()
        self.place.send(*requests, flags=flags)
        self.sent = {
            raw.key[2:]: raw for raw in self.place.log.state.streams[0] if raw.key[:2] == "t:"
        }
        self.place.applier(batch_entries_min=99, batch_entries_max=99).drain(0)
        self.place.now_ms += 1_000_000
        self.place.calls.clear()
        self.appended: list[list[NewEntry]] = []
        self.rung: list[int] = []
        append = self.place.log.append

        def noted(entries: Sequence[NewEntry]) -> Any:
            self.appended.append(list(entries))
            return append(entries)

        self.place.log.append = noted  # type: ignore[method-assign]

    def append(self) -> int:
        return append_due(self.place.store, self.place.log, self.rung.append)

    def names(self) -> list[list[str]]:
        """What was appended in each call, by the references of what is due."""
        ids = {raw.request_id: name for name, raw in self.sent.items()}
        ids |= {part_id(own, "deadline"): name for own, name in ids.items()}
        return [[ids[entry.request_id] for entry in entries] for entries in self.appended]


def test_what_is_due_is_appended_in_the_order_of_the_times() -> None:
    """Schedules and dates of holds, and nothing whose time has not come."""
    found = Due(
        schedule("a", 9), hold("b", 5), schedule("c", 3), hold("d", 7), schedule("e", 99_999)
    )
    assert found.append() == 4
    assert found.names() == [["c", "b", "d", "a"]]
    assert found.rung == [0]
    found.place.applier().drain(0)
    found.place.calls.clear()
    assert found.append() == 0
    assert "append" not in found.place.calls


def test_what_was_scheduled_is_accepted_once_more() -> None:
    """The same request, under the same id, with its flags; of several partitions in all of them."""
    found = Due(schedule("a", 9), flags=CELERY_RESULT)
    found.append()
    raw = found.sent["a"]
    ((entry,),) = found.appended
    slot = slot_of_transaction(raw.request_id)
    fingerprint = fingerprint_of(raw.body)
    assert entry == NewEntry(slot, "t:a", fingerprint, raw.request_id, raw.body, "cd", ())


def test_a_wide_request_is_wide_when_it_is_due() -> None:
    """It spends from balances of several slots."""
    sides = [f"bln_00000000-0000-4000-8000-00000000000{n}" for n in (1, 2)]
    legs = [{"identifier": name, "precise_distribution": "5"} for name in sides]
    wide = schedule("w", 9, sources=legs, precise_amount=10, allow_overdraft=False)
    del wide["source"], wide["ordering_key"]
    found = Due(wide)
    found.append()
    ((entry,),) = found.appended
    assert len(entry.slots) == 2
    assert entry.slot in entry.slots


def test_a_date_of_a_hold_is_a_request_of_its_own() -> None:
    """One for all legs of a request, whose ids follow from it."""
    legs = [{"identifier": f"@L{n}", "precise_distribution": "1"} for n in range(3)]
    several = hold("b", 5, destinations=legs, precise_amount=3)
    del several["destination"]
    found = Due(several)
    assert found.append() == 1
    ((entry,),) = found.appended
    own = found.sent["b"].request_id
    body = b'{"kind":"deadline","transaction_id":"%s","v":1}' % own.encode()
    request_id, slot = part_id(own, "deadline"), slot_of_transaction(own)
    key = f"i:{request_id}"
    assert entry == NewEntry(slot, key, fingerprint_of(body), request_id, body, "d")


@pytest.mark.parametrize(("rounds", "names"), [(40, "abcdefgh"), (2, "abcdefgh"), (1, "abef")])
def test_so_many_are_read_at_a_time(
    rounds: int, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And appended; and no more than so often in one sweep."""
    monkeypatch.setattr(due, "DUE_MAX", 2)
    monkeypatch.setattr(due, "DUE_ROUNDS_MAX", rounds)
    schedules = [schedule(name, number) for number, name in enumerate("abcd", 1)]
    holds = [hold(name, 10 + number) for number, name in enumerate("efgh", 1)]
    found = Due(*schedules, *holds)
    assert found.append() == len(names)
    pairs = [list(names[start : start + 2]) for start in range(0, len(names), 2)]
    assert found.names() == pairs


def test_a_page_begins_behind_the_last_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """So nothing is read twice, and no page is wasted."""
    monkeypatch.setattr(due, "DUE_MAX", 3)
    monkeypatch.setattr(due, "DUE_ROUNDS_MAX", 3)
    found = Due(
        *(schedule(name, number) for number, name in enumerate("abcdefg", 1)),
        *(hold(name, 10 + number) for number, name in enumerate("hijklmn", 1)),
    )
    assert found.append() == 14
    assert [name for names in found.names() for name in names] == list("abcdefghijklmn")


def test_a_page_of_one_moment_begins_behind_the_last_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of holds whose dates are the same."""
    monkeypatch.setattr(due, "DUE_MAX", 3)
    monkeypatch.setattr(due, "DUE_ROUNDS_MAX", 2)
    assert Due(*(hold(name, 5) for name in "abcdef")).append() == 6


def test_a_schedule_that_is_no_request_any_more_is_sent_all_the_same() -> None:
    """The worker that reads it says what is wrong with it."""
    found = Due(schedule("a", 9))
    schedules = found.place.store.tables.shelf.schedules
    schedules.update({own: each._replace(body=b"{}") for own, each in schedules.items()})
    assert found.append() == 1
    ((entry,),) = found.appended
    assert (entry.body, entry.slots) == (b"{}", ())


def test_several_of_one_moment_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one page ends, the next begins behind it, by position or id."""
    monkeypatch.setattr(due, "DUE_MAX", 2)
    found = Due(*(schedule(name, 5) for name in "abcde"), *(hold(name, 5) for name in "fghij"))
    assert found.append() == 10
    assert sorted(name for names in found.names() for name in names) == list("abcdefghij")


def test_so_many_bytes_are_appended_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that reaches the bound is the last of its kind."""
    requests = [schedule(name, number) for number, name in enumerate("abcdef", 1)]
    size = len(Due(*requests).sent["a"].body)
    for bytes_max, names in (
        (2 * size, [["a", "b"], ["c", "d"], ["e", "f"]]),
        (2 * size + 1, [["a", "b", "c"], ["d", "e", "f"]]),
        (1, [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]]),
    ):
        monkeypatch.setattr(due, "DUE_BYTES_MAX", bytes_max)
        found = Due(*requests)
        assert found.append() == 6
        assert found.names() == names


def test_a_full_log_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room that comes meanwhile must not put later times first."""
    monkeypatch.setattr(due, "DUE_MAX", 2)
    found = Due(*(schedule(name, number) for number, name in enumerate("abcdef", 1)))
    state = found.place.log.state
    state.streams[0].clear()
    state.entries_max = 3
    assert found.append() == 3
    assert found.names() == [["a", "b"], ["c", "d"]]


def test_what_is_sent_already_is_not_counted() -> None:
    """It waits in the log; another sweeper may have been faster."""
    found = Due(schedule("a", 9), hold("b", 5))
    assert [found.append(), found.append()] == [2, 0]
    assert len(found.appended) == 2
