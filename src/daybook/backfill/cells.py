"""One row as the rules of a mapping see it: which of them fits, and what they make of its cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingType
from decimal import Decimal
from typing import Any, TypeVar

from daybook.backfill.numbers import CellNumber, NumberForm, decimals_max
from daybook.backfill.rows import BROKEN
from daybook.backfill.rules import Condition, Rule, SideRule, ValueRule, When
from daybook.backfill.template import CellError, Columns, Template, cell, filled, text_of
from daybook.requests.naming import is_plain, naming_fault, normalised

RuleT = TypeVar("RuleT", SideRule, ValueRule)

NAMING = frozenset({"reference", "currency", "ordering_key"})
"""Text fields in which an empty column is refused: they would name something else without it."""

_TEXTS = NAMING | {"description"}
_WHOLE = frozenset({"precise_amount", "precision"})
_NUMBERS = _WHOLE | {"amount", "overdraft_limit"}
_REQUIRED = frozenset({"reference", "currency", "precision"})
_FLAGS = frozenset({"allow_overdraft", "inflight"})
_FLAG_TEXTS = {"true": True, "false": False}
_CONTROLS = re.compile("[\x80-\x9f]")
"""What bytes of other encodings become in latin-1: letters and signs of people's files."""

SHOWN_LENGTH_MAX = 40
"""Characters of a cell in a message."""


