"""What a batch decides, what it defers and what it leaves unread, by what is open elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from tests.engine.entries import entry_of
from tests.oracle.scenario import Parser, id_of

from daybook.ledger.batch import (
    POSITION_MAX,
    BatchDecision,
    Deferred,
    Horizon,
    Parked,
    Quarantined,
    decide_batch,
)
from daybook.ledger.book import Book, Recorded
from daybook.ledger.conservation import ConservationError
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.instructions import DISCARDED, RETRIED, Resolve
from daybook.ledger.posting.kinds import KINDS, KindOfInstruction, Reads, add_kind, reads_of

OPEN = Horizon(open_from=1)
"""Something older than every entry below is unread in another partition."""


def entries(table: str, **slots: int) -> list[LogEntry]:
    """Entries at the positions 10, 11, …, each in the slot with its name, by default slot 0."""
    steps = [step for step in Parser().steps(table) if step.request is not None]
    found = []
    for position, step in enumerate(steps, 10):
        assert step.request is not None
        entry = entry_of(step.request, step.request_id, (1_700_000_000_000 << 20) + position)
        slot = slots.get(step.line.partition(":")[0], 0)
        found.append(entry._replace(position=position, slot=slot))
    return found


def names(decision: BatchDecision) -> tuple[dict[str | None, str], list[str | None]]:
    """The statuses by reference, and the references of what is deferred."""
    return (
        {each.reference: each.status for each in decision.decisions},
        [each.entry.instruction.reference for each in decision.deferred],
    )


@pytest.mark.parametrize(
    ("open_from", "final_before", "ripe"),
    [(None, 0, POSITION_MAX), (7, 3, 7), (7, 9, 9), (0, 0, 0)],
)
def test_what_is_ripe(open_from: int | None, final_before: int, ripe: int) -> None:
    """What is older than all that is unread, or than what no longer waits."""
    assert Horizon(open_from, {}, final_before).ripe_before == ripe
    assert POSITION_MAX == 2**63 - 1


@pytest.mark.parametrize(("open_from", "after"), [(None, 6), (3, 3), (6, 6), (9, 6)])
def test_a_batch_up_to_a_position_leaves_the_next_one_open(
    open_from: int | None, after: int
) -> None:
    """What was known of others stays known."""
    horizon = Horizon(open_from, {"a": 2}, 4)
    assert horizon.up_to(5) == Horizon(after, {"a": 2}, 4)


@pytest.mark.parametrize(
    ("open_from", "elsewhere", "is_turn"),
    [
        (None, {}, True),
        (4, {}, False),
        (5, {}, True),
        (6, {}, True),
        (None, {"a": 4}, False),
        (None, {"a": 5}, True),
        (None, {"a": 9, "b": 4}, False),
        (6, {"a": 4}, False),
    ],
)
def test_whose_turn_it_is(open_from: int | None, elsewhere: dict[str, int], is_turn: bool) -> None:
    """It is the turn of position 5 when nothing older is open, of whatever balance."""
    assert Horizon(open_from, elsewhere).is_turn_of(5) is is_turn


@pytest.mark.parametrize(
    ("open_from", "elsewhere", "final_before", "deferred", "is_final"),
    [
        (None, {}, 0, {}, True),
        (1, {"x": 1}, 6, {"x": 1}, True),
        (1, {}, 5, {}, False),
        (4, {}, 0, {}, False),
        (5, {}, 0, {}, True),
        (None, {"x": 4}, 0, {}, False),
        (None, {"x": 5}, 0, {}, True),
        (None, {"z": 4}, 0, {"z": 4}, True),
        (None, {"*": 4}, 0, {}, False),
        (None, {}, 0, {"y": 4}, False),
        (None, {}, 0, {"y": 5}, True),
        (None, {}, 0, {"*": 4}, False),
    ],
)
def test_what_is_final(
    open_from: int | None,
    elsewhere: dict[str, int],
    final_before: int,
    deferred: dict[str, int],
    is_final: bool,
) -> None:
    """The rejection at position 5 is final when nothing older could change x or y."""
    horizon = Horizon(open_from, elsewhere, final_before)
    assert horizon.is_final(5, ("x", "y"), deferred) is is_final


POOR = """
    poor: A > B 1 USD
    behind: @World > A 5 USD overdraft
    beside: @World > C 5 USD overdraft
