"""What a batch changes: one value, made of what was read and decided, without any I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from daybook.apply.batch import Batch, Read
from daybook.apply.order import by_home
from daybook.apply.rejections import claims_of, rejections_of
from daybook.apply.replies import Replies
from daybook.ledger.batch import BatchDecision, Deferred
from daybook.ledger.book import Book
from daybook.store.batch.changes import Changes, PartitionChanges
from daybook.store.batch.rows import Deferral, DeferredEntry

NO_REPLIES = Replies()


def changes_of(
    reads: Sequence[Read],
    batch: Batch,
    book: Book,
    decision: BatchDecision,
    cursors: Mapping[int, int],
    replies: Mapping[int, Replies],
) -> Changes:
    """What the batch changes, by the partition in whose log its entries stand.

    batch: up to the cursors, as ``new_cursors`` has them. replies: by partition; what of them the
    journal does not show is written beside it, for a worker that replies late.
    """
    rejected = rejections_of(book, decision, batch.undecodable)
    records_by_home = by_home(reads, batch, book.records, lambda record: record.position)
    rejected_by_home = by_home(reads, batch, rejected, lambda rejection: rejection.position)
    released_by_home = _released(reads, batch, decision)
    deferred_by_home = _newly_deferred(reads, batch, decision)
    partitions = []
    for row in (read.row for read in reads):
        released = released_by_home.get(row.partition, [])
        if cursors[row.partition] == row.cursor and not released:
            continue
        partitions.append(
            PartitionChanges(
                row,
                cursors[row.partition],
                records_by_home.get(row.partition, ()),
                released,
                [_deferral(item, batch) for item in deferred_by_home.get(row.partition, ())],
                rejected_by_home.get(row.partition, ()),
                _outcomes_beside(replies.get(row.partition, NO_REPLIES)),
            )
        )
    return Changes(book, claims_of(book, rejected), batch.flags, partitions)


def _released(reads: Sequence[Read], batch: Batch, decision: BatchDecision) -> dict[int, list[int]]:
    """Positions of what was deferred and is decided now."""
    still_deferred = {item.entry.position for item in decision.deferred}
    found = by_home(reads, batch, batch.deferred, lambda position: position)
    return {
        home: [position for position in positions if position not in still_deferred]
        for home, positions in found.items()
    }


def _newly_deferred(
    reads: Sequence[Read], batch: Batch, decision: BatchDecision
) -> dict[int, list[Deferred]]:
    known = set(batch.deferred)
    added = [item for item in decision.deferred if item.entry.position not in known]
    return by_home(reads, batch, added, lambda item: item.entry.position)


def _deferral(item: Deferred, batch: Batch) -> Deferral:
    entry = item.entry
    flags = batch.flags.get(entry.position, "")
    deferred = DeferredEntry(entry.position, entry.request_id, flags, entry.body)
    return Deferral(deferred, entry.slot, item.may_credit)


def _outcomes_beside(replies: Replies) -> str | None:
    """What the journal does not show of the replies, as JSON for ``late``."""
    if not replies.beside and not replies.celery:
        return None
    beside = {"outcomes": replies.beside, "celery": replies.celery}
    return json.dumps(beside, separators=(",", ":"))