class Cells:
    """The cells of one row.

    number_columns: whose cells are numbers; elsewhere, too, such a cell is its number's one text.
    hints: what a reason adds once in a file, and takes from here. line: of JSON, as it was read;
    None of a CSV.
    """

    def __init__(
        self,
        columns: Columns,
        form: NumberForm,
        number_columns: set[str],
        hints: list[str],
        line: str | None = None,
    ) -> None:
        self._raw = columns
        self._hints = hints
        self._line = line
        self._is_json = line is not None
        self._form = form
        self._numbers: dict[str, CellNumber] = {}
        for name in number_columns:
            text = cell(columns, name)
            number = form.read(text) if isinstance(text, str) else None
            if number is not None:
                self._numbers[name] = number
        self._columns: Columns = columns
        if self._numbers:
            texts = {name: number.text for name, number in self._numbers.items()}
            self._columns = {**columns, **texts}

    def text(self, column: str) -> str:
        """A cell as text, as it stands."""
        return text_of(cell(self._raw, column), column)

    def filled(self, column: str) -> str:
        """A cell as text that names or places something. CellError when it can't."""
        return filled(cell(self._raw, column), column)

    def first(self, rules: Sequence[RuleT]) -> RuleT | None:
        """The first rule that fits."""
        return next((rule for rule in rules if self._meets(rule.when)), None)

    def named(self, template: Template) -> str:
        """The text of a template that names something. CellError when it can't."""
        text = self._whole(template.render(self._columns, strict=True))
        fault = naming_fault(text)
        if fault is None:
            return text
        if is_plain(normalised(text)):
            fault += "; or write normalise = true into the mapping"
        elif _CONTROLS.search(text) and not self._is_json:
            fault += f". In another encoding it may be a letter{self._hint()}"
        raise CellError(f"{shown(text)} {fault}")

    def no_rule(self, rules: Sequence[RuleT]) -> CellError:
        """What is said when none of these rules fits: the cells that they ask for."""
        asked = dict.fromkeys(column for rule in rules for column in rule.when)
        said = ", ".join(f"{column} = {shown(self.text(column))}" for column in asked)
        return CellError(f"no rule of the mapping fits this line: {said}")

    def value(self, name: str, rules: Sequence[ValueRule]) -> Any:
        """The value of a field; None leaves it out: no rule fits, or its column is empty."""
        rule = self.first(rules)
        if rule is None:
            if name in _REQUIRED:
                raise self.no_rule(rules)
            return None
        template = rule.value
        if not isinstance(template, Template):
            return template
        if name in NAMING:
            return self.named(template)
        if name in _TEXTS:
            return self._whole(template.render(self._columns)) or None
        value = template.value(self._columns)
        if isinstance(value, str):
            self._whole(value)
        if name in _FLAGS and isinstance(value, str):
            value = _FLAG_TEXTS.get(value.lower(), value)
        elif name in _NUMBERS and template.columns:
            value = self._number(name, template, value)
        if rule.absolute:
            value = value.removeprefix("-") if isinstance(value, str) else abs(value)
        return None if value == "" else value

    def surplus_decimals(self, rules: Sequence[ValueRule], given: MappingType[str, Any]) -> None:
        """Refuse an amount that is written with more decimals than its precision has.

        Even zeros: 1.080 may be a thousand and eighty. CellError names the fix.
        """
        rule = self.first(rules)
        template = rule.value if rule else None
        if not isinstance(template, Template) or not template.columns:
            return
        number = self._number_of(template)
        precision = str(given.get("precision", ""))
        if number is None or "rounding" in given or not precision.isdecimal() or not int(precision):
            return
        most = decimals_max(int(precision))
        if most is not None and number.decimals > most:
            other = self._form.otherwise(self._written(template), most, is_json=self._is_json)
            read = "" if self._is_json else f", as [csv] has {self._form.settings}"
            raise CellError(
                f"{self._shown_number(template)} has more decimals than precision {precision} "
                f"takes{read}{other}; if they are decimals, round them with "
                'rounding = "half_up"'
            )

    def _meets(self, when: When) -> bool:
        return all(self._holds(column, condition) for column, condition in when.items())

    def _holds(self, column: str, condition: Condition) -> bool:
        text = self.text(column)
        if condition.sign is None:
            return condition.holds(text)
        return bool(text.strip()) and condition.holds(self._plain_number(column))

    def zeros(self, rules: Iterable[Rule]) -> str | None:
        """What is said of columns that a rule asks to be empty or not, and that hold a zero."""
        asked = {
            column
            for rule in rules
            for column, condition in rule.when.items()
            if condition.empty is not None and not Decimal(self._number_text(column) or 1)
        }
        if not asked:
            return None
        columns = " and ".join(self._shown(column) for column in sorted(asked))
        return f'{columns}: a zero is not empty, so ask for sign = "positive" in place of empty'

    def _number_text(self, column: str) -> str:
        value = cell(self._raw, column)
        if isinstance(value, int | Decimal):  # of JSON
            return "" if isinstance(value, bool) else str(value)
        number = self._form.read(value) if isinstance(value, str) else None
        return "" if number is None else number.text

    def _plain_number(self, column: str) -> str:
        value = cell(self._columns, column)
        if column not in self._numbers and not isinstance(value, int | Decimal):
            raise CellError(f"{self._shown(column)} {self._described(self.text(column))}")
        return str(value)

    def _number(self, name: str, template: Template, value: Any) -> Any:
        if not isinstance(value, str) or not value.strip():
            return value
        number = self._number_of(template)
        if number is None:
            form = self._described(self._written(template))
            raise CellError(f"{self._shown_number(template)} is no number; it {form}")
        if name in _WHOLE and number.decimals:
            other = self._form.otherwise(self._written(template), 0, is_json=self._is_json)
            said = f"{self._shown_number(template)} has decimals"
            raise CellError(f"{said}; {name} is a whole number{other}")
        return number.text

    def _number_of(self, template: Template) -> CellNumber | None:
        """What a template gives as a number, if it is text of a file."""
        if template.column is not None:
            return self._numbers.get(template.column)
        return self._form.read(self._written(template))

    def _written(self, template: Template) -> str:
        """What a template gives, with its numbers as the file writes them; those of JSON, too."""
        return "".join(
            self._cell_written(piece) if is_column else piece
            for is_column, piece in template.pieces
        )

    def _cell_written(self, column: str) -> str:
        is_number = isinstance(cell(self._raw, column), Decimal)
        text = self.text(column)
        return text.replace(".", self._form.decimal) if is_number else text

    def _shown_number(self, template: Template) -> str:
        if template.column is not None:
            return self._shown(template.column)
        return f"{shown(self._written(template))} of {template.text!r}"

    def _whole(self, text: str) -> str:
        if BROKEN.search(text):
            raise CellError(f"{shown(text)} has {self._broken()}")
        return text

    def _broken(self) -> str:
        if self._line is None:
            return f"bytes that are no text in the encoding of [csv]{self._hint()}"
        if BROKEN.search(self._line):
            return "bytes that are no UTF-8, as JSON is: write the file in UTF-8"
        return "half a character (an escape from \\ud800 to \\udfff without its other half)"

    def _described(self, text: str) -> str:
        return self._form.describe(text, is_json=self._is_json)

    def _hint(self) -> str:
        return f": {self._hints.pop()}" if self._hints else ""

    def _shown(self, column: str) -> str:
        return f"{shown(self.text(column))} in column {column!r}"


def shown(text: str) -> str:
    """The beginning of a cell, quoted."""
    return repr(text[:SHOWN_LENGTH_MAX]) + ("…" if len(text) > SHOWN_LENGTH_MAX else "")


def normalised_columns(columns: Columns) -> dict[str, Any]:
    """The columns with their texts normalised, at any depth of objects."""
    return {name: _normalised(value) for name, value in columns.items()}


def _normalised(value: Any) -> Any:
    if isinstance(value, str):
        return normalised(value)
    return normalised_columns(value) if isinstance(value, dict) else value
