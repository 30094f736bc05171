"""The read path: what the ledger knows, as views. Nothing here writes, or locks a row.

Every function takes a connection; faults of the driver are translated by whoever opened it
(``reading``). Lists are bounded by ``limit`` and continue ``after`` the last id of a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    Text,
    and_,
    cast,
    func,
    lateral,
    literal,
    or_,
    select,
    true,
    union_all,
)

from daybook.ledger.money import amount_text
from daybook.ledger.transaction import POSITION_COUNTER_BITS, Status
from daybook.requests import load_json
from daybook.store.engine import translated_faults
from daybook.store.schema import (
    balances,
    held_over,
    holds,
    ledgers,
    partitions,
    refusals,
    transactions,
)
from daybook.store.views import (
    BalanceView,
    HoldView,
    LedgerView,
    PartitionView,
    RefusalView,
    TransactionView,
)

LIMIT_MAX = 10_000
"""Most rows that one call returns."""


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection whose reads all see one instant, and which can't write.

    Raises StoreUnavailable, SchemaOutdated.
    """
    with (
        translated_faults(),
        engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ) as connection,
    ):
        yield connection


# Ledgers and balances


def list_ledgers(
    connection: Connection, *, after: str | None = None, limit: int = 100
) -> list[LedgerView]:
    """Ledgers by id, from the one behind ``after``."""
    query = _columns_of(ledgers).order_by(ledgers.c.ledger_id).limit(_bounded(limit))
    if after is not None:
        query = query.where(ledgers.c.ledger_id > after)
    return [_ledger(row) for row in connection.execute(query)]


def find_ledger(connection: Connection, ledger_id: str) -> LedgerView | None:
    """The ledger with this id."""
    row = connection.execute(_columns_of(ledgers).where(ledgers.c.ledger_id == ledger_id)).first()
    return _ledger(row) if row is not None else None


