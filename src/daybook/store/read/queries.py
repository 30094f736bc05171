"""The read path: what the ledger knows, as views. Nothing here writes, or locks a row.

Every function takes a connection; faults of the driver are translated where it was opened
(``reading``). Lists are bounded by ``limit`` and continue ``after`` the last id of a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DataError

from daybook.store.engine import translated_faults
from daybook.store.read.due import count_dates, list_holds, list_schedules
from daybook.store.read.holds import find_hold
from daybook.store.read.recorded import (
    find_rejection,
    find_transaction,
)
from daybook.store.read.records import is_one_of
from daybook.store.read.rows import (
    EXTERNAL_ID,
    LIMIT_MAX,
    bad_value,
    balance_view,
    bounded,
    check_indicator,
    columns_of,
    given_id,
    identity_view,
    ledger_view,
    stored_id,
)
from daybook.store.read.transactions import Filters, list_changes, list_transactions
from daybook.store.read.views import BalanceView, IdentityView, LedgerView, PartitionView
from daybook.store.schema import balances, deferred_entries, identities, ledgers, partitions

__all__ = [
    "LIMIT_MAX",
    "Filters",
    "balances_by_id",
    "count_dates",
    "find_balance",
    "find_hold",
    "find_identity",
    "find_ledger",
    "find_rejection",
    "find_transaction",
    "list_balances",
    "list_changes",
    "list_holds",
    "list_identities",
    "list_ledgers",
    "list_partitions",
    "list_schedules",
    "list_transactions",
    "reading",
    "stored_id",
]


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection whose reads all see one instant, and which can't write.

    Raises StoreUnavailable, SchemaOutdated; MalformedRequest for a value that Postgres can't have.
    """
    with (
        translated_faults(),
        _refused_values(),
        engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ) as connection,
    ):
        yield connection


@contextmanager
def _refused_values() -> Iterator[None]:
    """What nobody checked before is bad input, and no fault of the server."""
    try:
        yield
    except DataError as fault:
        raise bad_value("value", f"can't be looked for: {fault.orig}") from fault
    except UnicodeEncodeError as fault:
        raise bad_value("value", "holds a lone surrogate; give valid Unicode") from fault


# Ledgers and balances


def list_ledgers(
    connection: Connection,
    *,
    name: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[LedgerView]:
    """Ledgers by id, from the one behind ``after``; those of one name, which may be several."""
    query = columns_of(ledgers).order_by(ledgers.c.ledger_id).limit(bounded(limit))
    if name is not None:
        query = query.where(ledgers.c.name == name)
    if after is not None:
        query = query.where(ledgers.c.ledger_id > after)
    return [ledger_view(row) for row in connection.execute(query)]


def find_ledger(connection: Connection, ledger_id: str) -> LedgerView | None:
    """The ledger with this id."""
    row = connection.execute(columns_of(ledgers).where(ledgers.c.ledger_id == ledger_id)).first()
    return ledger_view(row) if row is not None else None


def list_balances(
    connection: Connection,
    *,
    ledger_id: str | None = None,
    currency: str | None = None,
    indicator: str | None = None,
    external_id: str | None = None,
    identity_id: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[BalanceView]:
    """Balances by id that fit all filters, from the one behind ``after``.

    external_id: as kept in ``meta_data.external_id``. identity_id: of their owner. Raises
    MalformedRequest for an indicator without its @.
    """
    check_indicator("indicator", indicator)
    wanted = {
        balances.c.ledger_id: ledger_id,
        balances.c.currency: currency,
        balances.c.indicator: indicator,
        EXTERNAL_ID: external_id,
    }
    query = columns_of(balances).order_by(balances.c.balance_id).limit(bounded(limit))
    query = query.where(*(column == value for column, value in wanted.items() if value is not None))
    if identity_id is not None:
        query = query.where(balances.c.identity_id == given_id(identity_id, "identity_id"))
    if after is not None:
        query = query.where(balances.c.balance_id > given_id(after, "after"))
    return [balance_view(row) for row in connection.execute(query)]


def find_balance(connection: Connection, balance_id: str) -> BalanceView | None:
    """The balance with this id (``bln_…``)."""
    stored = stored_id(balance_id)
    if stored is None:
        return None
    row = connection.execute(columns_of(balances).where(balances.c.balance_id == stored)).first()
    return balance_view(row) if row is not None else None


def balances_by_id(connection: Connection, ids: Sequence[str]) -> dict[str, BalanceView]:
    """Those of these balances that there are, in one look."""
    stored = [one for one in map(stored_id, ids) if one is not None]
    query = columns_of(balances).where(is_one_of(balances.c.balance_id, stored))
    views = map(balance_view, connection.execute(query))
    return {view.balance_id: view for view in views}


# Identities


def list_identities(
    connection: Connection, *, after: str | None = None, limit: int = 100
) -> list[IdentityView]:
    """Identities by id, from the one behind ``after``."""
    query = columns_of(identities).order_by(identities.c.identity_id).limit(bounded(limit))
    if after is not None:
        query = query.where(identities.c.identity_id > given_id(after, "after"))
    return [identity_view(row) for row in connection.execute(query)]


def find_identity(connection: Connection, identity_id: str) -> IdentityView | None:
    """The identity with this id (``idt_…``)."""
    stored = stored_id(identity_id)
    query = columns_of(identities).where(identities.c.identity_id == stored)
    row = connection.execute(query).first()
    return identity_view(row) if row is not None else None


# Partitions


def list_partitions(connection: Connection) -> list[PartitionView]:
    """All partitions in order, closed ones too."""
    waiting = (
        select(
            deferred_entries.c.partition,
            func.count().label("entries"),
            func.min(deferred_entries.c.position).label("oldest"),
        )
        .group_by(deferred_entries.c.partition)
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
            row.partition >= row.total,
        )
        for row in connection.execute(query)
    ]
