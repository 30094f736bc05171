"""The checks of ``verify`` that are sums: what is kept beside the journal, against it."""

# ruff: noqa: S608 - every part of these statements stands in this program

from __future__ import annotations

from daybook.store.proof.comparing import Column, Comparison, SumCheck, column
from daybook.store.proof.facts import FACTS
from daybook.store.proof.marks import MARK_CHECKS
from daybook.store.proof.parts import PART_CHECKS
from daybook.store.proof.references import REFERENCE_TWICE, REFERENCES
from daybook.store.proof.schedules import SCHEDULES
from daybook.store.proof.snapshot_sums import SNAPSHOT_COUNTS, SNAPSHOTS
from daybook.store.scan import is_bulk_sql, request_id_sql

MOVES_MONEY = (
    "kind IN ('transaction', 'commit', 'void', 'refund') AND parts IS NULL AND status <> 'REJECTED'"
)
"""Which records move money: those that are carried out by parts leave it to these."""

# A record moves money on two sides. What each kind and status does to the figures: ledger
# semantics, section 2. Other combinations do not exist; they move nothing here, so that one which
# was smuggled in shows up as a difference.
_MOVED = f"""
WITH moved AS (
    SELECT source, destination, currency, precision,
        CASE WHEN status = 'APPLIED' AND kind IN ('transaction', 'commit', 'refund')
            THEN precise_amount ELSE 0 END AS posted,
        CASE WHEN status = 'INFLIGHT' AND kind = 'transaction' THEN precise_amount
            WHEN status = 'APPLIED' AND kind = 'commit' THEN -precise_amount
            WHEN status = 'VOID' AND kind = 'void' THEN -precise_amount
            ELSE 0 END AS held
    FROM transactions WHERE {MOVES_MONEY}
), journal AS (
    SELECT side.balance_id, sum(side.credit) AS credit_balance, sum(side.debit) AS debit_balance,
        sum(side.inflight_credit) AS inflight_credit_balance,
        sum(side.inflight_debit) AS inflight_debit_balance, count(*) AS version,
        CASE WHEN min(currency) = max(currency) THEN min(currency) END AS currency,
        min(precision) AS precision_min, max(precision) AS precision_max
    FROM moved, LATERAL (VALUES (source, 0, posted, 0, held), (destination, posted, 0, held, 0))
        AS side (balance_id, credit, debit, inflight_credit, inflight_debit)
    GROUP BY side.balance_id
)"""

BALANCES = Comparison(
    "balances",
    "balance_mismatch",
    "balances",
    _MOVED,
    "coalesce('bln_' || coalesce(kept.balance_id, journal.balance_id), '(no balance)')",
    {"balance_id": "journal.balance_id"},
    "kept.balance_id = journal.balance_id",
    "journal.balance_id IS NOT NULL",
    (
        column("credit_balance", "coalesce(journal.credit_balance, 0)"),
        column("debit_balance", "coalesce(journal.debit_balance, 0)"),
        column("inflight_credit_balance", "coalesce(journal.inflight_credit_balance, 0)"),
        column("inflight_debit_balance", "coalesce(journal.inflight_debit_balance, 0)"),
        column("version", "coalesce(journal.version, 0)"),
        Column(
            "currency",
            "kept.currency",
            "CASE WHEN journal.balance_id IS NULL THEN kept.currency ELSE journal.currency END",
        ),
        Column(
            "precision",
            "kept.precision",
            "CASE WHEN kept.precision BETWEEN journal.precision_min AND journal.precision_max "
            "THEN kept.precision ELSE journal.precision_min END",
        ),
    ),
    "does not exist, but the journal moves its money",
    can_insert=False,
)

_DEFERRED = f"""
WITH actions AS (
    SELECT parent_transaction AS transaction_id,
        coalesce(sum(precise_amount) FILTER (WHERE kind = 'commit'), 0) AS committed,
        coalesce(sum(precise_amount) FILTER (WHERE kind = 'void'), 0) AS voided,
        count(*) FILTER (WHERE kind = 'commit') AS commits
    FROM transactions
    WHERE parent_transaction IS NOT NULL AND kind IN ('commit', 'void') AND parts IS NULL
        AND status <> 'REJECTED'
    GROUP BY parent_transaction
), roots AS (
    SELECT transaction_id AS leg_of, parent_transaction AS bulk
    FROM transactions WHERE kind = 'transaction' AND parts IS NOT NULL AND status = 'INFLIGHT'
), held AS (
    SELECT transaction_id, source, destination, currency, precision, precise_amount AS amount,
        CASE WHEN {is_bulk_sql("parent_transaction")} THEN NULL ELSE parent_transaction END
            AS leg_of,
        CASE WHEN {is_bulk_sql("parent_transaction")} THEN parent_transaction ELSE roots.bulk END
            AS bulk,
        inflight_expiry_date, inflight_commit_date
    FROM transactions LEFT JOIN roots ON roots.leg_of = parent_transaction
    WHERE kind = 'transaction' AND status = 'INFLIGHT' AND parts IS NULL
), journal AS (
    SELECT coalesce(held.transaction_id, actions.transaction_id) AS transaction_id,
        source, destination, currency, precision, amount, leg_of, bulk, inflight_expiry_date,
        inflight_commit_date, coalesce(committed, 0) AS committed, coalesce(voided, 0) AS voided,
        coalesce(commits, 0) AS commits
    FROM held FULL JOIN actions ON held.transaction_id = actions.transaction_id
)"""

