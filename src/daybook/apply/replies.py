"""What producers are told of a batch: the text of each outcome, by its key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from daybook.apply.batch import Batch, Undecodable
from daybook.apply.decoding import storable
from daybook.apply.outcomes import (
    actions_in,
    belongs_to_another,
    key_of_entry,
    money_of,
    value_of_owner,
)
from daybook.apply.ports import Log
from daybook.ledger.batch import BatchDecision
from daybook.ledger.book import Book, Schedule
from daybook.ledger.entry import POSITION_COUNTER_BITS, Decision, LogEntry
from daybook.ledger.posting.kinds import kind_of
from daybook.ledger.record import Record, Status
from daybook.ledger.rejection import Reason
from daybook.queue.entries import (
    CELERY_RESULT,
    key_of_request,
    outcome_value,
    read_value,
)
from daybook.queue.waiting import Wanted
from daybook.requests import fingerprint_of, reference_in


@dataclass(slots=True)
class Replies:
    """What is told to producers after the commit.

    recorded: (outcome key, value) of outcomes that the journal shows as well.
    beside: the same for those that it does not show: creations, duplicates, conflicts.
    celery: of those to store as Celery results too.
    """

    recorded: list[tuple[str, str]] = field(default_factory=list)
    beside: list[tuple[str, str]] = field(default_factory=list)
    celery: list[Wanted] = field(default_factory=list)

    @property
    def all(self) -> list[tuple[str, str]]:
        """Every outcome."""
        return self.recorded + self.beside


def _reply_to(
    replies: Replies, book: Book, entry: LogEntry, outcome: Decision, actions: Mapping[str, Record]
) -> None:
    """Add the reply for one outcome. actions: records by id, see ``actions_in``."""
    fingerprint, kind = entry.fingerprint.hex(), kind_of(entry)
    beside = (
        outcome.duplicate
        or outcome.reason == Reason.REFERENCE_CONFLICT
        or outcome.reason == Reason.QUARANTINED
        or outcome.status == Status.SCHEDULED
        or kind.is_creation
        or not kind.has_record
    )
    if outcome.reason == Reason.REFERENCE_CONFLICT and belongs_to_another(book, entry):
        # The key stays with its owner: who waits there sees another fingerprint than its own.
        value = value_of_owner(book, entry)
    else:
        value = outcome_value(
            fingerprint,
            outcome.transaction_id,
            outcome.status,
            outcome.reason,
            outcome.detail,
            position=None if outcome.duplicate else outcome.position,
            duplicate=outcome.duplicate,
            money=money_of(entry.instruction, actions.get(outcome.transaction_id)),
        )
    (replies.beside if beside else replies.recorded).append((key_of_entry(entry), value))


def _reply_to_cancelled(
    replies: Replies, schedule: Schedule, outcome: Decision, flags: Mapping[int, str]
) -> None:
    """The outcome of what was accepted for later and is cancelled now."""
    value = outcome_value(
        schedule.fingerprint.hex(),
        outcome.transaction_id,
        outcome.status,
        outcome.reason,
        outcome.detail,
        position=outcome.position,
        money=money_of(schedule.instruction, None),
    )
    key = key_of_request(outcome.reference, outcome.request_id)
    replies.beside.append((key, value))
    if CELERY_RESULT in schedule.flags + flags.get(schedule.position, ""):
        task_id = outcome.reference or outcome.request_id
        fingerprint = schedule.fingerprint.hex()
        replies.celery.append(Wanted(key, task_id, _ms_of(schedule.position), fingerprint))


def _ms_of(position: int) -> int:
    """When an entry was accepted, in milliseconds since the epoch."""
    return position >> POSITION_COUNTER_BITS


def replies_of(
    batch: Batch, book: Book, decision: BatchDecision, taken: Collection[str]
) -> dict[int, Replies]:
    """What to tell the producers of a batch, entry by entry; by partition.

    taken: see ``taken_keys``.
    """
    found: defaultdict[int, Replies] = defaultdict(Replies)
    entries = {entry.position: entry for entry in batch.decodable}
    actions = actions_in(book)
    over = set(book.closed_schedules)  # a replay may find them accepted and due in one batch
    for outcome in decision.decisions:
        if outcome.status == Status.SCHEDULED and outcome.transaction_id in over:
            continue
        replies, entry = found[batch.homes[outcome.position]], entries[outcome.position]
        _reply_to(replies, book, entry, outcome, actions)
        is_final = outcome.status != Status.SCHEDULED  # there is no result before its time
        if is_final and CELERY_RESULT in batch.flags.get(outcome.position, ""):
            task_id = outcome.reference or outcome.request_id
            at, fingerprint = _ms_of(outcome.position), entry.fingerprint.hex()
            replies.celery.append(Wanted(key_of_entry(entry), task_id, at, fingerprint))
    for schedule, outcome in book.cancelled:
        replies = found[batch.homes[outcome.position]]
        _reply_to_cancelled(replies, schedule, outcome, batch.flags)
    for item in batch.undecodable:
        _reply_to_undecodable(found[batch.homes[item.raw.position]], book, item, taken)
    return found


def taken_keys(log: Log, undecodable: Sequence[Undecodable]) -> set[str]:
    """Outcome keys that entries name which are no requests, and that belong to others.

    Whatever has an outcome is told already: the same bytes once more, in another partition's
    stream, are a stranger's.
    """
    own = {
        item.raw.key: fingerprint_of(item.raw.body).hex() for item in undecodable if item.raw.key
    }
    if not own:
        return set()
    taken = set()
    for key, value in zip(own, log.outcomes(list(own)), strict=True):
        state = read_value(value) if value is not None else None
        if state is not None and (state.status, state.fingerprint) != (Status.QUEUED, own[key]):
            taken.add(key)
    return taken


def _reply_to_undecodable(
    replies: Replies, book: Book, item: Undecodable, taken: Collection[str]
) -> None:
    """Tell it to anyone who sent it, if what it names is its own: a stranger can name anything."""
    raw, rejected, _ = item
    request_id = storable(raw.request_id)
    reference = reference_in(raw.body)
    is_own = raw.key == key_of_request(reference, request_id) and raw.key not in taken
    if is_own and book.recorded(reference, request_id) is None:
        value = outcome_value(
            fingerprint_of(raw.body).hex(),
            request_id,
            Status.REJECTED,
            rejected.reason,
            rejected.detail,
        )
        replies.beside.append((raw.key, value))
        if CELERY_RESULT in raw.flags and reference:
            fingerprint = fingerprint_of(raw.body).hex()
            replies.celery.append(Wanted(raw.key, reference, _ms_of(raw.position), fingerprint))
