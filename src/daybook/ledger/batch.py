"""The decision of a batch: entries in order, each posted, refused, or deferred.

A rejection waits for the past (design, section 3): ``A → B`` in one partition may fund ``B → C`` in
another, so "not enough money" is final only when nothing older is open that could change it.
Until then the entry is deferred, with the later entries of its slot, and decided again.

A request that spends from balances of several slots waits for its turn: it is decided when
nothing older is open anywhere, and nothing behind it is decided before. So the spends of each
balance keep their order.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from types import MappingProxyType
from typing import NamedTuple

from daybook.ledger.balance import may_be_internal
from daybook.ledger.book import Book
from daybook.ledger.conservation import check_conserved
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.instructions import movements
from daybook.ledger.posting.kinds import ANYTHING, kind_of
from daybook.ledger.posting.rules import may_credit, post, quarantined, reject, repeated
from daybook.ledger.rejection import WAITS_FOR_THE_PAST, Rejected


@dataclass(frozen=True, slots=True)
class Horizon:
    """What is known of the other partitions, read before the figures were.

    open_from: position of the oldest unread entry of any other partition; None: all are read.
    deferred_elsewhere: for each balance or ledger that a deferred entry of another partition may
    credit or create (``*``: any), the position of the oldest such entry.
    final_before: rejections of entries older than this position no longer wait.
    """

    open_from: int | None = None
    deferred_elsewhere: Mapping[str, int] = field(default_factory=dict)
    final_before: int = 0

    @property
    def ripe_before(self) -> int:
        """Deferred entries before this position are worth another decision.

        What is younger waits at least until the other partitions have been read so far.
        """
        unread = POSITION_MAX if self.open_from is None else self.open_from
        return max(unread, self.final_before)

    def up_to(self, position: int) -> Horizon:
        """The horizon of a batch that leaves open what is younger, in its own partitions, too."""
        first = position + 1
        open_from = first if self.open_from is None else min(self.open_from, first)
        return replace(self, open_from=open_from)

    def is_turn_of(self, position: int) -> bool:
        """Whether nothing older than ``position`` is open in any other partition."""
        if self.open_from is not None and self.open_from < position:
            return False
        return min(self.deferred_elsewhere.values(), default=position) >= position

    def is_final(self, position: int, concerns: Iterable[str], deferred: Mapping[str, int]) -> bool:
        """Whether nothing older than ``position`` is open that could change ``concerns``.

        deferred: like ``deferred_elsewhere``, for what this batch has deferred so far.
        """
        if position < self.final_before:
            return True
        if self.open_from is not None and self.open_from < position:
            return False
        return not any(
            waiting.get(name, position) < position
            for waiting in (deferred, self.deferred_elsewhere)
            for name in (*concerns, ANYTHING)
        )


POSITION_MAX = (1 << 63) - 1
"""Younger than any entry, and still a signed 64-bit integer."""

ALONE = Horizon()
"""The horizon of the only partition: nothing is ever open elsewhere."""


class Parked(NamedTuple):
    """An entry that was deferred and is not decided in this batch: it keeps its slot's order."""

    position: int
    slot: int
    may_credit: Sequence[str]


class Deferred(NamedTuple):
    """An entry that waits, and what it may credit or create."""

    entry: LogEntry
    may_credit: tuple[str, ...]


class Quarantined(NamedTuple):
    """An entry whose decision raised: a fault of the code, not of the entry.

    fault: the name of the exception.
    """

    entry: LogEntry
    fault: str
    traceback: str


NONE_RAISED: Mapping[int, Quarantined] = MappingProxyType({})


@dataclass(slots=True)
class BatchDecision:
    """What a batch decided. Together with the book's changes it is the unit of work.

    consumed: how many of the new entries were taken; the rest stays unread.
    rejected: final rejections, with their entries, in order.
    is_spoilt: something raised now, and may have left half of a change in the book.
    """

    decisions: list[Decision] = field(default_factory=list)
    deferred: list[Deferred] = field(default_factory=list)
    rejected: list[tuple[LogEntry, Rejected]] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    consumed: int = 0
    is_spoilt: bool = False


