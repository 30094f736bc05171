"""Reading what a batch may look at: balances, holds, ledgers and references, into a book."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from daybook.ledger.balance import GENERAL_LEDGER_ID, Balance
from daybook.ledger.book import Book, Original, Recorded, Schedule, Subject
from daybook.ledger.entry import POSITION_COUNTER_BITS, Entry
from daybook.ledger.hold import Hold
from daybook.ledger.ids import ID_LENGTH, part_ids, public_id
from daybook.ledger.instructions import (
    Bulk,
    Cancel,
    Change,
    Commit,
    Deadline,
    Kind,
    NewBalance,
    NewIdentity,
    NewLedger,
    Refund,
    Split,
    Transaction,
    Void,
    movements,
)
from daybook.ledger.money import FIGURE_MAX
from daybook.ledger.record import Status
from daybook.requests import decode
from daybook.requests.bounds import ANY_ID
from daybook.store.arrays import array_text
from daybook.store.batch.quarantine import load_set_aside

_BALANCES = """
SELECT balance_id::text, ledger_id, currency, indicator, precision::text,
       credit_balance::text, debit_balance::text,
       inflight_credit_balance::text, inflight_debit_balance::text, fingerprint
FROM balances WHERE balance_id = ANY(%s::uuid[])
"""
_HOLDS = """
SELECT transaction_id::text, source::text, destination::text, currency, precision::text,
    amount::text, committed::text, voided::text, commits, split::text, bulk::text,
    trunc(extract(epoch FROM inflight_expiry_date) * 1000000)::bigint,
    trunc(extract(epoch FROM inflight_commit_date) * 1000000)::bigint
FROM holds {where}
"""
_HOLDS_BY_ID = _HOLDS.format(where="WHERE transaction_id = ANY(%s::uuid[])")
_HOLDS_OF_GROUPS = _HOLDS.format(
    where="JOIN (SELECT transaction_id AS made, sequence FROM transactions) rows "
    "ON made = transaction_id WHERE split = ANY(%s::uuid[]) OR bulk = ANY(%s::uuid[]) "
    "ORDER BY sequence"
)
"""In the order in which they were made, so that actions on them are recorded in it."""
_TAKEN = """
SELECT taken.reference, taken.owner::text,
    own.status, own.fingerprint, own.reason, own.detail, own.precise_amount::text,
    own.precision::text, own.currency,
    later.fingerprint AS scheduled,
    rejected.request_id, sha256(rejected.body) AS rejected, rejected.reason, rejected.detail,
    rejected.settled IS NOT DISTINCT FROM 'retried'
FROM taken_references taken
LEFT JOIN transactions own ON own.transaction_id = taken.owner AND own.reference = taken.reference
LEFT JOIN schedules later ON later.transaction_id = taken.owner
LEFT JOIN refusals rejected ON rejected.reference = taken.reference AND rejected.uses_reference
WHERE taken.reference = ANY(%s::text[]) ORDER BY rejected.position
"""
"""In one statement: whoever has taken a reference may pass from one table to another meanwhile."""
_IS_ANYTHING_SCHEDULED = "SELECT EXISTS (SELECT FROM schedules)"
_REFUSED_IDS = "SELECT request_id FROM refusals WHERE request_id = ANY(%s::text[])"
_SET_ASIDE_IDS = """
SELECT right(request_id, 36), request_id, reason, detail, sha256(body) FROM refusals
WHERE request_id = ANY(%s::text[]) AND reason = 'quarantined' AND reference IS NULL
    AND settled IS DISTINCT FROM 'retried'
"""
_IDS = """
SELECT transaction_id::text, status, fingerprint, reason, detail
FROM transactions WHERE transaction_id = ANY(%s::uuid[])
"""
_ORIGINALS = """
SELECT transaction_id::text, kind, status, 'bln_' || source, 'bln_' || destination, currency,
    precision::text, precise_amount::text, meta_data::text, parts
FROM transactions WHERE transaction_id = ANY(%s::uuid[])
"""
_CHILDREN = """
SELECT parent_transaction::text, kind, transaction_id::text FROM transactions
WHERE parent_transaction = ANY(%s::uuid[]) AND kind IN ('refund', 'commit')
    AND status = 'APPLIED' AND parts IS NULL
