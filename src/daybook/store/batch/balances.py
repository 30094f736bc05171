"""Balances: the figures that a decision looks at, and what a batch adds to them.

Their rows are locked last, in one global order, so that partitions overlap in everything but that
step and nothing deadlocks (design, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from daybook.ledger.balance import Balance
from daybook.ledger.book import Book
from daybook.ledger.entry import LogEntry
from daybook.ledger.instructions import movements
from daybook.ledger.money import FIGURE_MAX
from daybook.store.arrays import array_text
from daybook.store.batch.again import Stale

_UPDATE_BALANCES = f"""
UPDATE balances b SET
    credit_balance = b.credit_balance + d.credit,
    debit_balance = b.debit_balance + d.debit,
    version = b.version + d.touches,
    precision = coalesce(b.precision, d.precision)
FROM unnest(%s::uuid[], %s::numeric[], %s::bigint[], %s::numeric[], %s::numeric[])
    AS d (balance_id, precision, touches, credit, debit)
WHERE b.balance_id = d.balance_id AND (b.precision IS NULL OR b.precision = d.precision)
    AND b.credit_balance + b.inflight_credit_balance + d.credit <= {FIGURE_MAX}
    AND b.debit_balance + b.inflight_debit_balance + d.debit <= {FIGURE_MAX}
"""  # noqa: S608 - a number that stands in this program

_UPDATE_BALANCES_AND_INFLIGHT = f"""
UPDATE balances b SET
    credit_balance = b.credit_balance + d.credit,
    debit_balance = b.debit_balance + d.debit,
    inflight_credit_balance = b.inflight_credit_balance + d.inflight_credit,
    inflight_debit_balance = b.inflight_debit_balance + d.inflight_debit,
    version = b.version + d.touches,
    precision = coalesce(b.precision, d.precision)
FROM unnest(%s::uuid[], %s::numeric[], %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[],
    %s::numeric[])
    AS d (balance_id, precision, touches, credit, debit, inflight_credit, inflight_debit)
WHERE b.balance_id = d.balance_id AND (b.precision IS NULL OR b.precision = d.precision)
    AND b.credit_balance + b.inflight_credit_balance + d.credit + d.inflight_credit <= {FIGURE_MAX}
    AND b.debit_balance + b.inflight_debit_balance + d.debit + d.inflight_debit <= {FIGURE_MAX}
"""  # noqa: S608 - a number that stands in this program


def write_balances(cursor: psycopg.Cursor[Any], touched: Sequence[Balance]) -> None:
    """Add the sums of the batch to the touched balances, locking them in the global order.

    The order is that of the array: application balances by id, then internal ones by id. Worker
    sessions join by nested loops only (see ``store.engine``), so the update visits it in order.

    Raises Stale when a balance got another precision meanwhile, or is not there, or when a
    figure would become too long: who remembered the balance without its figures could not know.
    """
    if not touched:
        return
    ordered = sorted(touched, key=lambda b: (b.indicator is not None, b.balance_id))
    arrays = [
        array_text(b.balance_id[4:] for b in ordered),
        array_text(b.precision for b in ordered),
        array_text(b.touches for b in ordered),
        array_text(b.added_credit for b in ordered),
        array_text(b.added_debit for b in ordered),
    ]
    statement = _UPDATE_BALANCES
    if any(b.added_inflight_credit or b.added_inflight_debit for b in ordered):
        statement = _UPDATE_BALANCES_AND_INFLIGHT
        arrays.append(array_text(b.added_inflight_credit for b in ordered))
        arrays.append(array_text(b.added_inflight_debit for b in ordered))
    cursor.execute(statement, arrays)
    if cursor.rowcount != len(ordered):
        raise Stale("a balance got another precision, is full, or is gone")


_BALANCES = """
SELECT balance_id::text, ledger_id, currency, indicator, precision::text,
       credit_balance::text, debit_balance::text,
       inflight_credit_balance::text, inflight_debit_balance::text, fingerprint
