"""Figures at a time, and statements: what the journal says by effective date.

Nearly every record takes effect when it is accepted, so the index by position finds it; the few
that were dated back or forth have indexes of their own. Which of the two a record is found by is
decided by comparing its two dates, so each is counted once.

A snapshot may have been taken long after its moment, of a history that was brought in later: it
counts undated records up to its moment, and of the others those before its position.

What is asked for lies between a base, whose figures are known, and a time: the base is the present,
a snapshot, or the beginning. A snapshot counts what was accepted before its position and takes
effect up to its moment; what was accepted later for an earlier date is added when it is read.
"""

# ruff: noqa: S608 - every part of these statements stands in this program

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause, text

from daybook.ledger.batch import POSITION_MAX
from daybook.ledger.money import amount_text
from daybook.store.read.queries import find_balance, stored_id
from daybook.store.read.rows import first_position
from daybook.store.read.views import BalanceView, View

LAST_MAX = 10_000
"""Most lines that a statement of the last lines has: they are read backwards, into memory."""

ROWS_READ_AT_ONCE = 2_000

APPLIED = "kind IN ('transaction', 'commit', 'refund') AND status = 'APPLIED' AND parts IS NULL"
"""A record that has moved money, not only held it (ledger semantics, sections 5 and 10)."""

Base = Literal["present", "snapshot", "journal"]

_INSTANT = timedelta(microseconds=1)

_WAYS = {
    "undated": "effective_date = created_at AND position >= :low AND position < :high",
    "dated": "effective_date <> created_at "
    "AND effective_date > CAST(:after AS timestamptz) "
    "AND effective_date <= CAST(:until AS timestamptz)",
    "late": "effective_date <> created_at AND position >= :late "
    "AND effective_date <= CAST(:after AS timestamptz)",
}
"""How records are found: undated ones by position, dated ones by date; late: dated back behind the
base after it was kept."""

_SIDES = {
    "source": "0 AS credit, precise_amount AS debit, destination AS other",
    "destination": "precise_amount AS credit, 0 AS debit, source AS other",
}


def _arm(way: str, side: str, *, columns: str = "", end: str = "") -> str:
    """The records with :balance on this side that the way finds."""
    return (
        f"(SELECT {columns}{_SIDES[side]} FROM transactions "
        f"WHERE {side} = :balance AND {_WAYS[way]} AND {APPLIED} {end})"
    )


def _arms(*ways: str, columns: str = "", end: str = "") -> str:
    """The records of :balance that the ways find, on either side."""
    return "\nUNION ALL\n".join(
        _arm(way, side, columns=columns, end=end) for way in ways for side in _SIDES
    )


def moved_since(row: str) -> str:
    """The records of all ways, their parameters columns of ``row``: balance_id, after, until, low,
    high, and late, the position from which what is dated back behind ``after`` counts."""
    arms = _arms("undated", "dated", "late").replace(":balance", f"{row}.balance_id")
    for name in ("after", "until", "low", "high", "late"):
        arms = arms.replace(f":{name}", f"{row}.{name}")
    return arms


def _sum_of(*ways: str) -> TextClause:
    return text(
        "SELECT coalesce(sum(credit), 0) AS credit, coalesce(sum(debit), 0) AS debit "
        f"FROM ({_arms(*ways)}) moved"
    )


_SUM = _sum_of("undated", "dated")
_SUM_SINCE_SNAPSHOT = _sum_of("undated", "dated", "late")

_SNAPSHOT = text("""
SELECT timezone('UTC', moment) AS moment, position, credit_balance, debit_balance
FROM balance_snapshots WHERE balance_id = :balance AND moment <= CAST(:until AS timestamptz)
ORDER BY moment DESC LIMIT 1
""")

_ENDS = text(
    "SELECT timezone('UTC', min(moment)), timezone('UTC', max(moment)) FROM ("
    + " UNION ALL ".join(
        f"(SELECT {date} AS moment FROM transactions WHERE {side} = :balance {which} "
        f"ORDER BY {order} {way} LIMIT 1)"
        for side in _SIDES
        for date, order, which in (
            ("created_at", "position", "AND effective_date = created_at"),
            ("effective_date", "effective_date", "AND effective_date <> created_at"),
        )
        for way in ("ASC", "DESC")
    )
    + ") ends"
)
"""About the first and the last date of a balance: only to guess which base is nearer. Each arm
names the condition of a partial index, whose first or last row it is."""

