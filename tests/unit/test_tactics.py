"""What one try at a batch teaches the next."""

from __future__ import annotations

from dataclasses import replace
from traceback import format_exception

import pytest
from psycopg import errors as pg

from daybook.apply.tactics import (
    BUSY,
    COLLISIONS_MAX,
    SHRINK_FACTOR,
    TRY_OTHERWISE,
    Tactics,
    Why,
    after_fault,
    with_locks,
    with_raised,
)
from daybook.ledger.batch import Quarantined
from daybook.ledger.entry import LogEntry
from daybook.ledger.instructions import Deadline
from daybook.store.batch.again import Stale
from daybook.store.batch.references import ReferenceTaken

ALONE = Tactics(1, alone=True)
OLDEST = 7


@pytest.mark.parametrize(
    ("fault", "why", "after"),
    [
        (ReferenceTaken("r"), Why.TAKEN, Tactics(64, check_taken=True)),
        (pg.UniqueViolation(), Why.TAKEN, Tactics(64, check_taken=True, collisions=1)),
        (Stale("s"), Why.STALE, Tactics(64)),
        (pg.SerializationFailure(), Why.STALE, Tactics(64)),
        (pg.DeadlockDetected(), Why.STALE, Tactics(64)),
        (pg.DataError(), Why.REFUSED, Tactics(64 // SHRINK_FACTOR)),
        (pg.NumericValueOutOfRange(), Why.REFUSED, Tactics(64 // SHRINK_FACTOR)),
        (pg.ProgramLimitExceeded(), Why.REFUSED, Tactics(64 // SHRINK_FACTOR)),
        (UnicodeError(), Why.REFUSED, Tactics(64 // SHRINK_FACTOR)),
    ],
)
def test_each_fault_has_its_next_tactics(fault: Exception, why: Why, after: Tactics) -> None:
    """The table of the module, row by row."""
    assert isinstance(fault, TRY_OTHERWISE)
    assert after_fault(fault, Tactics(64), OLDEST) == (after, why, str(fault))


@pytest.mark.parametrize("fault", [pg.OperationalError(), pg.LockNotAvailable(), KeyError()])
def test_other_faults_are_not_tried_again(fault: Exception) -> None:
    """A lost connection is the caller's, a time-out means busy, and a fault of ours is one."""
    assert not isinstance(fault, TRY_OTHERWISE)
    assert isinstance(fault, BUSY) == isinstance(fault, pg.LockNotAvailable)


def test_a_first_try_waits_for_nothing_and_looks_nothing_up() -> None:
    """What it has to do otherwise, it learns."""
    first = Tactics(3)
    assert not any((first.alone, first.patient, first.check_taken, first.join, first.refused))


def test_a_batch_narrows_to_the_entry_at_fault() -> None:
    """Fewer entries, then one, then one alone; only that one is quarantined, and with reason."""
    tactics, counts = Tactics(200), []
    for _ in range(4):
        tactics = after_fault(pg.DataError("too odd"), tactics, OLDEST).tactics
        counts.append((tactics.count, tactics.alone, tactics.refused is not None))
    assert counts == [(25, False, False), (3, False, False), (1, False, False), (1, True, False)]
    with pytest.raises(pg.DataError) as raised:
        raise pg.DataError("too odd")
    tactics = after_fault(raised.value, tactics, OLDEST).tactics
    assert tactics.refused_data(OLDEST) == "".join(format_exception(raised.value))
    assert tactics.refused_data(OLDEST - 1) is None
    assert Tactics(1).refused_data(None) is None


def test_an_entry_that_is_refused_later_takes_the_place_of_the_first() -> None:
    """An older one became ripe and was decided meanwhile, or is refused itself."""
    tactics = after_fault(pg.DataError(), ALONE, OLDEST).tactics
    tactics = after_fault(pg.DataError(), tactics, OLDEST - 1).tactics
    assert tactics.refused_data(OLDEST) is None
    assert tactics.refused_data(OLDEST - 1) is not None


def test_what_collides_with_itself_is_narrowed() -> None:
    """Only after so many collisions that it can't be another batch's doing."""
    tactics = Tactics(64)
    for number in range(1, COLLISIONS_MAX + 2):
        tactics = after_fault(pg.UniqueViolation(), tactics, OLDEST).tactics
        assert tactics.collisions == number
        assert (tactics.count < 64) == (number > COLLISIONS_MAX)


def test_what_collides_with_itself_is_quarantined_in_the_end() -> None:
    """With the traceback of the collision."""
    tactics = Tactics(1, alone=True, collisions=COLLISIONS_MAX)
    tactics = after_fault(pg.UniqueViolation("again"), tactics, OLDEST).tactics
    assert "again" in (tactics.refused_data(OLDEST) or "")


def test_what_raises_is_left_out_and_looked_up() -> None:
    """Of one after the other fewer entries are tried, until there is an end of it."""
    one, two = (
        Quarantined(LogEntry(at, 0, f"txn_{at}", Deadline("txn_x"), b"", b""), "KeyError", "")
        for at in (7, 8)
    )
    first = with_raised(Tactics(64, patient=True), [one])
    again = Tactics(64, patient=True, raised={7: one}, check_taken=True)
    assert first == (again, Why.STALE, "a request made the code raise")
    second = with_raised(first.tactics, [two])
    fewer = replace(again, count=64 // SHRINK_FACTOR, raised={7: one, 8: two})
    assert second == (fewer, Why.STALE, "a request made the code raise")


def test_locks_are_added_and_partitions_stay_joined() -> None:
    """What an earlier try has found out holds for the later ones."""
    joined = with_locks(Tactics(64), {2}, join=True)
    more = with_locks(joined.tactics, {1}, join=False)
    assert more == (Tactics(64, locks=frozenset({1, 2}), join=True), Why.LOCKS, "")
