"""The write path: what a batch decided, into Postgres, as one unit of work.

Journal rows go by ``COPY``; balances and holds by one set-based statement each. Rows of balances
are locked last, in one global order, so that partitions overlap in everything but that step and
nothing deadlocks (design, section 3).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from daybook.ledger.balance import Balance
from daybook.ledger.book import Book
from daybook.ledger.chain import link
from daybook.ledger.entry import Entry
from daybook.ledger.hold import Hold
from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.ledger.ids import ID_LENGTH
from daybook.ledger.instructions import NewIdentity, Split, Transaction
from daybook.ledger.money import FIGURE_MAX
from daybook.ledger.record import Record
from daybook.store.arrays import array_text, copy_text

_COPY = """
COPY transactions (partition, sequence, transaction_id, kind, reference, derived,
    parent_transaction, source, destination, currency, precision, precise_amount, status, reason,
    detail, description, allow_overdraft, overdraft_limit, position, effective_date, meta_data,
    fingerprint, hash, parts, part, inflight_expiry_date, inflight_commit_date, scheduled_for,
    subject, change) FROM STDIN
"""
_INSERT_LEDGERS = """
INSERT INTO ledgers (ledger_id, name, meta_data, fingerprint, position) VALUES (%s, %s, %s, %s, %s)
"""
_INSERT_BALANCES = """
INSERT INTO balances (balance_id, ledger_id, currency, indicator, meta_data, identity_id,
    fingerprint, position)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::json[], %s::uuid[],
    %s::bytea[], %s::bigint[])
ON CONFLICT DO NOTHING
"""
_INSERT_IDENTITIES = f"""
INSERT INTO identities (identity_id, {", ".join(IDENTITY_FIELDS)}, meta_data, fingerprint,
    position) VALUES ({", ".join(["%s"] * (len(IDENTITY_FIELDS) + 4))})
"""  # noqa: S608 - names of columns that stand in this program
_LOCK_BALANCES = """
SELECT FROM balances WHERE balance_id = ANY(%s::uuid[])
ORDER BY indicator IS NOT NULL, balance_id FOR NO KEY UPDATE
"""
_CHANGE = {
    "ldg": "UPDATE ledgers SET {} WHERE ledger_id = %s",
    "bln": "UPDATE balances SET {} WHERE balance_id = %s",
    "idt": "UPDATE identities SET {} WHERE identity_id = %s",
}
_CHANGE["gen"] = _CHANGE["ldg"]
_MERGE_ONTO_TRANSACTION = """
INSERT INTO transaction_metadata (transaction_id, meta_data) VALUES (%s, %s)
ON CONFLICT (transaction_id) DO UPDATE SET meta_data = excluded.meta_data
"""
_INSERT_SCHEDULE = """
INSERT INTO schedules (transaction_id, reference, scheduled_for, position, flags, fingerprint,
    body) VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_CLOSE_SCHEDULES = "DELETE FROM schedules WHERE transaction_id = ANY(%s::uuid[])"
