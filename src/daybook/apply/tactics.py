"""How a batch is tried, and what one try teaches the next.

::

    what came of a try                              the next try
    ----------------------------------------------  ----------------------------------------------
    locks of other partitions are missing           takes them first, all of them in order
    a decision raised                               quarantines what raised; looks up what is taken
    another one raised then                         the same with fewer entries, down to one
    a reference is taken                            looks up what is taken
    another unique index disagrees                  the same; when it happens too often, as below
    a decision is stale, or units of work collide   is the same, and remembers no balance
    Postgres refuses the data, or a check fails     takes fewer entries, down to the one at fault
    a lock is not free in time                      is none: the partition is busy

The last row but one narrows: SHRINK_FACTOR times fewer entries, then one entry alone, the oldest;
that one is quarantined if Postgres refuses it once more. By the next try an older one may have to
be decided before it: only the entry that was refused is quarantined, not what comes first then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from traceback import format_exception
from typing import NamedTuple

from psycopg import errors as pg

from daybook.apply.replies import Replies
from daybook.apply.report import BatchReport
from daybook.ledger.batch import NONE_RAISED, Quarantined
from daybook.ledger.conservation import ConservationError
from daybook.store.batch.again import Stale
from daybook.store.batch.references import ReferenceTaken
from daybook.store.batch.rows import PartitionRow

SHRINK_FACTOR = 8
"""A batch that Postgres refuses for its data is tried again with so many times fewer entries."""

COLLISIONS_MAX = 4
"""So often a batch may find an id taken that was free a moment before. Then one of its requests
collides with itself, by an id that was made to, and is quarantined. References don't count: each
time that one is taken, another batch has been committed with it, and the next look finds it."""


class Refused(NamedTuple):
    """An entry that Postgres refused when it was alone. why: the traceback."""

    position: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Tactics:
    """How a batch is tried.

    count: how many new entries of a partition are read at most. patient: wait for locks.
    locks: other partitions whose locks it needs. join: their entries are decided together with
    its own, in one order. check_taken: look up which references and ids are taken. collisions:
    how often an id was taken although the journal did not have it. raised: entries whose decision
    raised, by position. alone: decide a single entry, the oldest. refused: what is quarantined if
    it is the oldest again.
    """

    count: int
    patient: bool = False
    locks: frozenset[int] = frozenset()
    join: bool = False
    check_taken: bool = False
    collisions: int = 0
    raised: Mapping[int, Quarantined] = field(default_factory=lambda: NONE_RAISED)
    alone: bool = False
    refused: Refused | None = None

    def refused_data(self, oldest: int | None) -> str | None:
        """Why Postgres refused the entry that is tried now, if it did. oldest: its position."""
        return self.refused.why if self.refused and self.refused.position == oldest else None


class Done(NamedTuple):
    """A finished try: its report and, of each partition that it moved, what to reply."""

    report: BatchReport
    replies: list[tuple[PartitionRow, Replies]]


class Why(Enum):
    """Why a batch is tried again, as far as the worker has to remember it."""

    LOCKS = auto()
    TAKEN = auto()
    STALE = auto()
    REFUSED = auto()


class Again(NamedTuple):
    """A try to be followed by another one, with other tactics. detail: for the log."""

    tactics: Tactics
    why: Why
    detail: str = ""


def with_locks(tactics: Tactics, partitions: Set[int], *, join: bool) -> Again:
    """The batch needs the locks of other partitions, too.

    join: their entries are to be read and decided together with its own.
    """
    locks = tactics.locks | partitions
    return Again(replace(tactics, locks=locks, join=tactics.join or join), Why.LOCKS)


def with_raised(tactics: Tactics, raised: list[Quarantined]) -> Again:
    """Decisions raised: what is recorded already is no fault, whatever it raises."""
    found = {each.entry.position: each for each in raised}
    again = replace(tactics, raised={**tactics.raised, **found}, check_taken=True)
    if tactics.raised:  # one after the other: with fewer entries there is an end of it
        again = _fewer(again)
    return Again(again, Why.STALE, "a request made the code raise")


def after_fault(fault: Exception, tactics: Tactics, oldest: int | None) -> Again:
    """What comes after one of TRY_OTHERWISE. oldest: the oldest entry of the try, if it has one."""
    for faults, why, change in _NEXT:
        if isinstance(fault, faults):
            return Again(change(tactics, fault, oldest), why, str(fault))
    raise fault


def _checked(tactics: Tactics, fault: Exception, oldest: int | None) -> Tactics:
    return replace(tactics, check_taken=True)


def _collided(tactics: Tactics, fault: Exception, oldest: int | None) -> Tactics:
    tactics = replace(tactics, check_taken=True, collisions=tactics.collisions + 1)
    return tactics if tactics.collisions <= COLLISIONS_MAX else _narrowed(tactics, fault, oldest)


def _same(tactics: Tactics, fault: Exception, oldest: int | None) -> Tactics:
    return tactics


def _narrowed(tactics: Tactics, fault: Exception, oldest: int | None) -> Tactics:
    """Narrow a batch that Postgres refuses down to the entry that is to be quarantined."""
    refused = Refused(oldest, "".join(format_exception(fault))) if tactics.alone else None
    return replace(_fewer(tactics), refused=refused or tactics.refused)


def _fewer(tactics: Tactics) -> Tactics:
    count = max(1, tactics.count // SHRINK_FACTOR)
    return replace(tactics, count=count, alone=tactics.count == 1)


Change = Callable[[Tactics, Exception, int | None], Tactics]

_NEXT: list[tuple[tuple[type[Exception], ...], Why, Change]] = [
    ((ReferenceTaken,), Why.TAKEN, _checked),
    ((pg.UniqueViolation,), Why.TAKEN, _collided),
    ((Stale, pg.SerializationFailure, pg.DeadlockDetected), Why.STALE, _same),
    (
        (pg.DataError, pg.ProgramLimitExceeded, UnicodeError, pg.CheckViolation, ConservationError),
        Why.REFUSED,
        _narrowed,
    ),
]

TRY_OTHERWISE = tuple(fault for faults, *_ in _NEXT for fault in faults)
"""Faults after which a batch is tried again, with other tactics."""

BUSY = (pg.LockNotAvailable, pg.QueryCanceled)
"""Faults that mean that somebody else has a lock for longer than the time-out."""