_COLUMNS = (
    "effective_date, position, sequence, transaction_id, kind, reference, description, currency, "
)
_SHOWN = """
SELECT timezone('UTC', effective_date) AS effective_date, position, sequence, transaction_id, kind,
    reference, description, credit, debit, other,
    (SELECT indicator FROM balances WHERE balance_id = other) AS other_indicator,
    (SELECT meta_data ->> 'external_id' FROM balances WHERE balance_id = other) AS other_external_id
FROM {arms} AS transactions ORDER BY {order}
"""
_BY_POSITION = "transactions.position {way}, transactions.sequence {way}"
_BY_DATE = "transactions.effective_date {way}, " + _BY_POSITION
_FORWARDS = tuple(
    text(_SHOWN.format(arms=_arm(way, side, columns=_COLUMNS), order=order.format(way="ASC")))
    for way, order in (("undated", _BY_POSITION), ("dated", _BY_DATE))
    for side in _SIDES
)
"""Streams that an index has in order already: little is sorted, whatever the length."""

_START_SOON = text("SET LOCAL cursor_tuple_fraction = 0.0001")
"""Rather walk an index than sort everything first: the time-out is that of one slice of rows."""

_BACKWARDS = text(
    _SHOWN.format(
        arms="("
        + "\nUNION ALL\n".join(
            _arms(way, columns=_COLUMNS, end=f"ORDER BY {order.format(way='DESC')} LIMIT :last")
            for way, order in (("undated", _BY_POSITION), ("dated", _BY_DATE))
        )
        + ")",
        order=_BY_DATE.format(way="DESC") + " LIMIT :last",
    )
)


@dataclass(frozen=True, slots=True)
class BalanceAtView(View):
    """The figures of a balance at a time, by effective date; what was only held does not count.

    at: records that take effect at this moment or before it count. balance: credit minus debit.
    based_on: what was summed up from: the ``present`` figures backwards, a ``snapshot`` forwards,
    or the whole ``journal`` until then.
    """

    balance_id: str
    indicator: str | None
    currency: str
    precision: int | None
    at: datetime
    balance: int
    credit_balance: int
    debit_balance: int
    balance_string: str
    based_on: Base


@dataclass(frozen=True, slots=True)
class StatementLine(View):
    """One record on a statement, in minor units.

    debit, credit: one of them is zero. other, other_indicator, other_external_id: the balance on
    the other side, its ``@Name`` if it is an internal one, and what its meta_data says now.
    balance: after this record; balance_string: the same as exact decimal text in major units.
    """

    effective_date: datetime
    transaction_id: str
    kind: str
    reference: str
    description: str
    other: str
    other_indicator: str | None
    other_external_id: str | None
    debit: int
    credit: int
    balance: int
    balance_string: str


@dataclass(frozen=True, slots=True)
class StatementView(View):
    """Lines of a statement that were read, from ``opening`` to ``closing``, in minor units."""

    balance: BalanceView
    since: datetime | None
    until: datetime | None
    opening: int
    closing: int
    lines: tuple[StatementLine, ...]


class Statement:
    """What moved one balance in a span of time, in the order in which it took effect.

    balance: the balance as it is now. since, until: the span, both ends included; None: open.
    opening: the balance before the first line. Iterating (once, while its connection is open)
    yields the lines; ``closing`` is the balance after those that were read.
    """

    def __init__(
        self,
        balance: BalanceView,
        since: datetime | None,
        until: datetime | None,
        opening: int,
        rows: Iterable[Row[Any]],
    ) -> None:
        self.balance = balance
        self.since = since
        self.until = until
        self.opening = self.closing = opening
        self._rows = rows

    def __iter__(self) -> Iterator[StatementLine]:
        for row in self._rows:
            self.closing += int(row.credit) - int(row.debit)
            yield self._line(row)

    def read(self) -> StatementView:
        """All of its lines, which have to fit into memory."""
        lines = tuple(self)
        span = (self.balance, self.since, self.until)
        return StatementView(*span, self.opening, self.closing, lines)

    def major(self, figure: int) -> str:
        """A figure as exact decimal text in major units."""
        return amount_text(figure, self.balance.precision or 1)

    def _line(self, row: Row[Any]) -> StatementLine:
        return StatementLine(
            row.effective_date.replace(tzinfo=UTC),
            f"txn_{row.transaction_id}",
            row.kind,
            row.reference,
            row.description,
            f"bln_{row.other}",
            row.other_indicator,
            row.other_external_id,
            int(row.debit),
            int(row.credit),
            self.closing,
            self.major(self.closing),
        )


class Figures(NamedTuple):
    """Sums of credits and debits, and what they were counted from."""

    credit: int
    debit: int
    based_on: Base


class _Span(NamedTuple):
    """Records that take effect after ``after`` and not after ``until``; None: no end.

    low: of undated ones, the first position that counts; None: that of the first after ``after``.
    late: the position from which those count that are dated back behind ``after``.
    """

    balance: UUID | None
    after: datetime | None
    until: datetime | None
    low: int | None = None
    late: int = POSITION_MAX

    def parameters(self) -> dict[str, Any]:
        """The parameters of the statements above."""
        low = self.low
        if low is None:
            low = 0 if self.after is None else first_position(self.after, after=True)
        return {
            "balance": self.balance,
            "after": "-infinity" if self.after is None else self.after.isoformat(),
            "until": "infinity" if self.until is None else self.until.isoformat(),
            "low": low,
            "late": self.late,
            "high": POSITION_MAX if self.until is None else first_position(self.until, after=True),
        }


