"""The journal's rows: written by ``COPY``, and read for late replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from daybook.ledger.chain import link
from daybook.ledger.ids import ID_LENGTH
from daybook.ledger.record import Record, common_fields, own_fields, rare_fields
from daybook.store.arrays import copy_text
from daybook.store.batch.moments import Dates
from daybook.store.batch.rows import PartitionRow

_COPY = """
COPY transactions (partition, sequence, transaction_id, kind, reference, derived,
    parent_transaction, source, destination, currency, precision, precise_amount, status, reason,
    detail, description, allow_overdraft, overdraft_limit, position, effective_date, meta_data,
    fingerprint, hash, parts, part, inflight_expiry_date, inflight_commit_date, scheduled_for,
    subject, change) FROM STDIN
"""

COPY_LINES = 512
"""So many rows are sent at a time: Postgres writes them while the next ones are chained."""


def write_records(
    cursor: psycopg.Cursor[Any], row: PartitionRow, records: Sequence[Record]
) -> bytes:
    """Append ``records`` to the partition's journal; returns the hash of its last row."""
    partition, sequence, head = row.partition, row.sequence, row.head
    if not records:
        return head
    dates = Dates()
    with cursor.copy(_COPY) as copy:
        for start in range(0, len(records), COPY_LINES):
            lines = []
            for record in records[start : start + COPY_LINES]:
                sequence += 1
                head = link(head, partition, sequence, record)
                lines.append(_line(partition, sequence, record, head, dates))
            copy.write("".join(lines).encode())
    return head


def _line(partition: int, sequence: int, record: Record, head: bytes, dates: Dates) -> str:
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
    ) = own_fields(record)
    common, more = common_fields(record), rare_fields(record)
    # What the parts of a request have in common is written out once.
    middle = dates.middle
    if more[1] is None or common != dates.shared:
        middle = _middle(common, dates)
        if more[1] is not None:
            dates.shared, dates.middle = common, middle
    return (
        f"{partition}\t{sequence}\t{transaction_id[-ID_LENGTH:]}\t{kind}\t{copy_text(reference)}\t"
        f"{'t' if derived else 'f'}\t"
        f"{NULL if parent_id is None else parent_id[-ID_LENGTH:]}\t"
        f"{NULL if source_id is None else source_id[4:]}\t"
        f"{NULL if destination_id is None else destination_id[4:]}\t"
        f"{copy_text(currency)}\t"
        f"{NULL if precision is None else precision}\t"
        f"{NULL if precise_amount is None else precise_amount}\t"
        f"{middle}\\\\x{head.hex()}\t"
        f"{_NO_MORE if more == _NOTHING else _more(more, dates)}\n"
    )


def _middle(common: tuple[Any, ...], dates: Dates) -> str:
    """The columns from the status to the fingerprint."""
    (
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
    ) = common
    return (
        f"{status}\t{reason or NULL}\t"
        f"{copy_text(detail) if detail else NULL}\t"
        f"{copy_text(description) if description else ''}\t"
        f"{'t' if allow_overdraft else 'f'}\t{overdraft_limit or NULL}\t"
        f"{position}\t{dates.text(effective_micros)}\t"
        f"{copy_text(meta_data) if meta_data else NULL}\t"
        f"\\\\x{fingerprint.hex()}\t"
    )


def _more(fields: Sequence[Any], dates: Dates) -> str:
    """The columns that few records have."""
    if fields[2:] == _NO_DATES:
        return f"{fields[0] or NULL}\t{fields[1] or NULL}{_NO_DATES_TEXT}"
    parts, part, expires, commits, scheduled, subject, change = fields
    texts = [
        None if parts is None else str(parts),
        None if part is None else str(part),
        *(None if micros is None else dates.text(micros) for micros in (expires, commits)),
        None if scheduled is None else dates.text(scheduled),
        subject,
        None if change is None else copy_text(change),
    ]
    return "\t".join(NULL if text is None else text for text in texts)


NULL = "\\N"

_NOTHING: tuple[Any, ...] = (None,) * 7

_NO_MORE = "\t".join([NULL] * 7)

_NO_DATES: tuple[Any, ...] = (None,) * 5

_NO_DATES_TEXT = f"\t{NULL}" * 5

_RECORDS_SINCE = """
SELECT reference, derived, transaction_id::text, status, reason, detail, fingerprint, position,
    precise_amount, precision, currency
FROM transactions WHERE partition = %s AND sequence > %s
    AND kind NOT IN ('ledger', 'balance', 'identity')
    AND NOT (substr(transaction_id::text, 15, 1) = '8'
        AND substr(transaction_id::text, 20, 1) IN ('a', 'b'))
ORDER BY sequence
"""
"""Not those that are parts of a request: nobody waits for one of them."""


def load_records_since(
    cursor: psycopg.Cursor[Any], partition: int, sequence: int
) -> list[tuple[Any, ...]]:
    """The partition's rows behind ``sequence``: what replies are made of."""
    cursor.execute(_RECORDS_SINCE, (partition, sequence))
    return cursor.fetchall()
