"""Statements: the records that moved a balance, in the order in which they took effect.

How they are found by effective date is told in ``store.read.history``.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from daybook.ledger.money import amount_text
from daybook.store.read.history import SIDES, Figures, Span, arm, arms, figures_at
from daybook.store.read.queries import find_balance, stored_id
from daybook.store.read.records import PLACE
from daybook.store.read.rows import check_span
from daybook.store.read.views import BalanceView, View

LAST_MAX = 10_000
"""Most lines that a statement of the last lines has: they are read backwards, into memory."""

ROWS_READ_AT_ONCE = 2_000

_INSTANT = timedelta(microseconds=1)

_COLUMNS = (
    "effective_date, position, sequence, partition, transaction_id, kind, reference, description, "
    "currency, "
)
_SHOWN = """
SELECT timezone('UTC', effective_date) AS effective_date, position, sequence, partition,
    transaction_id, kind, reference, description, credit, debit, other,
    (SELECT indicator FROM balances WHERE balance_id = other) AS other_indicator,
    (SELECT meta_data ->> 'external_id' FROM balances WHERE balance_id = other) AS other_external_id
FROM {arms} AS transactions ORDER BY {order}
"""
_BY_POSITION = ", ".join(f"transactions.{name} {{way}}" for name in PLACE)
_BY_DATE = "transactions.effective_date {way}, " + _BY_POSITION
_FORWARDS = tuple(
    text(_SHOWN.format(arms=arm(way, side, columns=_COLUMNS), order=order.format(way="ASC")))
    for way, order in (("undated", _BY_POSITION), ("dated", _BY_DATE))
    for side in SIDES
)
"""Streams that an index has in order already: little is sorted, whatever the length."""

_START_SOON = text("SET LOCAL cursor_tuple_fraction = 0.0001")
"""Rather walk an index than sort everything first: the time-out is that of one slice of rows."""

_BACKWARDS = text(
    _SHOWN.format(
        arms="("
        + "\nUNION ALL\n".join(
            arms(way, columns=_COLUMNS, end=f"ORDER BY {order.format(way='DESC')} LIMIT :last")
            for way, order in (("undated", _BY_POSITION), ("dated", _BY_DATE))
        )
        + ")",
        order=_BY_DATE.format(way="DESC") + " LIMIT :last",
    )
)


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
    check_span(since, until)
    view = find_balance(connection, balance_id)
    if view is None:
        return None
    after = None if since is None else _just_before(since)
    span = Span(stored_id(balance_id), after, until)
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


def _in_order(connection: Connection, span: Span) -> Iterator[Row[Any]]:
    """The records of a span by date and place, read through the server's cursors."""
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
            *streams,
            key=lambda row: (row.effective_date, row.position, row.sequence, row.partition),
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
