"""What a batch changes, made of what was read and decided: no log and no database."""

from __future__ import annotations

import json
from typing import Any

from daybook.apply.batch import Batch, Read
from daybook.apply.changes import changes_of
from daybook.apply.decoding import LargeDecoded, decode_all
from daybook.apply.order import new_cursors
from daybook.apply.replies import replies_of
from daybook.client.drafts import drafts
from daybook.ledger.batch import ALONE, Horizon, decide_batch
from daybook.ledger.book import Book
from daybook.ledger.chain import GENESIS
from daybook.queue.entries import RawEntry
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
    """Decide what was read against an empty ledger."""
    batch = decode_all([read], None, LargeDecoded())
    book = Book()
    decision = decide_batch(book, batch.waiting, batch.entries, horizon, deferred_max)
    cursors = new_cursors([read], batch, decision)
    batch = batch.up_to(cursors)
    replies = replies_of(batch, book, decision, set())
    return batch, changes_of([read], batch, book, decision, cursors, replies)


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
