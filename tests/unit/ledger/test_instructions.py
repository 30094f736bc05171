"""What instructions leave out, what is read for them, and what they may credit."""

from __future__ import annotations

from typing import Any, get_args, get_origin, get_type_hints

import pytest
from tests.engine.entries import entry_of
from tests.engine.shelf import Shelf
from tests.oracle.scenario import Parser, id_of

from daybook.ledger.balance import internal_balance_id, may_be_internal, named_balance_id
from daybook.ledger.batch import decide_batch
from daybook.ledger.book import Book, Original, Recorded, Schedule
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.ids import is_bulk, part_id, part_ids, public_id
from daybook.ledger.instructions import Instruction, Leg
from daybook.ledger.posting.kinds import KINDS, Reads, kind_of, reads_of
from daybook.ledger.posting.rules import may_credit
from daybook.ledger.preview import BalancePreview, Figures, Preview, RecordPreview
from daybook.ledger.record import Record
from daybook.ledger.rejection import Rejected

UUID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(
    "kind",
    [
        *(*get_args(Instruction), Leg, Record, LogEntry),
        *(Decision, Recorded, Original, Schedule, Rejected, Reads),
    ],
)
def test_what_is_left_out_says_nothing(kind: Any) -> None:
    """A default is None where that may be said, else what is empty, zero or false of its type."""
    types = get_type_hints(kind)
    for name, default in kind._field_defaults.items():
        if (name, default) == ("fields", "{}"):
            continue  # an object without members
        kinds = get_args(types[name])
        nothing = None if type(None) in kinds else (get_origin(types[name]) or types[name])()
        assert (default, type(default)) == (nothing, type(nothing)), name


BEFORE = """
balance A USD
balance B USD
in: @World > A 100 USD overdraft
h: A > B 5 USD hold
g: A > @X=4,@Y=left 10 USD hold
s: @World > B 1 USD overdraft scheduled=60
"""


def entry_in(line: str) -> tuple[Shelf, LogEntry, Parser]:
    """An entry behind others that are posted."""
    parser = Parser()
    steps = parser.steps(f"{BEFORE}\n{line}")
    entries = [
        entry_of(step.request, step.request_id, (1_700_000_000_000 << 20) + number)
        for number, step in enumerate(steps)
        if step.request is not None
    ]
    shelf = Shelf()
    shelf.apply(entries[:6])
    return shelf, entries[6], parser


def named(name: str, parser: Parser) -> str:
    """The id that a name of a table stands for; balances have capitals."""
    kinds = {"L": "ldg", "P": "idt"}
    if name[0] == "@":
        return internal_balance_id(name, "USD")
    return id_of(kinds.get(name, "bln"), name) if name.isupper() else parser.ids.get(name, name)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("x: A > B 1 USD", "B"),
        ("x: A > @Till 1 USD", "@Till"),
        ("x: @World > B 1 USD overdraft", "B @World"),
        ("x: A > @X=50%,B=left 2 USD", "@X B"),
        ("bulk b\n- i: A > B 1 USD\n- j: @World > @Till 1 USD overdraft", "B @Till @World"),
        ("commit h", "A B"),
        ("void g", "A @X @Y"),
        ("deadline h", "A B"),
        ("cancel s", "*"),
        ("commit nothing", "*"),
        ("refund in", "@World A"),
        ("refund nothing", "*"),
        ("ledger L", "L"),
        ("balance C USD", "C"),
        ("identity P", "P"),
    ],
)
def test_what_an_entry_may_credit(line: str, names: str) -> None:
    """All that older rejections could wait for; anything, where it is about what is not known."""
    shelf, entry, parser = entry_in(line)
    expected = {named(name, parser) for name in names.split()}
    book = shelf.book_for([entry])
    assert set(may_credit(book, entry)) == expected


