"""What a drain did, in words that a person understands in Flower, and as replies for producers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daybook.apply.reading import Batch, Undecodable, storable
from daybook.ledger.batch import BatchDecision
from daybook.ledger.book import Book, Schedule
from daybook.ledger.entry import POSITION_COUNTER_BITS, Decision, LogEntry
from daybook.ledger.ids import public_id
from daybook.ledger.instructions import (
    Deadline,
    Instruction,
    Kind,
    MultiLeg,
    NewBalance,
    NewIdentity,
    NewLedger,
    Resolve,
    Transaction,
)
from daybook.ledger.record import Record, Status
from daybook.ledger.rejection import Reason
from daybook.queue.entries import (
    CELERY_RESULT,
    NO_MONEY,
    Money,
    key_of_request,
    outcome_value,
)
from daybook.queue.waiting import Wanted
from daybook.requests import fingerprint_of, reference_in

NO_FINGERPRINT = "0" * 64
"""Stands for the fingerprint of what nobody asked for: the General Ledger, first uses."""


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


@dataclass(slots=True)
class BatchReport:
    """What one batch did. Counts are entries; deferred counts what waits after it.

    cursor: the partition's, when the batch began. opened: other partitions that had to wait for
    this batch and can go on. fenced: the log has another number of partitions from some entry on,
    and only what stands before that was looked at.
    """

    partition: int
    busy: bool = False
    cursor: int = 0
    read: int = 0
    deferred: int = 0
    progress: bool = False
    fenced: bool = False
    opened: set[int] = field(default_factory=set)
    outcomes: dict[str, int] = field(default_factory=dict)

    def count(self, name: str) -> None:
        """One more outcome of this name."""
        self.outcomes[name] = self.outcomes.get(name, 0) + 1


@dataclass(slots=True)
class DrainReport:
    """What one doorbell led to. helped: other partitions that it applied a batch of, or opened."""

    partition: int
    batches: int = 0
    deferred: int = 0
    more: bool = False
    busy: bool = False
    outcomes: dict[str, int] = field(default_factory=dict)
    helped: set[int] = field(default_factory=set)

    def add(self, report: BatchReport) -> None:
        """Add a batch."""
        self.batches += report.progress
        self.helped |= report.opened - {self.partition}
        if report.partition == self.partition:
            self.deferred = report.deferred
        else:
            self.helped.add(report.partition)
        for name, number in report.outcomes.items():
            self.outcomes[name] = self.outcomes.get(name, 0) + number

    def summary(self) -> dict[str, Any]:
        """The task's result."""
        if self.busy:
            return {"partition": self.partition, "skipped": "another worker is applying it"}
        return {
            "partition": self.partition,
            **self.outcomes,
            "batches": self.batches,
            "deferred": self.deferred,
            "more": self.more,
        }


def key_of_entry(entry: LogEntry) -> str:
    """The outcome key of a decoded entry."""
    reference = getattr(entry.instruction, "reference", None)
    return key_of_request(reference, entry.request_id)


def _reply_to(
    replies: Replies, book: Book, entry: LogEntry, outcome: Decision, actions: Mapping[str, Record]
) -> None:
    """Add the reply for one outcome. actions: records by id, see ``_actions_in``."""
    fingerprint = entry.fingerprint.hex()
    beside = (
        outcome.duplicate
        or outcome.reason == Reason.REFERENCE_CONFLICT
        or outcome.reason == Reason.QUARANTINED
        or outcome.status == Status.SCHEDULED
        or isinstance(entry.instruction, NewLedger | NewBalance | NewIdentity | Deadline | Resolve)
    )
    if outcome.reason == Reason.REFERENCE_CONFLICT and _belongs_to_another(book, entry):
        # The key stays with its owner: who waits there sees another fingerprint than its own.
        value = _original(book, entry)
    else:
        value = outcome_value(
            fingerprint,
            outcome.transaction_id,
            outcome.status,
            outcome.reason,
            outcome.detail,
            position=None if outcome.duplicate else outcome.position,
            duplicate=outcome.duplicate,
            money=_money_of(entry.instruction, actions.get(outcome.transaction_id)),
        )
    (replies.beside if beside else replies.recorded).append((key_of_entry(entry), value))


def _money_of(instruction: Instruction, record: Record | None) -> Money:
    """What an outcome is about. record: of what is no transaction, if there is one."""
    if isinstance(instruction, Transaction | MultiLeg):
        whole = instruction.whole
        return Money(whole.precise_amount, whole.precision, whole.currency)
    if record is None:
        return NO_MONEY
    return Money(record.precise_amount, record.precision, record.currency or None)


def _actions_in(book: Book) -> dict[str, Record]:
    """The records of a batch whose requests do not say themselves how much they moved."""
    plain = Kind.TRANSACTION
    return {record.transaction_id: record for record in book.records if record.kind != plain}


def _belongs_to_another(book: Book, entry: LogEntry) -> bool:
    """Whether the key of a conflict is taken: the id may be taken while the reference is not."""
    wanted = entry.instruction
    if isinstance(wanted, NewLedger):
        return entry.request_id in book.ledgers
    if isinstance(wanted, NewBalance):
        return entry.request_id in book.balances
    if isinstance(wanted, NewIdentity):
        return entry.request_id in book.identities
    reference = getattr(wanted, "reference", None)
    return reference is None or reference in book.references


def _original(book: Book, entry: LogEntry) -> str:
    instruction = entry.instruction
    owner: bytes | None = None
    if isinstance(instruction, NewLedger):
        owner = book.ledgers.get(entry.request_id)
    elif isinstance(instruction, NewIdentity):
        owner = book.identities.get(entry.request_id)
    elif isinstance(instruction, NewBalance):
        known = book.balances.get(entry.request_id)
        owner = known.fingerprint if known else None
    else:
        recorded = book.recorded(getattr(instruction, "reference", None), entry.request_id)
        assert recorded is not None
        return outcome_value(
            recorded.fingerprint.hex() or NO_FINGERPRINT,
            recorded.transaction_id,
            recorded.status,
            recorded.reason,
            recorded.detail,
            money=Money(recorded.precise_amount, recorded.precision, recorded.currency),
        )
    return outcome_value(
        owner.hex() if owner else NO_FINGERPRINT, entry.request_id, Status.APPLIED.value
    )


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
        money=_money_of(schedule.instruction, None),
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


def count_outcomes(report: BatchReport, decision: BatchDecision) -> None:
    """Count the outcomes of a batch by the name that a person would give them."""
    for outcome in decision.decisions:
        report.count("duplicate" if outcome.duplicate else str(outcome.status).lower())


def replies_of(
    batch: Batch,
    book: Book,
    decision: BatchDecision,
    undecodable: Sequence[Undecodable],
    taken_keys: Collection[str],
) -> dict[int, Replies]:
    """What to tell the producers of a batch, entry by entry; by partition.

    taken_keys: outcome keys that what is no request names and that belong to others.
    """
    found: defaultdict[int, Replies] = defaultdict(Replies)
    entries = {entry.position: entry for entry in batch.decodable}
    actions = _actions_in(book)
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
    for item in undecodable:
        _reply_to_undecodable(found[batch.homes[item.raw.position]], book, item, taken_keys)
    return found


def _reply_to_undecodable(
    replies: Replies, book: Book, item: Undecodable, taken_keys: Collection[str]
) -> None:
    """Tell it to anyone who sent it, if what it names is its own: a stranger can name anything."""
    raw, rejected, _ = item
    request_id = storable(raw.request_id)
    reference = reference_in(raw.body)
    is_own = raw.key == key_of_request(reference, request_id) and raw.key not in taken_keys
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