"""
BALANCES = "balance A USD\nbalance B USD\nbalance C USD\n"


def decided(table: str, horizon: Horizon = OPEN, **more: Any) -> BatchDecision:
    """What is decided of new entries; ``beside`` is in another slot."""
    return decide_batch(Book(), [], entries(BALANCES + table, beside=1), horizon, **more)


def test_what_lacks_money_waits_with_its_slot_for_what_is_open() -> None:
    """It is rejected when nothing is open any more; another slot goes on either way."""
    waits = decided(POOR)
    assert names(waits) == ({None: "APPLIED", "beside": "APPLIED"}, ["poor", "behind"])
    assert waits.consumed == 6
    poor = entries(BALANCES + POOR)[3].instruction
    assert waits.deferred[0].may_credit == (poor.destination_id,)  # type: ignore[union-attr]
    final = decided(POOR, Horizon())
    statuses = {None: "APPLIED", "poor": "REJECTED", "behind": "APPLIED", "beside": "APPLIED"}
    assert names(final) == (statuses, [])
    assert [(entry.position, why.reason) for entry, why in final.rejected] == [
        (13, "insufficient_funds")
    ]


def test_what_an_older_entry_may_fund_waits_for_it() -> None:
    """Deferred entries of the same batch are open, too, for what they may credit."""
    table, elsewhere = "poor: A > B 1 USD\nbeside: B > C 1 USD", {id_of("bln", "A"): 5}
    assert names(decided(table, Horizon(None, elsewhere)))[1] == ["poor", "beside"]
    unrelated = decided("poor: A > B 1 USD\nbeside: C > B 1 USD", Horizon(None, {"*": 14}))
    assert names(unrelated)[0]["beside"] == "REJECTED"


def test_what_is_parked_keeps_its_slot_and_what_it_may_credit() -> None:
    """An entry of its slot waits; so does one that lacks what it may credit."""
    new = entries(BALANCES + POOR, poor=1, behind=2, beside=3)
    balance = new[3].instruction.source_id  # type: ignore[union-attr]
    parked = [Parked(5, 3, (balance,))]
    decision = decide_batch(Book(), [], new, Horizon(), parked=parked)
    assert names(decision)[1] == ["poor", "beside"]
    assert names(decide_batch(Book(), [], new, Horizon(), parked=[Parked(5, 9, ("x",))]))[1] == []


@pytest.mark.parametrize(("deferred_max", "consumed"), [(0, 0), (1, 4), (2, 5), (3, 6)])
def test_a_batch_is_cut_before_too_much_is_deferred(deferred_max: int, consumed: int) -> None:
    """What might be one too many stays unread, with all behind it."""
    decision = decided(POOR, deferred_max=deferred_max)
    assert (decision.consumed, len(decision.deferred)) == (consumed, min(deferred_max, 2))


def test_what_is_parked_counts_as_deferred() -> None:
    """With one that is parked, one less may be deferred."""
    parked = [Parked(1, 8, ())]
    assert decided(POOR, deferred_max=2, parked=parked).consumed == 4


@pytest.mark.parametrize(
    ("slots", "horizon", "consumed"),
    [
        (frozenset({4, 5}), Horizon(), 4),
        (frozenset({4, 5}), Horizon(open_from=13), 4),
        (frozenset({4, 5}), Horizon(open_from=12), 3),
        (frozenset(), Horizon(open_from=12), 4),
    ],
)
def test_a_request_of_several_slots_waits_unread_for_its_turn(
    slots: frozenset[int], horizon: Horizon, consumed: int
) -> None:
    """And so does everything behind it."""
    new = entries(BALANCES + "wide: @World > A 5 USD overdraft")
    new[3] = new[3]._replace(slots=slots)
    assert decide_batch(Book(), [], new, horizon).consumed == consumed
    behind = decide_batch(Book(), [], new, horizon, parked=[Parked(1, 9, ())])
    assert behind.consumed == (3 if slots else 4)


def test_what_is_younger_than_the_cut_stays_deferred() -> None:
    """It is not decided before what stays unread in another partition."""
    older, younger = entries("one: @World > @A 1 USD overdraft\ntwo: @World > @B 1 USD overdraft")
    decision = decide_batch(Book(), [younger], [older], deferred_max=0)
    assert decision == BatchDecision(deferred=[Deferred(younger, ())])
    again = decide_batch(Book(), [older], [younger])
    assert [each.position for each in again.decisions] == [10, 11]
    assert again.consumed == 1


def test_what_shares_a_position_is_decided_in_the_order_of_acceptance() -> None:
    """Only entries written by hand can: nothing but the position is compared, whatever they say."""
    one, two = entries("r: A > B 1 USD overdraft\nr: A > B 1 USD overdraft limit=5 id=other")
    two = two._replace(position=one.position, request_id=one.request_id)
    decision = decide_batch(Book(), [two], [one])
    assert [each.position for each in decision.decisions] == [10, 10]


@pytest.mark.parametrize(
    ("horizon", "parked", "status"),
    [
        (Horizon(), [], "APPLIED"),
        (Horizon(), [Parked(5, 9, ("x",))], None),
        (Horizon(), [Parked(14, 9, ("x",))], "APPLIED"),
        (Horizon(open_from=13), [], None),
        (Horizon(open_from=14), [], "APPLIED"),
        (Horizon(1, {}, 14), [], None),
        (Horizon(1, {}, 15), [Parked(5, 9, ("x",))], "APPLIED"),
    ],
)
def test_a_refund_waits_for_all_that_is_older(
    horizon: Horizon, parked: list[Parked], status: str | None
) -> None:
    """It debits without a look at funds: money that an older spend was promised may be among it."""
    table = BALANCES + "in: @World > A 5 USD overdraft\nrefund in ref=back"
    decision = decide_batch(Book(), [], entries(table), horizon, parked=parked)
    statuses, waits = names(decision)
    assert (statuses.get("back"), waits) == (status, [] if status else ["back"])


def test_an_internal_balance_is_debited_when_nothing_older_could_debit_it() -> None:
    """Though it has the money: its debits lie in many slots. Nobody waits to overdraw it."""
    fill = "in: @World > @Till 5 USD overdraft\n"
    spend, overdraw = "beside: @Till > A 1 USD", "beside: @Till > A 1 USD overdraft"
    (till,) = (entry.instruction.destination_id for entry in entries(fill))  # type: ignore[union-attr]
    assert names(decided(fill + spend)) == ({None: "APPLIED", "in": "APPLIED"}, ["beside"])
    for horizon in (Horizon(None, {till: 5}), Horizon(None, {"*": 5})):
        assert names(decided(fill + spend, horizon))[1] == ["beside"]
    assert names(decided(fill + spend, Horizon(None, {"other": 5})))[1] == []
    assert names(decided(fill + overdraw))[1] == []


class Faulty(NamedTuple):
    """What makes the code raise, when half of it is done."""

    reference: str | None = "faulty"


def post_faulty(book: Book, entry: LogEntry, wanted: Faulty) -> Decision:
    """Credit nobody's money, then raise."""
    for balance in book.balances.values():
        balance.add(credit=1)
    raise LookupError("a fault of ours")


