"""Holds: what of them is left, and what a batch commits or voids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from daybook.ledger.book import Book
from daybook.ledger.hold import Hold
from daybook.ledger.ids import bare
from daybook.store.arrays import array_text
from daybook.store.batch.moments import date_text
from daybook.store.batch.statuses import load_statuses

_INSERT_HOLDS = """
INSERT INTO holds (transaction_id, source, destination, currency, precision, amount, committed,
    voided, commits, leg_of, bulk, inflight_expiry_date, inflight_commit_date)
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
                [hold.leg_of and bare(hold.leg_of) for hold in new],
                [hold.bulk_id and bare(hold.bulk_id) for hold in new],
                [date_text(hold.expires_micros) for hold in new],
                [date_text(hold.commits_micros) for hold in new],
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


_HOLDS = """
SELECT transaction_id::text, source::text, destination::text, currency, precision::text,
    amount::text, committed::text, voided::text, commits, leg_of::text, bulk::text,
    trunc(extract(epoch FROM inflight_expiry_date) * 1000000)::bigint,
    trunc(extract(epoch FROM inflight_commit_date) * 1000000)::bigint
FROM holds {where}
"""

_HOLDS_BY_ID = _HOLDS.format(where="WHERE transaction_id = ANY(%s::uuid[])")

_HOLDS_OF_GROUPS = _HOLDS.format(
    where="JOIN (SELECT transaction_id AS made, sequence FROM transactions) rows "
    "ON made = transaction_id WHERE leg_of = ANY(%s::uuid[]) OR bulk = ANY(%s::uuid[]) "
    "ORDER BY sequence"
)
"""In the order in which they were made, so that actions on them are recorded in it."""


def load_holds(cursor: psycopg.Cursor[Any], book: Book, named: set[str]) -> None:
    if not named:
        return
    wanted = [bare(transaction_id) for transaction_id in named]
    cursor.execute(_HOLDS_BY_ID, (wanted,))
    _add_holds(cursor, book)
    others = [bare(name) for name in named if name not in book.holds]
    if others:
        book.groups.clear()  # listed anew, in order: some of their holds may be named themselves
        cursor.execute(_HOLDS_OF_GROUPS, (others, others))
        made = _add_holds(cursor, book)
        for name in named & book.groups.keys():  # one that the batch names itself was added first
            book.groups[name].sort(key=made.__getitem__)
        load_statuses(cursor, book, others)


def _add_holds(cursor: psycopg.Cursor[Any], book: Book) -> dict[str, int]:
    """Add the holds that were read; returns the place of each among them."""
    places: dict[str, int] = {}
    for row in cursor:
        bare_id, source, destination, currency, precision, amount, committed, voided, *more = row
        commits, leg_of, bulk, expires_micros, commits_micros = more
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
            None if leg_of is None else f"txn_{leg_of}",
            None if bulk is None else f"bulk_{bulk}",
            expires_micros,
            commits_micros,
        )
        places[hold.transaction_id] = len(places)
        book.add_hold(book.holds.get(hold.transaction_id, hold))
    return places
