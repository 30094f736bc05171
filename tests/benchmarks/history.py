"""A balance with a million rows: how long its statement and its past take to read."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from daybook.ledger.balance import internal_balance_id
from daybook.store.read import queries
from daybook.store.read.history import balance_at
from daybook.store.read.snapshots import take_snapshot
from daybook.store.read.statements import open_statement
from tests.harness import Installation

REPEATS = 5
BALANCE = internal_balance_id("@Busy", "USD")
OTHER = internal_balance_id("@Others", "USD")
DAYS = 730

_ROWS = """
INSERT INTO transactions (partition, sequence, transaction_id, kind, reference, derived, source,
    destination, currency, precision, precise_amount, status, description, allow_overdraft,
    position, effective_date, fingerprint, hash)
SELECT 0, number, gen_random_uuid(), 'transaction', 'past-' || number, false,
    CASE WHEN number %% 3 = 0 THEN %(balance)s::uuid ELSE %(other)s::uuid END,
    CASE WHEN number %% 3 = 0 THEN %(other)s::uuid ELSE %(balance)s::uuid END,
    'USD', 100, 1 + number %% 500, 'APPLIED', 'row ' || number, true, accepted_ms << 20,
    timestamptz '1970-01-01 00:00:00Z'
        + (CASE WHEN number %% %(dated_every)s = 0 THEN dated_ms ELSE accepted_ms END)
        * interval '1 millisecond',
    sha256(number::text::bytea), sha256(number::text::bytea)
FROM (
    SELECT number, %(first_ms)s::bigint + number * %(step_ms)s AS accepted_ms,
        %(first_ms)s::bigint + (number * 7919 %% %(rows)s) * %(step_ms)s - 86400000 AS dated_ms
    FROM generate_series(1::bigint, %(rows)s) AS number
) numbered
"""
_FIGURES = """
INSERT INTO balances (balance_id, ledger_id, currency, precision, indicator, credit_balance,
    debit_balance, version)
SELECT balance_id, 'general_ledger_id', 'USD', 100, name, sum(credit), sum(debit), count(*)
FROM (
    SELECT destination AS balance_id, precise_amount AS credit, 0 AS debit FROM transactions
    UNION ALL SELECT source, 0, precise_amount FROM transactions
) moved JOIN (VALUES (%(balance)s::uuid, '@Busy'), (%(other)s::uuid, '@Others')) AS named (id, name)
    ON named.id = balance_id
GROUP BY balance_id, name
"""


def fill(installation: Installation, rows: int, dated_every: int = 50) -> None:
    """Give one balance so many rows over two years, every so manieth with a date of its own."""
    step_ms = DAYS * 86_400_000 // rows
    parameters = {
        "balance": BALANCE[4:],
        "other": OTHER[4:],
        "rows": rows,
        "dated_every": dated_every,
        "step_ms": step_ms,
        "first_ms": int(time.time() * 1000) - rows * step_ms - 60_000,
    }
    with psycopg.connect(installation.owner_url, autocommit=True) as connection:
        connection.execute(_ROWS, parameters)
        connection.execute(_FIGURES, parameters)
        connection.execute("VACUUM ANALYZE transactions")


def history_times(installation: Installation, rows: int) -> dict[str, Any]:
    """Milliseconds of what is asked about a balance with so many rows.

    last 100: the statement of its last rows. month: of one month, two thirds back. at: what it
    stood at then, without a snapshot and with one. export: rows per second of a whole statement.
    """
    fill(installation, rows)
    now = datetime.now(UTC)
    then = now - timedelta(days=DAYS * 2 // 3)

    def statement(**span: Any) -> int:
        with queries.reading(installation.engine) as connection:
            found = open_statement(connection, BALANCE, **span)
            assert found is not None
            return sum(1 for _ in found)

    def at() -> None:
        with queries.reading(installation.engine) as connection:
            assert balance_at(connection, BALANCE, then) is not None

    report: dict[str, Any] = {
        "rows": rows,
        "last_100_ms": _median_ms(lambda: statement(last=100)),
        "last_100_then_ms": _median_ms(lambda: statement(until=then, last=100)),
        "at_ms": _median_ms(at),
    }
    started = time.perf_counter()
    assert statement() == rows
    report["export_per_second"] = rows / (time.perf_counter() - started)
    started = time.perf_counter()
    taken = take_snapshot(installation.engine, installation.log)
    report["snapshot_ms"] = (time.perf_counter() - started) * 1000
    assert taken is not None
    _keep_as_if_then(installation, then - timedelta(hours=20))
    report["at_with_snapshot_ms"] = _median_ms(at)
    report["last_100_then_with_snapshot_ms"] = _median_ms(lambda: statement(until=then, last=100))
    return report


def _keep_as_if_then(installation: Installation, moment: datetime) -> None:
    """The row that a snapshot of that day would have kept."""
    position = int(moment.timestamp() * 1000) << 20
    installation.rows(
        "INSERT INTO balance_snapshots SELECT %s::uuid, %s, %s, "
        "coalesce(sum(precise_amount) FILTER (WHERE destination = %s::uuid), 0), "
        "coalesce(sum(precise_amount) FILTER (WHERE source = %s::uuid), 0) "
        "FROM transactions WHERE position < %s AND effective_date <= %s",
        BALANCE[4:],
        moment,
        position,
        BALANCE[4:],
        BALANCE[4:],
        position,
        moment,
    )


def _median_ms(call: Callable[[], object]) -> float:
    samples = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        samples.append((time.perf_counter() - started) * 1000)
    return statistics.median(samples)
