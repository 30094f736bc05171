"""One condition of a question: a field, an operator, and what its column is compared with.

Nothing that was asked for ever becomes a part of a statement.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Text, cast, literal

from daybook.errors import FieldError
from daybook.ledger.rejection import Reason
from daybook.requests.base import malformed
from daybook.requests.fields import check_moment, is_clean
from daybook.store.read.rows import stored_id

VALUES_MAX = 100
TEXT_LENGTH_MAX = 1_000

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


def compared(asked: Condition, field: Field) -> ColumnElement[bool]:
    """A condition on a field's column. Raises MalformedRequest."""
    operator = asked.operator
    if operator in NULLS:
        return field.column.is_(None) if operator == "isnull" else field.column.is_not(None)
    values = values_of(asked, field)
    if operator == "in":
        return field.column.in_(values)
    if operator == "between":
        return field.column.between(*values)
    (value,) = values
    if operator in PATTERNS:
        return field.text.like(value) if operator == "like" else field.text.ilike(value)
    return COMPARISONS[operator](field.column, value)


def values_of(asked: Condition, field: Field) -> list[Any]:
    """The values of a condition, as its column has them. Raises MalformedRequest."""
    given = asked.values
    if asked.operator == "in" and not 1 <= len(given) <= VALUES_MAX:
        raise wrong(asked.field, f"has {len(given)} values for in; give 1 to {VALUES_MAX}")
    if asked.operator == "between" and len(given) != 2:
        raise wrong(asked.field, f"has {len(given)} values for between; give 2")
    if asked.operator not in LISTS and len(given) != 1:
        raise wrong(asked.field, f"has {len(given)} values for {asked.operator}; give one")
    parse = text_value if asked.operator in PATTERNS else field.parse
    try:
        return [parse(value) for value in given]
    except ValueError as fault:
        raise wrong(asked.field, str(fault)) from None


def wrong(field: str, message: str) -> Exception:
    """What is told of a field that can't be asked for so."""
    return malformed([FieldError(field, Reason.MALFORMED, message)])


# Values


def text_value(value: Any) -> str:
    if not isinstance(value, str):
        value = str(value)
    if len(value) > TEXT_LENGTH_MAX:
        raise ValueError(f"is longer than {TEXT_LENGTH_MAX:,} characters")
    if not is_clean(value):
        raise ValueError("contains a NUL character or a lone surrogate")
    return str(value)


def meta_value(value: Any) -> str:
    """A value of meta_data as the database compares it: as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return text_value(value)


def number_value(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError("must be a number")  # noqa: TRY004 - told as what is wrong with a value
    try:
        found = Decimal(value)
    except ArithmeticError:
        raise ValueError(f"{value} is not a number") from None
    if not found.is_finite() or abs(found.adjusted()) > 200:
        raise ValueError("is out of range")
    return found


def flag_value(value: Any) -> bool:
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None:
        raise ValueError("must be true or false")
    return found


def moment_value(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a date like 2026-04-22T15:28:03Z")  # noqa: TRY004 - the same
    try:
        return check_moment(value.replace(" ", "+")).astimezone(UTC)
    except ValueError:
        raise ValueError(f"{value} is not a date like 2026-04-22T15:28:03Z") from None


NOBODY = "00000000-0000-0000-0000-000000000000"


def id_value(value: Any) -> Any:
    """The uuid of an id; of what is none, one that nothing has."""
    return stored_id(text_value(value)) or NOBODY