FROM balances WHERE balance_id = ANY(%s::uuid[])
"""

KNOWN_BALANCES_MAX = 200_000
"""Balances whose unchanging facts a worker remembers."""

LARGE_AMOUNT = FIGURE_MAX // 10**40
"""From here on figures are read with the balance, to see whether they become too long. What is
smaller is seen when it is written (``write_balances``), and then everything is read."""


class KnownBalances:
    """What never changes about balances that were read before: ledger, currency, precision.

    Only debits that check funds need figures; for the rest these facts suffice, and a worker need
    not read a balance again. A database that was restored may have lost one of them: then the
    write finds it missing, and everything is forgotten.
    """

    def __init__(self) -> None:
        self._facts: dict[str, tuple[str, str, str | None, int]] = {}

    def remember(self, balance: Balance) -> None:
        """Remember a balance whose precision is fixed and whose figures are far from overflow."""
        longest = max(
            balance.credit + balance.inflight_credit, balance.debit + balance.inflight_debit
        )
        if balance.precision is None or longest >= LARGE_AMOUNT:
            self._facts.pop(balance.balance_id, None)
            return
        if len(self._facts) >= KNOWN_BALANCES_MAX:
            self._facts.clear()
        self._facts[balance.balance_id] = (
            balance.ledger_id,
            balance.currency,
            balance.indicator,
            balance.precision,
        )

    def recall(self, balance_id: str) -> Balance | None:
        """The balance without its figures, or None."""
        facts = self._facts.get(balance_id)
        return None if facts is None else Balance(balance_id, *facts)

    def forget(self) -> None:
        """Forget everything."""
        self._facts.clear()


def load_balances(
    cursor: psycopg.Cursor[Any],
    book: Book,
    entries: Sequence[LogEntry],
    read: Iterable[str],
    known: KnownBalances,
) -> None:
    """The balances of a batch, with figures where a decision looks at them.

    read: those whose figures it looks at beside the funds of sources.
    """
    wanted, named = _figures_wanted(entries).union(read), _named_balances(entries, book)
    for balance_id in named - wanted:
        balance = known.recall(balance_id)
        if balance is None:
            wanted.add(balance_id)
        else:
            book.balances[balance_id] = balance
    if not wanted:
        return
    cursor.execute(_BALANCES, (array_text(balance_id[4:] for balance_id in wanted),))
    for row in cursor:
        balance_id, ledger_id, currency, indicator, precision, *figures, fingerprint = row
        credit, debit, inflight_credit, inflight_debit = map(int, figures)
        balance = Balance(
            f"bln_{balance_id}",
            ledger_id,
            currency,
            indicator,
            None if precision is None else int(precision),
            credit,
            debit,
            inflight_credit,
            inflight_debit,
            fingerprint=fingerprint,
        )
        book.balances[balance.balance_id] = balance
        known.remember(balance)


def _figures_wanted(entries: Sequence[LogEntry]) -> set[str]:
    """Balances whose funds, or whose room for large amounts, a decision looks at."""
    wanted: set[str] = set()
    for entry in entries:
        for whole, leg in movements(entry.instruction):
            if whole.checks_funds:
                wanted.add(leg.source_id)
            if whole.precise_amount >= LARGE_AMOUNT:
                wanted.add(leg.source_id)
                wanted.add(leg.destination_id)
    return wanted


def _named_balances(entries: Sequence[LogEntry], book: Book) -> set[str]:
    named: set[str] = set()
    for entry in entries:
        for _, leg in movements(entry.instruction):
            named.add(leg.source_id)
            named.add(leg.destination_id)
    for hold in book.holds.values():
        named.add(hold.source_id)
        named.add(hold.destination_id)
    for original in book.originals.values():
        if original.source_id and original.destination_id:
            named.add(original.source_id)
            named.add(original.destination_id)
    return named
