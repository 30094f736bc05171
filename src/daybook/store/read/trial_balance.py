"""The trial balance: what all balances stood at, and what that adds up to, from one statement.

Each balance is counted from what lies nearer to the moment, as in ``store.read.history``: from its
present figures backwards, or from its last snapshot before it, or from the beginning.
"""

# ruff: noqa: S608 - every part of these statements stands in this program

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from daybook.ledger.batch import POSITION_MAX
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.ledger.money import amount_text
from daybook.store.read.history import moved_since
from daybook.store.read.rows import bounded, check_indicator, first_position
from daybook.store.read.views import View
from daybook.store.scan import be_patient

STATEMENT_HOURS_MAX = 1
"""Most time for a trial balance: as long as it lasts, no row that it may need is cleaned up."""

_CHOSEN = "CAST(:prefix AS text) IS NULL OR starts_with(indicator, :prefix)"

_NAMED = """balance_id, ledger_id, currency, precision, indicator,
        meta_data ->> 'external_id' AS external_id,
        substr(indicator, length(coalesce(:prefix, '')) + 1) AS rest"""

_PRESENT_FIGURES = f"""
WITH counted AS (
    SELECT {_NAMED}, credit_balance AS credit, debit_balance AS debit FROM balances WHERE {_CHOSEN}
)"""

_FIGURES_AT = f"""
WITH base AS (
    SELECT balances.*, kept.credit_balance AS kept_credit, kept.debit_balance AS kept_debit,
        coalesce(kept.moment, '-infinity') AS kept_at, kept.position AS kept_position,
        least(kept.position, (floor(extract(epoch FROM kept.moment) * 1000)::bigint + 1)
            << {POSITION_COUNTER_BITS}) AS kept_low,
        now() - CAST(:at AS timestamptz)
            <= CAST(:at AS timestamptz) - coalesce(kept.moment, created_at) AS is_near
    FROM balances LEFT JOIN LATERAL (
        SELECT * FROM balance_snapshots
        WHERE balance_id = balances.balance_id AND moment <= CAST(:at AS timestamptz)
        ORDER BY moment DESC LIMIT 1
    ) kept ON true
    WHERE {_CHOSEN}
), span AS (
    SELECT base.*,
        CASE WHEN is_near THEN CAST(:at AS timestamptz) ELSE kept_at END AS after,
        CASE WHEN is_near THEN 'infinity' ELSE CAST(:at AS timestamptz) END AS until,
        CASE WHEN is_near THEN CAST(:high AS bigint) ELSE coalesce(kept_low, 0) END AS low,
        CASE WHEN is_near THEN {POSITION_MAX} ELSE CAST(:high AS bigint) END AS high,
        CASE WHEN is_near THEN {POSITION_MAX}
            ELSE coalesce(kept_position, {POSITION_MAX}) END AS late
    FROM base
), counted AS (
    SELECT {_NAMED},
        CASE WHEN is_near THEN credit_balance - moved.credit
            ELSE coalesce(kept_credit, 0) + moved.credit END AS credit,
        CASE WHEN is_near THEN debit_balance - moved.debit
            ELSE coalesce(kept_debit, 0) + moved.debit END AS debit
    FROM span, LATERAL (
        SELECT coalesce(sum(credit), 0) AS credit, coalesce(sum(debit), 0) AS debit
        FROM ({moved_since("span")}) records
    ) moved
)"""

_SUMS = """, figures AS MATERIALIZED (
    SELECT *, coalesce(:prefix, '') || split_part(rest, ':', 1)
            || CASE WHEN strpos(rest, ':') > 0 THEN ':' ELSE '' END AS beginning
    FROM counted WHERE credit <> 0 OR debit <> 0
)
SELECT 'currency' AS sort, NULL AS name, NULL AS ledger_id, NULL AS indicator, NULL AS external_id,
    currency, precision, count(*) AS balances, sum(credit) AS credit, sum(debit) AS debit
FROM figures GROUP BY currency, precision
UNION ALL
SELECT 'ledger', (SELECT name FROM ledgers WHERE ledgers.ledger_id = figures.ledger_id), ledger_id,
    NULL, NULL, currency, precision, count(*), sum(credit), sum(debit)
FROM figures GROUP BY ledger_id, currency, precision
UNION ALL
SELECT 'prefix', beginning, NULL, NULL, NULL, currency, precision, count(*), sum(credit), sum(debit)
FROM figures WHERE indicator IS NOT NULL GROUP BY beginning, currency, precision
UNION ALL
(SELECT 'balance', balance_id::text, ledger_id, indicator, external_id, currency, precision, 1,
    credit, debit
FROM figures ORDER BY indicator, balance_id LIMIT :limit)
ORDER BY sort, indicator, name, ledger_id, currency, precision
"""

