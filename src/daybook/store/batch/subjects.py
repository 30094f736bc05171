"""What a batch changes about things: names, owners, fields and meta_data."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from daybook.ledger.book import Book, Subject
from daybook.ledger.ids import bare
from daybook.store.arrays import array_text

_LOCK_BALANCES = """
SELECT FROM balances WHERE balance_id = ANY(%s::uuid[])
ORDER BY indicator IS NOT NULL, balance_id FOR NO KEY UPDATE
"""

_CHANGE_LEDGER = "UPDATE ledgers SET {} WHERE ledger_id = %s"

_CHANGE = {
    "ldg": _CHANGE_LEDGER,
    "gen": _CHANGE_LEDGER,
    "bln": "UPDATE balances SET {} WHERE balance_id = %s",
    "idt": "UPDATE identities SET {} WHERE identity_id = %s",
}

_MERGE_ONTO_TRANSACTION = """
INSERT INTO transaction_metadata (transaction_id, meta_data) VALUES (%s, %s)
ON CONFLICT (transaction_id) DO UPDATE SET meta_data = excluded.meta_data
"""


def write_subjects(cursor: psycopg.Cursor[Any], book: Book) -> None:
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
            bare_id = bare(subject_id)
            cursor.execute(_MERGE_ONTO_TRANSACTION, (bare_id, subject.meta_data))
            continue
        values: dict[str, str | None] = {
            name: value.removeprefix("idt_") if name == "identity_id" else value
            for name, value in subject.fields.items()
        }
        if subject.is_merged:
            values["meta_data"] = subject.meta_data
        is_ledger = _CHANGE[subject_id[:3]] is _CHANGE_LEDGER
        columns = sql.SQL(", ").join(
            sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values
        )
        cursor.execute(
            sql.SQL(_CHANGE[subject_id[:3]]).format(columns),
            (*values.values(), subject_id if is_ledger else subject_id[4:]),
        )


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


def load_subjects(cursor: psycopg.Cursor[Any], book: Book, subject_ids: list[str]) -> None:
    cursor.execute(_LEDGER_SUBJECTS, (subject_ids,))
    for subject_id, meta_data in cursor:
        book.subjects[subject_id] = Subject(meta_data)
    for prefix, query in _SUBJECTS.items():
        bare_ids = [bare(name) for name in subject_ids if name.startswith(prefix)]
        if bare_ids:
            cursor.execute(query, {"ids": bare_ids})
            for bare_id, meta_data in cursor:
                book.subjects[f"{prefix}{bare_id}"] = Subject(meta_data)
