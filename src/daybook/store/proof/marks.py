"""The checks of what steers the workers: partitions' marks, epochs, what waits, what was refused.

Nothing of it follows from the journal as a whole, so it can't be rebuilt; but it has to fit the
journal, and each part of it the others.
"""

# ruff: noqa: S608 - every part of these statements stands in this program

from __future__ import annotations

from daybook.ledger.rejection import Reason
from daybook.store.proof.comparing import SumCheck

_ROUTED = """
WITH spans AS (
    SELECT partitions, fence,
        (SELECT min(fence) FROM epochs later WHERE later.fence > epochs.fence) AS end_
    FROM epochs
)"""
"""What stands behind ``fence``, up to ``end_``, was routed by that number of partitions.

Two epochs may begin at one fence: a log that came back as it was before a resize goes on by its
own number, where records of the other are there already."""


def _is_at_home(table: str) -> str:
    return f"""EXISTS (
        SELECT FROM spans WHERE {table}.position > spans.fence
            AND (spans.end_ IS NULL OR {table}.position <= spans.end_)
            AND slot % greatest(spans.partitions, 1) = {table}.partition
    )"""


_MARKS = f"""{_ROUTED}, newest AS (
    SELECT * FROM epochs ORDER BY epoch DESC LIMIT 1
), recorded AS (
    SELECT partition, max(position) AS position FROM (
        SELECT partition, position FROM transactions
        UNION ALL SELECT partition, position FROM rejected_requests
        UNION ALL SELECT partition, position FROM deferred_entries
    ) found GROUP BY partition
), problems AS (
    SELECT 'installation' AS place, CASE
            WHEN said IS NULL THEN 'has no row'
            WHEN said IS DISTINCT FROM begun THEN 'says ' || said || ' partitions, the first epoch '
                || coalesce('has ' || begun, 'is not recorded')
        END AS problem
    FROM (SELECT (SELECT partitions FROM installation) AS said,
            (SELECT partitions FROM epochs ORDER BY epoch LIMIT 1) AS begun) both_
    WHERE EXISTS (SELECT FROM partitions)
    UNION ALL
    SELECT 'epoch ' || epoch, CASE
            WHEN row_number() OVER (ORDER BY epoch) = 1 AND (epoch <> 1 OR fence <> 0)
                THEN 'is the first, whose number is 1 and whose fence is 0'
            WHEN fence < lag(fence) OVER (ORDER BY epoch)
                THEN 'begins at ' || fence || ', before the one before it'
        END
    FROM epochs
    UNION ALL
    SELECT 'partition ' || number, 'does not exist'
    FROM (SELECT max(partitions) AS most FROM epochs) known,
        LATERAL generate_series(0, most - 1) AS number
    WHERE NOT EXISTS (SELECT FROM partitions WHERE partition = number)
    UNION ALL
    SELECT 'partition ' || partition, unnest(array_remove(ARRAY[
        CASE WHEN partition >= (SELECT max(partitions) FROM epochs)
            THEN 'no epoch has so many partitions' END,
        CASE WHEN partitions.epoch IS DISTINCT FROM newest.epoch
            THEN 'is of epoch ' || partitions.epoch || ', the newest is '
                || coalesce(newest.epoch::text, 'not recorded') END,
        CASE WHEN total IS DISTINCT FROM newest.partitions
            THEN 'is one of ' || total || ', the newest epoch has '
                || coalesce(newest.partitions::text, 'none') END,
        CASE WHEN cursor < recorded.position
            THEN 'has read up to ' || cursor || ', but recorded ' || recorded.position END,
        CASE WHEN cursor < newest.fence
            THEN 'has read up to ' || cursor || ', its epoch begins behind ' || newest.fence END,
        CASE WHEN partition >= total AND cursor <> newest.fence
            THEN 'is closed, and has read up to ' || cursor || ', not to the fence '
                || newest.fence END,
        CASE WHEN batch < 0 OR (batch = 0 AND sequence > 0)
            THEN 'counts ' || batch || ' units of work, and has ' || sequence || ' records' END,
        CASE WHEN batch_sequence NOT BETWEEN 0 AND sequence
            THEN 'its last unit of work began behind ' || batch_sequence || ', it has '
                || sequence || ' records' END
    ], NULL))
    FROM partitions LEFT JOIN newest ON true LEFT JOIN recorded USING (partition)
)
SELECT count(*) OVER () AS found, place, problem FROM problems WHERE problem IS NOT NULL
ORDER BY place, problem LIMIT :shown
"""

# The id of a transaction carries the slot that it was routed by; those of parts and actions follow
# from others.
_ROUTES = f"""{_ROUTED}, misplaced AS (
    SELECT transaction_id, partition, slot
    FROM transactions,
        LATERAL (SELECT ('x' || substr(transaction_id::text, 16, 3))::bit(12)::int AS slot) carried
    WHERE kind = 'transaction' AND part IS NULL AND substr(transaction_id::text, 15, 1) = '7'
        AND NOT {_is_at_home("transactions")}
)
SELECT count(*) OVER () AS found, 'txn_' || transaction_id AS place,
    'stands in partition ' || partition || ', its slot ' || slot || ' was one of another'
        AS problem
FROM misplaced ORDER BY place LIMIT :shown
"""