_PRESENT = text(_PRESENT_FIGURES + _SUMS)
_AT = text(_FIGURES_AT + _SUMS)


@dataclass(frozen=True, slots=True)
class SumView(View):
    """What balances of one currency and precision add up to.

    name: of the ledger or the prefix that they share; None for all of a currency. ledger_id: of the
    ledger, whose name may be that of others. balances: how many have moved. balance: credit minus
    debit; of all balances in a currency zero, unless a prefix chooses.
    """

    name: str | None
    ledger_id: str | None
    currency: str
    precision: int
    balances: int
    balance: int
    credit_balance: int
    debit_balance: int
    balance_string: str


@dataclass(frozen=True, slots=True)
class TrialLine(View):
    """One balance of a trial balance."""

    balance_id: str
    ledger_id: str
    indicator: str | None
    external_id: str | None
    currency: str
    precision: int
    balance: int
    credit_balance: int
    debit_balance: int
    balance_string: str


@dataclass(frozen=True, slots=True)
class TrialBalanceView(View):
    """All balances at a moment that had moved by then; what was only held does not count.

    at: None for the present. prefix: only internal balances whose ``@Name`` begins with it.
    currencies, ledgers, prefixes: sums; a prefix is a name up to its next colon. balances: the
    first of ``balances_total``, internal ones by name, then the others by id.
    """

    at: datetime | None
    prefix: str | None
    balances_total: int
    currencies: tuple[SumView, ...]
    ledgers: tuple[SumView, ...]
    prefixes: tuple[SumView, ...]
    balances: tuple[TrialLine, ...]


def trial_balance(
    connection: Connection,
    *,
    at: datetime | None = None,
    prefix: str | None = None,
    limit: int = 1_000,
) -> TrialBalanceView:
    """What all balances stood at by effective date, and their sums; ``at`` None: all recorded.

    limit: balances that are listed; sums are of all. The moment must have a zone. Raises
    MalformedRequest for a prefix that no ``@Name`` begins with.
    """
    check_indicator("prefix", prefix)
    be_patient(connection, STATEMENT_HOURS_MAX)
    parameters: dict[str, Any] = {"prefix": prefix, "limit": bounded(limit)}
    if at is not None:
        parameters |= {"at": at.isoformat(), "high": first_position(at, after=True)}
    rows = connection.execute(_PRESENT if at is None else _AT, parameters).all()
    currencies = _sums(rows, "currency")
    return TrialBalanceView(
        None if at is None else at.astimezone(UTC),
        prefix,
        sum(view.balances for view in currencies),
        currencies,
        _sums(rows, "ledger"),
        _sums(rows, "prefix"),
        tuple(_line(row) for row in rows if row.sort == "balance"),
    )


def has_balance(connection: Connection, prefix: str | None) -> bool:
    """Whether there is any balance with this prefix, moved or not; None: always."""
    if prefix is None:
        return True
    query = text("SELECT EXISTS (SELECT FROM balances WHERE starts_with(indicator, :prefix))")
    return bool(connection.execute(query, {"prefix": prefix}).scalar())


def _sums(rows: list[Row[Any]] | Any, sort: str) -> tuple[SumView, ...]:
    return tuple(
        SumView(
            row.name,
            row.ledger_id,
            row.currency,
            int(row.precision),
            row.balances,
            *_figures(row),
        )
        for row in rows
        if row.sort == sort
    )


def _line(row: Row[Any]) -> TrialLine:
    return TrialLine(
        f"bln_{row.name}",
        row.ledger_id,
        row.indicator,
        row.external_id,
        row.currency,
        int(row.precision),
        *_figures(row),
    )


def _figures(row: Row[Any]) -> tuple[int, int, int, str]:
    credit, debit = int(row.credit), int(row.debit)
    return credit - debit, credit, debit, amount_text(credit - debit, int(row.precision))
