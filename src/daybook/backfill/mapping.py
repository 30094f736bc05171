"""The mapping file: what the columns of a file mean, in TOML, checked as a whole."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from daybook.backfill.constants import rejection_of_constant
from daybook.backfill.template import Template, parse_template
from daybook.requests.fields import LedgerId, Name

_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)\Z")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _template(given: Any) -> Any:
    return parse_template(given) if isinstance(given, str) else given


def _constant_or_template(given: Any) -> Any:
    if isinstance(given, str):
        return parse_template(given)
    if isinstance(given, bool | int | Decimal):
        return given
    raise ValueError("must be text, a number, true or false")


TemplateText = Annotated[Template, BeforeValidator(_template)]
Value = Annotated[Any, BeforeValidator(_constant_or_template)]


class Condition(_Table):
    """What one column must be: one of ``any_of``, or empty, or not empty (blanks are empty)."""

    any_of: tuple[str, ...] | None = Field(None, alias="in", min_length=1)
    empty: bool | None = None

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Condition:
        if (self.any_of is None) == (self.empty is None):
            raise ValueError("needs one of: in = [...], empty = true, empty = false")
        return self

    def holds(self, text: str) -> bool:
        """Whether a cell with this text meets it."""
        if self.any_of is not None:
            return text in self.any_of
        return (not text.strip()) == self.empty


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
    if isinstance(value, str | int | Decimal):
        return str(value)
    raise ValueError("compare with text, a number, true or false")


When = dict[str, Annotated[Condition, BeforeValidator(_condition)]]


class _Rule(_Table):
    when: When = Field(default_factory=dict)


class ValueRule(_Rule):
    """The value of a field for the rows that meet ``when``."""

    value: Value


class SideRule(_Rule):
    """A balance for the rows that meet ``when``: exactly one of the four ways to name it.

    indicator: an internal balance (``@Cash``). balance: the key of an application balance, which
    is created in the mapping's ledger. id: the id of an existing balance. party: the rules of
    ``[parties]`` decide.
    """

    indicator: TemplateText | None = None
    balance: TemplateText | None = None
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


class DateRule(_Table):
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
            datetime.strptime(datetime(2024, 1, 31, tzinfo=UTC).strftime(text), text)  # noqa: DTZ007
        except ValueError as fault:
            raise ValueError(f"is not a format of strptime, such as %Y-%m-%d: {fault}") from None
        return text

    def read(self, text: str) -> datetime:
        """The moment in a cell. Raises ValueError when it is not in the format."""
        if self.format is None:
            moment = datetime.fromisoformat(text)
        else:
            moment = datetime.strptime(text, self.format)  # noqa: DTZ007 - the zone comes next
        return moment if moment.tzinfo else moment.replace(tzinfo=zone_of(self.timezone))


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


def _value_rules(given: Any) -> Any:
    if isinstance(given, list):
        return given
    return [ValueRule.model_construct(when={}, value=_constant_or_template(given))]


def _side_rules(given: Any) -> Any:
    if isinstance(given, str):
        if not given.startswith("@"):
            raise ValueError(
                "write an indicator (@World), or a table such as { balance = '{account}' }"
            )
        return [SideRule(indicator=parse_template(given))]
    return [given] if isinstance(given, dict) else given


def _all_reachable(rules: list[Any]) -> list[Any]:
    for index, rule in enumerate(rules[:-1]):
        if not rule.when:
            raise ValueError(f"rule [{index}] has no `when`: the rules after it are never reached")
    return rules


def _check_constants(field: str, rules: list[Any], member: str | None = None) -> None:
    """Refuses constants that every request would be refused for. Raises ValueError."""
    for rule in rules:
        value = getattr(rule, "value", None)
        if isinstance(value, Template):
            value = None if value.columns else value.render({})
        if value is not None and (fault := rejection_of_constant(field, value, member)):
            name = f"{member}: " if member else ""
            raise ValueError(f"{name}the value {value} {fault}")


Values = Annotated[
    list[ValueRule],
    Field(min_length=1),
    BeforeValidator(_value_rules),
]
Side = Annotated[
    list[SideRule],
    Field(min_length=1),
    BeforeValidator(_side_rules),
]


DATES = ("effective_date", "scheduled_for", "inflight_expiry_date", "inflight_commit_date")


class TransactionTable(_Table):
    """Where each field of the request comes from; the names are those of TransactionRequest."""

    reference: Values
    source: Side
    destination: Side
    currency: Values
    amount: Values | None = None
    precise_amount: Values | None = None
    precision: Values
    rounding: Values | None = None
    description: Values | None = None
    allow_overdraft: Values | None = None
    overdraft_limit: Values | None = None
    inflight: Values | None = None
    ordering_key: Values | None = None
    effective_date: DateRule | None = None
    scheduled_for: DateRule | None = None
    inflight_expiry_date: DateRule | None = None
    inflight_commit_date: DateRule | None = None
    meta_data: dict[str, Values] = Field(default_factory=dict)

    @field_validator("*")
    @classmethod
    def _rules_can_work(cls, given: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        if isinstance(given, list):
            _all_reachable(given)
            _check_constants(info.field_name, given)
        return given

    @field_validator("meta_data")
    @classmethod
    def _members_can_work(cls, given: dict[str, list[ValueRule]]) -> dict[str, list[ValueRule]]:
        for member, rules in given.items():
            _all_reachable(rules)
            _check_constants("meta_data", rules, member)
        return given

    def dates(self) -> Iterator[tuple[str, DateRule]]:
        """Name and rule of each date that the mapping gives."""
        for name in DATES:
            if (rule := getattr(self, name)) is not None:
                yield name, rule

    @model_validator(mode="after")
    def _has_an_amount(self) -> TransactionTable:
        if self.amount is None and self.precise_amount is None:
            raise ValueError("needs amount (major units) or precise_amount (minor units)")
        return self


class CsvTable(_Table):
    """The dialect. columns: the names, when the file has no header line."""

    delimiter: str = Field(",", min_length=1, max_length=1)
    quote: str = Field('"', min_length=1, max_length=1)
    encoding: str = "utf-8"
    columns: list[str] | None = Field(None, min_length=1)

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            is_text = codecs.lookup(name)._is_text_encoding
        except LookupError:
            is_text = False
        if not is_text:
            raise ValueError("is not a known encoding of text: utf-8, cp1250, latin-1, …")
        return name


class LedgerTable(_Table):
    """The ledger of the application balances.

    name: it is created; its id is derived from the name unless ``id`` gives one. id alone: the
    ledger exists already.
    """

    name: Name | None = None
    id: LedgerId | None = None

    @model_validator(mode="after")
    def _is_named(self) -> LedgerTable:
        if self.name is None and self.id is None:
            raise ValueError("needs a name, or the id of an existing ledger")
        return self


class Mapping(_Table):
    """A whole mapping file. format: by default from the ending of the data file."""

    format: Literal["csv", "ndjson"] | None = None
    csv: CsvTable = Field(default_factory=lambda: CsvTable.model_validate({}))
    ledger: LedgerTable | None = None
    parties: dict[str, Side] = Field(default_factory=dict)
    transaction: TransactionTable

    @field_validator("parties")
    @classmethod
    def _parties_decide(cls, parties: dict[str, list[SideRule]]) -> dict[str, list[SideRule]]:
        for name, rules in parties.items():
            if any(rule.party is not None for rule in rules):
                raise ValueError(f"{name} refers to a party: name the balance itself there")
            _all_reachable(rules)
        return parties

    @model_validator(mode="after")
    def _names_what_exists(self) -> Mapping:
        parties = {rule.party for rule in self.side_rules() if rule.party is not None}
        wrong = [
            f"there is no [[parties.{party}]]: write its rules"
            for party in sorted(parties - self.parties.keys())
        ]
        if self.ledger is None and any(rule.balance is not None for rule in self.side_rules()):
            wrong.append('application balances need a ledger: write [ledger] with name = "…"')
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def side_rules(self) -> Iterator[SideRule]:
        """Every rule that names a balance."""
        yield from self.transaction.source
        yield from self.transaction.destination
        for rules in self.parties.values():
            yield from rules

    def value_rules(self) -> Iterator[ValueRule]:
        """Every rule that gives a field its value."""
        for field in TransactionTable.model_fields:
            if field not in {"source", "destination", "meta_data", *DATES}:
                yield from getattr(self.transaction, field) or ()
        for rules in self.transaction.meta_data.values():
            yield from rules

    def columns(self) -> set[str]:
        """Every column that the mapping names anywhere."""
        rules: list[_Rule] = [*self.side_rules(), *self.value_rules()]
        found = {column for rule in rules for column in rule.when}
        for rule in self.side_rules():
            for template in (rule.indicator, rule.balance, rule.id):
                found.update(template.columns if template else ())
        for value_rule in self.value_rules():
            if isinstance(value_rule.value, Template):
                found.update(value_rule.value.columns)
        found.update(rule.column for _, rule in self.transaction.dates())
        return found