ORDER BY position, sequence
"""
_SCHEDULES = """
SELECT transaction_id::text, position, fingerprint, flags, body FROM schedules
WHERE transaction_id = ANY(%s::uuid[])
"""
_LEDGERS = "SELECT ledger_id, fingerprint FROM ledgers WHERE ledger_id = ANY(%s::text[])"
_IDENTITIES = """
SELECT identity_id::text, fingerprint FROM identities WHERE identity_id = ANY(%s::uuid[])
"""
_LEDGER_SUBJECTS = (
    "SELECT ledger_id, meta_data::text FROM ledgers WHERE ledger_id = ANY(%s::text[])"
)
_TRANSACTION_SUBJECTS = """
SELECT known.transaction_id::text, merged.meta_data::text FROM (
    SELECT transaction_id FROM transactions WHERE transaction_id = ANY(%(ids)s::uuid[])
        AND kind NOT IN ('ledger', 'balance', 'identity')
    UNION SELECT transaction_id FROM schedules WHERE transaction_id = ANY(%(ids)s::uuid[])
) known LEFT JOIN transaction_metadata merged USING (transaction_id)
"""
_SUBJECTS = {
    "bln_": "SELECT balance_id::text, meta_data::text FROM balances "
    "WHERE balance_id = ANY(%(ids)s::uuid[])",
    "idt_": "SELECT identity_id::text, meta_data::text FROM identities "
    "WHERE identity_id = ANY(%(ids)s::uuid[])",
    "txn_": _TRANSACTION_SUBJECTS,
    "bulk_": _TRANSACTION_SUBJECTS,
}
"""What is changed, with its meta_data, by the prefix of its id; ledgers have ids of two forms."""

PARTS_DEPTH = 3
"""A bulk has items, which may have legs."""

KNOWN_BALANCES_MAX = 200_000
"""Balances whose unchanging facts a worker remembers."""

LARGE_AMOUNT = FIGURE_MAX // 10**40
"""From here on figures are read with the balance, to see whether they become too long. What is
smaller is seen when it is written (``write_balances``), and then everything is read."""


class KnownBalances:
    """What never changes about balances that were read before: ledger, currency, precision.

    Only debits that check funds need figures; for the rest these facts suffice, and a worker need
    not read a balance again. A database that was restored may have lost one of them: then the
    write finds it missing, and everything is forgotten.
    """

    def __init__(self) -> None:
        self._facts: dict[str, tuple[str, str, str | None, int]] = {}

    def remember(self, balance: Balance) -> None:
        """Remember a balance whose precision is settled and whose figures are far from overflow."""
        longest = max(
            balance.credit + balance.inflight_credit, balance.debit + balance.inflight_debit
        )
        if balance.precision is None or longest >= LARGE_AMOUNT:
            self._facts.pop(balance.balance_id, None)
            return
        if len(self._facts) >= KNOWN_BALANCES_MAX:
            self._facts.clear()
        self._facts[balance.balance_id] = (
            balance.ledger_id,
            balance.currency,
            balance.indicator,
            balance.precision,
        )

    def recall(self, balance_id: str) -> Balance | None:
        """The balance without its figures, or None."""
        facts = self._facts.get(balance_id)
        return None if facts is None else Balance(balance_id, *facts)

    def forget(self) -> None:
        """Forget everything."""
        self._facts.clear()


def load_book(
    cursor: psycopg.Cursor[Any],
    entries: Sequence[Entry],
    known: KnownBalances,
    *,
    check_taken: bool,
    refused: Sequence[tuple[str | None, str]] = (),
) -> Book:
    """The book for ``entries``, as the database stands at this moment.

    check_taken: look up which references and transaction ids are taken. Nearly always none is, so
    a batch may assume that, and is decided again when their unique indexes disagree.
    refused: reference, if any, and id of entries that are no requests: they may use up a reference
    too, and whose they are must be known.
    """
    book = Book()
    references = [reference for entry in entries for reference in _references_of(entry)]
    references += [reference for reference, _ in refused if reference]
    ids = _ids_to_check(entries, everything=check_taken)
    ids += [request_id for _, request_id in refused if ANY_ID.match(request_id)]
    _load_references(cursor, book, references, entries, check_taken=check_taken)
    _load_taken_ids(cursor, book, ids)
    load_set_aside(cursor, book, entries)
    rare = [entry for entry in entries if not isinstance(entry.instruction, Transaction)]
    if rare:
        _load_holds(cursor, book, _named_by(rare, Commit | Void | Deadline))
        _load_originals(cursor, book, _named_by(rare, Refund))
        _load_statuses(cursor, book, [_bare(name) for name in _named_by(rare, Cancel)])
        _load_things(cursor, book, rare)
    _load_balances(cursor, book, entries, known)
    return book


def _references_of(entry: Entry) -> Iterator[str]:
    """The references that an entry would use up."""
    wanted = entry.instruction
    if isinstance(wanted, Bulk):
        yield from (item.reference for item in wanted.items)
    reference = getattr(wanted, "reference", None)
    if reference:
        yield reference


def _named_by(entries: Sequence[Entry], kinds: Any) -> set[str]:
    """Ids of the transactions that these kinds of entries name."""
    return {
        entry.instruction.transaction_id
        for entry in entries
        if isinstance(entry.instruction, kinds)
    }


def _load_balances(
    cursor: psycopg.Cursor[Any], book: Book, entries: Sequence[Entry], known: KnownBalances
) -> None:
    wanted, named = _figures_wanted(entries), _named_balances(entries, book)
    for balance_id in named - wanted:
        balance = known.recall(balance_id)
        if balance is None:
            wanted.add(balance_id)
        else:
            book.balances[balance_id] = balance
    if not wanted:
        return
    cursor.execute(_BALANCES, (array_text(balance_id[4:] for balance_id in wanted),))
    for row in cursor:
        balance_id, ledger_id, currency, indicator, precision, *figures, fingerprint = row
        credit, debit, inflight_credit, inflight_debit = map(int, figures)
        balance = Balance(
            f"bln_{balance_id}",
            ledger_id,
            currency,
            indicator,
            None if precision is None else int(precision),
            credit,
            debit,
            inflight_credit,
            inflight_debit,
            fingerprint=fingerprint,
        )
        book.balances[balance.balance_id] = balance
        known.remember(balance)


def _figures_wanted(entries: Sequence[Entry]) -> set[str]:
    """Balances whose figures a decision looks at."""
    wanted: set[str] = set()
    for entry in entries:
        instruction = entry.instruction
        if isinstance(instruction, NewBalance):
            wanted.add(instruction.balance_id)
        for whole, leg in movements(instruction):
            if whole.checks_funds:
                wanted.add(leg.source_id)
            if whole.precise_amount >= LARGE_AMOUNT:
                wanted.add(leg.source_id)
                wanted.add(leg.destination_id)
    return wanted


def _named_balances(entries: Sequence[Entry], book: Book) -> set[str]:
    named: set[str] = set()
    for entry in entries:
        for _, leg in movements(entry.instruction):
            named.add(leg.source_id)
            named.add(leg.destination_id)
    for hold in book.holds.values():
        named.add(hold.source_id)
        named.add(hold.destination_id)
    for original in book.originals.values():
        if original.source_id and original.destination_id:
            named.add(original.source_id)
            named.add(original.destination_id)
    return named


def _load_references(
    cursor: psycopg.Cursor[Any],
    book: Book,
    references: list[str],
    entries: Sequence[Entry],
    *,
    check_taken: bool,
) -> None:
    if check_taken:
        _load_taken(cursor, book, references)
    cursor.execute(_IS_ANYTHING_SCHEDULED)
    (scheduled,) = cursor.fetchone() or (True,)
    if scheduled:
        named = _named_by(entries, Commit | Void | Refund | Cancel)
        named |= {entry.request_id for entry in entries if entry.request_id.startswith("txn_")}
        _load_schedules(cursor, book, [_bare(name) for name in named])


def _load_taken(cursor: psycopg.Cursor[Any], book: Book, references: list[str]) -> None:
    """Who has taken these references, and how that is recorded.

    One whose owner is not found (somebody has tampered with it) waits for it all the same.
    """
    cursor.execute(_TAKEN, (references,))
    for reference, bare_id, status, fingerprint, reason, detail, *more in cursor:
        amount, precision, currency, scheduled, request_id, rejected, why, said, is_retried = more
        owner = "" if bare_id is None else public_id(bare_id)
        if status is not None:
            found = Recorded(owner, status, fingerprint, reason, detail)
            book.references[reference] = found._replace(
                precise_amount=None if amount is None else int(amount),
                precision=None if precision is None else int(precision),
                currency=currency or None,
            )
            continue
        book.taken[reference] = owner
        if scheduled is not None:
            found = Recorded(owner, Status.SCHEDULED, scheduled)
        elif request_id is not None:
            found = Recorded(request_id, Status.REJECTED, rejected, why, said, is_retried)
        else:
            found = Recorded(owner, Status.REJECTED, b"", is_retried=True)
        book.references[reference] = found


def _load_schedules(cursor: psycopg.Cursor[Any], book: Book, bare_ids: list[str]) -> None:
    cursor.execute(_SCHEDULES, (bare_ids,))
    for bare_id, position, fingerprint, flags, body in cursor:
        transaction_id = f"txn_{bare_id}"
        decoded = decode(bytes(body), transaction_id, position >> POSITION_COUNTER_BITS)
        instruction = getattr(decoded, "instruction", None)
        assert isinstance(instruction, Transaction | Split), f"{transaction_id} was accepted"
        book.schedules[transaction_id] = Schedule(
            transaction_id, instruction, position, fingerprint, flags
        )
        recorded = Recorded(transaction_id, Status.SCHEDULED, fingerprint)
        book.references.setdefault(instruction.reference, recorded)
        book.taken[instruction.reference] = transaction_id
        book.taken_ids.setdefault(bare_id, recorded)


def _ids_to_check(entries: Sequence[Entry], *, everything: bool) -> list[str]:
    """Actions and changes without a reference are known by their id alone."""
    return [
        entry.request_id
        for entry in entries
        if entry.request_id != GENERAL_LEDGER_ID
        and (
            everything
            or (
                isinstance(entry.instruction, Commit | Void | Refund | Cancel | Change)
                and not entry.instruction.reference
            )
        )
    ]


def _load_taken_ids(cursor: psycopg.Cursor[Any], book: Book, ids: list[str]) -> None:
    if not ids:
        return
    cursor.execute(_IDS, ([_bare(request_id) for request_id in ids],))
    for bare_id, status, fingerprint, reason, detail in cursor:
        book.taken_ids[bare_id] = Recorded(public_id(bare_id), status, fingerprint, reason, detail)
    cursor.execute(_SET_ASIDE_IDS, ([name for name in ids if name.startswith("txn_")],))
    for bare_id, request_id, reason, detail, fingerprint in cursor:
        book.taken_ids[bare_id] = Recorded(request_id, Status.REJECTED, fingerprint, reason, detail)


def _load_holds(cursor: psycopg.Cursor[Any], book: Book, named: set[str]) -> None:
    if not named:
        return
    wanted = [_bare(transaction_id) for transaction_id in named]
    cursor.execute(_HOLDS_BY_ID, (wanted,))
    _add_holds(cursor, book)
    others = [_bare(name) for name in named if name not in book.holds]
    if others:
        book.groups.clear()  # listed anew, in order: some of their holds may be named themselves
        cursor.execute(_HOLDS_OF_GROUPS, (others, others))
        made = _add_holds(cursor, book)
        for name in named & book.groups.keys():  # one that the batch names itself was added first
            book.groups[name].sort(key=made.__getitem__)
        _load_statuses(cursor, book, others)


def _add_holds(cursor: psycopg.Cursor[Any], book: Book) -> dict[str, int]:
    """Add the holds that were read; answers the place of each among them."""
    places: dict[str, int] = {}
    for row in cursor:
        bare_id, source, destination, currency, precision, amount, committed, voided, *more = row
        commits, split, bulk, expires_micros, commits_micros = more
        hold = Hold(
            f"txn_{bare_id}",
            f"bln_{source}",
            f"bln_{destination}",
            currency,
            int(precision),
            int(amount),
            int(committed),
            int(voided),
            commits,
            None if split is None else f"txn_{split}",
            None if bulk is None else f"bulk_{bulk}",
            expires_micros,
            commits_micros,
        )
        places[hold.transaction_id] = len(places)
        book.add_hold(book.holds.get(hold.transaction_id, hold))
    return places


def _load_statuses(cursor: psycopg.Cursor[Any], book: Book, bare_ids: list[str]) -> None:
    if not bare_ids:
        return
    cursor.execute(_IDS, (bare_ids,))
    for bare_id, status, *_ in cursor:
        book.transactions[public_id(bare_id)] = status
    cursor.execute(_REFUSED_IDS, ([public_id(bare_id) for bare_id in bare_ids],))
    for (transaction_id,) in cursor:
        book.transactions.setdefault(transaction_id, Status.REJECTED)


def _load_originals(cursor: psycopg.Cursor[Any], book: Book, named: set[str]) -> None:
    """The transactions that are to be refunded: a bulk's items may have legs of their own."""
    wanted = [_bare(name) for name in named]
    if not wanted:
        return
    _load_statuses(cursor, book, wanted)
    for _ in range(PARTS_DEPTH):
        cursor.execute(_ORIGINALS, (wanted,))
        found = [_original(row) for row in cursor]
        book.originals |= {original.transaction_id: original for original in found}
        wanted = [
            _bare(part)
            for original in found
            for part in part_ids(original.transaction_id, 1, original.parts or 0)
        ]
        if not wanted:
            break
    cursor.execute(_CHILDREN, ([_bare(name) for name in book.originals],))
    for parent, kind, bare_id in cursor:
        if kind == Kind.REFUND:
            book.refunded.add(public_id(parent))
        else:
            book.commits.setdefault(public_id(parent), []).append(public_id(bare_id))


