"""``daybook.Reader``: what the ledger knows, from Python, as the command line shows it.

It needs the database and nothing else, with a role that may only read (``daybook_reader``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from sqlalchemy import Connection

from daybook.errors import NotFound
from daybook.settings import Settings, read_settings
from daybook.store.engine import make_engine
from daybook.store.read import history, queries
from daybook.store.read.history import BalanceAtView
from daybook.store.read.named import find_named_balance
from daybook.store.read.rows import bad_value
from daybook.store.read.statements import Statement, StatementView, open_statement
from daybook.store.read.tail import Cursor, records_after
from daybook.store.read.transactions import Filters
from daybook.store.read.trial_balance import TrialBalanceView, trial_balance
from daybook.store.read.views import (
    BalanceView,
    ChangeView,
    IdentityView,
    LedgerView,
    OpenHoldView,
    RejectionView,
    ScheduleView,
    TransactionView,
)

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Reads the ledger, from any thread of one process.

    database_url: by default DAYBOOK_DATABASE_URL, or the instance that ``daybook up`` runs.
    settings: by default from the environment. Each call sees one instant. All raise
    StoreUnavailable, SchemaOutdated, and MalformedRequest for a value that can't be looked for.

    >>> with Reader() as reader:  # doctest: +SKIP
    ...     reader.balance("@World", currency="USD").balance
    """

    def __init__(self, database_url: str | None = None, *, settings: Settings | None = None):
        settings = settings or read_settings()
        url = database_url or settings.require_database_url()
        self._engine = make_engine(url, settings, "daybook reader")
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; every call after that is a RuntimeError."""
        self._is_closed = True
        self._engine.dispose()

    @contextmanager
    def _reading(self, **moments: object) -> Iterator[Connection]:
        """One instant of the ledger. moments: what a call was given, by the argument's name."""
        if self._is_closed:
            raise RuntimeError("the reader is closed: make another one")
        for name, moment in moments.items():
            if moment is not None and not (isinstance(moment, datetime) and moment.tzinfo):
                raise bad_value(name, f"{moment} is no datetime with a zone: give it its tzinfo")
        with queries.reading(self._engine) as connection:
            yield connection

    def ledgers(self, *, after: str | None = None, limit: int = 100) -> list[LedgerView]:
        """Ledgers by id, from the one behind ``after``."""
        with self._reading() as connection:
            return queries.list_ledgers(connection, after=after, limit=limit)

    def balances(
        self,
        *,
        ledger_id: str | None = None,
        currency: str | None = None,
        indicator: str | None = None,
        external_id: str | None = None,
        identity_id: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[BalanceView]:
        """Balances by id that fit all filters, from the one behind ``after``."""
        with self._reading() as connection:
            return queries.list_balances(
                connection,
                ledger_id=ledger_id,
                currency=currency,
                indicator=indicator,
                external_id=external_id,
                identity_id=identity_id,
                after=after,
                limit=limit,
            )

    def balance(self, name: str, *, currency: str | None = None) -> BalanceView:
        """One balance: by its id, as ``@Name`` with its currency, or by its external_id.

        Raises NotFound; MalformedRequest when several have that external_id.
        """
        with self._reading() as connection:
            return find_named_balance(connection, name, currency)

    def balance_at(
        self, name: str, at: datetime, *, currency: str | None = None, from_journal: bool = False
    ) -> BalanceAtView:
        """What a balance stood at by effective date. at: with a zone.

        from_journal: summed up from the journal alone. Raises like ``balance``.
        """
        with self._reading(at=at) as connection:
            balance_id = find_named_balance(connection, name, currency).balance_id
            found = history.balance_at(connection, balance_id, at, from_journal=from_journal)
            assert found is not None
            return found

    def statement(
        self,
        name: str,
        *,
        currency: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int = 100,
    ) -> StatementView:
        """The last lines of a statement, 10,000 at most, with what it opens and closes at.

        since, until: with a zone, both included. Raises like ``balance``.
        """
        with self.stream_statement(
            name, currency=currency, since=since, until=until, last=last
        ) as found:
            return found.read()

    @contextmanager
    def stream_statement(
        self,
        name: str,
        *,
        currency: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
    ) -> Iterator[Statement]:
        """A statement of any length, whose lines are read while the block lasts."""
        with self._reading(since=since, until=until) as connection:
            balance_id = find_named_balance(connection, name, currency).balance_id
            found = open_statement(connection, balance_id, since=since, until=until, last=last)
            assert found is not None
            yield found

    def trial_balance(
        self, *, at: datetime | None = None, prefix: str | None = None, limit: int = 1_000
    ) -> TrialBalanceView:
        """All balances at a moment, and their sums by currency, ledger and prefix."""
        with self._reading(at=at) as connection:
            return trial_balance(connection, at=at, prefix=prefix, limit=limit)

    def transactions(
        self, *, limit: int = 100, **filters: Unpack[Filters]
    ) -> list[TransactionView]:
        """The newest records that fit all filters: see ``daybook transactions``."""
        with self._reading(since=filters.get("since"), until=filters.get("until")) as connection:
            return queries.list_transactions(connection, limit=limit, **filters)

    def transaction(
        self, *, reference: str | None = None, id: str | None = None
    ) -> TransactionView | RejectionView:
        """A transaction in full, by its reference or its id: one of the two. Raises NotFound."""
        if (reference is None) == (id is None):
            raise TypeError("say what it is: give reference=… or id=…, one of them")
        with self._reading() as connection:
            found = queries.find_transaction(connection, reference=reference, id=id)
        if found is None:
            raise NotFound(f"the ledger has no transaction {reference or id}; it may be queued")
        return found

    def records_after(self, cursor: Cursor, *, limit: int = 100) -> list[TransactionView]:
        """The next records behind a cursor, the sequence last seen of each partition.

        ``{}`` is the start. Every record has its ``partition`` and ``sequence``; none is skipped:
        a cursor ahead of the journal, as after a restore, is a MalformedRequest.
        """
        with self._reading() as connection:
            return records_after(connection, cursor, limit=limit)

    def schedules(
        self, *, due_before: datetime | None = None, limit: int = 100
    ) -> list[ScheduleView]:
        """Transactions that wait for their time, the next one first."""
        with self._reading(due_before=due_before) as connection:
            return queries.list_schedules(connection, due_before=due_before, limit=limit)

    def holds(self, *, due_before: datetime | None = None, limit: int = 100) -> list[OpenHoldView]:
        """Open holds: those with a date first, the next one first."""
        with self._reading(due_before=due_before) as connection:
            return queries.list_holds(connection, due_before=due_before, limit=limit)

    def identities(self, *, after: str | None = None, limit: int = 100) -> list[IdentityView]:
        """Identities by id, from the one behind ``after``."""
        with self._reading() as connection:
            return queries.list_identities(connection, after=after, limit=limit)

    def identity(self, identity_id: str) -> IdentityView:
        """One identity. Raises NotFound."""
        with self._reading() as connection:
            found = queries.find_identity(connection, identity_id)
        if found is None:
            raise NotFound(f"there is no identity {identity_id}")
        return found

    def changes(self, subject: str, *, limit: int = 100) -> list[ChangeView]:
        """How a thing became what it is, newest first. subject: its id."""
        with self._reading() as connection:
            return queries.list_changes(connection, subject, limit=limit)


def _awaited(
    method: Callable[Concatenate[Reader, P], T],
) -> Callable[Concatenate[AsyncReader, P], Coroutine[Any, Any, T]]:
    """A method of ``Reader`` in a thread, so that the event loop goes on."""

    @wraps(method)
    async def call(self: AsyncReader, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(method, self.reader, *args, **kwargs)

    return call


class AsyncReader:
    """``Reader`` for asyncio: the same calls, awaited."""

    def __init__(self, database_url: str | None = None, *, settings: Settings | None = None):
        self.reader = Reader(database_url, settings=settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    close = _awaited(Reader.close)
    ledgers = _awaited(Reader.ledgers)
    balances = _awaited(Reader.balances)
    balance = _awaited(Reader.balance)
    balance_at = _awaited(Reader.balance_at)
    statement = _awaited(Reader.statement)
    trial_balance = _awaited(Reader.trial_balance)
    transactions = _awaited(Reader.transactions)
    transaction = _awaited(Reader.transaction)
    records_after = _awaited(Reader.records_after)
    schedules = _awaited(Reader.schedules)
    holds = _awaited(Reader.holds)
    identities = _awaited(Reader.identities)
    identity = _awaited(Reader.identity)
    changes = _awaited(Reader.changes)
