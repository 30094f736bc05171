"""Questions by field, operator and value, over all things that there are and over transactions.

Which fields there are, and what their values look like, stands in one table for each collection;
nothing that was asked for ever becomes a part of a statement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    true,
)

from daybook.errors import FieldError
from daybook.ledger.instructions import Kind
from daybook.ledger.rejection import Reason
from daybook.requests.base import malformed
from daybook.requests.fields import check_moment, is_clean
from daybook.store.read.records import newest_first, part_uuids, views_of
from daybook.store.read.rows import (
    account_view,
    balance_view,
    columns_of,
    identity_view,
    ledger_view,
    stored_id,
)
from daybook.store.read.transactions import BOTH_SIDES, newest_of_balance
from daybook.store.schema import (
    accounts,
    balances,
    identities,
    ledgers,
    transaction_metadata,
    transactions,
)

CONDITIONS_MAX = 20
VALUES_MAX = 100
TEXT_LENGTH_MAX = 1_000
OFFSET_MAX = 1 << 31

_MOVING_KINDS = (Kind.TRANSACTION, Kind.COMMIT, Kind.VOID, Kind.REFUND, Kind.SCHEDULE)
"""Of records with one movement: neither a bulk, whose items are shown, nor a cancel."""

_META_PATH = re.compile(r"meta_data\.([a-zA-Z][a-zA-Z0-9_]*)\Z")

COMPARISONS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "eq": lambda column, value: column == value,
    "ne": lambda column, value: column.is_distinct_from(value),
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
}
PATTERNS = ("like", "ilike")
LISTS = ("in", "between")
NULLS = ("isnull", "isnotnull")
OPERATORS = (*COMPARISONS, *LISTS, *PATTERNS, *NULLS)


class Condition(NamedTuple):
    """A field, an operator of ``OPERATORS``, and the value or values that it is compared with."""

    field: str
    operator: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a collection. any_of: one condition is enough; else all must hold."""

    conditions: Sequence[Condition] = ()
    any_of: bool = False
    sort_by: str | None = None
    descending: bool = True
    limit: int = 20
    offset: int = 0


class Field(NamedTuple):
    """A field: its column, and from a value as it was given to one that is compared with it.

    parse raises ValueError, with what the value should look like. prefix: of ids, which are kept
    without theirs.
    """

    column: ColumnElement[Any]
    parse: Callable[[Any], Any]
    prefix: str = ""

    @property
    def text(self) -> ColumnElement[str]:
        """The column as it is shown, for patterns."""
        return literal(self.prefix, Text) + cast(self.column, Text)


class Collection(NamedTuple):
    """What can be asked about. view: from rows to what is shown. base: what always holds."""

    table: Any
    fields: dict[str, Field]
    meta_data: Callable[[str], ColumnElement[Any]]
    order: Callable[[Any], Sequence[ColumnElement[Any]]]
    views: Callable[[Connection, Sequence[Any]], list[Any]]
    base: ColumnElement[bool]


def find(connection: Connection, name: str, question: Question) -> list[Any]:
    """Views of what fits, a page of them. name: of ``COLLECTIONS``. Raises MalformedRequest."""
    collection = COLLECTIONS[name]
    fits = _fits(connection, collection, question)
    order = _order(collection, question)
    is_newest = name == "transactions" and not question.any_of and question.sort_by is None
    asked = _balance_asked(question) if is_newest else None
    if asked is None:
        query = columns_of(collection.table).where(collection.base, fits).order_by(*order)
    else:
        end, (balance_id, sides) = question.limit + question.offset, asked
        newest = newest_of_balance(balance_id, (collection.base, fits), end, sides).subquery()
        query = select(newest).order_by(*newest_first(newest))
    rows = connection.execute(query.limit(question.limit).offset(question.offset)).all()
    return collection.views(connection, rows)


