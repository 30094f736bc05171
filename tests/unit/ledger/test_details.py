"""What is said of a request that is rejected or conflicts, and what its records hold."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.entries import entry_of
from tests.engine.shelf import Shelf
from tests.oracle.scenario import FIRST_MS, FIRST_POSITION, Parser, id_of

from daybook.ledger.balance import internal_balance_id
from daybook.ledger.batch import BatchDecision, decide_batch
from daybook.ledger.book import Book, Recorded, Subject
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.ids import part_id
from daybook.ledger.instructions import Bulk, Transaction
from daybook.ledger.money import FIGURE_MAX
from daybook.ledger.posting.bulk import post_bulk
from daybook.ledger.posting.creations import META_DATA_CHARACTERS_MAX, post_change
from daybook.ledger.record import Record
from daybook.ledger.rejection import Rejected

A, B, E, Y, Z = (id_of("bln", name) for name in "ABEYZ")
PRECISION = "has precision 1, not 100; send that, under a new reference"
LIMIT = "its limit is 0 (minor units): 0.8 is less than one of them"
TO = "the money was to go"
NONE = "00000000-0000-4000-8000-000000000000"


class Decided:
    """The last request of a table, decided behind the others. ids: by the names in the table."""

    def __init__(self, table: str, shelf: Shelf | None = None) -> None:
        parser = Parser()
        self.shelf = shelf or Shelf()
        *before, self.entry = entries_of(parser, table)
        for entry in before:
            self.shelf.apply([entry])
        self.ids = parser.ids
        self.book = self.shelf.book_for([self.entry])
        self.decision: BatchDecision = decide_batch(self.book, [], [self.entry])

    @property
    def outcome(self) -> Decision:
        (outcome,) = self.decision.decisions
        return outcome

    @property
    def rejected(self) -> Rejected:
        ((_, rejected),) = self.decision.rejected
        return rejected


def entries_of(parser: Parser, table: str) -> list[LogEntry]:
    """The entries of a table."""
    return [
        entry_of(step.request, step.request_id, FIRST_POSITION + number)
        for number, step in enumerate(parser.steps(table))
        if step.request is not None
    ]


THINGS = """
balance A USD
balance B USD
balance E EUR
in: @World > A 10 USD overdraft
eu: @World > E 10 EUR overdraft
"""


@pytest.mark.parametrize(
    ("line", "detail", "concerns"),
    [
        ("x: Z > A 1 USD", f"source: balance {Z} does not exist; create it first", [Z]),
        ("x: A > Z 1 USD", f"destination: balance {Z} does not exist; create it first", [Z]),
        ("x: Z > Y 1 USD", f"source: balance {Z} does not exist; create it first", [Z, Y]),
        (
            "x: A > @X=1,Z=left 2 USD",
            f"destination: balance {Z} does not exist; create it first",
            [Z],
        ),
        (
            "x: Z=1,A=left > @X 2 USD",
            f"source: balance {Z} does not exist; create it first; {TO} to @X",
            [Z],
        ),
        (
            "x: @W > Z 1 USD",
            f"destination: balance {Z} does not exist; create it first; {TO} from @W",
            [Z],
        ),
        (
            "x: @W > Z=1,A=left 2 USD",
            f"destination: balance {Z} does not exist; create it first; {TO} from @W",
            [Z],
        ),
        (
            "x: @V=1,@W=left > Z 2 USD",
            f"destination: balance {Z} does not exist; create it first",
            [Z],
        ),
        ("x: E > A 1 USD", f"currency: source {E} is in EUR, not USD", []),
        ("x: A > E 1 USD", f"currency: destination {E} is in EUR, not USD", []),
        ("x: E > A 1 CHF", f"currency: source {E} is in EUR, not CHF", []),
        ("x: A=1,E=left > @X 2 USD", f"currency: source {E} is in EUR, not USD; {TO} to @X", []),
        ("x: A > @X=1,E=left 2 USD", f"currency: destination {E} is in EUR, not USD", []),
        ("x: A > @X=1,E=left 2 CHF", f"currency: source {A} is in USD, not CHF", []),
        (
            "x: A > @X 1 USD@100",
            f"precision: source {A} {PRECISION}; {TO} to @X",
            [],
        ),
        (
            "x: @X > A 1 USD@100 overdraft",
            f"precision: destination {A} {PRECISION}; {TO} from @X",
            [],
        ),
        ("x: A > @X 11 USD", f"source: {A} has 10 available, 11 needed for @X (minor units)", [A]),
        ("x: A > B 11 USD", f"source: {A} has 10 available, 11 needed (minor units)", [A]),
        (
            "x: A > @X 19 USD limit=8 overdraft",
            f"source: {A} would stand at -9 if it paid @X, its limit is -8 (minor units)",
            [A],
        ),
        (
            "x: A > @X 19 USD limit=0.8 overdraft",
            f"source: {A} would stand at -9 if it paid @X, {LIMIT}",
            [A],
        ),
        (
            "balance C USD ledger=L",
            f"ledger_id: ledger {id_of('ldg', 'L')} does not exist; create it first",
            [id_of("ldg", "L")],
        ),
        (
            "balance C USD owner=P",
            f"identity_id: identity {id_of('idt', 'P')} does not exist; create it first",
            [id_of("idt", "P")],
        ),
        (
            "change ledger L name=M",
            f"subject_id: {id_of('ldg', 'L')} does not exist; create it first",
            [id_of("ldg", "L")],
        ),
    ],
)
def test_a_rejection_names_the_field_and_what_it_waits_for(
    line: str, detail: str, concerns: list[str]
) -> None:
    """In one sentence; of two that are wrong the source comes first, and the sides are named."""
    decided = Decided(THINGS + line)
    assert (decided.rejected.detail, list(decided.rejected.concerns)) == (detail, concerns)
    assert decided.outcome.detail == detail


def test_a_conflict_names_what_is_taken_and_by_whom() -> None:
    """The reference, or the id."""
    table = "in: @World > @A 1 USD overdraft\n"
    by_reference = Decided(f"{table}in: @World > @A 2 USD overdraft id=other")
    own = by_reference.ids["in"]
    assert by_reference.outcome.detail == f"reference: in belongs to another request, {own}"
    by_id = Decided(f"{table}x: @World > @A 2 USD overdraft id=in")
    assert by_id.outcome.detail == f"transaction_id: x belongs to another request, {own}"


def test_a_bulk_names_the_items_that_it_refuses() -> None:
    """Up to so many of them; an atomic one names the one that made it fail."""
    few = Decided(f"{THINGS}bulk b\n- i: A > @X 1 USD\n- j: A > @X 99 USD\n- in: A > @X 1 USD")
    short = f"insufficient_funds: source: {A} has 9 available, 99 needed for @X (minor units)"
    taken = "reference_conflict: reference: in belongs to another request, " + few.ids["in"]
    assert few.outcome.detail == f"2 of 3 refused: item 2 (j): {short}; item 3 (in): {taken}"
    assert (few.outcome.status, few.outcome.reason) == ("APPLIED", None)
    lines = [f"- i{n}: A > @X 99 USD" for n in range(21)]
    for number, more in ((20, ""), (21, "; and 1 more")):
        many = Decided(THINGS + "\n".join(["bulk b", *lines[:number]]))
        detail = many.outcome.detail or ""
        assert detail.count("item ") == 20
        assert detail.startswith(f"{number} of {number} refused: item 1 (i0): insufficient_funds: ")
        assert detail.endswith(f"needed for @X (minor units){more}")
    atomic = Decided(f"{THINGS}bulk b atomic\n- i: A > @X 1 USD\n- j: A > @X 99 USD")
    root, first, second = atomic.book.records
    assert root.detail == f"item 2 (j): {short}"
    assert first.detail == f"the bulk was refused: {root.detail}"
    assert (first.reason, second.reason) == ("bulk_aborted", "insufficient_funds")
    assert second.detail == short.partition(": ")[2]


def test_an_item_that_repeats_another_is_refused() -> None:
    """Nobody can send such a bulk; were one there all the same, it would pay once."""
    wanted = Transaction("r", A, B, "@A", "@B", "USD", 5, 100, allow_overdraft=True)
    entry = LogEntry(7, 0, f"bulk_{NONE}", Bulk("b", (wanted, wanted), atomic=False), b"f", b"")
    book = Book()
    outcome: Any = post_bulk(book, entry, entry.instruction)  # type: ignore[arg-type]
    own = part_id(entry.request_id, 1)
    conflict = f"reference_conflict: reference: r belongs to another request, {own}"
    assert outcome.detail == f"1 of 2 refused: item 2 (r): {conflict}"
    assert book.balances[A].debit == 5


@pytest.mark.parametrize(("commits", "more"), [(0, None), (1, ""), (5, ""), (6, " and 1 more")])
def test_a_refund_of_a_hold_names_its_commits(commits: int, more: str | None) -> None:
    """So many of them that can be refunded instead; with none, the hold can be voided."""
    lines = [f"commit h 1 id=c{n}" for n in range(commits)]
    decided = Decided("\n".join(["h: @World > @A 10 USD hold overdraft", *lines, "refund h"]))
    named = ", ".join(decided.ids[f"c{n}"] for n in range(min(commits, 5)))
    why = f"refund its commits: {named}{more}" if more is not None else None
    why = why or "and nothing of it is committed: void it instead"
    begin = "is INFLIGHT; " if more is not None else "is INFLIGHT "
    assert decided.outcome.detail == f"transaction_id: {decided.ids['h']} {begin}{why}"


IN_PARTS = """
g: @World > @X=4,@Y=left 10 USD hold overdraft
s: @World > @X=4,@Y=left 10 USD overdraft
"""


@pytest.mark.parametrize(
    ("line", "reference", "records"),
    [
        ("commit g", "{g}_commit", ["{g}_commit", "{g.1}_commit_1", "{g.2}_commit_1"]),
        ("void g", "{g}_void", ["{g}_void", "{g.1}_void", "{g.2}_void"]),
        ("void g ref=v", "v", ["v", "v_1", "v_2"]),
        ("refund s", "{s}_refund", ["{s}_refund", "{s.1}_refund", "{s.2}_refund"]),
        ("refund s ref=r", "r", ["r", "r_1", "r_2"]),
        ("commit g.1", "{g.1}_commit_1", ["{g.1}_commit_1"]),
        ("later: @World > @A 1 USD overdraft scheduled=60", "later", ["later_scheduled"]),
    ],
)
def test_what_has_no_reference_of_its_own_has_a_label(
    line: str, reference: str, records: list[str]
) -> None:
    """Made of what it is about. Parts of an action with a reference have numbers behind it."""
    decided = Decided(IN_PARTS + line)
    ids = decided.ids | {f"{s}.{n}": part_id(decided.ids[s], n) for s in "gs" for n in (1, 2)}

    def name(label: str) -> str:
        for own, meant in ids.items():
            label = label.replace(f"{{{own}}}", meant)
        return label

    assert decided.outcome.reference == name(reference)
    assert [record.reference for record in decided.book.records] == [name(each) for each in records]


def expected(decided: Decided, **fields: Any) -> Record:
    """A record that says nothing but this."""
    entry = decided.entry
    nothing: dict[str, Any] = dict.fromkeys(Record._fields) | {
        "transaction_id": entry.request_id,
        "derived": False,
        "currency": "",
        "status": "APPLIED",
        "description": "",
        "allow_overdraft": False,
        "position": entry.position,
        "effective_micros": FIRST_MS * 1000,
        "fingerprint": entry.fingerprint,
    }
    return Record(**nothing | fields)


def test_what_moves_no_money_itself_says_no_more_than_it_does() -> None:
    """A creation, a bulk, and an action that its parts carry out: every field of their records."""
    made = Decided("ledger L meta=a:1")
    own = made.entry.request_id
    assert made.book.records == [
        expected(
            made,
            kind="ledger",
            reference=own,
            derived=True,
            subject_id=own,
            change='{"meta_data":{"a":"1"},"name":"L"}',
        )
    ]
    assert made.book.new_ledgers == [
        (made.entry.instruction, made.entry.fingerprint, made.entry.position)
    ]
    bulk = Decided("bulk b meta=a:1 note=tea\n- i: @World > @X 1 USD overdraft")
    about: dict[str, Any] = {
        "kind": "bulk",
        "reference": "b",
        "description": "tea",
        "meta_data": '{"a":"1"}',
    }
    assert bulk.book.records[0] == expected(bulk, **about, parts=1)
    for kind, line in (("void", "void g"), ("commit", "commit g"), ("refund", "refund s")):
        action = Decided(f"{IN_PARTS}{line} ref=r meta=a:1 note=tea")
        about |= {"kind": kind, "reference": "r", "parts": 2}
        about["parent_id"] = action.ids[line.split()[1]]
        about["status"] = "VOID" if kind == "void" else "APPLIED"
        assert action.book.records[0] == expected(action, **about)


def test_what_is_new_has_the_position_of_its_request() -> None:
    """Balances, by whatever they are made, ledgers and identities: it is when they began."""
    for line, names in (
        ("x: @P > @Q 1 USD overdraft", ["@P", "@Q"]),
        ("x: @P > @Q=1,@R=left 3 USD overdraft", ["@P", "@Q", "@R"]),
        ("balance C USD", [id_of("bln", "C")]),
    ):
        decided = Decided(line)
        found = [(balance.name, position) for balance, position in decided.book.new_balances]
        assert found == [(name, decided.entry.position) for name in names]
    identity = Decided("identity P")
    assert [position for *_, position in identity.book.new_identities] == [identity.entry.position]


@pytest.mark.parametrize(("room", "fits"), [(0, True), (-1, False)])
def test_meta_data_grows_up_to_its_bound(room: int, fits: bool) -> None:
    """What would be longer is refused, and nothing is changed."""
    decided = Decided("ledger L\nchange ledger L meta=b:2")
    wanted: Any = decided.entry.instruction
    kept = '{"a":"' + "x" * (META_DATA_CHARACTERS_MAX - len('{"a":"","b":"2"}') - room) + '"}'
    subject = Subject(kept)
    book = Book()
    book.subjects[wanted.subject_id] = subject
    outcome = post_change(book, decided.entry, wanted)
    assert isinstance(outcome, Rejected) != fits
    if isinstance(outcome, Rejected):
        assert (outcome.reason, subject.meta_data) == ("malformed", kept)
        assert outcome.detail == (
            f"meta_data: with it {wanted.subject_id} would have more than "
            f"{META_DATA_CHARACTERS_MAX} characters; merge less"
        )


@pytest.mark.parametrize(
    ("debit", "credit", "status"),
    [(5, 5, "APPLIED"), (4, 5, "REJECTED"), (5, 4, "REJECTED")],
)
def test_a_refund_may_fill_a_figure_to_the_last_unit(debit: int, credit: int, status: str) -> None:
    """Of who gives it back the debits, of who gets it the credits. debit, credit: what is left."""
    shelf, world = Shelf(), internal_balance_id("@World", "USD")
    parser = Parser()
    paid, refund = entries_of(parser, "in: @World > @A 5 USD overdraft\nrefund in")
    shelf.apply([paid])
    shelf.balances[internal_balance_id("@A", "USD")]["debit"] = FIGURE_MAX - debit
    shelf.balances[world]["credit"] = FIGURE_MAX - credit
    (outcome,) = decide_batch(shelf.book_for([refund]), [], [refund]).decisions
    assert outcome.status == status


def test_what_is_due_and_finds_its_reference_taken_has_an_outcome_of_its_own() -> None:
    """Its record does not use the reference up: it is another request's."""
    parser = Parser()
    table = "s: @World > @A 1 USD overdraft scheduled=60\nat 60\ndue s"
    scheduled, due = entries_of(parser, table)
    shelf = Shelf()
    shelf.apply([scheduled])
    shelf.references["s"] = Recorded(f"txn_{NONE}", "APPLIED", b"g")
    due = due._replace(position=FIRST_POSITION + (60_000 << 20))
    book = shelf.book_for([due])
    (outcome,) = decide_batch(book, [], [due]).decisions
    assert (outcome.status, outcome.reason) == ("REJECTED", "reference_conflict")
    (record,) = book.records
    assert (record.transaction_id, record.reference, record.derived) == (due.request_id, "s", True)
    assert book.closed_schedules == [due.request_id]