def balance_at(
    connection: Connection, balance_id: str, at: datetime, *, from_journal: bool = False
) -> BalanceAtView | None:
    """The figures of a balance at a time; None when there is no such balance.

    from_journal: believe nothing but the journal, and sum it up from the beginning. The time must
    have a zone.
    """
    view = find_balance(connection, balance_id)
    if view is None:
        return None
    found = figures_at(connection, view, at, from_journal=from_journal)
    balance = found.credit - found.debit
    return BalanceAtView(
        view.balance_id,
        view.indicator,
        view.currency,
        view.precision,
        at.astimezone(UTC),
        balance,
        found.credit,
        found.debit,
        amount_text(balance, view.precision or 1),
        found.based_on,
    )


def open_statement(
    connection: Connection,
    balance_id: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    last: int | None = None,
) -> Statement | None:
    """The statement of a balance from ``since`` to ``until``, both included; None without balance.

    last: only so many of its last lines, at most LAST_MAX. Other statements are streamed, whatever
    their length. Without ``until``, what is dated forward counts too.
    """
    view = find_balance(connection, balance_id)
    if view is None:
        return None
    after = None if since is None else _just_before(since)
    span = _Span(stored_id(balance_id), after, until)
    if last is None:
        opening = Figures(0, 0, "journal")
        if after is not None:
            opening = figures_at(connection, view, after)
        rows: Iterable[Row[Any]] = _in_order(connection, span)
        return Statement(view, since, until, opening.credit - opening.debit, rows)
    closing = figures_at(connection, view, until)
    newest = connection.execute(
        _BACKWARDS, {**span.parameters(), "last": max(0, min(last, LAST_MAX))}
    ).all()
    moved = sum(int(row.credit) - int(row.debit) for row in newest)
    opened = closing.credit - closing.debit - moved
    return Statement(view, since, until, opened, reversed(newest))


def figures_at(
    connection: Connection,
    view: BalanceView,
    at: datetime | None,
    *,
    from_journal: bool = False,
) -> Figures:
    """What a balance stands at by effective date; ``at`` None: with all that is recorded.

    view: the balance, read from the same snapshot of the database.
    """
    balance = stored_id(view.balance_id)
    if from_journal:
        return Figures(*_sums(connection, _SUM, _Span(balance, None, at)), "journal")
    if at is None:
        return Figures(view.credit_balance, view.debit_balance, "present")
    snapshot = connection.execute(
        _SNAPSHOT, {"balance": balance, "until": at.isoformat()}
    ).one_or_none()
    kept_at = snapshot.moment.replace(tzinfo=UTC) if snapshot else None
    if _is_nearer_to_present(connection, balance, at, kept_at):
        credit, debit = _sums(connection, _SUM, _Span(balance, at, None))
        return Figures(view.credit_balance - credit, view.debit_balance - debit, "present")
    if snapshot is None or kept_at is None:
        return Figures(*_sums(connection, _SUM, _Span(balance, None, at)), "journal")
    low = min(snapshot.position, first_position(kept_at, after=True))
    span = _Span(balance, kept_at, at, low, snapshot.position)
    credit, debit = _sums(connection, _SUM_SINCE_SNAPSHOT, span)
    return Figures(
        int(snapshot.credit_balance) + credit, int(snapshot.debit_balance) + debit, "snapshot"
    )


def _is_nearer_to_present(
    connection: Connection, balance: UUID | None, at: datetime, kept_at: datetime | None
) -> bool:
    """Whether less time lies between ``at`` and the last record than between it and the base."""
    ends = connection.execute(_ENDS, {"balance": balance}).one()
    if ends[0] is None:
        return True
    first, last = (moment.replace(tzinfo=UTC) for moment in ends)
    return bool(last - at <= at - (kept_at or first))


def _sums(connection: Connection, query: TextClause, span: _Span) -> tuple[int, int]:
    row = connection.execute(query, span.parameters()).one()
    return int(row.credit), int(row.debit)


def _in_order(connection: Connection, span: _Span) -> Iterator[Row[Any]]:
    """The records of a span by date, position and sequence, read through the server's cursors."""
    connection.execute(_START_SOON)
    streams = [
        connection.execute(
            query,
            span.parameters(),
            execution_options={"stream_results": True, "yield_per": ROWS_READ_AT_ONCE},
        )
        for query in _FORWARDS
    ]
    try:
        yield from heapq.merge(
            *streams, key=lambda row: (row.effective_date, row.position, row.sequence)
        )
    finally:
        for stream in streams:
            stream.close()


def _just_before(moment: datetime) -> datetime | None:
    """The instant before ``moment``; None before the first."""
    try:
        return moment - _INSTANT
    except OverflowError:
        return None