def count(connection: Connection, name: str, question: Question) -> int:
    """How many fit. Raises MalformedRequest."""
    collection = COLLECTIONS[name]
    fits = _fits(connection, collection, question)
    query = select(func.count()).select_from(collection.table).where(collection.base, fits)
    return connection.execute(query).scalar_one()


def _fits(
    connection: Connection, collection: Collection, question: Question
) -> ColumnElement[bool]:
    if len(question.conditions) > CONDITIONS_MAX:
        raise _wrong("filters", f"are more than {CONDITIONS_MAX}")
    conditions = [_condition(connection, collection, each) for each in question.conditions]
    if question.any_of and conditions:
        return or_(*conditions)
    return and_(true(), *conditions)


def _condition(
    connection: Connection, collection: Collection, asked: Condition
) -> ColumnElement[bool]:
    if asked.operator not in OPERATORS:
        raise _wrong("operator", f"{asked.operator} is none of {', '.join(OPERATORS)}")
    name, operator = asked.field, asked.operator
    if collection.table is transactions:
        special = _SPECIAL.get(name)
        if special is not None and (operator == "eq" or name not in collection.fields):
            return special(connection, asked)
    field = _field(collection, name)
    if operator in NULLS:
        return field.column.is_(None) if operator == "isnull" else field.column.is_not(None)
    values = _values(asked, field)
    if operator == "in":
        return field.column.in_(values)
    if operator == "between":
        return field.column.between(*values)
    (value,) = values
    if operator in PATTERNS:
        return field.text.like(value) if operator == "like" else field.text.ilike(value)
    return COMPARISONS[operator](field.column, value)


def _field(collection: Collection, name: str) -> Field:
    field = collection.fields.get(name)
    if field is not None:
        return field
    path = _META_PATH.match(name)
    if path is None:
        raise _wrong(name[:64], f"is none of {', '.join((*collection.fields, 'meta_data.KEY'))}")
    return Field(collection.meta_data(path[1]), _meta_text)


def _values(asked: Condition, field: Field) -> list[Any]:
    """The values of a condition, as its column has them. Raises MalformedRequest."""
    given = asked.values
    if asked.operator == "in" and not 1 <= len(given) <= VALUES_MAX:
        raise _wrong(asked.field, f"has {len(given)} values for in; give 1 to {VALUES_MAX}")
    if asked.operator == "between" and len(given) != 2:
        raise _wrong(asked.field, f"has {len(given)} values for between; give 2")
    if asked.operator not in LISTS and len(given) != 1:
        raise _wrong(asked.field, f"has {len(given)} values for {asked.operator}; give one")
    parse = _text if asked.operator in PATTERNS else field.parse
    try:
        return [parse(value) for value in given]
    except ValueError as fault:
        raise _wrong(asked.field, str(fault)) from None


def _wrong(field: str, message: str) -> Exception:
    return malformed([FieldError(field, Reason.MALFORMED, message)])


# Values


def _text(value: Any) -> str:
    if not isinstance(value, str):
        value = str(value)
    if len(value) > TEXT_LENGTH_MAX:
        raise ValueError(f"is longer than {TEXT_LENGTH_MAX:,} characters")
    if not is_clean(value):
        raise ValueError("contains a NUL character or a lone surrogate")
    return str(value)