_DEFERRED = f"""{_ROUTED}, problems AS (
    SELECT 'partition ' || deferred_entries.partition || ', position '
            || deferred_entries.position AS place,
        CASE WHEN partitions.partition IS NULL OR deferred_entries.partition >= partitions.total
                THEN 'waits in a partition that is not read'
            WHEN EXISTS (SELECT FROM rejected_requests WHERE partition = deferred_entries.partition
                    AND position = deferred_entries.position)
                THEN 'waits, and was refused'
            WHEN EXISTS (SELECT FROM transactions WHERE transaction_id = bare
                    AND position >= deferred_entries.position)
                THEN 'waits, and was recorded'
            WHEN NOT {_is_at_home("deferred_entries")}
                THEN 'waits in partition ' || deferred_entries.partition || ', its slot ' || slot
                    || ' is one of another'
        END AS problem
    FROM deferred_entries LEFT JOIN partitions ON partitions.partition = deferred_entries.partition,
        LATERAL (SELECT CASE WHEN request_id ~ '_[0-9a-f-]{{36}}$'
            THEN right(request_id, 36)::uuid END AS bare) id
)
SELECT count(*) OVER () AS found, place, problem FROM problems WHERE problem IS NOT NULL
ORDER BY place LIMIT :shown
"""

# What ``apply.rejections`` keeps beside its record: the reasons that a record can't show both
# sides. Requests of several records are not held to theirs: it may speak of one of their items.
_WITH_RECORD = ", ".join(
    f"'{reason.value}'"
    for reason in (
        Reason.UNKNOWN_BALANCE,
        Reason.UNKNOWN_LEDGER,
        Reason.UNKNOWN_IDENTITY,
        Reason.UNKNOWN_TRANSACTION,
    )
)

_REJECTIONS = f"""
WITH recorded AS (
    SELECT partition, position, kind, transaction_id, reference, derived, reason, detail,
        fingerprint
    FROM transactions
    WHERE status = 'REJECTED' AND part IS NULL AND parts IS NULL AND kind <> 'bulk'
), compared AS (
    SELECT 'partition ' || partition || ', position ' || position AS place,
        recorded.reason AS recorded_reason, kept.reason AS kept_reason,
        recorded.detail AS recorded_detail, kept.detail AS kept_detail,
        recorded.transaction_id::text AS recorded_id, kept.request_id,
        recorded.reference AS recorded_reference, kept.reference AS kept_reference, derived,
        recorded.fingerprint, kept.body, uses_reference, resolved, resolved_at, resolved_by,
        resolved_why, traceback
    FROM rejected_requests kept FULL JOIN recorded USING (partition, position)
), problems AS (
    SELECT place, CASE
        WHEN kept_reason IS NULL AND recorded_reason IN ({_WITH_RECORD})
            THEN 'was refused (' || recorded_reason || '), but its bytes are missing'
        WHEN kept_reason IS NULL THEN NULL
        WHEN recorded_reason IS NOT NULL THEN CASE
            WHEN kept_reason <> recorded_reason
                THEN 'reason is ' || kept_reason || ', the journal says ' || recorded_reason
            WHEN kept_detail IS DISTINCT FROM recorded_detail
                THEN 'detail is ' || coalesce(kept_detail, 'not set') || ', the journal says '
                    || coalesce(recorded_detail, 'not set')
            WHEN right(request_id, 36) <> recorded_id
                THEN 'request_id is ' || request_id || ', the journal says ' || recorded_id
            WHEN NOT derived AND kept_reference IS DISTINCT FROM recorded_reference
                THEN 'reference is ' || coalesce(kept_reference, 'not set')
                    || ', the journal says ' || recorded_reference
            WHEN sha256(body) <> fingerprint THEN 'its bytes are not those that were refused'
            WHEN traceback IS NOT NULL THEN 'has a traceback, and was decided'
            END
        END AS problem
    FROM compared
    UNION ALL
    SELECT place, 'says that it is resolved, by whom or when, but not all of it'
    FROM compared
    WHERE kept_reason IS NOT NULL AND ((resolved IS NULL) <> (resolved_at IS NULL)
        OR (resolved IS NULL AND (resolved_by IS NOT NULL OR resolved_why IS NOT NULL))
        OR resolved NOT IN ('retried', 'discarded')
        OR (resolved IS NOT NULL AND kept_reason <> '{Reason.QUARANTINED.value}'))
    UNION ALL
    SELECT place, 'its reference ' || kept_reference || ' is free again'
    FROM compared
    WHERE kept_reference IS NOT NULL AND resolved IS DISTINCT FROM 'retried' AND NOT uses_reference
        AND NOT EXISTS (SELECT FROM taken_references own WHERE own.reference = kept_reference)
    UNION ALL
    SELECT place, 'uses a reference up, and names none'
    FROM compared WHERE uses_reference AND kept_reference IS NULL
)
SELECT count(*) OVER () AS found, place, problem FROM problems WHERE problem IS NOT NULL
ORDER BY place, problem LIMIT :shown
"""


def _problem(title: str, code: str, query: str) -> SumCheck:
    return SumCheck(title, code, query, lambda row: str(row["problem"]))


MARK_CHECKS = (
    _problem("marks", "marks_mismatch", _MARKS),
    _problem("routes", "wrong_partition", _ROUTES),
    _problem("deferred entries", "deferred_mismatch", _DEFERRED),
    _problem("rejected requests", "rejection_mismatch", _REJECTIONS),
)
