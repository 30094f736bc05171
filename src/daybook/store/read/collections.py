"""What can be asked about, in one table: the fields of each collection, and what they look like."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Text,
    and_,
    case,
    false,
    func,
    literal,
    or_,
    select,
    true,
)

from daybook.ledger.instructions import Kind
from daybook.ledger.record import Status
from daybook.store.read.conditions import (
    OPERATORS,
    Condition,
    Field,
    compared,
    flag_value,
    id_value,
    meta_value,
    moment_value,
    number_value,
    text_value,
    values_of,
    wrong,
)
from daybook.store.read.records import part_uuids, place_of, views_of
from daybook.store.read.rows import (
    account_view,
    balance_view,
    first_position,
    identity_view,
    ledger_view,
)
from daybook.store.read.transactions import has_reference
from daybook.store.schema import (
    accounts,
    balances,
    identities,
    ledgers,
    transaction_metadata,
    transactions,
)

_MOVING_KINDS = (Kind.TRANSACTION, Kind.COMMIT, Kind.VOID, Kind.REFUND, Kind.SCHEDULE)
"""Of records with one movement: neither a bulk, whose items are shown, nor a cancel."""

MOVING = and_(transactions.c.kind.in_(_MOVING_KINDS), transactions.c.parts.is_(None))
"""Holds for records that move money, or try to, themselves."""

_META_PATH = re.compile(r"meta_data\.([a-zA-Z][a-zA-Z0-9_]*)\Z")


class Collection(NamedTuple):
    """What can be asked about.

    key: the field of its ids. place: by what it is ordered, the oldest first. views: from rows to
    what is shown. base: what always holds.
    """

    table: Any
    key: str
    place: Sequence[ColumnElement[Any]]
    fields: dict[str, Field]
    meta_data: Callable[[str], ColumnElement[Any]]
    views: Callable[[Connection, Sequence[Any]], list[Any]]
    base: ColumnElement[bool]


def field_of(collection: Collection, name: str) -> Field:
    """A field of a collection. Raises MalformedRequest."""
    field = collection.fields.get(name)
    if field is not None:
        return field
    path = _META_PATH.match(name)
    if path is None:
        raise wrong(name[:64], f"is none of {', '.join((*collection.fields, 'meta_data.KEY'))}")
    return Field(collection.meta_data(path[1]), meta_value)


def condition_on(
    connection: Connection, collection: Collection, asked: Condition
) -> ColumnElement[bool]:
    """A condition on a collection. Raises MalformedRequest."""
    if asked.operator not in OPERATORS:
        raise wrong("operator", f"{asked.operator} is none of {', '.join(OPERATORS)}")
    name, operator = asked.field, asked.operator
    if collection.table is transactions:
        special = _SPECIAL.get(name)
        if special is not None and (operator == "eq" or name not in collection.fields):
            return special(connection, asked)
    return compared(asked, field_of(collection, name))


# Fields


def _plain(table: FromClause, *names: str) -> dict[str, Field]:
    return {name: Field(table.c[name], text_value) for name in names}


def _numbers(table: FromClause, *names: str) -> dict[str, Field]:
    return {name: Field(table.c[name], number_value) for name in names}


def _status_value(value: Any) -> ColumnElement[str]:
    """As a constant of the statement, so that the index of what is not applied is found."""
    text = text_value(value)
    return literal(text, literal_execute=text in set(Status))


_b, _t = balances.c, transactions.c
_AMOUNT = case((_t.precision > 0, _t.precise_amount / _t.precision))

_LEDGER_FIELDS = {
    **_plain(ledgers, "ledger_id", "name"),
    "created_at": Field(ledgers.c.created_at, moment_value),
}
_BALANCE_FIELDS = {
    "balance_id": Field(_b.balance_id, id_value, "bln_"),
    **_plain(balances, "ledger_id", "currency", "indicator"),
    "identity_id": Field(_b.identity_id, id_value, "idt_"),
    "balance": Field(_b.credit_balance - _b.debit_balance, number_value),
    "inflight_balance": Field(_b.inflight_credit_balance - _b.inflight_debit_balance, number_value),
    **_numbers(
        balances,
        "credit_balance",
        "debit_balance",
        "inflight_credit_balance",
        "inflight_debit_balance",
        "version",
        "precision",
    ),
    "created_at": Field(_b.created_at, moment_value),
}
_IDENTITY_FIELDS = {
    "identity_id": Field(identities.c.identity_id, id_value, "idt_"),
    **_plain(
        identities,
        *(
            each.name
            for each in identities.c
            if isinstance(each.type, Text) and each.name != "meta_data"
        ),
    ),
    "created_at": Field(identities.c.created_at, moment_value),
}
_ACCOUNT_FIELDS = {
    "account_id": Field(accounts.c.account_id, id_value, "acc_"),
    **_plain(accounts, "number", "bank_name", "name", "currency", "ledger_id"),
    "balance_id": Field(accounts.c.balance_id, id_value, "bln_"),
    "identity_id": Field(accounts.c.identity_id, id_value, "idt_"),
    "created_at": Field(accounts.c.created_at, moment_value),
}
_TRANSACTION_FIELDS = {
    "transaction_id": Field(_t.transaction_id, id_value, "txn_"),
    "parent_transaction": Field(_t.parent_transaction, id_value, "txn_"),
    "source": Field(_t.source, id_value, "bln_"),
    "destination": Field(_t.destination, id_value, "bln_"),
    "status": Field(_t.status, _status_value),
    **_plain(transactions, "reference", "currency", "description", "reason", "kind"),
    "amount": Field(_AMOUNT, number_value),
    **_numbers(transactions, "precise_amount", "precision"),
    "allow_overdraft": Field(_t.allow_overdraft, flag_value),
    **{
        name: Field(_t[name], moment_value)
        for name in (
            "created_at",
            "effective_date",
            "scheduled_for",
            "inflight_expiry_date",
            "inflight_commit_date",
        )
    },
}


def _meta_of_transaction(key: str) -> ColumnElement[Any]:
    """As it was merged later, or else as it was sent."""
    later = select(transaction_metadata.c.meta_data.op("->>")(key)).where(
        transaction_metadata.c.transaction_id == _t.transaction_id
    )
    return func.coalesce(later.scalar_subquery(), _t.meta_data.op("->>")(key))


def _things(
    table: Any, fields: dict[str, Field], view: Callable[[Any], Any], age: str = "position"
) -> Collection:
    """A table of things, each with an id of its own. age: the column by which they are ordered."""
    (key,) = table.primary_key.columns
    return Collection(
        table,
        key.name,
        (table.c[age], key),
        fields,
        lambda name: table.c.meta_data.op("->>")(name),
        lambda _, rows: [view(row) for row in rows],
        true(),
    )


COLLECTIONS: dict[str, Collection] = {
    "ledgers": _things(ledgers, _LEDGER_FIELDS, ledger_view),
    "balances": _things(balances, _BALANCE_FIELDS, balance_view),
    "identities": _things(identities, _IDENTITY_FIELDS, identity_view),
    "accounts": _things(accounts, _ACCOUNT_FIELDS, account_view, "created_at"),
    "transactions": Collection(
        transactions,
        "transaction_id",
        place_of(transactions),
        _TRANSACTION_FIELDS,
        _meta_of_transaction,
        views_of,
        MOVING,
    ),
}
"""What can be asked about. Of transactions those that move money, or try to; a request that
several records carry out is shown by these."""


# Transactions: virtual fields, and what an index finds


def _of_balance(connection: Connection, asked: Condition) -> ColumnElement[bool]:
    """With this balance on either side."""
    del connection
    field = Field(_t.source, id_value)
    ids = values_of(asked, field)
    if asked.operator not in ("eq", "in"):
        raise wrong(asked.field, f"can't be asked by {asked.operator}: use eq or in")
    return or_(_t.source.in_(ids), _t.destination.in_(ids))


def _of_indicator(connection: Connection, asked: Condition) -> ColumnElement[bool]:
    """With an internal balance of this name on either side, in whatever currency."""
    names = values_of(asked, Field(_b.indicator, text_value))
    if asked.operator not in ("eq", "in"):
        raise wrong(asked.field, f"can't be asked by {asked.operator}: use eq or in")
    found = select(_b.balance_id).where(_b.indicator.in_(names))
    ids = [row[0] for row in connection.execute(found)]
    return or_(_t.source.in_(ids), _t.destination.in_(ids)) if ids else false()


def _of_parent(connection: Connection, asked: Condition) -> ColumnElement[bool]:
    """What was done to a transaction, the legs of a request, the items of a bulk."""
    (stored,) = values_of(asked, _TRANSACTION_FIELDS["parent_transaction"])
    parts = connection.execute(select(_t.parts).where(_t.transaction_id == stored)).scalar() or 0
    ids = part_uuids(str(asked.values[0]), parts) if parts else []
    names_it = _t.parent_transaction == stored
    done = and_(names_it, _t.kind != Kind.TRANSACTION.value)
    return or_(done, _t.transaction_id.in_(ids)) if ids else done


def _of_reference(connection: Connection, asked: Condition) -> ColumnElement[bool]:
    """The caller's own, or one that the ledger derived: as an index finds it."""
    (reference,) = values_of(asked, Field(_t.reference, text_value))
    return has_reference(connection, reference)


def positions(asked: Condition) -> list[ColumnElement[bool]]:
    """What a condition on a moment says of the positions of records that were accepted then, at
    least. Raises MalformedRequest."""
    found: list[ColumnElement[bool]] = []
    values = values_of(asked, Field(_t.position, moment_value))
    if asked.operator in ("gt", "gte", "eq", "between"):
        found.append(_t.position >= first_position(values[0]))
    if asked.operator in ("lt", "lte", "eq", "between"):
        found.append(_t.position < first_position(values[-1], after=True))
    return found


_SPECIAL: dict[str, Callable[[Connection, Condition], ColumnElement[bool]]] = {
    "balance_id": _of_balance,
    "indicator": _of_indicator,
    "parent_transaction": _of_parent,
    "reference": _of_reference,
}
