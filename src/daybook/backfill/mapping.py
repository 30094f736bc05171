"""The mapping file: what the columns of a file mean, in TOML, checked as a whole."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from daybook.backfill.at_once import (
    all_of,
    checked,
    lacks_amount,
    names_nothing,
    same_marks,
    same_signs,
)
from daybook.backfill.constants import rejection_of_constant
from daybook.backfill.numbers import NumberForm
from daybook.backfill.rules import (
    DateRule,
    NameText,
    Rule,
    SideRule,
    Table,
    ValueRule,
    constant_or_template,
)
from daybook.backfill.template import Template, parse_template
from daybook.requests.fields import LedgerId, Name
from daybook.requests.naming import normalised


def _value_rules(given: Any) -> Any:
    if isinstance(given, dict):
        return [given]
    if isinstance(given, list):
        return given
    return [ValueRule.model_construct(when={}, value=constant_or_template(given))]


def _side_rules(given: Any) -> Any:
    if isinstance(given, str):
        if not given.startswith("@"):
            raise ValueError(
                "write an indicator (@World), or a table such as { balance = '{account}' }"
            )
        return [SideRule(indicator=parse_template(given))]
    return [given] if isinstance(given, dict) else given


def _unreachable(rules: list[Any]) -> Iterator[str]:
    for index, rule in enumerate(rules[:-1]):
        if not rule.when:
            yield f"rule [{index}] has no `when`: the rules after it are never reached"


def _wrong_constants(field: str, rules: list[Any], member: str | None = None) -> Iterator[str]:
    """Constants that every request would be refused for."""
    for rule in rules:
        value = getattr(rule, "value", None)
        if isinstance(value, Template):
            value = None if value.columns else value.render({})
            if field in _WHOLE_NUMBERS and value and value.isdecimal():
                yield f"the value {value} is a number: write it without quotes"
                continue
        if value is not None and (fault := rejection_of_constant(field, value, member)):
            name = f"{member}: " if member else ""
            yield f"{name}the value {value} {fault}"


GROUP_ROW = "group_row"
"""The column that counts the rows of a group, from 1."""

_WHOLE_NUMBERS = frozenset({"precise_amount", "precision"})

SKIPPED_LINES_MAX = 1_000
"""Most lines above a header."""

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


NUMBER_FIELDS = ("amount", "precise_amount", "precision", "overdraft_limit")
DATES = ("effective_date", "scheduled_for", "inflight_expiry_date", "inflight_commit_date")


class TransactionTable(Table):
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
            wrong = [*_unreachable(given), *_wrong_constants(info.field_name, given)]
            if info.field_name not in {"amount", "precise_amount"} and any(
                getattr(rule, "absolute", False) for rule in given
            ):
                wrong.append("absolute is for amount and precise_amount")
            if info.field_name == "reference":
                templates = (rule.value for rule in given if isinstance(rule.value, Template))
                wrong += filter(None, (template.run_together for template in templates))
            all_of(wrong)
        return given

    @field_validator("meta_data")
    @classmethod
    def _members_can_work(cls, given: dict[str, list[ValueRule]]) -> dict[str, list[ValueRule]]:
        all_of(
            fault
            for member, rules in given.items()
            for fault in chain(
                (f"{member}: {fault}" for fault in _unreachable(rules)),
                _wrong_constants("meta_data", rules, member),
            )
        )
        return given

    def dates(self) -> Iterator[tuple[str, DateRule]]:
        """Name and rule of each date that the mapping gives."""
        for name in DATES:
            if (rule := getattr(self, name)) is not None:
                yield name, rule

    @model_validator(mode="wrap")
    @classmethod
    def _has_an_amount(cls, given: Any, read: Callable[[Any], Any]) -> Any:
        return checked(given, read, lacks_amount)


class CsvTable(Table):
    """The dialect.

    skip: lines above the header. columns: the names, when the file has no header line. decimal,
    thousands: how numbers are written. line_feeds: cells may have them; otherwise the run names
    those that have, as two stray quotes make one cell of whole lines.
    """

    delimiter: str = Field(",", min_length=1, max_length=1)
    quote: str = Field('"', min_length=1, max_length=1)
    encoding: str = "utf-8"
    skip: int = Field(0, ge=0, le=SKIPPED_LINES_MAX)
    columns: list[str] | None = Field(None, min_length=1)
    decimal: Literal[".", ","] = "."
    thousands: str | None = Field(None, min_length=1, max_length=1)
    line_feeds: bool = False

    @model_validator(mode="wrap")
    @classmethod
    def _tells_signs_apart(cls, given: Any, read: Callable[[Any], Any]) -> Any:
        return checked(given, read, lambda table: chain(same_signs(table), same_marks(table)))

    @property
    def number_form(self) -> NumberForm:
        """How numbers are written."""
        return NumberForm(self.decimal, self.thousands)

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


class LedgerTable(Table):
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


class GroupTable(Table):
    """Rows that are one request together.

    by: rows that follow one another and have the same text for it. reference: of the request.
    """

    by: NameText
    reference: NameText

    @field_validator("by", "reference")
    @classmethod
    def _names_a_column(cls, template: Template) -> Template:
        if not template.columns:
            raise ValueError("names no column: all rows of the file would be one request")
        return template


class Mapping(Table):
    """A whole mapping file.

    format: by default from the ending of the data file. normalise: cells lose what nobody sees:
    blanks at their ends, characters without width, other forms of Unicode than NFC. order_by: the
    column by which rows are posted, rather than in the order of the file.
    """

    format: Literal["csv", "ndjson"] | None = None
    normalise: bool = False
    order_by: str | None = None
    csv: CsvTable = Field(default_factory=lambda: CsvTable.model_validate({}))
    ledger: LedgerTable | None = None
    parties: dict[str, Side] = Field(default_factory=dict)
    group: GroupTable | None = None
    transaction: TransactionTable

    @field_validator("parties")
    @classmethod
    def _parties_decide(cls, parties: dict[str, list[SideRule]]) -> dict[str, list[SideRule]]:
        wrong = []
        for name, rules in parties.items():
            if any(rule.party is not None for rule in rules):
                wrong.append(f"{name} refers to a party: name the balance itself there")
            wrong += [f"{name}: {fault}" for fault in _unreachable(rules)]
        all_of(wrong)
        return parties

    @model_validator(mode="wrap")
    @classmethod
    def _names_what_exists(cls, given: Any, read: Callable[[Any], Any]) -> Any:
        return checked(given, read, names_nothing)

    @model_validator(mode="after")
    def _conditions_can_hold(self) -> Mapping:
        if self.normalise:
            asked = chain.from_iterable(rule.when.values() for rule in self.rules())
            texts = dict.fromkeys(chain.from_iterable(one.any_of or () for one in asked))
            all_of(
                f"when asks for {text!r}, which no cell is with normalise = true: write "
                f"{normalised(text)!r}"
                for text in texts
                if text != normalised(text)
            )
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

    def rules(self) -> list[Rule]:
        """Every rule."""
        return [*self.side_rules(), *self.value_rules()]

    def columns(self) -> set[str]:
        """Every column that the mapping names anywhere."""
        found = {column for rule in self.rules() for column in rule.when}
        for rule in self.side_rules():
            for template in (rule.indicator, rule.balance, rule.id):
                found.update(template.columns if template else ())
        for value_rule in self.value_rules():
            if isinstance(value_rule.value, Template):
                found.update(value_rule.value.columns)
        found.update(rule.column for _, rule in self.transaction.dates())
        found.update([self.order_by] if self.order_by else ())
        if self.group is not None:
            found.update(self.group.by.columns, self.group.reference.columns)
            found.discard(GROUP_ROW)
        return found

    def number_columns(self) -> set[str]:
        """The columns whose cells are numbers: all of such a field, or asked for their sign."""
        asked = (condition for rule in self.rules() for condition in rule.when.items())
        found = {column for column, condition in asked if condition.sign is not None}
        for field in NUMBER_FIELDS:
            for rule in getattr(self.transaction, field) or ():
                if isinstance(rule.value, Template) and rule.value.column is not None:
                    found.add(rule.value.column)
        return found
