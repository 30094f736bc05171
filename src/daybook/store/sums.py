"""The checks of ``verify`` that are sums: what the journal says, against what is kept beside it.

Each query returns only what is wrong: ``found``, how many there are in all, ``place``, and what
``explain`` needs; at most ``:shown`` rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class SumCheck(NamedTuple):
    """One check: its title, the code of its violations, its query, and how a row is explained."""

    title: str
    code: str
    query: str
    explain: Callable[[Mapping[Any, Any]], str]


def _differences(row: Mapping[Any, Any]) -> str:
    """``x is 5, the journal says 7`` for each column x that has a column journal_x."""
    if row["missing"]:
        return str(row["missing"])
    pairs = [(name, row[name], row[f"journal_{name}"]) for name in row if f"journal_{name}" in row]
    return "; ".join(
        f"{name} is {kept}, the journal says {journal}"
        for name, kept, journal in pairs
        if kept != journal
    )


# A record moves money on two sides. What each kind and status does to the figures: ledger
# semantics, section 2. Other combinations do not exist; they move nothing here, so that one which
# was smuggled in shows up as a difference.
_BALANCES = """
WITH moved AS (
    SELECT source, destination, currency, precision,
        CASE WHEN status = 'APPLIED' AND kind IN ('transaction', 'commit')
            THEN precise_amount ELSE 0 END AS posted,
        CASE WHEN status = 'INFLIGHT' AND kind = 'transaction' THEN precise_amount
            WHEN status = 'APPLIED' AND kind = 'commit' THEN -precise_amount
            WHEN status = 'VOID' AND kind = 'void' THEN -precise_amount
            ELSE 0 END AS held
    FROM transactions WHERE status <> 'REJECTED'
), sides AS (
    SELECT source AS balance_id, currency, precision, 0 AS credit, posted AS debit,
        0 AS inflight_credit, held AS inflight_debit FROM moved
    UNION ALL
    SELECT destination, currency, precision, posted, 0, held, 0 FROM moved
), journal AS (
    SELECT balance_id, sum(credit) AS credit_balance, sum(debit) AS debit_balance,
        sum(inflight_credit) AS inflight_credit_balance,
        sum(inflight_debit) AS inflight_debit_balance, count(*) AS version,
        CASE WHEN min(currency) = max(currency) THEN min(currency) END AS currency,
        min(precision) AS precision_min, max(precision) AS precision_max
    FROM sides GROUP BY balance_id
), compared AS (
    SELECT coalesce('bln_' || coalesce(kept.balance_id, journal.balance_id), '(no balance)')
            AS place,
        CASE WHEN kept.balance_id IS NULL
            THEN 'does not exist, but the journal moves its money' END AS missing,
        kept.credit_balance, coalesce(journal.credit_balance, 0) AS journal_credit_balance,
        kept.debit_balance, coalesce(journal.debit_balance, 0) AS journal_debit_balance,
        kept.inflight_credit_balance,
        coalesce(journal.inflight_credit_balance, 0) AS journal_inflight_credit_balance,
        kept.inflight_debit_balance,
        coalesce(journal.inflight_debit_balance, 0) AS journal_inflight_debit_balance,
        kept.version, coalesce(journal.version, 0) AS journal_version,
        kept.currency,
        CASE WHEN journal.balance_id IS NULL THEN kept.currency ELSE journal.currency END
            AS journal_currency,
        kept.precision,
        CASE WHEN kept.precision BETWEEN journal.precision_min AND journal.precision_max
            THEN kept.precision ELSE journal.precision_min END AS journal_precision
    FROM balances kept FULL JOIN journal ON kept.balance_id = journal.balance_id
)
SELECT count(*) OVER () AS found, * FROM compared
WHERE missing IS NOT NULL
    OR credit_balance <> journal_credit_balance OR debit_balance <> journal_debit_balance
    OR inflight_credit_balance <> journal_inflight_credit_balance
    OR inflight_debit_balance <> journal_inflight_debit_balance
    OR version <> journal_version OR currency IS DISTINCT FROM journal_currency
    OR precision IS DISTINCT FROM journal_precision
ORDER BY place LIMIT :shown
"""

_HOLDS = """
WITH actions AS (
    SELECT parent_transaction AS transaction_id,
        coalesce(sum(precise_amount) FILTER (WHERE kind = 'commit'), 0) AS committed,
        coalesce(sum(precise_amount) FILTER (WHERE kind = 'void'), 0) AS voided,
        count(*) FILTER (WHERE kind = 'commit') AS commits
    FROM transactions
    WHERE parent_transaction IS NOT NULL AND kind IN ('commit', 'void') AND status <> 'REJECTED'
    GROUP BY parent_transaction
), held AS (
    SELECT transaction_id, source, destination, currency, precision, precise_amount AS amount
    FROM transactions WHERE kind = 'transaction' AND status = 'INFLIGHT'
), compared AS (
    SELECT 'txn_' || coalesce(kept.transaction_id, held.transaction_id, actions.transaction_id)
            AS place,
        CASE WHEN held.transaction_id IS NULL THEN 'the journal has no such hold'
            WHEN kept.transaction_id IS NULL
                THEN 'the journal has this hold, but its state is missing' END AS missing,
        kept.amount, held.amount AS journal_amount,
        kept.committed, coalesce(actions.committed, 0) AS journal_committed,
        kept.voided, coalesce(actions.voided, 0) AS journal_voided,
        kept.commits, coalesce(actions.commits, 0) AS journal_commits,
        kept.source, held.source AS journal_source,
        kept.destination, held.destination AS journal_destination,
        kept.currency, held.currency AS journal_currency,
        kept.precision, held.precision AS journal_precision
    FROM holds kept
        FULL JOIN held ON kept.transaction_id = held.transaction_id
        FULL JOIN actions
            ON coalesce(kept.transaction_id, held.transaction_id) = actions.transaction_id
)
SELECT count(*) OVER () AS found, * FROM compared
WHERE missing IS NOT NULL OR amount <> journal_amount
    OR committed <> journal_committed OR voided <> journal_voided OR commits <> journal_commits
    OR source IS DISTINCT FROM journal_source OR destination IS DISTINCT FROM journal_destination
    OR currency <> journal_currency OR precision IS DISTINCT FROM journal_precision
ORDER BY place LIMIT :shown
"""

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

_TWICE = """
WITH used AS ({used})
SELECT count(*) OVER () AS found, place, count(*) AS times
FROM used GROUP BY place HAVING count(*) > 1
ORDER BY place LIMIT :shown
"""

_REFERENCES = _TWICE.format(
    used="SELECT reference AS place FROM transactions WHERE NOT derived "
    "UNION ALL SELECT reference FROM refusals WHERE uses_reference"
)
_IDS = _TWICE.format(used="SELECT 'txn_' || transaction_id AS place FROM transactions")

SUM_CHECKS = (
    SumCheck("balances", "balance_mismatch", _BALANCES, _differences),
    SumCheck("holds", "hold_mismatch", _HOLDS, _differences),
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
    SumCheck(
        "references", "reference_twice", _REFERENCES, lambda row: f"is used {row['times']} times"
    ),
    SumCheck("ids", "id_twice", _IDS, lambda row: f"is recorded {row['times']} times"),
)
