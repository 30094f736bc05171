"""The figures that snapshots keep, from the journal.

A snapshot counts what had been accepted before its position and takes effect up to its moment.
Most are taken in the order of their moments; then one walk along the journal finds, for each
record, the first snapshot that counts it, and sums do the rest. One that was taken later for an
earlier moment is summed up by itself.
"""

# ruff: noqa: S608 - every part of these statements stands in this program

from __future__ import annotations

from daybook.store.proof.comparing import Comparison, column
from daybook.store.scan import MOMENT_FORMAT_SQL

_SIDES = (
    "LATERAL (VALUES (source, 0, precise_amount), (destination, precise_amount, 0)) "
    "AS side (balance_id, credit, debit)"
)

_COUNTED = f"""
WITH taken AS (
    SELECT moment, position, moment >= coalesce(max(moment) OVER (
            ORDER BY position, moment ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), '-infinity') AS is_next
    FROM snapshots
), chain AS (
    SELECT coalesce(array_agg(moment ORDER BY moment, position), '{{}}') AS moments,
        coalesce(array_agg(position ORDER BY moment, position), '{{}}') AS positions
    FROM taken WHERE is_next
), applied AS (
    SELECT source, destination, precise_amount, effective_date, position
    FROM transactions
    WHERE kind IN ('transaction', 'commit', 'refund') AND status = 'APPLIED' AND parts IS NULL
        AND EXISTS (SELECT FROM snapshots)
), added AS (
    SELECT side.balance_id, chain.moments[first.place] AS moment, sum(side.credit) AS credit,
        sum(side.debit) AS debit
    FROM applied, chain, LATERAL (
            SELECT greatest(
                width_bucket(effective_date - interval '1 microsecond', chain.moments),
                width_bucket(position, chain.positions)
            ) + 1 AS place
        ) first, {_SIDES}
    WHERE first.place <= cardinality(chain.moments)
    GROUP BY side.balance_id, chain.moments[first.place]
    UNION ALL
    SELECT balance_id, moment, 0, 0 FROM balance_snapshots JOIN taken USING (moment) WHERE is_next
), summed AS (
    SELECT balance_id, moment,
        sum(sum(credit)) OVER (PARTITION BY balance_id ORDER BY moment) AS credit_balance,
        sum(sum(debit)) OVER (PARTITION BY balance_id ORDER BY moment) AS debit_balance
    FROM added GROUP BY balance_id, moment
    UNION ALL
    SELECT side.balance_id, moment, sum(side.credit), sum(side.debit)
    FROM taken JOIN applied
            ON effective_date <= taken.moment AND applied.position < taken.position, {_SIDES}
    WHERE NOT is_next
    GROUP BY side.balance_id, moment
), journal AS (
    SELECT summed.*, taken.position FROM summed JOIN taken USING (moment)
)"""

SNAPSHOTS = Comparison(
    "snapshots",
    "snapshot_mismatch",
    "balance_snapshots",
    _COUNTED,
    "'bln_' || coalesce(kept.balance_id, journal.balance_id) || ' at ' || "
    "to_char(coalesce(kept.moment, journal.moment) AT TIME ZONE 'UTC', "
    '\'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\')',
    {"balance_id": "journal.balance_id", "moment": "journal.moment"},
    "kept.balance_id = journal.balance_id AND kept.moment = journal.moment",
    "journal.balance_id IS NOT NULL",
    (column("position"), column("credit_balance"), column("debit_balance")),
    "changed before this snapshot, which lacks its figures",
    "no such snapshot was taken, or the journal knows no movement before it",
)

SNAPSHOT_COUNTS = Comparison(
    "snapshot sizes",
    "snapshot_mismatch",
    "snapshots",
    "WITH journal AS (SELECT moment, count(*) AS balances FROM balance_snapshots GROUP BY moment)",
    f"to_char(coalesce(kept.moment, journal.moment) AT TIME ZONE 'UTC', {MOMENT_FORMAT_SQL})",
    {"moment": "journal.moment"},
    "kept.moment = journal.moment",
    "true",
    (column("balances", "coalesce(journal.balances, 0)"),),
    "was not taken, but figures of it are kept",
    can_insert=False,
)