_UPDATE_BALANCES = f"""
UPDATE balances b SET
    credit_balance = b.credit_balance + d.credit,
    debit_balance = b.debit_balance + d.debit,
    version = b.version + d.touches,
    precision = coalesce(b.precision, d.precision)
FROM unnest(%s::uuid[], %s::numeric[], %s::bigint[], %s::numeric[], %s::numeric[])
    AS d (balance_id, precision, touches, credit, debit)
WHERE b.balance_id = d.balance_id AND (b.precision IS NULL OR b.precision = d.precision)
    AND b.credit_balance + b.inflight_credit_balance + d.credit <= {FIGURE_MAX}
    AND b.debit_balance + b.inflight_debit_balance + d.debit <= {FIGURE_MAX}
"""  # noqa: S608 - a number that stands in this program
_UPDATE_BALANCES_AND_INFLIGHT = f"""
UPDATE balances b SET
    credit_balance = b.credit_balance + d.credit,
    debit_balance = b.debit_balance + d.debit,
    inflight_credit_balance = b.inflight_credit_balance + d.inflight_credit,
    inflight_debit_balance = b.inflight_debit_balance + d.inflight_debit,
    version = b.version + d.touches,
    precision = coalesce(b.precision, d.precision)
FROM unnest(%s::uuid[], %s::numeric[], %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[],
    %s::numeric[])
    AS d (balance_id, precision, touches, credit, debit, inflight_credit, inflight_debit)
WHERE b.balance_id = d.balance_id AND (b.precision IS NULL OR b.precision = d.precision)
    AND b.credit_balance + b.inflight_credit_balance + d.credit + d.inflight_credit <= {FIGURE_MAX}
    AND b.debit_balance + b.inflight_debit_balance + d.debit + d.inflight_debit <= {FIGURE_MAX}
"""  # noqa: S608 - a number that stands in this program
_INSERT_HOLDS = """
INSERT INTO holds (transaction_id, source, destination, currency, precision, amount, committed,
    voided, commits, split, bulk, inflight_expiry_date, inflight_commit_date)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::numeric[], %s::numeric[],
    %s::numeric[], %s::numeric[], %s::int[], %s::uuid[], %s::uuid[], %s::timestamptz[],
    %s::timestamptz[])
"""
_UPDATE_HOLDS = """
UPDATE holds h SET committed = d.committed, voided = d.voided, commits = d.commits
FROM unnest(%s::uuid[], %s::numeric[], %s::numeric[], %s::int[])
    AS d (transaction_id, committed, voided, commits)
WHERE h.transaction_id = d.transaction_id
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


COPY_LINES = 512
"""So many rows are sent at a time: Postgres writes them while the next ones are chained."""


class DecideAgain(Exception):  # noqa: N818 - an order to the caller, not an error
    """What a decision took for granted changed meanwhile: roll back and decide the batch again."""


def write_records(
    cursor: psycopg.Cursor[Any],
    partition: int,
    sequence: int,
    head: bytes,
    records: Sequence[Record],
) -> tuple[int, bytes]:
    """Append ``records`` to the partition's journal, after ``sequence`` with the hash ``head``.

    Returns the new sequence and head.
    """
    if not records:
        return sequence, head
    dates = _Dates()
    with cursor.copy(_COPY) as copy:
        for start in range(0, len(records), COPY_LINES):
            lines = []
            for record in records[start : start + COPY_LINES]:
                sequence += 1
                head = link(head, partition, sequence, record)
                lines.append(_line(partition, sequence, record, head, dates))
            copy.write("".join(lines).encode())
    return sequence, head


def write_creations(cursor: psycopg.Cursor[Any], book: Book) -> None:
    """Insert the ledgers, identities and balances that the batch creates.

    An internal balance may be created by two partitions at once: it has the same id in both, the
    second insert waits for the first, does nothing, and the batch is decided again with what is
    there. The order by id keeps such inserts from deadlocking. Raises DecideAgain.
    """
    if book.new_ledgers:
        cursor.executemany(
            _INSERT_LEDGERS,
            [
                (ledger.ledger_id, ledger.name, ledger.meta_data, fingerprint, position)
                for ledger, fingerprint, position in book.new_ledgers
            ],
        )
    if book.new_identities:
        cursor.executemany(_INSERT_IDENTITIES, [_identity(*item) for item in book.new_identities])
    if book.new_balances:
        made = sorted(book.new_balances, key=lambda item: item[0].balance_id)
        cursor.execute(
            _INSERT_BALANCES,
            (
                [balance.balance_id[4:] for balance, _ in made],
                [balance.ledger_id for balance, _ in made],
                [balance.currency for balance, _ in made],
                [balance.indicator for balance, _ in made],
                [balance.meta_data for balance, _ in made],
                [balance.identity_id and balance.identity_id[4:] for balance, _ in made],
                [balance.fingerprint for balance, _ in made],
                [position for _, position in made],
            ),
        )
        if cursor.rowcount != len(made):
            raise DecideAgain("an internal balance was created meanwhile")


def _identity(new: NewIdentity, fingerprint: bytes, position: int) -> tuple[Any, ...]:
    fields = json.loads(new.fields)
    texts = [fields.get(name) for name in IDENTITY_FIELDS]
    return (new.identity_id[4:], *texts, new.meta_data, fingerprint, position)


def write_changes(cursor: psycopg.Cursor[Any], book: Book) -> None:
    """Set the fields that the batch changes, and what it has merged.

    Rows of balances are locked first, in the global order and together with those whose figures
    change (see ``write_balances``).
    """
    changed = {
        subject_id: subject
        for subject_id, subject in book.subjects.items()
        if subject.fields or subject.is_merged
    }
    if any(subject_id.startswith("bln_") for subject_id in changed):
        named = {subject_id for subject_id in changed if subject_id.startswith("bln_")}
        named |= {balance.balance_id for balance in book.touched_balances()}
        cursor.execute(_LOCK_BALANCES, (array_text(balance_id[4:] for balance_id in named),))
    for subject_id, subject in sorted(changed.items()):
        if subject_id[:3] not in _CHANGE:
            bare_id = subject_id[-ID_LENGTH:]
            cursor.execute(_MERGE_ONTO_TRANSACTION, (bare_id, subject.meta_data))
            continue
        values: dict[str, str | None] = {
            name: value.removeprefix("idt_") if name == "identity_id" else value
            for name, value in subject.fields.items()
        }
        if subject.is_merged:
            values["meta_data"] = subject.meta_data
        is_ledger = _CHANGE[subject_id[:3]] is _CHANGE["ldg"]
        columns = sql.SQL(", ").join(
            sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values
        )
        cursor.execute(
            sql.SQL(_CHANGE[subject_id[:3]]).format(columns),
            (*values.values(), subject_id if is_ledger else subject_id[4:]),
        )


def write_schedules(cursor: psycopg.Cursor[Any], book: Book, flags: Mapping[int, str]) -> None:
    """Keep what was accepted for later, and drop what has come to be or was cancelled.

    flags: of entries that have some, by position.
    """
    if book.new_schedules:
        cursor.executemany(
            _INSERT_SCHEDULE, [_schedule(entry, flags) for entry in book.new_schedules]
        )
    if book.closed_schedules:
        closed = [transaction_id[4:] for transaction_id in book.closed_schedules]
        cursor.execute(_CLOSE_SCHEDULES, (closed,))


def _schedule(entry: Entry, flags: Mapping[int, str]) -> tuple[Any, ...]:
    wanted = entry.instruction
    assert isinstance(wanted, Transaction | Split)
    return (
        entry.request_id[4:],
        wanted.reference,
        _date(wanted.whole.scheduled_micros),
        entry.position,
        flags.get(entry.position, ""),
        entry.fingerprint,
        entry.body,
    )


def _date(micros: int | None) -> str | None:
    """A moment as Postgres reads it; microseconds since the epoch."""
    return None if micros is None else _Dates().text(micros)


def write_holds(cursor: psycopg.Cursor[Any], holds: Sequence[Hold]) -> None:
    """Insert new holds and bring changed ones up to date."""
    new = [hold for hold in holds if hold.is_new]
    if new:
        cursor.execute(
            _INSERT_HOLDS,
            (
                array_text(hold.transaction_id[4:] for hold in new),
                array_text(hold.source_id[4:] for hold in new),
                array_text(hold.destination_id[4:] for hold in new),
                [hold.currency for hold in new],
                array_text(hold.precision for hold in new),
                array_text(hold.amount for hold in new),
                array_text(hold.committed for hold in new),
                array_text(hold.voided for hold in new),
                array_text(hold.commits for hold in new),
                [hold.split_id and hold.split_id[-ID_LENGTH:] for hold in new],
                [hold.bulk_id and hold.bulk_id[-ID_LENGTH:] for hold in new],
                [_date(hold.expires_micros) for hold in new],
                [_date(hold.commits_micros) for hold in new],
            ),
        )
    changed = [hold for hold in holds if not hold.is_new]
    if changed:
        cursor.execute(
            _UPDATE_HOLDS,
            (
                array_text(hold.transaction_id[4:] for hold in changed),
                array_text(hold.committed for hold in changed),
                array_text(hold.voided for hold in changed),
                array_text(hold.commits for hold in changed),
            ),
        )


def write_balances(cursor: psycopg.Cursor[Any], touched: Sequence[Balance]) -> None:
    """Add the sums of the batch to the touched balances, locking them in the global order.

    The order is that of the array: application balances by id, then internal ones by id. Worker
    sessions join by nested loops only (see ``store.engine``), so the update visits it in order.

    Raises DecideAgain when a balance got another precision meanwhile, or is not there, or when a
    figure would become too long: who remembered the balance without its figures could not know.
    """
    if not touched:
        return
    ordered = sorted(touched, key=lambda b: (b.indicator is not None, b.balance_id))
    arrays = [
        array_text(b.balance_id[4:] for b in ordered),
        array_text(b.precision for b in ordered),
        array_text(b.touches for b in ordered),
        array_text(b.added_credit for b in ordered),
        array_text(b.added_debit for b in ordered),
    ]
    statement = _UPDATE_BALANCES
    if any(b.added_inflight_credit or b.added_inflight_debit for b in ordered):
        statement = _UPDATE_BALANCES_AND_INFLIGHT
        arrays.append(array_text(b.added_inflight_credit for b in ordered))
        arrays.append(array_text(b.added_inflight_debit for b in ordered))
    cursor.execute(statement, arrays)
    if cursor.rowcount != len(ordered):
        raise DecideAgain("a balance got another precision, is full, or is gone")


class _Dates:
    """Texts of timestamps, and of what parts of a request share; a batch has a few of each."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}
        self.shared: tuple[Any, ...] = ()
        self.middle = ""

    def text(self, micros: int) -> str:
        known = self._known.get(micros)
        if known is None:
            moment = _EPOCH + timedelta(microseconds=micros)
            known = self._known[micros] = moment.isoformat(timespec="microseconds")
        return known


