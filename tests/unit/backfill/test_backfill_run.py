"""What a run hands to the log in one call."""

from __future__ import annotations

from collections.abc import Sequence

from tests.unit.backfill.builders import builder_of
from tests.unit.backfill.test_backfill_pace import MovedClock

from daybook.backfill import Backfill, Row
from daybook.client.drafts import Draft, drafts
from daybook.client.receipts import Outcome, Receipt
from daybook.errors import LogFull
from daybook.requests import Request

BOOKED_AT_ONCE = builder_of("""
[ledger]
name = "Books"
[group]
by = "{day}"
reference = "day-{day}"
[transaction]
reference = "row-{id}"
currency = "EUR"
precise_amount = 1
precision = 100
source = { balance = "from-{id}" }
destination = { balance = "to-{id}" }
""")


def receipt_of(made: Draft) -> Receipt:
    entry = made.entry
    return Receipt(entry.request_id, made.reference, entry.key, "accepted", entry.fingerprint.hex())


class BoundedDoor:
    """Takes as much in one call as the client does; it is full once, in the middle of a call."""

    def __init__(self, room: int) -> None:
        self.taken: list[str] = []
        self._room: int | None = room

    def enqueue_many(self, requests: Sequence[Request]) -> list[Receipt]:
        made = drafts(requests, lambda: 1_790_000_000.0)
        is_full = self._room is not None and len(self.taken) + len(made) > self._room
        taken = made[: self._room - len(self.taken)] if is_full and self._room else made
        self.taken += [one.entry.request_id for one in taken]
        receipts = [receipt_of(one) for one in taken]
        if is_full:
            self._room = None
            raise LogFull("the log is full", receipts)
        return receipts

    def wait_many(self, receipts: Sequence[Receipt], timeout: float) -> list[Outcome | None]:
        raise NotImplementedError


def test_a_group_with_more_new_balances_than_one_call_takes() -> None:
    """They go to the log in several calls, in order, each once, though it was full on the way."""
    door = BoundedDoor(room=10_001)
    run = Backfill(
        door, BOOKED_AT_ONCE, reject=lambda reject: None, say=lambda said: None,
        patience_seconds=None, clock=MovedClock().clock(),
    )  # fmt: skip
    for _ in run.run(Row(n, {"id": str(n), "day": "1"}) for n in range(5_001)):
        pass
    assert run.summary.stopped is None
    assert (run.summary.balances_created, run.summary.unknown) == (10_002, 5_001)
    assert len(door.taken) == len(set(door.taken)) == 1 + 10_002 + 1
    assert door.taken[-1].startswith("bulk_")
