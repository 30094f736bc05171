"""The rules of a mapping: what is made of the columns of one row, and for which rows."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from daybook.backfill.numbers import Sign, sign_of
from daybook.backfill.template import Template, parse_template
from daybook.ledger.money import plain_text

_AFTERNOON = datetime(2024, 1, 31, 15, 4, 5, tzinfo=UTC)
"""What a format must tell from other moments."""

_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)\Z")


class Table(BaseModel):
    """A table of a mapping: unknown keys are refused, and so is "no" where false is meant."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, strict=True
    )


def _template(given: Any) -> Any:
    return parse_template(given) if isinstance(given, str) else given


def constant_or_template(given: Any) -> Any:
    if isinstance(given, str):
        return parse_template(given)
    if isinstance(given, bool | int | Decimal):
        return given
    raise ValueError("must be text, a number, true or false")


def _kept_apart(template: Template) -> Template:
    if template.run_together:
        raise ValueError(template.run_together)
    return template


TemplateText = Annotated[Template, BeforeValidator(_template)]
NameText = Annotated[TemplateText, AfterValidator(_kept_apart)]
"""A template that names something: other columns make another name."""
Value = Annotated[Any, BeforeValidator(constant_or_template)]


class Condition(Table):
    """What one column must be: one of ``any_of``, empty or not (blanks are empty), or of a sign.

    ignore_case: compare ``any_of`` without regard to case.
    """

    any_of: tuple[str, ...] | None = Field(None, alias="in", min_length=1, strict=False)
    ignore_case: bool = False
    empty: bool | None = None
    sign: Sign | None = None

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Condition:
        if sum(item is not None for item in (self.any_of, self.empty, self.sign)) != 1:
            raise ValueError("needs one of: equals, in = [...], empty = true or false, sign")
        if self.ignore_case and self.any_of is None:
            raise ValueError("ignore_case is for equals and in")
        return self

    def holds(self, text: str) -> bool:
        """Whether a cell with this text, a plain number where ``sign`` is asked, meets it.

        An empty cell has no sign.
        """
        if self.sign is not None:
            return sign_of(Decimal(text)) == self.sign
        if self.any_of is None:
            return (not text.strip()) == self.empty
        if self.ignore_case:
            return text.casefold() in {item.casefold() for item in self.any_of}
        return text in self.any_of


def _condition(given: Any) -> Any:
    """The short forms: text or a number equals, a list is ``in``."""
    if isinstance(given, list):
        return {"in": [_constant_text(item) for item in given]}
    if isinstance(given, dict):
        given = dict(given)
        if "equals" in given and "in" not in given:
            given["in"] = [_constant_text(given.pop("equals"))]
        return given
    return {"in": [_constant_text(given)]}


def _constant_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain_text(value)
    if isinstance(value, str | int):
        return str(value)
    raise ValueError("compare with text, a number, true or false")


When = dict[str, Annotated[Condition, BeforeValidator(_condition)]]


class Rule(Table):
    """What counts for the rows that meet ``when``."""

    when: When = Field(default_factory=dict)


class ValueRule(Rule):
    """The value of a field for the rows that meet ``when``. absolute: without its sign."""

    value: Value
    absolute: bool = False


class SideRule(Rule):
    """A balance for the rows that meet ``when``: exactly one of the four ways to name it.

    indicator: an internal balance (``@Cash``). balance: the key of an application balance, which
    is created in the mapping's ledger. id: the id of an existing balance. party: the rules of
    ``[parties]`` decide.
    """

    indicator: NameText | None = None
    balance: NameText | None = None
    id: TemplateText | None = None
    party: str | None = None

    @model_validator(mode="after")
    def _names_one_balance(self) -> SideRule:
        named = [self.indicator, self.balance, self.id, self.party]
        if sum(item is not None for item in named) != 1:
            raise ValueError("needs exactly one of: indicator, balance, id, party")
        if self.indicator is not None and not self.indicator.text.startswith("@"):
            raise ValueError("an indicator begins with @, such as @Cash")
        return self


class NoSuchTimeError(ValueError):
    """A local time that no clock showed: they were put forward over it."""


class DateRule(Table):
    """A date column. format: of strptime; ISO 8601 by default. timezone: when it has none.

    optional: an empty column leaves the date out.
    """

    column: str
    format: str | None = None
    timezone: str = "UTC"
    optional: bool = False

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        zone_of(name)
        return name

    @field_validator("format")
    @classmethod
    def _can_be_read(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            read = datetime.strptime(_AFTERNOON.strftime(text), text)  # noqa: DTZ007
        except ValueError as fault:
            raise ValueError(f"is not a format of strptime, such as %Y-%m-%d: {fault}") from None
        if read.year != _AFTERNOON.year:
            raise ValueError("has no year: write %Y or %y")
        if read.hour not in {0, _AFTERNOON.hour}:
            raise ValueError("has hours up to twelve, and not which half of the day: add %p")
        if read.tzinfo is None and "%Z" in text.replace("%%", ""):
            raise ValueError(
                "has %Z, whose name would be read and not counted: write that name itself, such as "
                "CET, and give timezone, or use %z for offsets"
            )
        return text

    def read(self, text: str) -> datetime:
        """The moment in a cell; of a local time that came twice, the first.

        Raises ValueError when it is not in the format, NoSuchTimeError when it never came.
        """
        if self.format is None:
            moment = datetime.fromisoformat(text)
        else:
            moment = datetime.strptime(text, self.format)  # noqa: DTZ007 - the zone comes next
        if moment.tzinfo:
            return moment
        zone = zone_of(self.timezone)
        there = moment.replace(tzinfo=zone)
        is_day = moment.time() == time()  # it begins when it begins, if the clocks skip midnight
        if not is_day and there.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
            raise NoSuchTimeError(
                f"is no time in {self.timezone}: the clocks were put forward over it"
            )
        return there


def zone_of(name: str) -> tzinfo:
    """``UTC``, an offset such as ``+02:00``, or a name such as ``Europe/Prague``."""
    if name == "UTC":
        return UTC
    if offset := _OFFSET.match(name):
        minutes = int(offset[2]) * 60 + int(offset[3])
        return timezone(timedelta(minutes=minutes if offset[1] == "+" else -minutes))
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ValueError(
            "is not a known time zone: use UTC, +02:00 or a name such as Europe/Prague "
            "(names need the system's time zone data, or the package tzdata)"
        ) from None