def _line(partition: int, sequence: int, record: Record, head: bytes, dates: _Dates) -> str:
    """One line in COPY's text format."""
    (
        transaction_id,
        kind,
        reference,
        derived,
        parent_id,
        source_id,
        destination_id,
        currency,
        precision,
        precise_amount,
        status,
        reason,
        detail,
        description,
        allow_overdraft,
        overdraft_limit,
        position,
        effective_micros,
        meta_data,
        fingerprint,
        *more,
    ) = record
    # What the parts of a request have in common is written out once.
    middle = dates.middle
    if more[1] is None or record[10:20] != dates.shared:
        middle = (
            f"{status}\t{reason or _NULL}\t"
            f"{copy_text(detail) if detail else _NULL}\t"
            f"{copy_text(description) if description else ''}\t"
            f"{'t' if allow_overdraft else 'f'}\t{overdraft_limit or _NULL}\t"
            f"{position}\t{dates.text(effective_micros)}\t"
            f"{copy_text(meta_data) if meta_data else _NULL}\t"
            f"\\\\x{fingerprint.hex()}\t"
        )
        if more[1] is not None:
            dates.shared, dates.middle = record[10:20], middle
    return (
        f"{partition}\t{sequence}\t{transaction_id[-ID_LENGTH:]}\t{kind}\t{copy_text(reference)}\t"
        f"{'t' if derived else 'f'}\t"
        f"{_NULL if parent_id is None else parent_id[-ID_LENGTH:]}\t"
        f"{_NULL if source_id is None else source_id[4:]}\t"
        f"{_NULL if destination_id is None else destination_id[4:]}\t"
        f"{copy_text(currency)}\t"
        f"{_NULL if precision is None else precision}\t"
        f"{_NULL if precise_amount is None else precise_amount}\t"
        f"{middle}\\\\x{head.hex()}\t"
        f"{_NO_MORE if more == _NOTHING else _more(more, dates)}\n"
    )


def _more(fields: Sequence[Any], dates: _Dates) -> str:
    """The columns that few records have."""
    if fields[2:] == _NO_DATES:
        return f"{fields[0] or _NULL}\t{fields[1] or _NULL}{_NO_DATES_TEXT}"
    parts, part, expires, commits, scheduled, subject, change = fields
    texts = [
        None if parts is None else str(parts),
        None if part is None else str(part),
        *(None if micros is None else dates.text(micros) for micros in (expires, commits)),
        None if scheduled is None else dates.text(scheduled),
        subject,
        None if change is None else copy_text(change),
    ]
    return "\t".join(_NULL if text is None else text for text in texts)


_NULL = "\\N"
_NOTHING: list[Any] = [None] * 7
_NO_MORE = "\t".join([_NULL] * 7)
_NO_DATES: list[Any] = [None] * 5
_NO_DATES_TEXT = f"\t{_NULL}" * 5
