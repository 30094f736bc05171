"""Ledgers, identities and balances that a batch creates."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from daybook.ledger.book import Book
from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.ledger.ids import bare
from daybook.ledger.instructions import NewIdentity
from daybook.ledger.posting.kinds import Reads
from daybook.store.batch.again import Stale
from daybook.store.batch.subjects import load_subjects

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


def write_creations(cursor: psycopg.Cursor[Any], book: Book) -> None:
    """Insert the ledgers, identities and balances that the batch creates.

    An internal balance may be created by two partitions at once: it has the same id in both, the
    second insert waits for the first, does nothing, and the batch is decided again with what is
    there. The order by id keeps such inserts from deadlocking. Raises Stale.
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
            raise Stale("an internal balance was created meanwhile")


def _identity(new: NewIdentity, fingerprint: bytes, position: int) -> tuple[Any, ...]:
    fields = json.loads(new.fields)
    texts = [fields.get(name) for name in IDENTITY_FIELDS]
    return (new.identity_id[4:], *texts, new.meta_data, fingerprint, position)


_LEDGERS = "SELECT ledger_id, fingerprint FROM ledgers WHERE ledger_id = ANY(%s::text[])"

_IDENTITIES = """
SELECT identity_id::text, fingerprint FROM identities WHERE identity_id = ANY(%s::uuid[])
"""


def load_things(cursor: psycopg.Cursor[Any], book: Book, reads: Reads) -> None:
    """Ledgers, identities, and what changes are about."""
    if reads.ledgers:
        cursor.execute(_LEDGERS, (list(reads.ledgers),))
        book.ledgers |= dict(cursor.fetchall())
    if reads.identities:
        cursor.execute(_IDENTITIES, ([bare(name) for name in reads.identities],))
        for bare_id, fingerprint in cursor:
            book.identities[f"idt_{bare_id}"] = fingerprint
    if reads.subjects:
        load_subjects(cursor, book, list(reads.subjects))
