"""Late replies: for a worker that died between its commit and its replies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from daybook.apply.ports import Log, Unit
from daybook.ledger.ids import public_id
from daybook.queue.entries import Money, key_of_request, outcome_value
from daybook.queue.waiting import Wanted
from daybook.store.batch.rows import PartitionRow

TOLD_LATE_MAX = 50_000
"""Records whose outcomes are written once more at most, after the log has lost its end."""

Reply = Callable[[PartitionRow, Sequence[tuple[str, str]], Sequence[Wanted]], None]
"""Tells producers the outcomes of the committed batch of a row, and Celery those it waits for."""


def reply_for_the_dead(log: Log, unit: Unit, rows: Iterable[PartitionRow], reply: Reply) -> None:
    """Reply to the last batch of each of these locked partitions, if nobody has.

    Also to those before it, where the log has lost its end, and what it had been told with it.
    """
    replied = log.replied_batches()
    for row in rows:
        _reply_to_last(log, unit, row, replied.get(row.partition, 0), reply)


def _reply_to_last(log: Log, unit: Unit, row: PartitionRow, replied: int, reply: Reply) -> None:
    if replied > row.batch:
        # Postgres was restored to an earlier point: what is to be replayed must not be trimmed.
        log.set_back(row.partition, row.cursor)
    if replied >= row.batch:
        return
    beside = json.loads(row.batch_outcomes or "{}")
    told = min(log.told_sequences().get(row.partition, 0), row.batch_sequence)
    since = max(told, row.sequence - TOLD_LATE_MAX)
    outcomes = replies_from_journal(unit.records_since(row, since))
    outcomes += [(key, value) for key, value in beside.get("outcomes", [])]
    now = row._replace(batch_sequence=told)
    wanted = [Wanted(*one) for one in beside.get("celery", [])]
    reply(now, outcomes, wanted)


def replies_from_journal(rows: Iterable[tuple[Any, ...]]) -> list[tuple[str, str]]:
    """Replies of a batch whose worker died between its commit and its replies."""
    return [
        (
            key_of_request(None if derived else reference, public_id(bare_id)),
            outcome_value(
                bytes(fingerprint).hex(),
                public_id(bare_id),
                status,
                reason,
                detail,
                position=position,
                money=Money(_whole(amount), _whole(precision), currency or None),
            ),
        )
        for (
            reference,
            derived,
            bare_id,
            status,
            reason,
            detail,
            fingerprint,
            position,
            amount,
            precision,
            currency,
        ) in rows
    ]


def _whole(number: Any) -> int | None:
    return None if number is None else int(number)
