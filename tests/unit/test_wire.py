"""What Redis replies to a producer, and what it means."""

from __future__ import annotations

from daybook.ledger.rejection import Rejected
from daybook.queue.keys import Keys
from daybook.queue.wire import Entry, unread_call
from daybook.requests import decode

BARRIER = {b"i": b"txn_2", b"k": b"", b"c": b"b", b"b": b"0"}


def test_of_what_waits_nothing_is_left_out() -> None:
    """Who asks for so many and gets fewer has seen all: barriers count, and are no requests."""
    sent = {b"i": b"txn_1", b"k": b"t:r", b"c": b"", b"b": b"{}"}
    reply = [(b"1-0", sent), (b"2-0", BARRIER), (b"3-0", {b"what": b"it"})]
    found = unread_call(Keys("daybook"), 0, 0, len(reply)).read(reply)
    assert found[0] == Entry(1 << 20, "txn_1", b"{}")
    assert len(found) == len(reply)
    assert all(isinstance(decode(one.body, one.request_id, 0), Rejected) for one in found[1:])
