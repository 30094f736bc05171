"""What was read of several partitions, in one order, and where a batch of it is cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from daybook.apply.barriers import first_closed_barrier, is_barrier
from daybook.apply.batch import Batch, Read
from daybook.apply.locks import rights_of, to_join
from daybook.apply.order import (
    before_turns,
    before_twins,
    by_home,
    in_order,
    left_unread,
    limited,
    new_cursors,
    oldest,
    read_up_to,
    up_to,
)
from daybook.ledger.batch import BatchDecision, Horizon
from daybook.ledger.chain import GENESIS
from daybook.ledger.entry import LogEntry
from daybook.ledger.instructions import Bulk, Deadline, Leg, MultiLeg, Transaction
from daybook.queue.entries import BARRIER, RawEntry
from daybook.requests import slot_of
from daybook.store.batch.rows import DeferredEntry, PartitionRow


def row(partition: int, partitions: int = 4, cursor: int = 3) -> PartitionRow:
    return PartitionRow(partition, cursor, 0, GENESIS, 0, 0, None, partitions, 1)


def raw(position: int, size: int = 10) -> RawEntry:
    return RawEntry(position, f"txn_{position}", f"t:{position}", "", b"x" * size)


def barrier(position: int, home: int = 0) -> RawEntry:
    return RawEntry(position, f"txn_{position}", "", BARRIER, str(home).encode())


def read(partition: int, raws: Sequence[RawEntry], deferred: Sequence[int] = ()) -> Read:
    waiting = [DeferredEntry(position, f"txn_{position}", "", b"") for position in deferred]
    return Read(row(partition), list(raws), waiting, [])


def entry(position: int, *slots: int) -> LogEntry:
    wanted = Deadline("txn_x")
    return LogEntry(position, 0, f"txn_{position}", wanted, b"", b"", frozenset(slots))


def batch_of(*entries: LogEntry, homes: dict[int, int] | None = None) -> Batch:
    return Batch([], [], list(entries), [], {}, homes or {})


def positions(reads: Sequence[Read]) -> list[list[int]]:
    return [[each.position for each in one.raws] for one in reads]


def test_partitions_are_merged_by_position() -> None:
    """Whatever the entries say; one alone is in order already."""
    reads = [read(0, [raw(4), raw(7)]), read(1, [barrier(4), raw(5)]), read(2, [])]
    assert [(each.position, is_barrier(each)) for each in in_order(reads)] == [
        *((4, False), (4, True), (5, False), (7, False)),
    ]
    assert [each.position for each in in_order(reads[:2])] == [4, 4, 5, 7]
    assert list(in_order(reads[:1])) == reads[0].raws


def test_items_belong_to_the_partition_of_their_entry() -> None:
    """With several partitions by position; with one there is no choice."""
    reads = [read(0, []), read(1, [])]
    batch = batch_of(homes={4: 1, 5: 0, 6: 1})
    assert by_home(reads, batch, [4, 5, 6], lambda at: at) == {1: [4, 6], 0: [5]}
    assert by_home(reads[1:], batch, [5], lambda at: at) == {1: [5]}


def test_the_oldest_entry_is_deferred_or_new_and_no_barrier() -> None:
    """Of all partitions."""
    assert oldest([read(0, [barrier(4), raw(6), raw(7)]), read(1, [raw(8)], [5, 9])]) == 5
    assert oldest([read(0, [barrier(4), raw(6)]), read(1, [], [7])]) == 6
    assert oldest([read(0, [raw(8)]), read(1, [barrier(2), raw(7)])]) == 7
    assert oldest([read(0, [barrier(4)])]) is None


def test_what_stands_behind_a_limit_is_left() -> None:
    """What stands at it is not."""
    reads = [read(0, [raw(4), raw(5), raw(6)]), read(1, [raw(6)])]
    assert positions(limited(reads, 5)) == [[4, 5], []]
    assert [[each.position for each in one] for one in up_to(5, [r.raws for r in reads])] == [
        [4, 5],
        [],
    ]


@pytest.mark.parametrize(
    ("count", "bytes_max", "read_so_far"),
    [(3, 99, [5]), (2, 99, [5, 9]), (4, 99, []), (4, 30, [5]), (4, 31, []), (4, 20, [5, 9])],
)
def test_how_far_a_partition_was_read_that_may_have_more(
    count: int, bytes_max: int, read_so_far: list[int]
) -> None:
    """It has as many entries, or bytes, as were asked for."""
    found = [[raw(3), raw(4), raw(5)], [raw(8), raw(9)], []]
    assert list(read_up_to(found, count, bytes_max)) == read_so_far


def test_a_partition_is_open_from_its_first_entry_that_is_left() -> None:
    """Nothing of one that was taken whole."""
    found = [[raw(4), raw(6), raw(8)], [raw(5)], [raw(7)]]
    reads = [read(0, found[0][:1]), read(1, found[1]), read(2, [])]
    assert list(left_unread(found, reads)) == [5, 6]


def test_no_position_stands_for_two_requests() -> None:
    """Of twins, which only hands can write, the first is taken and nothing behind it."""
    plain = [read(0, [raw(4), raw(6)]), read(1, [barrier(4), barrier(6), raw(7)])]
    assert before_twins(plain) is plain
    twins = [read(0, [raw(4), raw(6), raw(8)]), read(1, [raw(5), raw(6), raw(8)])]
    assert positions(before_twins(twins)) == [[4, 6], [5]]
    assert positions(before_twins([read(0, [raw(4)]), read(1, [raw(4), raw(5)])])) == [[4], []]


def test_a_batch_is_cut_before_what_is_not_its_turn() -> None:
    """An entry of several slots. Others are decided whatever is open."""
    for open_from, left, limit in ((5, [4, 5], 5), (6, [4, 5, 6, 7], None)):
        batch = batch_of(entry(4), entry(5), entry(6, 1, 2), entry(7))
        assert before_turns(batch, Horizon(open_from)) == limit
        assert [each.position for each in batch.entries] == left


def test_cursors_stand_at_what_was_taken() -> None:
    """Barriers too; where nothing was taken, they stay. A cut batch leaves the rest."""
    reads = [read(0, [raw(4), raw(7)]), read(1, [barrier(4), raw(5)]), read(2, [])]
    batch = batch_of(entry(4), entry(5), entry(7))
    for consumed, cursors in ((3, [7, 5, 3]), (2, [4, 5, 3]), (1, [4, 4, 3]), (0, [3, 3, 3])):
        decision = BatchDecision(consumed=consumed)
        assert list(new_cursors(reads, batch, decision).values()) == cursors


@pytest.mark.parametrize(
    ("unread", "closed"),
    [({}, None), ({0: 5}, 6), ({0: 6}, 6), ({0: 7}, None), ({1: 9}, 9), ({2: 1}, None)],
)
def test_nothing_is_read_behind_a_barrier_before_its_home(
    unread: dict[int, int], closed: int | None
) -> None:
    """Unless the home has been read so far. What is no number is a stranger's."""
    strange = RawEntry(5, "x", "", BARRIER, b"no")
    found = first_closed_barrier([raw(4), strange, barrier(6), barrier(9, 1)], unread)
    assert (found.position if found else None) == closed