@pytest.mark.parametrize(
    ("line", "reads"),
    [
        ("x: A > B 1 USD", {}),
        ("commit h", {"holds": "h", "schedules": "h"}),
        ("void g", {"holds": "g", "schedules": "g"}),
        ("deadline h", {"holds": "h"}),
        ("refund in", {"originals": "in", "schedules": "in"}),
        ("cancel s", {"statuses": "s", "schedules": "s"}),
        ("ledger L", {"ledgers": "L"}),
        ("identity P", {"identities": "P"}),
        ("balance C USD", {"balances": "C", "ledgers": "general_ledger_id"}),
        ("balance C USD ledger=L owner=P", {"balances": "C", "ledgers": "L", "identities": "P"}),
        ("change balance A owner=P", {"subjects": "A", "identities": "P"}),
        ("change transaction in meta=a:1", {"subjects": "in"}),
    ],
)
def test_what_is_read_for_an_entry(line: str, reads: dict[str, str]) -> None:
    """What it names, each once, and nothing else."""
    _, entry, parser = entry_in(line)
    found = reads_of([entry, entry])
    expected = {kind: (named(name, parser),) for kind, name in reads.items()}
    assert found == Reads(**expected)  # type: ignore[arg-type]


def test_what_a_request_uses_up() -> None:
    """Its reference, if it has one; a bulk those of its items, too."""
    used = {
        line.split("\n")[0]: kind_of(entry).references(entry.instruction)
        for line in ("x: A > B 1 USD", "void h", "void h ref=v", "bulk b\n- i: A > B 1 USD")
        for entry in [entry_in(line)[1]]
    }
    assert used == {"x: A > B 1 USD": ("x",), "void h": (), "void h ref=v": ("v",)} | {
        "bulk b": ("i", "b")
    }


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("void s", "is SCHEDULED, cancel it instead"),
        ("commit in", "is APPLIED, it holds nothing"),
        ("refund h", "void it instead"),
    ],
)
def test_a_rejection_says_what_to_do(line: str, detail: str) -> None:
    """What can be done about it depends on what became of the transaction."""
    shelf, entry, _ = entry_in(line)
    (outcome,) = decide_batch(shelf.book_for([entry]), [], [entry]).decisions
    assert outcome.detail is not None
    assert outcome.detail.endswith(detail)


def test_a_refused_commit_shows_the_sides_of_its_hold() -> None:
    """The record is of the hold's balances, with what was asked for."""
    shelf, entry, _ = entry_in("commit h 99m")
    book = shelf.book_for([entry])
    decide_batch(book, [], [entry])
    (record,) = book.records
    sides = (record.source_id, record.destination_id, record.currency, record.precision)
    assert sides == (id_of("bln", "A"), id_of("bln", "B"), "USD", 1)
    assert (record.precise_amount, record.reason) == (99, "commit_exceeds_hold")


@pytest.mark.parametrize("line", ["ledger L", "balance C USD", "identity P"])
def test_the_uuid_of_a_thing_is_its_own(line: str) -> None:
    """What the journal knows by its UUID can't be something else under another prefix."""
    shelf, entry, parser = entry_in(line)
    taken = f"{entry.request_id[:4]}{parser.ids['in'][-36:]}"
    again = entry._replace(request_id=taken)
    (outcome,) = decide_batch(shelf.book_for([again]), [], [again]).decisions
    kind = line.split()[0]
    assert outcome.reason == "reference_conflict"
    assert (outcome.detail or "").startswith(f"{kind}_id: the UUID of {taken} is taken")


def test_a_cancel_gives_what_it_withdraws_its_outcome() -> None:
    """Anyone who waits for the scheduled transaction is told that it is cancelled, and by what."""
    shelf, entry, parser = entry_in("cancel s")
    book = shelf.book_for([entry])
    decide_batch(book, [], [entry])
    own = parser.ids["s"]
    why = f"cancelled by {entry.request_id}; the money was to go from @World"
    expected = Decision(entry.position, own, own, "s", "REJECTED", "cancelled", why)
    ((schedule, outcome),) = book.cancelled
    assert (schedule.transaction_id, outcome) == (own, expected)


