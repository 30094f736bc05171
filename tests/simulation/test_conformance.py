"""What stands in for log and store in simulations does what the real ones do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from daybook.apply import ports
from daybook.apply.applier import Applier
from daybook.apply.due import append_due
from daybook.apply.rejections import claims_of
from daybook.client.drafts import drafts
from daybook.client.quarantine import discarding, retrying
from daybook.errors import LogNotInstalled, LogUnavailable, StoreUnavailable
from daybook.installation.resize import begin_after
from daybook.ledger.batch import decide_batch
from daybook.ledger.book import Book
from daybook.queue.entries import BARRIER, BY_ID, DUE, FOLLOWED, NewEntry, RawEntry, outcome_value
from daybook.queue.epochs import NO_END, NOTHING, Epoch
from daybook.queue.log import Log
from daybook.queue.wire import Entry, entry_call, partitions_call
from daybook.settings import Settings
from daybook.store.batch.again import Stale
from daybook.store.batch.balances import KnownBalances
from daybook.store.batch.changes import Changes, PartitionChanges
from daybook.store.batch.references import ReferenceTaken
from daybook.store.batch.rows import Deferral, DeferredEntry, PartitionRow, RejectedRequest
from daybook.store.epochs import StoredEpoch
from daybook.store.store import Store
from tests.engine.entries import entry_of
from tests.harness import Installation
from tests.simulation.chaos import Chaos
from tests.simulation.memory_log import MemoryLog
from tests.simulation.memory_store import MemoryStore
from tests.simulation.poison import BOOM, Poison
from tests.simulation.scheduler import Scheduler
from tests.simulation.world import FIRST_MS, real
from tests.traffic.mix import RACING, Mix, drawn, openings

BYTES_MAX = 1 << 20
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
NO_ID = "00000000-0000-0000-0000-000000000000"

AnyLog = Log | MemoryLog
AnyStore = Store | MemoryStore
Units = Callable[[], ports.Unit]


class Quiet:
    """The parts of a simulation in which nothing goes wrong. now_ms: its time."""

    def __init__(self, partitions: int) -> None:
        self.now_ms = FIRST_MS
        chaos = Chaos(Random(1))
        chaos.calm = True
        self.log = MemoryLog(lambda: self.now_ms, lambda call: None)
        self.log.install(partitions, 100_000, 0)
        self.store = MemoryStore(partitions, Scheduler(Random(1), FIRST_MS), chaos)


# The log


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.servers)])
def log(request: pytest.FixtureRequest) -> AnyLog:
    """A log with two partitions."""
    if request.param == "memory":
        return Quiet(2).log
    installation: Installation = request.getfixturevalue("installation")
    return installation.log


def entry(name: str, slot: int = 0, **more: Any) -> NewEntry:
    """An entry that only the log looks at."""
    fingerprint = more.pop("fingerprint", b"f" * 32)
    return NewEntry(slot, f"t:{name}", fingerprint, f"txn_{name}", name.encode(), **more)


def states(log: AnyLog, *entries: NewEntry) -> list[str]:
    return [each.state for each in log.append(entries)[0]]


def accepted(log: AnyLog, *entries: NewEntry) -> list[int]:
    """Append these, all of which are taken: their positions."""
    results, _ = log.append(entries)
    return [each.position for each in results if each.position is not None]


def test_positions_are_one_order_for_all_partitions(log: AnyLog) -> None:
    """Each entry comes after those before it, whatever its partition; clock and streams agree."""
    results, bells = log.append([entry(f"e{n}", n % 2) for n in range(6)])
    positions = [each.position for each in results if each.position is not None]
    assert len(positions) == len(results)
    assert positions == sorted(set(positions))
    assert sorted(bells) == [0, 1]
    assert log.clock() == positions[-1]
    for partition in (0, 1):
        read = log.read(partition, 0, 10, BYTES_MAX)
        assert [raw.position for raw in read] == positions[partition::2]
        assert read[0] == RawEntry(
            positions[partition], f"txn_e{partition}", f"t:e{partition}", "", b"e%d" % partition
        )
        standing = log.call(entry_call(log.keys, partition, positions[partition]))
        assert standing == Entry(positions[partition], f"txn_e{partition}", b"e%d" % partition)
    assert log.first_unread({0: 0, 1: positions[1]}) == {0: positions[0], 1: positions[3]}
    assert log.first_unread({0: positions[-1], 1: positions[-1]}) == {}
    assert log.count_unread(0, positions[0]) == 2
    assert [log.unread_key(0, at, "txn_e2") for at in (0, *positions[:3:2])] == [
        "t:e2",
        "t:e2",
        None,
    ]
    assert (log.unread_key(1, 0, "txn_e2"), log.unread_key(0, 0, "txn_e9")) == (None, None)
    assert [raw.position for raw in log.read(0, positions[0], 1, BYTES_MAX)] == [positions[2]]


def test_a_key_is_accepted_once(log: AnyLog) -> None:
    """The same again is a duplicate, another under the key a conflict, with what stands there."""
    assert states(log, entry("a"), entry("a"), entry("a", fingerprint=b"g" * 32)) == [
        "accepted",
        "duplicate",
        "conflict",
    ]
    (known,) = log.outcomes(["t:a"])
    assert known is not None
    assert known.startswith(b"f".hex().encode() * 32 + b"Qtxn_a 0 ")
    assert states(log, entry("b", flags=BY_ID)) == ["accepted"]
    (pointed,) = log.outcomes(["t:b"])
    assert pointed is not None
    assert pointed[64:71] == b"Ptxn_b "
    log.reply(
        0, 1, log.clock(), (0, 1), [("t:a", outcome_value("66" * 32, "txn_a", "APPLIED"))], 60
    )
    (again,), _ = log.append([entry("a")])
    assert again.value is not None
    assert (again.state, again.value[64:65]) == ("duplicate", "R")
    assert log.outcomes(["t:a", "t:none"])[1] is None


def test_a_bell_rings_until_it_is_taken_down(log: AnyLog) -> None:
    """Who appends to a partition that is rung already need not ring; a read takes the mark down."""
    assert log.append([entry("a")])[1] == [0]
    assert log.append([entry("b")])[1] == []
    log.read(0, 0, 10, BYTES_MAX)
    assert log.append([entry("c")])[1] == [0]


def test_a_wide_entry_leaves_a_barrier(log: AnyLog) -> None:
    """It stands in its home, and under the same position a mark of it in each other partition."""
    (result,), bells = log.append([entry("w", 1, slots=(1, 2, 4))])
    assert sorted(bells) == [0, 1]
    wide = result.position or 0
    (barrier,) = log.read(0, 0, 10, BYTES_MAX)
    assert barrier == RawEntry(wide, "txn_w", "", BARRIER, b"1")
    (home,) = log.read(1, 0, 10, BYTES_MAX)
    assert (home.position, home.body) == (wide, b"w")


def test_a_full_partition_refuses_and_all_behind(log: AnyLog) -> None:
    """What is applied gives room; otherwise the first that has none, and all after it, are full."""
    log.install(2, 2, 0)
    first, _ = accepted(log, entry("a"), entry("b"))
    assert states(log, entry("c"), entry("d", 1)) == ["full", "full"]
    log.reply(0, 1, first, (0, 0), [], 60)
    assert states(log, entry("c"), entry("e")) == ["accepted", "full"]


def test_what_belongs_together_is_accepted_together(log: AnyLog) -> None:
    """An entry that another one must follow needs room for both, also where that one is wide."""
    log.install(2, 2, 0)
    pair = entry("a", flags=FOLLOWED), entry("b")
    wide = entry("c", 1, flags=FOLLOWED), entry("w", 1, slots=(0, 1))
    assert states(log, entry("x")) == ["accepted"]
    assert states(log, *pair) == ["full", "full"]
    assert states(log, entry("y"), *wide) == ["accepted", "full", "full"]
    log.reply(0, 1, log.clock(), (0, 0), [], 60)
    assert states(log, *pair) == ["accepted", "accepted"]
    log.reply(0, 2, log.clock(), (0, 0), [], 60)
    assert states(log, *wide) == ["accepted", "accepted"]


def test_what_is_due_comes_once_more(log: AnyLog) -> None:
    """Over the outcome of the time when it was accepted, over a stale one, and not over its own."""
    (first,) = accepted(log, entry("s"))
    scheduled = outcome_value("66" * 32, "txn_s", "SCHEDULED")
    due = entry("s", flags=DUE)
    assert states(log, due) == ["duplicate"]  # it is queued
    log.reply(0, 1, first, (0, 0), [], 60)
    assert states(log, due, due) == ["accepted", "duplicate"]  # its outcome was lost
    log.reply(0, 2, log.clock(), (0, 0), [("t:s", scheduled)], 60)
    assert states(log, due) == ["accepted"]
    refused = outcome_value("66" * 32, "txn_s", "REJECTED", "cancelled", "it was")
    log.reply(0, 3, log.clock(), (0, 0), [("t:s", refused)], 60)
    assert states(log, due) == ["duplicate"]


def test_marks_follow_the_newest_batch(log: AnyLog) -> None:
    """A late reply moves none back; a gap in what was told keeps the batch unsent."""
    log.reply(0, 2, 200, (0, 4), [], 60)
    log.reply(0, 1, 100, (0, 2), [], 60)
    assert (log.replied_batches(), log.cursor_marks()) == ({0: 2}, {0: 200})
    assert log.told_sequences() == {0: 4}
    log.reply(0, 5, 500, (7, 9), [], 60)
    assert (log.replied_batches(), log.cursor_marks()) == ({0: 2}, {0: 500})
    log.reply(0, 5, 500, (4, 9), [], 60)
    assert (log.replied_batches(), log.told_sequences()) == ({0: 5}, {0: 9})
    log.set_back(0, 100)
    assert (log.replied_batches(), log.cursor_marks(), log.told_sequences()) == ({}, {0: 100}, {})


def test_the_clock_never_goes_back(log: AnyLog) -> None:
    """What comes next comes behind a position to which the clock was put, and trims keep it."""
    ahead = log.clock() + (5_000 << 20) + (log.now_ms() << 20)
    log.forward_clock(ahead)
    log.forward_clock(1)
    results, _ = log.append([entry("a"), entry("b")])
    assert [each.position for each in results] == [ahead + 1, ahead + 2]
    log.trim(0, ahead + 2)
    assert log.first_unread({0: 0}).get(0) in (ahead + 1, ahead + 2)  # about so much goes
    assert log.clock() == ahead + 2


def test_another_number_begins_behind_the_newest_entry(log: AnyLog) -> None:
    """What comes next is routed by it; how many there were is known of each position."""
    first, second = accepted(log, entry("a", 1), entry("b", 3))
    assert (log.epochs.newest(), log.epochs.after(1), log.end_of(1)) == (1, None, NO_END)
    begun = log.epochs.begin(3)
    assert begun[:2] == (2, 3)
    assert begun.fence >= second
    assert log.epochs.begin(3) == begun
    results, bells = log.append([entry("c", 2), entry("d", 3)])
    third, fourth = [each.position or 0 for each in results]
    assert (log.partitions(), log.epochs.newest(), log.epochs.after(1)) == (3, 2, begun)
    assert (log.end_of(1), log.end_of(2), log.end_of(3)) == (begun.fence, NO_END, NOTHING)
    asked = [partitions_call(log.keys, each) for each in (first, second, third)]
    assert [log.call(each) for each in asked] == [2, 2, 3]
    assert [raw.position for raw in log.read(2, 0, 9, BYTES_MAX)] == [third]
    assert [raw.position for raw in log.read(0, 0, 9, BYTES_MAX)] == [fourth]
    assert sorted(bells) == [0, 2]
    assert second <= begun.fence < third
    last = log.epochs.begin(1)
    assert last[:2] == (3, 1)
    assert last.fence >= fourth
    assert log.epochs.after(1) == begun


def test_no_epoch_begins_in_a_log_that_is_older_than_the_database(log: AnyLog) -> None:
    """What the database has decided would lie behind the fence, routed by the number before."""
    (known,) = accepted(log, entry("a"))
    for stored, newest in ((2, known), (1, known + 1)):
        with pytest.raises(LogUnavailable, match="older than the database"):
            log.epochs.begin(3, stored, newest)
    assert (log.partitions(), log.epochs.newest()) == (2, 1)
    begun = log.epochs.begin(3, 1, known)
    assert begun[:2] == (2, 3)
    assert begun.fence >= known


def test_a_log_that_lost_its_end_catches_up(log: AnyLog) -> None:
    """What it took meanwhile lies in an epoch of its own, behind all that is decided."""
    assert not log.epochs.catch_up(1, 2, 0, 0)
    decided, taken = accepted(log, entry("a"), entry("b"))
    fence = decided - 9
    assert log.epochs.catch_up(2, 5, fence, decided)
    assert (log.partitions(), log.epochs.newest()) == (5, 4)
    assert log.epochs.after(2) == Epoch(3, 2, decided)
    assert log.epochs.after(3) == Epoch(4, 5, taken)
    assert log.epochs.catch_up(6, 5, taken, taken)
    assert (log.epochs.after(4), log.end_of(6)) == (Epoch(6, 5, taken), NO_END)
    assert not log.epochs.catch_up(6, 3, fence, fence)


def test_a_log_is_installed_in_the_epoch_of_the_database(log: AnyLog) -> None:
    """One that is there keeps its own."""
    log.install(7, 100, 0, 9)
    assert (log.partitions(), log.epochs.newest()) == (2, 1)


def test_marks_of_a_partition_that_is_not_there_are_forgotten(log: AnyLog) -> None:
    """Those of others stay."""
    for partition in (0, 1):
        log.reply(partition, 2, 200, (0, 4), [], 60)
    log.forget_marks(1)
    assert (log.replied_batches(), log.cursor_marks(), log.told_sequences()) == (
        {0: 2},
        {0: 200},
        {0: 4},
    )


def test_a_log_that_is_not_installed_takes_nothing() -> None:
    """Neither appends nor tells how many partitions there are, nor gets another number."""
    log = Quiet(1).log
    log.state.partitions = None
    with pytest.raises(LogNotInstalled):
        log.append([entry("a")])
    with pytest.raises(LogNotInstalled):
        log.partitions()
    with pytest.raises(LogNotInstalled):
        log.epochs.begin(2)
    assert not log.epochs.catch_up(2, 2, 0, 0)
    log.install(3, 100, 5 << 20, 4)
    assert (log.partitions(), log.epochs.newest(), log.end_of(3)) == (3, 4, 5 << 20)


# The store


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> AnyStore:
    """An empty ledger with two partitions."""
    if request.param == "memory":
        return Quiet(2).store
    return Store(request.getfixturevalue("installation").engine)


@pytest.fixture
def units(store: AnyStore) -> Iterator[Units]:
    """Begins units of work, each on a connection of its own, rolled back in the end."""
    workers: ports.Store = store
    with ExitStack() as opened:

        def begin() -> ports.Unit:
            unit = opened.enter_context(workers.units())()
            opened.callback(unit.rollback)
            return unit

        yield begin


def post(
    unit: ports.Unit, row: PartitionRow, requests: list[tuple[dict[str, Any], str]], **more: Any
) -> Any:
    """Decide and write requests in this unit, up to the cursor."""
    first = max(row.cursor, FIRST_MS << 20) + 1
    entries = [entry_of(request, own, first + n) for n, (request, own) in enumerate(requests)]
    book = unit.load_book(
        entries,
        KnownBalances(),
        check_taken=more.pop("check_taken", True),
        refused=[],
    )
    decision = decide_batch(book, [], entries)
    part = PartitionChanges(row, entries[-1].position, book.records)
    unit.write(Changes(book, claims_of(book, []), {}, [part]))
    return decision


def money(
    name: str, amount: int = 5, precision: int = 100, **more: Any
) -> tuple[dict[str, Any], str]:
    """A deposit into an internal balance, with its id."""
    request = {
        "kind": "transaction",
        "reference": name,
        "source": "@World",
        "destination": "@Till",
        "currency": "USD",
        "precise_amount": amount,
        "precision": precision,
        "allow_overdraft": True,
        **more,
    }
    (draft,) = drafts([request], lambda: FIRST_MS / 1000)
    return request, draft.entry.request_id


def test_a_partition_has_one_holder(units: Units) -> None:
    """Who has its lock keeps others from it until the end; who waits gives up in time."""
    one, two = units(), units()
    assert one.lock([0, 1]).keys() == {0, 1}
    assert two.lock_if_free(0) is None
    with pytest.raises(pg.LockNotAvailable):
        two.lock([1])
    two.rollback()
    one.commit()
    row = two.lock_if_free(0)
    assert row is not None
    assert (row.partition, row.cursor, row.batch, row.partitions) == (0, 0, 0, 2)


def test_a_unit_is_true_with_its_commit(units: Units) -> None:
    """Others see nothing of it before, and all of it after; a rollback leaves nothing."""
    one, two = units(), units()
    row = one.lock([0])[0]
    post(one, row, [money("a")])
    assert two.cursors() == {0: 0, 1: 0}
    one.rollback()
    row = one.lock([0])[0]
    post(one, row, [money("a"), money("b")])
    one.commit()
    assert two.cursors()[0] > 0
    row = two.lock([0])[0]
    assert (row.sequence, row.batch, row.batch_sequence) == (2, 1, 0)
    assert [found[0] for found in two.records_since(row, 1)] == ["b"]


def test_all_partitions_go_on_to_another_epoch(units: Units, store: AnyStore) -> None:
    """New ones begin behind the fence; closed ones keep their marks, and nobody gets their lock."""
    one, two = units(), units()
    post(one, one.lock([1])[1], [money("a")])
    one.commit()
    before = one.cursors()[1]
    one.rollback()
    for number, partitions, fence in ((2, 3, before + 5), (3, 1, before + 9)):
        one.lock_all()
        assert two.lock_if_free(0) is None
        two.rollback()
        one.advance(StoredEpoch(number, partitions, fence))
        assert [row.epoch for row in two.open_partitions()] == [number - 1] * len(two.cursors())
        two.rollback()
        one.commit()
        assert two.cursors() == dict.fromkeys(range(partitions), fence)
        assert [row[0] for row in two.open_partitions()] == list(range(partitions))
        two.rollback()
    assert two.lock([0, 1, 2]).keys() == {0}
    two.rollback()
    assert two.lock_if_free(1) is None
    assert two.lock_if_free(0, closed=True) is None
    closed = two.lock_if_free(1, closed=True)
    assert closed is not None
    assert (closed.partition, closed.batch) == (1, 1)
    row = two.lock_if_free(0)
    assert row is not None
    assert (row.partitions, row.epoch, row.batch) == (1, 3, 0)
    two.rollback()
    marks = store.marks()
    assert (marks.epoch, marks.closed) == (StoredEpoch(3, 1, before + 9), {1, 2})
    assert marks.cursors == dict.fromkeys(range(3), before + 9)
    assert marks.batches == {0: 0, 1: 1, 2: 0}
    one.lock_all()
    with pytest.raises(pg.UniqueViolation):
        one.advance(StoredEpoch(3, 2, before + 20))


def test_a_reference_is_used_once(units: Units) -> None:
    """Taken again unseen it is refused by the index; looked up, it is a conflict."""
    request = money("a")
    one = units()
    post(one, one.lock([0])[0], [request])
    one.commit()
    again = units()
    with pytest.raises(ReferenceTaken):
        post(again, again.lock([0])[0], [money("a", 6)], check_taken=False)
    again.rollback()
    decision = post(again, again.lock([0])[0], [money("a", 6)])
    assert [outcome.reason for outcome in decision.decisions] == ["reference_conflict"]


def test_what_a_decision_took_for_granted_is_compared(units: Units) -> None:
    """Another has created the balance meanwhile, or given it another precision: decide again."""
    one, two, three = units(), units(), units()
    first, second = one.lock([0])[0], two.lock([1])[1]
    entries = [entry_of(*money("b"), (FIRST_MS << 20) + 1)]
    book = two.load_book(entries, KnownBalances(), check_taken=True, refused=[])
    decide_batch(book, [], entries)
    post(one, first, [money("a")])
    one.commit()
    with pytest.raises(Stale):
        two.write(Changes(book, {}, {}, []))
    two.rollback()
    second = three.lock([1])[1]
    decision = post(three, second, [money("c", 1, precision=10)])
    assert [outcome.reason for outcome in decision.decisions] == ["precision_mismatch"]


def test_what_is_deferred_waits_in_order(units: Units, store: AnyStore) -> None:
    """By position, with what it may credit, until released; what is refused keeps its reference."""
    unit = units()
    row = unit.lock([0])[0]
    held = [
        Deferral(DeferredEntry(n, f"txn_{n}", "c", b"%d" % n), n, [f"bln_{n}"]) for n in (7, 3, 5)
    ]
    rejection = RejectedRequest(9, "txn_9", "r", True, "unknown_balance", "no", b"{}")
    part = PartitionChanges(row, 9, deferred=held, rejected=[rejection], outcomes="{}")
    unit.write(Changes(Book(), claims_of(Book(), [rejection]), {}, [part]))
    unit.commit()
    assert [each.position for each in unit.deferred(0, 6)] == [3, 5]
    assert [(each.position, each.slot, list(each.may_credit)) for each in unit.parked(0, 6)] == [
        (7, 7, ["bln_7"])
    ]
    assert unit.deferred_elsewhere([1]) == {"bln_3": 3, "bln_5": 5, "bln_7": 7}
    assert unit.deferred_elsewhere([0]) == {}
    assert unit.oldest_deferred() == {0: 3}
    assert unit.deferring() == {0}
    unit.rollback()
    assert store.marks().waiting == {0}
    row = unit.lock([0])[0]
    decision = post(unit, row, [money("r")])
    assert [outcome.reason for outcome in decision.decisions] == ["reference_conflict"]
    unit.rollback()
    row = unit.lock([0])[0]
    assert (row.cursor, row.batch, row.batch_outcomes) == (9, 1, "{}")
    unit.write(Changes(Book(), {}, {}, [PartitionChanges(row, 9, released=[3, 5, 7])]))
    unit.commit()
    assert unit.oldest_deferred() == {}


def test_a_lost_connection_is_a_store_that_is_away(store: AnyStore) -> None:
    """Whatever the driver says of it becomes StoreUnavailable at the edge of the store."""
    with pytest.raises(StoreUnavailable), store.units():
        raise psycopg.OperationalError("gone")


def told(store: AnyStore, rows: Callable[[str], list[Any]]) -> Any:
    """Everything that is recorded, in one order."""
    if isinstance(store, MemoryStore):
        tables = store.tables
        heads = [
            (p, row.cursor, row.sequence, row.head, row.batch, row.partitions, row.epoch)
            for p, row in tables.rows.items()
        ]
        figures = [
            (
                own,
                b["credit"],
                b["debit"],
                b["inflight_credit"],
                b["inflight_debit"],
                b["version"],
                b["precision"],
            )
            for own, b in tables.shelf.balances.items()
        ]
        holds = [
            (own, h["amount"], h["committed"], h["voided"]) for own, h in tables.shelf.holds.items()
        ]
        refused = [
            (
                p,
                r.position,
                r.reason,
                r.uses_reference,
                tables.resolved.get((r.position, r.request_id)),
            )
            for p, r in tables.rejections
        ]
        return (
            sorted(heads),
            sorted(figures, key=str),
            sorted(holds),
            sorted(refused),
            sorted(tables.shelf.schedules),
            sorted((name, owner and owner[-36:]) for name, owner in tables.taken.items()),
        )
    return (
        rows(
            "SELECT partition, cursor, sequence, head, batch, total, epoch FROM partitions "
            "ORDER BY 1"
        ),
        sorted(
            [
                (own, *map(int, figures), None if precision is None else int(precision))
                for own, *figures, precision in rows(
                    "SELECT 'bln_' || balance_id, credit_balance, debit_balance, "
                    "inflight_credit_balance, inflight_debit_balance, version, precision "
                    "FROM balances"
                )
            ],
            key=str,
        ),
        [
            (own, int(amount), int(committed), int(voided))
            for own, amount, committed, voided in rows(
                "SELECT 'txn_' || transaction_id, amount, committed, voided FROM holds ORDER BY 1"
            )
        ],
        rows(
            "SELECT partition, position, reason, uses_reference, resolved FROM rejected_requests "
            "ORDER BY 1, 2"
        ),
        [own for (own,) in rows("SELECT 'txn_' || transaction_id FROM schedules ORDER BY 1")],
        sorted(rows("SELECT reference, owner::text FROM taken_references")),
    )


@pytest.mark.servers
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(s, marks=pytest.mark.campaign) for s in range(2, 12))]
)
def test_both_stores_record_the_same(installation: Installation, seed: int) -> None:
    """The same log leads to the same chain, figures, holds and quarantine, to the last hash."""
    requests = seeded_requests(seed)
    recorded = []
    for of_store in (lambda quiet: quiet.store, lambda quiet: installation.store):
        quiet = Quiet(2)
        store, poison = of_store(quiet), Poison()
        with poison.in_the_code():
            play(quiet, store, installation.settings, requests)
            poison.is_mended = True
            found = quarantined_in(store, installation.rows)
            assert found
            resolve_all(quiet, store, installation.settings, found)
        last = store.marks().epoch
        assert last is not None
        assert last.number == quiet.log.epochs.newest() > 3
        recorded.append(told(store, installation.rows))
    for ours, theirs in zip(*recorded, strict=True):
        assert [tuple(row) if isinstance(row, tuple) else row for row in ours] == [
            tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)
            if isinstance(row, tuple)
            else row
            for row in theirs
        ]


def play(quiet: Quiet, store: Any, settings: Settings, requests: list[NewEntry]) -> None:
    """Append and apply everything, under other numbers of partitions now and then."""
    numbers, applier = iter((3, 1, 4, 2)), Applier(store, quiet.log, settings)
    for start in range(0, len(requests), 20):
        quiet.now_ms += 400
        quiet.log.append(requests[start : start + 20])
        if start % 40 == 20:
            marks = store.marks()
            begin_after(marks.epoch, marks.newest, real(quiet.log), next(numbers, 2))
        drain_all(quiet, store, applier)
    quiet.now_ms += 60_000
    drain_all(quiet, store, applier)


def drain_all(quiet: Quiet, store: Any, applier: Applier) -> None:
    """Apply everything, and what is due."""
    append_due(store, quiet.log, lambda partition: None)
    for partition in 2 * [*range(quiet.log.partitions())]:
        applier.drain(partition)


def quarantined_in(store: Any, rows: Callable[[str], list[Any]]) -> list[tuple[int, str, bytes]]:
    """Position, id and body of what is quarantined and open, oldest first."""
    if isinstance(store, MemoryStore):
        found = [(*place, each.body) for place, each in store.tables.open_quarantined().items()]
        return sorted(found)
    query = (
        "SELECT position, request_id, body FROM rejected_requests WHERE reason = 'quarantined' "
        "AND resolved IS NULL ORDER BY position"
    )
    return [(position, own, bytes(body)) for position, own, body in rows(query)]


def resolve_all(
    quiet: Quiet, store: Any, settings: Settings, found: list[tuple[int, str, bytes]]
) -> None:
    """Some are retried, some discarded; some both, by operators who know nothing of each other."""
    applier = Applier(store, quiet.log, settings)
    for number, (position, own, body) in enumerate(found):
        for making in ([retrying], [retrying, discarding], [discarding, retrying])[number % 3]:
            quiet.log.append(making(own, position, body, quiet.now_ms, "", ""))
        drain_all(quiet, store, applier)


def seeded_requests(seed: int) -> list[NewEntry]:
    """Entries of every kind, with dates in the time of ``Quiet``."""
    random = Random(seed)
    names, first = openings(random, 7)
    mix = Mix(random, names, f"s{seed}", RACING, lambda: FIRST_MS, ((BOOM,), 0.1))
    requests = first
    while len(requests) < 160:  # what waits comes in a call of its own
        requests = requests + drawn(mix, random, 20, f"t{len(requests)}")
    return [draft.entry for draft in drafts(requests, lambda: FIRST_MS / 1000)]


def test_both_stores_find_the_same_due(units: Units, store: AnyStore) -> None:
    """Schedules and dates of holds, in the order of their times, behind where one stopped."""
    now = datetime.fromtimestamp(FIRST_MS / 1000, UTC) + timedelta(seconds=30)
    unit = units()
    soon = now - timedelta(seconds=10)
    requests = [
        money("s1", scheduled_for=soon.isoformat()),
        money("s2", scheduled_for=(soon + timedelta(seconds=1)).isoformat()),
        money("h1", inflight=True, inflight_expiry_date=soon.isoformat()),
        money("h2", inflight=True, inflight_commit_date=(now + timedelta(hours=1)).isoformat()),
    ]
    post(unit, unit.lock([0])[0], requests)
    unit.commit()
    found = store.due_schedules(now, LONG_AGO, 0, 10)
    assert [(each.reference, each.scheduled_for) for each in found] == [
        ("s1", soon),
        ("s2", soon + timedelta(seconds=1)),
    ]
    assert [e.reference for e in store.due_schedules(now, soon, found[0].position, 10)] == ["s2"]
    holds = store.due_holds(now, LONG_AGO, NO_ID, 10)
    assert [(each.named, each.due) for each in holds] == [(requests[2][1][-36:], soon)]
    assert store.due_holds(now, soon, holds[0].transaction_id, 10) == []