@pytest.fixture
def faulty() -> Iterator[LogEntry]:
    """An entry whose decision raises."""
    add_kind(Faulty, KindOfInstruction(post=post_faulty))
    (entry,) = entries("faulty: @World > @A 1 USD overdraft")
    raising: Any = Faulty()
    yield entry._replace(instruction=raising, position=13)
    del KINDS[Faulty]


def test_what_raises_is_quarantined_by_a_second_decision(faulty: LogEntry) -> None:
    """The first finds it, and may have left a half of it; the second leaves it out unseen."""
    before = entries(BALANCES)
    first = decide_batch(Book(), [], [*before, faulty])
    (found,) = first.quarantined
    assert (found.entry, found.fault) == (faulty, "LookupError")
    assert "a fault of ours" in found.traceback
    assert first.is_spoilt
    book = Book()
    second = decide_batch(book, [], [*before, faulty], raised={13: found})
    assert (second.quarantined, second.is_spoilt) == ([found], False)
    outcome = second.decisions[-1]
    assert outcome == Decision(
        13,
        faulty.request_id,
        faulty.request_id,
        "faulty",
        "REJECTED",
        "quarantined",
        "deciding the request raised LookupError; it is quarantined",
    )
    assert [each.status for each in second.decisions] == 3 * ["APPLIED"] + ["REJECTED"]
    (kept,) = book.quarantined.values()
    assert kept[0] == "faulty"
    assert kept[1][:5] == (faulty.request_id, "REJECTED", faulty.fingerprint, *outcome[5:7])
    assert book.references["faulty"] == kept[1]
    assert not any(balance.touches for balance in book.balances.values())


def test_another_one_that_raises_spoils_the_decision_anew(faulty: LogEntry) -> None:
    """The first is left out, the second may have left a half: both are to be left out."""
    raised = {13: Quarantined(faulty, "LookupError", "")}
    raising: Any = Faulty("later")
    later = faulty._replace(
        position=14,
        request_id="txn_00000000-0000-7000-8000-000000000009",
        instruction=raising,
    )
    decision = decide_batch(Book(), [], [*entries(BALANCES), faulty, later], raised=raised)
    assert decision.is_spoilt
    assert [each.entry.position for each in decision.quarantined] == [13, 14]