def test_derived_ids_are_pinned() -> None:
    """A replay makes the same ids, also by a later version of this code."""
    assert internal_balance_id("@World", "USD") == "bln_8a9670b2-2609-8219-8297-df86b5fb7472"
    assert part_ids(f"txn_{UUID}", 1, 2) == [
        "txn_01890a5d-ac96-874b-a5ee-e3d17ff5a3a9",
        "txn_01890a5d-ac96-874b-a5ee-e3d17ff5a3aa",
    ]
    assert part_id(f"txn_{UUID}", 2) == part_ids(f"txn_{UUID}", 1, 2)[1]
    assert part_id(f"txn_{UUID}", "scheduled") == "txn_01890a5d-ac96-874b-afc8-84019900588b"


def test_the_form_of_an_id_says_whose_it_is() -> None:
    """Those of internal balances and bulks have version 8, as no UUID that a client makes."""
    internal = internal_balance_id("@World", "USD")
    assert may_be_internal(internal)
    assert named_balance_id("@World", "USD") == internal
    assert named_balance_id(f"bln_{UUID}", "USD") == f"bln_{UUID}"
    assert not may_be_internal(f"bln_{UUID}")
    for variant in "89":
        bulk = f"{UUID[:14]}8{UUID[15:19]}{variant}{UUID[20:]}"
        assert (is_bulk(bulk), public_id(bulk)) == (True, f"bulk_{bulk}")
    part = part_id(f"txn_{UUID}", 1)[4:]
    assert (is_bulk(part), public_id(part)) == (False, f"txn_{part}")
    assert (is_bulk(UUID), public_id(UUID)) == (False, f"txn_{UUID}")


def test_a_preview_travels_as_plain_data() -> None:
    """What a dry run says is the same on the other side."""
    before, after = Figures(1, 2, 3, 4, 5, 6), Figures(6, 5, 4, 3, 2, 1)
    balance = BalancePreview("bln_1", None, "USD", 100, True, before, after)
    record = RecordPreview(
        *("transaction", "r", None, "APPLIED", None, None, "bln_1", "bln_2", "USD"),
        *(100, 5, "0.05", "2023-11-14T22:13:20Z", ""),
    )
    preview = Preview(True, "APPLIED", False, None, None, (balance,), (record,))
    assert Preview.from_dict(preview.as_dict()) == preview


def test_a_book_knows_what_created_a_thing() -> None:
    """The fingerprint of a balance, a ledger or an identity; None for what no request made."""
    shelf, entry, _ = entry_in("ledger L")
    shelf.apply([entry])
    balance_id = next(own for own, kept in shelf.balances.items() if not kept["indicator"])
    book = Book()
    book.ledgers[entry.request_id] = entry.fingerprint
    book.identities["idt_1"] = b"i"
    book.balances[balance_id] = shelf._balance(balance_id)
    assert book.created_by(entry.request_id) == entry.fingerprint
    assert book.created_by("idt_1") == b"i"
    assert book.created_by(balance_id) == shelf.balances[balance_id]["fingerprint"]
    assert book.created_by("general_ledger_id") is None
    assert book.created_by("nothing") is None
    assert [book.has(own) for own in (entry.request_id, "idt_1", balance_id, "nothing")] == [
        *3 * [True],
        False,
    ]


def test_what_is_declared_of_each_kind() -> None:
    """By what it is found again, what it leaves behind: a slip of one word is a second effect."""
    declared = {
        kind.__name__: [
            flag
            for flag in ("once", "by_id", "is_creation", "is_reversal", "has_record")
            if getattr(facts, flag) is True
        ]
        for kind, facts in KINDS.items()
        if kind.__module__.startswith("daybook.")  # tests add some of their own
    }
    action, creation = ["once", "by_id", "has_record"], ["is_creation", "has_record"]
    assert declared == {
        "Transaction": ["has_record"],
        "MultiLeg": ["has_record"],
        "Bulk": ["once", "has_record"],
        "Commit": action,
        "Void": action,
        "Cancel": action,
        "Refund": ["once", "by_id", "is_reversal", "has_record"],
        "Deadline": [],
        "NewLedger": creation,
        "NewBalance": creation,
        "NewIdentity": creation,
        "Change": action,
        "Resolve": [],
    }