def test_a_mark_is_an_entry_without_a_key() -> None:
    """A request that has the flag, by whatever hand, is a request all the same."""
    assert is_barrier(barrier(4))
    assert not is_barrier(barrier(4)._replace(key="t:r"))
    assert not is_barrier(raw(4)._replace(key=""))


def test_a_wide_request_that_comes_first_joins_its_partitions() -> None:
    """And those that are joined already; what is deferred is decided before."""
    own, wide = row(1), entry(5, 1, 6, 3)
    assert to_join(batch_of(wide), own, {1}) == {2, 3}
    assert to_join(batch_of(wide), own, {1, 0}) == {0, 2, 3}
    assert to_join(batch_of(wide), own, {1, 2, 3}) == set()
    assert to_join(batch_of(entry(4), wide), own, {1}) == set()
    assert to_join(batch_of(), own, {1}) == set()
    assert to_join(batch_of(wide)._replace(waiting=[entry(4)]), own, {1}) == set()


def test_what_a_batch_debits_it_debits_under_a_lock() -> None:
    """Partitions of sources whose funds are checked, and internal balances each by its own."""
    own, other = (f"bln_00000000-0000-4000-8000-00000000000{n}" for n in (1, 2))
    till = "bln_00000000-0000-8000-8000-000000000003"

    def pays(source: str, indicator: str | None, *, overdraft: bool = False) -> Transaction:
        plain = Transaction("r", source, other, indicator, None, "USD", 5, 100)
        return plain._replace(allow_overdraft=overdraft)

    def rights(*wanted: Transaction | MultiLeg | Bulk) -> tuple[set[int], set[str]]:
        return rights_of([entry(5)._replace(instruction=each) for each in wanted], 4)

    plain, free = pays(own, None), pays(own, None, overdraft=True)
    assert rights(plain) == ({slot_of(own) % 4}, set())
    assert rights(free) == (set(), set())
    assert rights(free, pays(till, "@Till")) == (set(), {till})
    assert rights(pays(till, None)) == ({slot_of(till) % 4}, {till})
    legs = MultiLeg(plain, (Leg(other, own, None, None, 2), Leg(till, own, "@Till", None, 3)))
    assert rights(legs) == ({slot_of(other) % 4}, {till})
    assert rights(Bulk("b", (free, plain), atomic=True)) == rights(plain)
    assert rights_of([entry(5, 6, 9)], 4) == ({2, 1}, set())
