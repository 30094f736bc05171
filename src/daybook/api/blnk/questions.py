"""Filters of the wire: as a body, and as ``field_operator=value`` in a query string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from daybook.api.blnk.bodies import Body
from daybook.api.faults import Fault
from daybook.store.read.conditions import LISTS, OPERATORS, Condition
from daybook.store.read.filters import OFFSET_MAX, Question

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
LISTED_MAX = 1_000
"""Most rows of a list that was asked for by a query string."""
PAGING = frozenset({"limit", "offset", "sort_by", "sort_order", "after", "instance_id"})
"""Names in a query string that are no filters."""


class FilterBody(Body):
    """One condition."""

    field: str = ""
    operator: str = ""
    value: Any = None
    values: list[Any] | None = None

    def condition(self) -> Condition:
        """The condition of the ledger's own question."""
        if self.values is not None:
            return Condition(self.field, self.operator, tuple(self.values))
        given = () if self.value is None else (self.value,)
        if self.operator in LISTS and len(given) == 1 and isinstance(self.value, list):
            given = tuple(self.value)
        return Condition(self.field, self.operator, given)


class QuestionBody(Body):
    """What is asked of a collection."""

    filters: list[FilterBody] = Field(default_factory=list)
    logical_operator: str = "and"
    limit: int = LIMIT_DEFAULT
    offset: int = 0
    sort_by: str = ""
    sort_order: str = "desc"
    include_count: bool = False
    after: str | None = Field(None, description="Go on behind this id, the last of a page.")

    def question(self) -> Question:
        """The ledger's own question. Raises Fault."""
        joined = self.logical_operator.lower()
        if joined not in ("and", "or"):
            raise bad_filter("logical_operator", f"{self.logical_operator} is not and or or")
        if self.sort_order.lower() not in ("asc", "desc"):
            raise bad_filter("sort_order", f"{self.sort_order} is not asc or desc")
        if not 0 <= self.offset <= OFFSET_MAX:
            raise bad_filter("offset", f"{self.offset} is not 0 to {OFFSET_MAX:,}")
        return Question(
            [each.condition() for each in self.filters],
            joined == "or",
            self.sort_by or None,
            self.sort_order.lower() == "desc",
            self.limit if 1 <= self.limit <= LIMIT_MAX else LIMIT_DEFAULT,
            self.offset,
            self.after,
        )


def bad_filter(field: str, message: str) -> Fault:
    """A filter that can't be understood."""
    return Fault(400, "GEN_BAD_REQUEST", f"{field}: {message}", legacy="error")


def question_of(
    parameters: Sequence[tuple[str, str]], limit_default: int, limit_max: int = LISTED_MAX
) -> Question:
    """The question of a query string. Raises Fault."""
    given = dict(parameters)
    limit = _whole(given.get("limit"), limit_default, "limit")
    offset = _whole(given.get("offset"), 0, "offset")
    conditions = [_condition(name, text) for name, text in parameters if name not in PAGING]
    return Question(
        conditions,
        sort_by=given.get("sort_by") or None,
        descending=given.get("sort_order", "desc").lower() != "asc",
        limit=min(limit, limit_max) or limit_default,
        offset=offset,
        after=given.get("after") or None,
    )


def _whole(text: str | None, default: int, name: str) -> int:
    if text is None or text == "":
        return default
    if not text.isascii() or not text.isdigit() or int(text) > OFFSET_MAX:
        raise Fault(400, "GEN_VALIDATION_ERROR", f"Invalid {name} value")
    return int(text)


def _condition(name: str, text: str) -> Condition:
    field, _, operator = name.rpartition("_")
    if operator not in OPERATORS or not field:
        raise bad_filter(name[:64], f"is no filter: write field_operator=value, as in {_EXAMPLE}")
    if operator == "in":
        return Condition(field, operator, tuple(text.split(",")))
    if operator == "between":
        return Condition(field, operator, tuple(text.split("|")))
    return Condition(field, operator, () if operator in ("isnull", "isnotnull") else (text,))


_EXAMPLE = "status_eq=APPLIED"