HOLDS = Comparison(
    "holds",
    "hold_mismatch",
    "holds",
    _DEFERRED,
    "'txn_' || coalesce(kept.transaction_id, journal.transaction_id)",
    {"transaction_id": "journal.transaction_id"},
    "kept.transaction_id = journal.transaction_id",
    "journal.amount IS NOT NULL",
    tuple(
        column(name)
        for name in (
            "source",
            "destination",
            "currency",
            "precision",
            "amount",
            "committed",
            "voided",
            "commits",
            "leg_of",
            "bulk",
            "inflight_expiry_date",
            "inflight_commit_date",
        )
    ),
    "the journal has this hold, but its state is missing",
    "the journal has no such hold",
)

_OVERDRAWN_HOLDS = """
SELECT count(*) OVER () AS found, 'txn_' || transaction_id AS place, amount, committed, voided
FROM holds WHERE committed < 0 OR voided < 0 OR amount < committed + voided
ORDER BY place LIMIT :shown
"""

_CURRENCIES = """
WITH sums AS (
    SELECT currency AS place, sum(credit_balance) AS credits, sum(debit_balance) AS debits,
        sum(inflight_credit_balance) AS inflight_credits,
        sum(inflight_debit_balance) AS inflight_debits
    FROM balances GROUP BY currency
)
SELECT count(*) OVER () AS found, * FROM sums
WHERE credits <> debits OR inflight_credits <> inflight_debits
ORDER BY place LIMIT :shown
"""

_INFLIGHT = """
WITH open_holds AS (
    SELECT currency, sum(amount - committed - voided) AS held FROM holds GROUP BY currency
), reserved AS (
    SELECT currency, sum(inflight_debit_balance) AS held FROM balances GROUP BY currency
)
SELECT count(*) OVER () AS found, currency AS place, coalesce(open_holds.held, 0) AS open,
    coalesce(reserved.held, 0) AS reserved
FROM open_holds FULL JOIN reserved USING (currency)
WHERE coalesce(open_holds.held, 0) <> coalesce(reserved.held, 0)
ORDER BY place LIMIT :shown
"""

_IDS = f"""
WITH used AS (
    SELECT transaction_id, count(*) AS times FROM transactions
    GROUP BY transaction_id HAVING count(*) > 1
)
SELECT count(*) OVER () AS found, {request_id_sql("transaction_id")} AS place, times FROM used
ORDER BY place LIMIT :shown
"""

COMPARISONS = (*FACTS, BALANCES, HOLDS, SCHEDULES, REFERENCES, SNAPSHOTS, SNAPSHOT_COUNTS)
"""Every table that is derived from the journal, in the order in which ``rebuild`` mends them."""

SUM_CHECKS = (
    *(comparison.check for comparison in COMPARISONS),
    *PART_CHECKS,
    *MARK_CHECKS,
    SumCheck(
        "held amounts",
        "hold_overdrawn",
        _OVERDRAWN_HOLDS,
        lambda row: (
            f"committed {row['committed']} and voided {row['voided']} of {row['amount']} held"
        ),
    ),
    SumCheck(
        "currencies",
        "currency_unbalanced",
        _CURRENCIES,
        lambda row: (
            f"credits are {row['credits']}, debits {row['debits']}; inflight credits "
            f"{row['inflight_credits']}, inflight debits {row['inflight_debits']}"
        ),
    ),
    SumCheck(
        "open holds",
        "inflight_unbalanced",
        _INFLIGHT,
        lambda row: (
            f"{row['open']} is held by open holds, {row['reserved']} is reserved on balances"
        ),
    ),
    REFERENCE_TWICE,
    SumCheck("ids", "id_twice", _IDS, lambda row: f"is recorded {row['times']} times"),
)