def _original(row: tuple[Any, ...]) -> Original:
    bare_id, kind, status, source, destination, currency, precision, amount, meta_data, parts = row
    return Original(
        public_id(bare_id),
        kind,
        status,
        source,
        destination,
        currency,
        None if precision is None else int(precision),
        None if amount is None else int(amount),
        meta_data,
        parts,
    )


def _load_things(cursor: psycopg.Cursor[Any], book: Book, entries: Sequence[Entry]) -> None:
    """Ledgers, identities, and whatever changes are about."""
    ledger_ids: set[str] = set()
    identity_ids: set[str] = set()
    subject_ids: set[str] = set()
    for entry in entries:
        wanted = entry.instruction
        if isinstance(wanted, NewLedger | NewBalance):
            ledger_ids.add(wanted.ledger_id)
        if isinstance(wanted, NewBalance | NewIdentity) and wanted.identity_id is not None:
            identity_ids.add(wanted.identity_id)
        if isinstance(wanted, Change):
            subject_ids.add(wanted.subject_id)
            owner = json.loads(wanted.fields).get("identity_id")
            identity_ids |= {owner} if owner else set()
    if ledger_ids:
        cursor.execute(_LEDGERS, (list(ledger_ids),))
        book.ledgers |= dict(cursor.fetchall())
    if identity_ids:
        cursor.execute(_IDENTITIES, ([_bare(name) for name in identity_ids],))
        for bare_id, fingerprint in cursor:
            book.identities[f"idt_{bare_id}"] = fingerprint
    if subject_ids:
        _load_subjects(cursor, book, list(subject_ids))


def _load_subjects(cursor: psycopg.Cursor[Any], book: Book, subject_ids: list[str]) -> None:
    cursor.execute(_LEDGER_SUBJECTS, (subject_ids,))
    for subject_id, meta_data in cursor:
        book.subjects[subject_id] = Subject(meta_data)
    for prefix, query in _SUBJECTS.items():
        bare_ids = [_bare(name) for name in subject_ids if name.startswith(prefix)]
        if bare_ids:
            cursor.execute(query, {"ids": bare_ids})
            for bare_id, meta_data in cursor:
                book.subjects[f"{prefix}{bare_id}"] = Subject(meta_data)


def _bare(public: str) -> str:
    """The UUID of an id: what follows its prefix."""
    return public[-ID_LENGTH:]
