"""Questions by field, operator and value, over all things that there are and over transactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, true, tuple_

from daybook.store.read.collections import (
    COLLECTIONS,
    Collection,
    condition_on,
    field_of,
    positions,
)
from daybook.store.read.conditions import NOBODY, Condition, wrong
from daybook.store.read.records import newest_first
from daybook.store.read.rows import columns_of, stored_id
from daybook.store.read.transactions import BOTH_SIDES, DATED, UNDATED, newest_of
from daybook.store.schema import transactions

CONDITIONS_MAX = 20
OFFSET_MAX = 1 << 31
BY_PLACE = (None, "created_at")
"""Orders that no insert disturbs: what is new has its place at the end."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a collection.

    any_of: one condition is enough; else all must hold. after: go on behind the thing with this id,
    the last of a page; in an order of ``BY_PLACE``.
    """

    conditions: Sequence[Condition] = ()
    any_of: bool = False
    sort_by: str | None = None
    descending: bool = True
    limit: int = 20
    offset: int = 0
    after: str | None = None

    @property
    def is_by_place(self) -> bool:
        """Whether it is asked for by age."""
        return self.sort_by in BY_PLACE


def find(connection: Connection, name: str, question: Question) -> list[Any]:
    """Views of what fits, a page of them. name: of ``COLLECTIONS``. Raises MalformedRequest."""
    collection = COLLECTIONS[name]
    conditions = [collection.base, _fits(connection, collection, question)]
    if question.after is not None:
        conditions.append(_behind(connection, collection, question, question.after))
    if name == "transactions" and question.is_by_place and question.descending:
        newest = _newest(conditions, question).subquery()
        query = select(newest).order_by(*newest_first(newest))
    else:
        order = _order(collection, question)
        query = columns_of(collection.table).where(*conditions).order_by(*order)
    rows = connection.execute(query.limit(question.limit).offset(question.offset)).all()
    return collection.views(connection, rows)


def count(connection: Connection, name: str, question: Question) -> int:
    """How many fit, on all pages. Raises MalformedRequest."""
    collection = COLLECTIONS[name]
    fits = _fits(connection, collection, question)
    query = select(func.count()).select_from(collection.table).where(collection.base, fits)
    return connection.execute(query).scalar_one()


def _fits(
    connection: Connection, collection: Collection, question: Question
) -> ColumnElement[bool]:
    if len(question.conditions) > CONDITIONS_MAX:
        raise wrong("filters", f"are more than {CONDITIONS_MAX}")
    conditions = [condition_on(connection, collection, each) for each in question.conditions]
    if question.any_of and conditions:
        return or_(*conditions)
    return and_(true(), *conditions)


def _behind(
    connection: Connection, collection: Collection, question: Question, after: str
) -> ColumnElement[bool]:
    """What a list shows behind a thing. Raises MalformedRequest when there is none."""
    if not question.is_by_place:
        text = "goes through the order of created_at: leave sort_by out, or page by offset"
        raise wrong("after", text)
    key = collection.fields[collection.key]
    known = select(*collection.place).where(key.column == key.parse(after))
    row = connection.execute(known).first()
    if row is None:
        raise wrong("after", f"there is no {after[:64]} among the {collection.table.name}")
    place, its = tuple_(*collection.place), tuple_(*row)
    return place < its if question.descending else place > its


def _order(collection: Collection, question: Question) -> list[ColumnElement[Any]]:
    newest: list[ColumnElement[Any]] = [column.desc() for column in collection.place]
    if question.is_by_place:
        return newest if question.descending else [column.asc() for column in collection.place]
    column = field_of(collection, question.sort_by or "").column
    return [column.desc() if question.descending else column.asc(), *newest]


def _newest(conditions: Sequence[ColumnElement[bool]], question: Question) -> Any:
    """The newest records that fit, up to the end of the page, and perhaps more."""
    asked = () if question.any_of else question.conditions
    accepted = [one for each in asked if each.field == "created_at" for one in positions(each)]
    dated = [one for each in asked if each.field == "effective_date" for one in positions(each)]
    balance = None if question.any_of else _balance_asked(question)
    arms: list[list[ColumnElement[bool]]] = [[]]
    if balance is not None:
        balance_id, sides = balance
        arms = [[side == balance_id] for side in sides]
    if balance is not None or dated:
        arms = [[*arm, *more] for arm in arms for more in ([UNDATED, *dated], [DATED])]
    return newest_of(arms, [*accepted, *conditions], question.limit + question.offset)


def _balance_asked(question: Question) -> tuple[Any, Sequence[ColumnElement[Any]]] | None:
    """The balance to which a question keeps, and on which sides: of its first such condition."""
    for field, operator, values in question.conditions:
        if operator == "eq" and len(values) == 1:
            value = stored_id(str(values[0])) or UUID(NOBODY)
            if field == "balance_id":
                return value, BOTH_SIDES
            if field in ("source", "destination"):
                return value, (transactions.c[field],)
    return None
