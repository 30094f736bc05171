"""What is kept of requests that the journal cannot show, and whose references they take."""

from __future__ import annotations

from tests.engine.entries import last_entry
from tests.oracle.scenario import FIRST_POSITION

from daybook.apply.batch import Undecodable
from daybook.apply.rejections import rejections_of
from daybook.ledger.batch import BatchDecision, Quarantined
from daybook.ledger.book import Book, Recorded
from daybook.ledger.rejection import Reason, Rejected
from daybook.queue.entries import RawEntry
from daybook.store.batch.rows import RejectedRequest

MALFORMED = Rejected(Reason.MALFORMED, "it is no request")


PAYS = last_entry("in: @World > @Till 10.00 USD@100 overdraft")
VOIDS = last_entry("held: @World > @Till 1.00 USD@100 hold overdraft\nvoid held")
NAMES = last_entry("ledger L")


def strange(number: int, body: bytes = b'{"reference":"r"}') -> Undecodable:
    raw = RawEntry(number, "txn_\x00", "t:r", "", body)
    return Undecodable(raw, MALFORMED, "the trace")


def kept(
    *undecodable: Undecodable, book: Book | None = None, decision: BatchDecision | None = None
) -> list[RejectedRequest]:
    return rejections_of(book or Book(), decision or BatchDecision(), undecodable)


def test_of_what_is_no_request_all_is_kept() -> None:
    """Its bytes as they are; its id as it can be stored."""
    (found,) = kept(strange(3))
    body, trace = b'{"reference":"r"}', "the trace"
    assert found == RejectedRequest(
        3, "txn_\\0", "r", True, Reason.MALFORMED, "it is no request", body, trace
    )


def test_the_first_that_names_a_reference_takes_it() -> None:
    """Unless the batch, or another one before, has used it; what names none takes none."""
    nameless = Undecodable(strange(5, b"{}").raw, MALFORMED)
    found = kept(strange(3), strange(4), nameless)
    assert [(each.reference, each.uses_reference) for each in found] == [
        *(("r", True), ("r", False), (None, False)),
    ]
    assert [each.traceback for each in found] == ["the trace", "the trace", None]
    book = Book()
    book.references["r"] = Recorded("txn_1", "APPLIED", b"f" * 32)
    assert [each.uses_reference for each in kept(strange(3), book=book)] == [False]


def test_what_raised_keeps_its_reference_for_itself() -> None:
    """With the trace of our own fault; a void has no reference."""
    raised = [Quarantined(each, "KeyError", "the trace") for each in (PAYS, VOIDS)]
    first, second = kept(decision=BatchDecision(quarantined=raised))
    assert first == RejectedRequest(
        *(FIRST_POSITION, PAYS.request_id, "in", True, Reason.QUARANTINED),
        *("deciding it raised KeyError", PAYS.body, "the trace"),
    )
    assert (second.reference, second.uses_reference) == (None, False)


def test_a_rejection_that_the_journal_shows_is_kept_nowhere_else() -> None:
    """What moves no money of two balances is: a creation, and what names a balance that isn't."""
    short = Rejected(Reason.INSUFFICIENT_FUNDS, "so much")
    unknown = Rejected(Reason.UNKNOWN_BALANCE, "there is none")
    rejected = [(PAYS, short), (PAYS, unknown), (NAMES, short)]
    found = kept(decision=BatchDecision(rejected=rejected))
    assert found == [
        RejectedRequest(
            *(FIRST_POSITION, PAYS.request_id, "in", False, unknown.reason, unknown.detail),
            PAYS.body,
        ),
        RejectedRequest(
            *(FIRST_POSITION, NAMES.request_id, None, False, short.reason, short.detail),
            NAMES.body,
        ),
    ]
