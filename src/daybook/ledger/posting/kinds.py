"""The kinds of instructions: what the ledger and its store must know of each, in one table.

A new kind is a module with its instruction and its posting, and one call of ``add_kind``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from daybook.ledger.book import Book
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.record import Record
from daybook.ledger.rejection import Rejected

Post = Callable[[Book, LogEntry, Any], Decision | Rejected]


class Reads(NamedTuple):
    """What is read into the book before an instruction is decided; ids as requests name them.

    holds: holds, or requests whose legs or transactions are holds. originals: what is to be
    refunded. statuses: transactions of which only the status counts. schedules: what may be
    accepted for later, and not be recorded yet. balances: those whose figures are looked at beside
    the funds of sources. subjects: what a change is about. quarantined: request id and position.
    """

    holds: tuple[str, ...] = ()
    originals: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    balances: tuple[str, ...] = ()
    ledgers: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    quarantined: tuple[tuple[str, int], ...] = ()


NOTHING = Reads()

ANYTHING = "*"
"""Stands for every balance and ledger, where it cannot be known what an entry would change."""


def _reads_nothing(wanted: Any) -> Reads:
    del wanted
    return NOTHING


def _own_reference(wanted: Any) -> tuple[str, ...]:
    return (wanted.reference,) if wanted.reference else ()


def _credits_nothing(book: Book, entry: LogEntry, wanted: Any) -> tuple[str, ...]:
    del book, entry, wanted
    return ()


def _no_records(book: Book, entry: LogEntry, wanted: Any, rejected: Rejected) -> list[Record]:
    del book, entry, wanted, rejected
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class KindOfInstruction:
    """What there is to know of the instructions of one type.

    post: decides an entry by the book. once: one that is recorded already is answered with its
    original, whatever else holds for it; else ``post`` sees to that. reads: what is read
    beforehand. may_credit: balances and things that it would credit or create, were it posted.
    rejection_records: the records of a final rejection that is no conflict, its own first.
    references: those that it uses up. is_creation: it creates what has its request's id, and a
    rejection has no record but its bytes. is_reversal: it debits without a look at funds.
    has_record: the journal has a record under its request's id once it is applied. by_id: without
    a reference, its id alone says whether it is recorded already.
    """

    post: Post
    once: bool = False
    reads: Callable[[Any], Reads] = _reads_nothing
    may_credit: Callable[[Book, LogEntry, Any], tuple[str, ...]] = _credits_nothing
    rejection_records: Callable[[Book, LogEntry, Any, Rejected], list[Record]] = _no_records
    references: Callable[[Any], tuple[str, ...]] = _own_reference
    is_creation: bool = False
    is_reversal: bool = False
    has_record: bool = True
    by_id: bool = False


KINDS: dict[type, KindOfInstruction] = {}
"""Every kind, by the type of its instructions."""


def add_kind(instruction: type, kind: KindOfInstruction) -> None:
    """Make a type of instructions known."""
    assert instruction not in KINDS, instruction
    KINDS[instruction] = kind


def reads_of(entries: Iterable[LogEntry]) -> Reads:
    """All that entries read, each once."""
    found = [
        kind.reads(entry.instruction)
        for entry in entries
        if (kind := KINDS[type(entry.instruction)]).reads is not _reads_nothing
    ]
    return Reads(*(tuple(dict.fromkeys(chain(*names))) for names in zip(*found, strict=True)))


def kind_of(entry: LogEntry) -> KindOfInstruction:
    """The kind of what an entry asks for."""
    return KINDS[type(entry.instruction)]
