"""What a batch changes, made of what was read and decided: no log and no database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from daybook.apply.batch import Batch, Read
from daybook.apply.changes import changes_of
from daybook.apply.decoding import (
    LARGE_BYTES,
    LARGE_KEPT_MAX,
    LargeDecoded,
    decode_all,
    storable,
)
from daybook.apply.order import new_cursors
from daybook.apply.replies import replies_of
from daybook.client.drafts import drafts
from daybook.ledger.batch import ALONE, Horizon, decide_batch
from daybook.ledger.book import Book
from daybook.ledger.chain import GENESIS
from daybook.ledger.rejection import Reason, Rejected
from daybook.queue.entries import BARRIER, RawEntry
from daybook.requests import decode, fingerprint_of, slot_of
from daybook.store.batch.changes import Changes, PartitionChanges
from daybook.store.batch.rows import DeferredEntry, PartitionRow

FIRST_MS = 1_790_000_000_000
FIRST = FIRST_MS << 20
ROW = PartitionRow(0, FIRST, 5, GENESIS, 3, 4, None, 1, 1)


def raw(reference: str, number: int, **more: Any) -> RawEntry:
    """A deposit into an internal balance, as it stands in the log."""
    request = {
        "kind": "transaction",
        "reference": reference,
        "source": "@World",
        "destination": "@Till",
        "currency": "USD",
        "precise_amount": 5,
        "precision": 100,
        "allow_overdraft": True,
        **more,
    }
    (draft,) = drafts([request], lambda: FIRST_MS / 1000)
    entry = draft.entry
    return RawEntry(FIRST + number, entry.request_id, entry.key, entry.flags, entry.body)


def changed(read: Read, horizon: Horizon = ALONE, deferred_max: int = 100) -> tuple[Batch, Changes]:
    """Decide what was read of one partition against an empty ledger."""
    return changed_by([read], horizon, deferred_max)


def changed_by(
    reads: Sequence[Read], horizon: Horizon, deferred_max: int = 100
) -> tuple[Batch, Changes]:
    """Decide what was read of several."""
    batch = decode_all(reads, None, LargeDecoded())
    book = Book()
    decision = decide_batch(book, batch.waiting, batch.entries, horizon, deferred_max)
    cursors = new_cursors(reads, batch, decision)
    batch = batch.up_to(cursors)
    replies = replies_of(batch, book, decision, set())
    return batch, changes_of(reads, batch, book, decision, cursors, replies)


def only(changes: Changes) -> PartitionChanges:
    """The changes of the only partition."""
    (part,) = changes.partitions
    return part


def test_a_batch_moves_its_partition_to_its_last_entry() -> None:
    """Cursor, records and references; the row counts on from where it was."""
    _, changes = changed(Read(ROW, [raw("a", 1), raw("b", 2)], [], []))
    part = only(changes)
    assert part.cursor == FIRST + 2
    assert [record.reference for record in part.records if not record.derived] == ["a", "b"]
    assert changes.claims.keys() == {"a", "b"}
    assert part.outcomes is None  # the journal shows them all
    after = part.row_after(b"head")
    assert (after.sequence, after.batch, after.batch_sequence) == (5 + len(part.records), 4, 5)
    assert (after.cursor, after.head, after.partition) == (part.cursor, b"head", 0)


def test_what_reads_nothing_changes_nothing() -> None:
    """No partition is moved, so nothing is written."""
    _, changes = changed(Read(ROW, [], [], []))
    assert (changes.partitions, changes.claims) == ([], {})


def test_what_waits_is_deferred_and_what_is_decided_released() -> None:
    """An entry is deferred once, with the bytes of the log; releasing it moves no cursor."""
    spend = raw("spend", 1, source="@Empty", allow_overdraft=False)
    _, changes = changed(Read(ROW, [spend], [], []), Horizon(open_from=FIRST))
    (waits,) = only(changes).deferred
    assert waits.entry == DeferredEntry(spend.position, spend.request_id, "", spend.body)
    row = ROW._replace(cursor=spend.position)
    _, still = changed(Read(row, [], [waits.entry], []), Horizon(open_from=FIRST))
    assert still.partitions == []
    _, decided = changed(Read(row, [], [waits.entry], []))
    part = only(decided)
    assert (part.cursor, part.released, part.deferred) == (row.cursor, [spend.position], [])
    assert [record.reason for record in part.records] == ["insufficient_funds"]


def test_what_is_no_request_is_kept_with_its_bytes() -> None:
    """It is rejected, and its outcome written beside the journal; unless it stays unread."""
    strange = RawEntry(FIRST + 2, "txn_x", "i:txn_x", "", b"{")
    _, changes = changed(Read(ROW, [strange], [], []))
    (rejected,) = only(changes).rejected
    assert (rejected.position, rejected.reason, rejected.body) == (FIRST + 2, "malformed", b"{")
    cut = Read(ROW, [raw("a", 1), strange], [], [])
    batch, changes = changed(cut, deferred_max=0)
    assert (batch.undecodable, changes.partitions) == ([], [])


def test_outcomes_that_the_journal_does_not_show_are_kept() -> None:
    """Those of duplicates, as JSON: a worker that replies late has nothing else."""
    _, changes = changed(Read(ROW, [raw("a", 1), raw("a", 2)], [], []))
    beside = json.loads(only(changes).outcomes or "{}")
    assert [key for key, _ in beside["outcomes"]] == ["t:a"]
    assert beside["celery"] == []
    assert only(changes).outcomes == json.dumps(beside, separators=(",", ":"))


def test_of_several_partitions_each_has_its_own_changes() -> None:
    """Records, what is deferred with its flags and slot, and what is released, where they stand."""
    slots = {home: next(n for n in range(9) if slot_of(f"@S{n}") % 2 == home) for home in (0, 1)}
    spends = {
        home: raw(f"s{home}", 3 + home, source=f"@S{slots[home]}", allow_overdraft=False)
        for home in (0, 1)
    }
    rows = [ROW._replace(partition=home, partitions=2) for home in (0, 1)]
    spends[1] = spends[1]._replace(flags="c")
    reads = [Read(rows[home], [spends[home]], [], []) for home in (0, 1)]
    _, changes = changed_by(reads, Horizon(open_from=FIRST))
    for home, part in enumerate(changes.partitions):
        (waits,) = part.deferred
        entry = spends[home]
        assert waits.entry == DeferredEntry(
            entry.position, entry.request_id, entry.flags, entry.body
        )
        assert (part.row.partition, waits.slot % 2) == (home, home)
        assert waits.slot == slot_of(f"@S{slots[home]}")
    waiting = changes.partitions[1].deferred[0].entry
    reads = [Read(rows[0], [], [], []), Read(rows[1], [], [waiting], [])]
    _, changes = changed_by(reads, ALONE)
    (part,) = changes.partitions
    assert (part.row.partition, part.released) == (1, [waiting.position])
    assert [record.reference for record in part.records] == ["s1"]


def large(number: int, size: int = LARGE_BYTES) -> RawEntry:
    return RawEntry(FIRST + number, f"txn_{number}", "", "", b"x" * size)


def test_what_is_large_is_decoded_once() -> None:
    """It is known by place, id and bytes; what is small is decoded faster than it is kept."""
    known, decoded = LargeDecoded(), Rejected(Reason.MALFORMED, "no")
    small = large(1, LARGE_BYTES - 1)
    for entry in (small, large(2)):
        assert known.recall(entry) is None
        known.remember(entry, decoded)
    assert (known.recall(small), known.recall(large(2))) == (None, decoded)
    assert known.recall(large(2)._replace(body=b"y" * LARGE_BYTES)) is None
    assert known.recall(large(2)._replace(request_id="txn_9")) is None
    for number in range(3, 3 + LARGE_KEPT_MAX - 1):
        known.remember(large(number), decoded)
    assert known.recall(large(2)) is decoded
    known.remember(large(99), decoded)
    assert [known.recall(large(number)) for number in (2, 3, 99)] == [None, decoded, decoded]


def test_what_can_not_be_read_is_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a fault of ours: the partition must not stop for one entry."""
    real = decode

    def fails(body: bytes, request_id: str, accepted_ms: int) -> Any:
        assert accepted_ms == FIRST_MS
        if request_id == broken.request_id:
            raise LookupError("a fault of ours")
        return real(body, request_id, accepted_ms)

    broken, right = raw("a", 1), raw("b", 2)
    monkeypatch.setattr("daybook.apply.decoding.decode", fails)
    batch = decode_all([Read(ROW, [broken, right], [], [])], None, LargeDecoded())
    (item,) = batch.undecodable
    assert item.rejected == Rejected(
        Reason.QUARANTINED, "reading it raised LookupError: it was quarantined"
    )
    assert (item.raw, "a fault of ours" in (item.traceback or "")) == (broken, True)
    assert [entry.request_id for entry in batch.entries] == [right.request_id]