def test_what_raised_and_is_recorded_meanwhile_is_no_longer_quarantined(faulty: LogEntry) -> None:
    """The same request is a duplicate; another one under its reference keeps it out."""
    raised = {13: Quarantined(faulty, "LookupError", "")}
    (recorded,) = entries("faulty: @World > @A 1 USD overdraft")
    for fingerprint, status in ((recorded.fingerprint, "APPLIED"), (bytes(32), "REJECTED")):
        again = faulty._replace(fingerprint=fingerprint)
        decision = decide_batch(Book(), [], [recorded, again], raised=raised)
        assert decision.quarantined == []
        assert [each.status for each in decision.decisions] == ["APPLIED", status]


def test_what_raised_is_known_by_its_reference_whatever_its_id(faulty: LogEntry) -> None:
    """The same under another id is a duplicate, with the reference of both."""
    raised = {13: Quarantined(faulty, "LookupError", "")}
    (recorded,) = entries("faulty: @World > @A 1 USD overdraft id=other")
    again = faulty._replace(fingerprint=recorded.fingerprint)
    _, outcome = decide_batch(Book(), [], [recorded, again], raised=raised).decisions
    assert (outcome.duplicate, outcome.reference) == (True, "faulty")
    assert outcome.transaction_id == recorded.request_id != again.request_id


def test_what_is_due_and_raises_is_quarantined(faulty: LogEntry) -> None:
    """Though it is known as scheduled; the same again under another id is known by its schedule."""
    raised = {13: Quarantined(faulty, "LookupError", "")}
    scheduled = Recorded(faulty.request_id, "SCHEDULED", faulty.fingerprint)
    for own, is_known in ((faulty.request_id, False), (f"txn_{'0' * 36}", True)):
        book = Book()
        book.references["faulty"] = scheduled
        again = faulty._replace(request_id=own)
        decision = decide_batch(book, [], [again], raised=raised)
        assert [each.duplicate for each in decision.decisions] == [is_known]
        assert bool(decision.quarantined) != is_known


@pytest.mark.parametrize("how", [RETRIED, DISCARDED])
@pytest.mark.parametrize("reference", ["r", None])
def test_what_was_quarantined_is_resolved_once(how: str, reference: str | None) -> None:
    """What is tried again may be recorded under its own id and reference; else both stay taken."""
    (again,) = entries("r: @World > @A 1 USD overdraft")
    kept = Recorded(again.request_id, "REJECTED", again.fingerprint, "quarantined", "why")
    book = Book()
    book.quarantined[5, again.request_id] = (reference, kept)
    book.taken_ids[again.request_id[-36:]] = kept
    if reference is not None:
        book.references[reference] = kept
    wanted = Resolve(again.request_id, 5, how)
    resolve = again._replace(request_id="act_1", instruction=wanted, position=3 << 20)
    assert reads_of([resolve]) == Reads(quarantined=((again.request_id, 5),))
    decision = decide_batch(book, [], [resolve, resolve._replace(position=4 << 20)])
    assert decision.decisions == [
        Decision(3 << 20, "act_1", "act_1", None, "APPLIED"),
        Decision(4 << 20, "act_1", "act_1", None, "APPLIED", duplicate=True),
    ]
    assert book.resolutions == {(5, again.request_id): (wanted, 3)}
    (outcome,) = decide_batch(book, [], [again]).decisions
    expected = ("APPLIED", False) if how == RETRIED else ("REJECTED", True)
    assert (outcome.status, outcome.duplicate) == expected
    other = again._replace(request_id=f"txn_{'0' * 36}", fingerprint=bytes(32))
    (outcome,) = decide_batch(book, [], [other]).decisions
    assert outcome.reason == ("reference_conflict" if reference or how == RETRIED else None)


def test_money_from_nowhere_is_found_before_anything_is_written(faulty: LogEntry) -> None:
    """Where nothing raised, and where what raised was left out."""
    book = Book()
    decide_batch(book, [], entries(BALANCES))
    next(iter(book.balances.values())).add(credit=1)
    with pytest.raises(ConservationError):
        decide_batch(book, [], [])
    with pytest.raises(ConservationError):
        decide_batch(book, [], [], raised={13: Quarantined(faulty, "LookupError", "")})