def list_balances(
    connection: Connection,
    *,
    ledger_id: str | None = None,
    currency: str | None = None,
    indicator: str | None = None,
    external_id: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[BalanceView]:
    """Balances by id that fit all filters, from the one behind ``after``.

    external_id: as kept in ``meta_data.external_id``.
    """
    wanted = {
        balances.c.ledger_id: ledger_id,
        balances.c.currency: currency,
        balances.c.indicator: indicator,
        balances.c.meta_data.op("->>")("external_id"): external_id,
    }
    query = _columns_of(balances).order_by(balances.c.balance_id).limit(_bounded(limit))
    query = query.where(*(column == value for column, value in wanted.items() if value is not None))
    if after is not None:
        query = query.where(balances.c.balance_id > stored_id(after))
    return [_balance(row) for row in connection.execute(query)]


def find_balance(connection: Connection, balance_id: str) -> BalanceView | None:
    """The balance with this id (``bln_…``)."""
    stored = stored_id(balance_id)
    if stored is None:
        return None
    row = connection.execute(_columns_of(balances).where(balances.c.balance_id == stored)).first()
    return _balance(row) if row is not None else None


# Transactions


def list_transactions(
    connection: Connection,
    *,
    balance_id: str | None = None,
    status: str | None = None,
    reference: str | None = None,
    since: datetime | None = None,
    parent: str | None = None,
    limit: int = 100,
) -> list[TransactionView]:
    """The newest records that fit all filters, newest acceptance first.

    since: accepted at this moment or later. parent: commits and voids of this hold.
    reference: the caller's, or one that the ledger derived. Without ``balance_id``, ``parent`` and
    ``reference`` they are the records that each partition wrote last.
    """
    limit = _bounded(limit)
    conditions: list[ColumnElement[bool]] = []
    if status is not None:
        conditions.append(transactions.c.status == status)
    if since is not None:
        first = int(since.timestamp() * 1000) << POSITION_COUNTER_BITS
        conditions.append(transactions.c.position >= first)
    if parent is not None:
        conditions.append(transactions.c.parent_transaction == stored_id(parent))
    if reference is not None:  # two partial indexes: each needs its own condition
        same = transactions.c.reference == reference
        conditions.append(
            or_(and_(same, ~transactions.c.derived), and_(same, transactions.c.derived))
        )
    if balance_id is not None:
        query = _newest_of_balance(stored_id(balance_id), conditions, limit)
    elif parent is not None or reference is not None:
        query = _columns_of(transactions).where(*conditions)
    else:
        query = _newest_of_partitions(conditions, limit)
    found = query.subquery()
    ordered = select(found).order_by(found.c.position.desc(), found.c.sequence.desc())
    return [_transaction(row) for row in connection.execute(ordered.limit(limit))]


def _newest_of_balance(
    balance_id: UUID | None, conditions: Sequence[ColumnElement[bool]], limit: int
) -> Any:
    """Each side has an index by (balance, position): read the newest of both."""
    sides = []
    for side in (transactions.c.source, transactions.c.destination):
        newest = (
            _columns_of(transactions)
            .where(side == balance_id, *conditions)
            .order_by(transactions.c.position.desc())
            .limit(limit)
        )
        sides.append(select(newest.subquery()))
    return union_all(*sides)


def _newest_of_partitions(conditions: Sequence[ColumnElement[bool]], limit: int) -> Select[Any]:
    """No index orders the whole journal by position, but each partition ends with its newest."""
    newest = lateral(
        _columns_of(transactions)
        .where(transactions.c.partition == partitions.c.partition, *conditions)
        .order_by(transactions.c.sequence.desc())
        .limit(limit)
    )
    return select(newest).select_from(partitions.join(newest, true()))


def find_transaction(
    connection: Connection, id_or_reference: str
) -> TransactionView | RefusalView | None:
    """The transaction with this id (``txn_…``) or reference, with the state of its hold.

    A caller's own reference comes before the labels that the ledger derives (``…_void``); what
    the journal cannot show is looked for among the refused requests.
    """
    ways: list[ColumnElement[bool]] = [
        and_(transactions.c.reference == id_or_reference, ~transactions.c.derived),
        and_(transactions.c.reference == id_or_reference, transactions.c.derived),
    ]
    stored = stored_id(id_or_reference) if id_or_reference.startswith("txn_") else None
    if stored is not None:
        ways.insert(0, transactions.c.transaction_id == stored)
    for way in ways:
        query = _columns_of(transactions).where(way).order_by(transactions.c.position.desc())
        row = connection.execute(query.limit(1)).first()
        if row is not None:
            view = _transaction(row)
            return replace(view, hold=find_hold(connection, view.transaction_id))
    return find_refusal(connection, id_or_reference)


def find_refusal(connection: Connection, id_or_reference: str) -> RefusalView | None:
    """The newest refused request with this id or reference that the journal cannot show."""
    for way in (
        and_(refusals.c.reference == id_or_reference, refusals.c.uses_reference),
        refusals.c.request_id == id_or_reference,
    ):
        query = select(refusals).where(way).order_by(refusals.c.position.desc()).limit(1)
        row = connection.execute(query).first()
        if row is not None:
            return _refusal(row)
    return None


def find_hold(connection: Connection, transaction_id: str) -> HoldView | None:
    """The state of the hold with this id; None when it is not a hold."""
    row = connection.execute(
        select(holds).where(holds.c.transaction_id == stored_id(transaction_id))
    ).first()
    if row is None:
        return None
    amount, committed, voided = int(row.amount), int(row.committed), int(row.voided)
    return HoldView(amount, committed, voided, amount - committed - voided, row.commits)


# Partitions


def list_partitions(connection: Connection) -> list[PartitionView]:
    """All partitions in order."""
    waiting = (
        select(
            held_over.c.partition,
            func.count().label("entries"),
            func.min(held_over.c.position).label("oldest"),
        )
        .group_by(held_over.c.partition)
        .subquery()
    )
    query = (
        select(partitions, waiting.c.entries, waiting.c.oldest)
        .outerjoin(waiting, waiting.c.partition == partitions.c.partition)
        .order_by(partitions.c.partition)
    )
    return [
        PartitionView(
            row.partition,
            row.cursor,
            row.sequence,
            bytes(row.head).hex(),
            row.entries or 0,
            row.oldest,
            row.applied_at,
        )
        for row in connection.execute(query)
    ]


# From rows to views


def stored_id(shown: str) -> UUID | None:
    """The uuid behind ``bln_<uuid>`` or ``txn_<uuid>``; None for what is no such id."""
    try:
        return UUID(shown.partition("_")[2])
    except ValueError:
        return None


def _columns_of(table: Any) -> Select[Any]:
    """All columns; JSON as text, since parsing must not round its numbers, and moments in UTC
    without zone, since the session's zone could push one out of Python's range."""
    columns: list[ColumnElement[Any]] = []
    for column in table.c:
        if column.name == "meta_data":
            columns.append(cast(column, Text).label(column.name))
        elif column.name in ("created_at", "effective_date"):
            columns.append(func.timezone(literal("UTC"), column).label(column.name))
        else:
            columns.append(column)
    return select(*columns)


def _bounded(limit: int) -> int:
    return max(1, min(limit, LIMIT_MAX))


def _moment(naive: datetime) -> datetime:
    return naive.replace(tzinfo=UTC)


def _meta_data(text: str | None) -> dict[str, Any]:
    return load_json(text) if text else {}


def _integer(value: Decimal | None) -> int | None:
    return None if value is None else int(value)


def _shown(prefix: str, stored: UUID | None) -> str | None:
    return None if stored is None else f"{prefix}_{stored}"


def _ledger(row: Row[Any]) -> LedgerView:
    return LedgerView(row.ledger_id, row.name, _moment(row.created_at), _meta_data(row.meta_data))


def _balance(row: Row[Any]) -> BalanceView:
    credit, debit = int(row.credit_balance), int(row.debit_balance)
    inflight_credit = int(row.inflight_credit_balance)
    inflight_debit = int(row.inflight_debit_balance)
    return BalanceView(
        f"bln_{row.balance_id}",
        row.ledger_id,
        row.currency,
        row.indicator,
        _integer(row.precision),
        credit - debit,
        credit,
        debit,
        inflight_credit - inflight_debit,
        inflight_credit,
        inflight_debit,
        credit - debit - inflight_debit,
        row.version,
        _moment(row.created_at),
        _meta_data(row.meta_data),
    )


def _transaction(row: Row[Any]) -> TransactionView:
    precise_amount, precision = _integer(row.precise_amount), _integer(row.precision)
    known = precise_amount is not None and precision is not None
    return TransactionView(
        f"txn_{row.transaction_id}",
        row.kind,
        row.reference,
        _shown("txn", row.parent_transaction),
        _shown("bln", row.source),
        _shown("bln", row.destination),
        row.currency,
        precision,
        amount_text(precise_amount, precision) if known else None,  # type: ignore[arg-type]
        precise_amount,
        row.status,
        row.reason,
        row.detail,
        row.description,
        row.allow_overdraft,
        row.overdraft_limit,
        _moment(row.created_at),
        _moment(row.effective_date),
        _meta_data(row.meta_data),
        row.partition,
        row.sequence,
        bytes(row.hash).hex(),
    )


def _refusal(row: Row[Any]) -> RefusalView:
    return RefusalView(
        row.request_id,
        row.reference,
        Status.REJECTED.value,
        row.reason,
        row.detail,
        row.created_at.astimezone(UTC),
        row.partition,
        bytes(row.body).decode(errors="backslashreplace"),
        row.traceback,
    )