def _meta_text(value: Any) -> str:
    """A value of meta_data as the database compares it: as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value)


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError("must be a number")  # noqa: TRY004 - told as what is wrong with a value
    try:
        found = Decimal(value)
    except ArithmeticError:
        raise ValueError(f"{value} is not a number") from None
    if not found.is_finite() or abs(found.adjusted()) > 200:
        raise ValueError("is out of range")
    return found


def _flag(value: Any) -> bool:
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None:
        raise ValueError("must be true or false")
    return found


def _moment(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a date like 2026-04-22T15:28:03Z")  # noqa: TRY004 - the same
    try:
        return check_moment(value.replace(" ", "+")).astimezone(UTC)
    except ValueError:
        raise ValueError(f"{value} is not a date like 2026-04-22T15:28:03Z") from None


_NOBODY = "00000000-0000-0000-0000-000000000000"


def _id(value: Any) -> Any:
    """The uuid of an id; of what is none, one that nothing has."""
    return stored_id(_text(value)) or _NOBODY


# Fields


def _plain(table: FromClause, *names: str) -> dict[str, Field]:
    return {name: Field(table.c[name], _text) for name in names}


def _numbers(table: FromClause, *names: str) -> dict[str, Field]:
    return {name: Field(table.c[name], _number) for name in names}


_b, _t = balances.c, transactions.c
_AMOUNT = case((_t.precision > 0, _t.precise_amount / _t.precision))

_LEDGER_FIELDS = {
    **_plain(ledgers, "ledger_id", "name"),
    "created_at": Field(ledgers.c.created_at, _moment),
}
_BALANCE_FIELDS = {
    "balance_id": Field(_b.balance_id, _id, "bln_"),
    **_plain(balances, "ledger_id", "currency", "indicator"),
    "identity_id": Field(_b.identity_id, _id, "idt_"),
    "balance": Field(_b.credit_balance - _b.debit_balance, _number),
    "inflight_balance": Field(_b.inflight_credit_balance - _b.inflight_debit_balance, _number),
    **_numbers(
        balances,
        "credit_balance",
        "debit_balance",
        "inflight_credit_balance",
        "inflight_debit_balance",
        "version",
        "precision",
    ),
    "created_at": Field(_b.created_at, _moment),
}
_IDENTITY_FIELDS = {
    "identity_id": Field(identities.c.identity_id, _id, "idt_"),
    **_plain(
        identities,
        *(
            each.name
            for each in identities.c
            if isinstance(each.type, Text) and each.name != "meta_data"
        ),
    ),
    "created_at": Field(identities.c.created_at, _moment),
}
_ACCOUNT_FIELDS = {
    "account_id": Field(accounts.c.account_id, _id, "acc_"),
    **_plain(accounts, "number", "bank_name", "name", "currency", "ledger_id"),
    "balance_id": Field(accounts.c.balance_id, _id, "bln_"),
    "identity_id": Field(accounts.c.identity_id, _id, "idt_"),
    "created_at": Field(accounts.c.created_at, _moment),
}
_TRANSACTION_FIELDS = {
    "transaction_id": Field(_t.transaction_id, _id, "txn_"),
    "parent_transaction": Field(_t.parent_transaction, _id, "txn_"),
    "source": Field(_t.source, _id, "bln_"),
    "destination": Field(_t.destination, _id, "bln_"),
    **_plain(transactions, "reference", "currency", "status", "description", "reason", "kind"),
    "amount": Field(_AMOUNT, _number),
    **_numbers(transactions, "precise_amount", "precision"),
    "allow_overdraft": Field(_t.allow_overdraft, _flag),
    **{
        name: Field(_t[name], _moment)
        for name in (
            "created_at",
            "effective_date",
            "scheduled_for",
            "inflight_expiry_date",
            "inflight_commit_date",
        )
    },
}


def _meta_of(table: FromClause) -> Callable[[str], ColumnElement[Any]]:
    return lambda key: table.c.meta_data.op("->>")(key)


def _meta_of_transaction(key: str) -> ColumnElement[Any]:
    """As it was merged later, or else as it was sent."""
    later = select(transaction_metadata.c.meta_data.op("->>")(key)).where(
        transaction_metadata.c.transaction_id == _t.transaction_id
    )
    return func.coalesce(later.scalar_subquery(), _t.meta_data.op("->>")(key))


def _oldest_last(table: Any) -> Sequence[ColumnElement[Any]]:
    """The newest first; those of one moment by id."""
    (key,) = table.primary_key.columns
    return [table.c.position.desc(), key.desc()]


COLLECTIONS: dict[str, Collection] = {
    "ledgers": Collection(
        ledgers,
        _LEDGER_FIELDS,
        _meta_of(ledgers),
        _oldest_last,
        lambda _, rows: [ledger_view(row) for row in rows],
        true(),
    ),
    "balances": Collection(
        balances,
        _BALANCE_FIELDS,
        _meta_of(balances),
        _oldest_last,
        lambda _, rows: [balance_view(row) for row in rows],
        true(),
    ),
    "identities": Collection(
        identities,
        _IDENTITY_FIELDS,
        _meta_of(identities),
        _oldest_last,
        lambda _, rows: [identity_view(row) for row in rows],
        true(),
    ),
    "accounts": Collection(
        accounts,
        _ACCOUNT_FIELDS,
        _meta_of(accounts),
        lambda table: [table.c.created_at.desc(), table.c.account_id.desc()],
        lambda _, rows: [account_view(row) for row in rows],
        true(),
    ),
    "transactions": Collection(
        transactions,
        _TRANSACTION_FIELDS,
        _meta_of_transaction,
        newest_first,
        views_of,
        and_(_t.kind.in_(_MOVING_KINDS), _t.parts.is_(None)),
    ),
}
"""What can be asked about. Of transactions those that move money, or try to; a request that
several records carry out is shown by these."""


def _order(collection: Collection, question: Question) -> list[ColumnElement[Any]]:
    newest = list(collection.order(collection.table))
    if question.sort_by is None:
        return newest
    column = _field(collection, question.sort_by).column
    return [column.desc() if question.descending else column.asc(), *newest]


# Transactions: virtual fields, and what an index finds


def _of_balance(connection: Connection, asked: Condition) -> ColumnElement[bool]:
    """With this balance on either side."""
    del connection
    field = Field(_t.source, _id)
    ids = _values(asked, field)
    if asked.operator not in ("eq", "in"):
        raise _wrong(asked.field, f"can't be asked by {asked.operator}: use eq or in")
    return or_(_t.source.in_(ids), _t.destination.in_(ids))


def _of_indicator(connection: Connection, asked: Condition) -> ColumnElement[bool]:
    """With an internal balance of this name on either side, in whatever currency."""
    names = _values(asked, Field(_b.indicator, _text))
    if asked.operator not in ("eq", "in"):
        raise _wrong(asked.field, f"can't be asked by {asked.operator}: use eq or in")
    found = select(_b.balance_id).where(_b.indicator.in_(names))
    ids = [row[0] for row in connection.execute(found)]
    return or_(_t.source.in_(ids), _t.destination.in_(ids)) if ids else false()


def _of_parent(connection: Connection, asked: Condition) -> ColumnElement[bool]:
    """What was done to a transaction, the legs of a request, the items of a bulk."""
    (stored,) = _values(asked, _TRANSACTION_FIELDS["parent_transaction"])
    parts = connection.execute(select(_t.parts).where(_t.transaction_id == stored)).scalar() or 0
    ids = part_uuids(str(asked.values[0]), parts) if parts else []
    names_it = _t.parent_transaction == stored
    done = and_(names_it, _t.kind != Kind.TRANSACTION.value)
    return or_(done, _t.transaction_id.in_(ids)) if ids else done


_SPECIAL: dict[str, Callable[[Connection, Condition], ColumnElement[bool]]] = {
    "balance_id": _of_balance,
    "indicator": _of_indicator,
    "parent_transaction": _of_parent,
}


def _balance_asked(question: Question) -> tuple[Any, Sequence[ColumnElement[Any]]] | None:
    """The balance to which a question keeps, and on which sides: of its first such condition."""
    for field, operator, values in question.conditions:
        if operator == "eq" and len(values) == 1:
            value = stored_id(str(values[0])) or UUID(_NOBODY)
            if field == "balance_id":
                return value, BOTH_SIDES
            if field in ("source", "destination"):
                return value, (_t[field],)
    return None