def decide_batch(
    book: Book,
    waiting: Sequence[LogEntry],
    entries: Iterable[LogEntry],
    horizon: Horizon = ALONE,
    deferred_max: int = 10_000,
    parked: Sequence[Parked] = (),
    raised: Mapping[int, Quarantined] = NONE_RAISED,
) -> BatchDecision:
    """Decide what was deferred (``waiting``) and the new ``entries``, oldest first.

    parked: what stays deferred without a decision. deferred_max: the batch is cut before the new
    entry that would exceed it, and before one of several slots whose turn has not come. All three
    are in order; of one partition, what is deferred is older than what is new.
    raised: by position, entries whose decision raised before: they are quarantined unseen. A
    decision that is spoilt is not to be written: the caller decides the batch anew, with these.
    Raises ConservationError.
    """
    decision = BatchDecision()
    deferred_slots: set[int] = set()
    deferred_credits: dict[str, int] = {}

    def decide(entry: LogEntry) -> None:
        if entry.slot not in deferred_slots and _is_its_turn(entry, horizon, deferred_credits):
            outcome = _guarded_post(book, entry, decision, raised)
            if outcome is None:
                return
            if isinstance(outcome, Decision):
                decision.decisions.append(outcome)
                return
            if outcome.reason not in WAITS_FOR_THE_PAST or horizon.is_final(
                entry.position, outcome.concerns, deferred_credits
            ):
                made = reject(book, entry, outcome)
                assert made.detail is not None, "a rejection says why"
                decision.rejected.append((entry, outcome._replace(detail=made.detail)))
                decision.decisions.append(made)
                return
        deferred_slots.add(entry.slot)
        waits = Deferred(entry, may_credit(book, entry))
        decision.deferred.append(waits)
        for name in waits.may_credit:
            deferred_credits.setdefault(name, entry.position)

    is_cut = False
    for item, is_new in _in_order(waiting, parked, entries):
        if isinstance(item, Parked):
            deferred_slots.add(item.slot)
            for name in item.may_credit:
                deferred_credits.setdefault(name, item.position)
        elif not is_new:
            if is_cut:  # younger than what stays unread in another partition
                decision.deferred.append(Deferred(item, ()))
            else:
                decide(item)
        elif not is_cut:
            full = len(parked) + len(decision.deferred) >= deferred_max
            waits = bool(item.slots) and (
                bool(deferred_slots) or not horizon.is_turn_of(item.position)
            )
            is_cut = full or waits
            if not is_cut:
                decide(item)
                decision.consumed += 1
    if not decision.is_spoilt:
        check_conserved(book)
    return decision


def _in_order(
    waiting: Sequence[LogEntry], parked: Sequence[Parked], entries: Iterable[LogEntry]
) -> Iterator[tuple[LogEntry | Parked, bool]]:
    """All of them by position, with whether each is new."""
    if not waiting and not parked:
        return ((entry, True) for entry in entries)
    deferred = ((entry, False) for entry in waiting)
    kept = ((item, False) for item in parked)
    new = ((entry, True) for entry in entries)
    return merge(deferred, kept, new, key=lambda found: found[0].position)


def _is_its_turn(entry: LogEntry, horizon: Horizon, deferred: Mapping[str, int]) -> bool:
    """Whether the source may be debited before older entries are known.

    The debits of an application balance share a slot, hence an order. Those of an internal
    balance lie in the slots of all that it pays: where its funds are checked, a younger debit
    that came first could take the money which an older one was accepted for. So could a refund:
    it lies in the slot of what it reverses, and debits the other side without a look at funds.
    """
    if kind_of(entry).is_reversal:
        return entry.position < horizon.final_before or (
            horizon.is_turn_of(entry.position)
            and min(deferred.values(), default=entry.position) >= entry.position
        )
    internal = {
        leg.source_id
        for whole, leg in movements(entry.instruction)
        if whole.checks_funds and may_be_internal(leg.source_id)
    }
    return not internal or horizon.is_final(entry.position, tuple(internal), deferred)


def _guarded_post(
    book: Book, entry: LogEntry, decision: BatchDecision, raised: Mapping[int, Quarantined]
) -> Decision | Rejected | None:
    """Post ``entry``; one that makes the code raise is quarantined, and its partition goes on."""
    found = raised.get(entry.position)
    if found is None:
        try:
            return post(book, entry)
        except Exception as fault:  # any fault of ours: the journal must not stop for one request
            found = Quarantined(entry, type(fault).__name__, traceback.format_exc())
            decision.is_spoilt = True
    else:
        again = repeated(book, entry)
        if again is not None:
            return again
    decision.quarantined.append(found)
    decision.decisions.append(quarantined(book, entry, found.fault))
    return None
