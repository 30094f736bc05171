"""The checks of requests that several records carry out, and of refunds."""

# ruff: noqa: S608 - every part of these statements stands in this program

from __future__ import annotations

from daybook.store.proof.comparing import SumCheck
from daybook.store.scan import RECORD_ID_SQL, request_id_sql

_PART_ID = """(
    substr(root.transaction_id::text, 1, 14) || '8' || substr(root.transaction_id::text, 16, 3)
    || '-a' || substr(digits, 1, 3) || '-' || substr(digits, 4, 12)
)::uuid"""
"""The id of a part, from the request's id and its number: see ``ledger.ids.part_id``."""

# A leg and an item name their request as parent; the parts of an action name what it is done to,
# and belong to the action of their kind that was accepted with them.
_PARTS = f"""
WITH roots AS (
    SELECT transaction_id, {RECORD_ID_SQL} AS id, kind, status, detail, parts, precise_amount,
        currency, precision, source, destination, partition, position
    FROM transactions WHERE parts IS NOT NULL
), parts AS (
    SELECT transaction_id, {RECORD_ID_SQL} AS id, kind, status, part, parts, precise_amount,
        currency, precision, source, destination, partition, position, parent_transaction
    FROM transactions WHERE part IS NOT NULL
), linked AS (
    SELECT part.*, root.transaction_id AS root FROM parts part
        LEFT JOIN roots root ON root.transaction_id = part.parent_transaction
    WHERE part.kind = 'transaction'
    UNION ALL
    SELECT part.*, root.transaction_id FROM parts part
        LEFT JOIN roots root ON root.partition = part.partition AND root.position = part.position
            AND root.kind = part.kind
    WHERE part.kind <> 'transaction'
), judged AS (
    SELECT part.*,
        CASE WHEN root.transaction_id IS NULL THEN 'the request that it is a part of is missing'
            WHEN part.transaction_id <> {_PART_ID}
                THEN 'its id is not that of part ' || part || ' of ' || root.id
            WHEN root.position <> part.position THEN 'was not accepted with ' || root.id
            WHEN root.kind = 'bulk' AND root.status = 'REJECTED' AND part.status <> 'REJECTED'
                THEN 'is ' || part.status || ', its bulk was refused'
            WHEN root.kind = 'bulk' AND root.status = 'INFLIGHT'
                AND part.status NOT IN ('INFLIGHT', 'REJECTED')
                THEN 'is ' || part.status || ', its bulk holds money only'
            WHEN root.kind <> 'bulk' AND part.status <> root.status
                THEN 'is ' || part.status || ', ' || root.id || ' is ' || root.status
            WHEN root.kind = 'transaction' AND (part.currency <> root.currency
                    OR part.precision IS DISTINCT FROM root.precision
                    OR part.source <> root.source OR part.destination <> root.destination)
                THEN 'differs from ' || root.id || ' in what all legs share'
        END AS problem
    FROM linked part LEFT JOIN roots root ON root.transaction_id = part.root,
        LATERAL (SELECT encode(sha256(convert_to(root.id, 'UTF8') || '\\x00'::bytea), 'hex')
            AS digest) hashed,
        LATERAL (SELECT lpad(to_hex((('x0' || substr(digest, 1, 15))::bit(64)::bigint + part.part)
            & ((1::bigint << 60) - 1)), 15, '0') AS digits) made
), sums AS (
    SELECT root, count(*) AS found, count(*) FILTER (WHERE status <> 'REJECTED') AS posted,
        count(DISTINCT part) AS numbers, min(part) AS first, max(part) AS last,
        sum(precise_amount) AS amount
    FROM judged WHERE root IS NOT NULL GROUP BY root
), counted AS (
    SELECT root.*, coalesce(sums.found, 0) AS found, coalesce(sums.posted, 0) AS posted, numbers,
        first, last, sums.amount,
        CASE WHEN root.status = 'REJECTED' THEN 0 ELSE root.parts
            - coalesce(substring(detail FROM '^(\\d{{1,9}}) of \\d+ refused')::int, 0)
        END AS wanted
    FROM roots root LEFT JOIN sums ON sums.root = root.transaction_id
), problems AS (
    SELECT id AS place, problem FROM judged WHERE problem IS NOT NULL
    UNION ALL
    SELECT id, CASE
        WHEN found <> numbers OR first < 1 OR last > parts
            THEN 'its parts are not numbered 1 to ' || parts
        WHEN kind = 'bulk' AND posted <> wanted
            THEN 'posted ' || wanted || ' of its ' || parts || ' items, ' || posted
                || ' are recorded'
        WHEN kind <> 'bulk' AND found <> parts
            THEN 'has ' || parts || ' parts, ' || found || ' are recorded'
        WHEN kind = 'transaction' AND amount IS DISTINCT FROM precise_amount
            THEN 'its legs add up to ' || coalesce(amount::text, 'nothing') || ', not to '
                || coalesce(precise_amount::text, 'nothing')
        END
    FROM counted
)
SELECT count(*) OVER () AS found, place, problem FROM problems WHERE problem IS NOT NULL
ORDER BY place, problem LIMIT :shown
"""

_REFUNDS = f"""
WITH refunds AS (
    SELECT *, count(*) OVER (PARTITION BY parent_transaction) AS times
    FROM transactions WHERE kind = 'refund' AND status <> 'REJECTED'
), judged AS (
    SELECT 'txn_' || refund.transaction_id AS place,
        CASE WHEN original.transaction_id IS NULL THEN 'what it refunds is not recorded'
            WHEN refund.times > 1 THEN 'is one of ' || refund.times || ' refunds of '
                || {request_id_sql("original.transaction_id")}
            WHEN original.kind NOT IN ('transaction', 'bulk', 'commit')
                OR (original.parts IS NULL) <> (refund.parts IS NULL)
                OR (original.parts IS NULL AND original.status <> 'APPLIED')
                THEN {request_id_sql("original.transaction_id")} || ', a ' || original.kind
                    || ' that is ' || original.status || ', can not be refunded by it'
            WHEN refund.parts IS NULL AND (
                    refund.precise_amount IS DISTINCT FROM original.precise_amount
                    OR refund.currency <> original.currency
                    OR refund.precision IS DISTINCT FROM original.precision
                    OR refund.source IS DISTINCT FROM original.destination
                    OR refund.destination IS DISTINCT FROM original.source
                    OR refund.status <> 'APPLIED')
                THEN 'is not the reverse of ' || {request_id_sql("original.transaction_id")}
        END AS problem
    FROM refunds refund
        LEFT JOIN transactions original ON original.transaction_id = refund.parent_transaction
)
SELECT count(*) OVER () AS found, place, problem FROM judged WHERE problem IS NOT NULL
ORDER BY place LIMIT :shown
"""

PART_CHECKS = (
    SumCheck("requests", "parts_mismatch", _PARTS, lambda row: str(row["problem"])),
    SumCheck("refunds", "refund_mismatch", _REFUNDS, lambda row: str(row["problem"])),
)