def test_a_batch_is_decoded_in_order() -> None:
    """Of all partitions, without barriers; each with its flags, and where it stands."""
    rows = [ROW._replace(partition=home, partitions=1) for home in (0, 0)]
    mark = RawEntry(FIRST + 2, "txn_x", "", BARRIER, b"0")
    one, two, three = raw("a", 1)._replace(flags="c"), raw("b", 3), raw("c", 4)
    kept = DeferredEntry(one.position, one.request_id, one.flags, one.body)
    batch = decode_all(
        [Read(rows[0], [three], [], []), Read(rows[1], [mark, two], [kept], [])],
        None,
        LargeDecoded(),
    )
    assert [entry.position for entry in batch.entries] == [two.position, three.position]
    (waits,) = batch.waiting
    assert waits[:3] == (one.position, slot_of("@World"), one.request_id)
    assert (waits.body, waits.fingerprint) == (one.body, fingerprint_of(one.body))
    assert batch.deferred == [one.position]
    assert batch.flags == {one.position: "c"}
    assert batch.homes == dict.fromkeys((one.position, two.position, three.position), 0)


def test_what_stands_in_a_strange_log_is_refused() -> None:
    """Neither of two partitions would lock what it acts on."""
    home = slot_of("@World") % 2
    for partition, is_right in ((home, True), (1 - home, False)):
        row = ROW._replace(partition=partition, partitions=2)
        batch = decode_all([Read(row, [raw("a", 1)], [], [])], None, LargeDecoded())
        assert (len(batch.entries), len(batch.undecodable)) == (is_right, not is_right)
    assert batch.undecodable[0].rejected == Rejected(
        Reason.MALFORMED, "request: stands in the log of another partition"
    )


def test_what_was_refused_by_the_database_is_not_read_again() -> None:
    """It is kept as it stands, with the reason; also what had been deferred, under its own key."""
    one, two = raw("a", 1), raw("b", 2)
    kept = DeferredEntry(one.position, one.request_id, "", one.body)
    batch = decode_all([Read(ROW, [two], [kept], [])], "why", LargeDecoded())
    refused = Rejected(Reason.QUARANTINED, "it could not be written: it was quarantined")
    assert batch.undecodable == [(one, refused, "why"), (two, refused, "why")]


def test_text_of_strangers_can_be_kept() -> None:
    """No NUL, and no more than so long."""
    assert storable("a\x00b") == "a\\0b"
    assert storable("x" * 300) == "x" * 255
