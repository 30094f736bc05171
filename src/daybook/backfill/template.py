"""Templates such as ``"{tx}-{log_index}"``: text with the names of columns in braces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from daybook.ledger.money import is_reasonable, plain_text

_PIECES = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]|[^{}]+")
_ESCAPED = {"{{": "{", "}}": "}"}

Columns = Mapping[str, Any]
"""One row by column: text in CSV, any JSON value in NDJSON."""


class CellError(ValueError):
    """A column of a row cannot be used where the mapping wants it; the message says which."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. pieces: (is it a column, its name or the literal text), in order."""

    text: str
    pieces: tuple[tuple[bool, str], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names."""
        return tuple(piece for is_column, piece in self.pieces if is_column)

    @property
    def run_together(self) -> str | None:
        """Why it can't name anything: two columns without anything between them."""
        for (is_column, first), (is_next, second) in pairwise(self.pieces):
            if is_column and is_next and first != second:
                return (
                    f"{{{first}}}{{{second}}} gives one name for 1 and 11 as for 11 and 1: write "
                    f"something between them that is in neither, such as {{{first}}}/{{{second}}}"
                )
        return None

    def render(self, row: Columns, *, strict: bool = False) -> str:
        """The text for one row.

        strict: an empty column is a CellError: a reference or a name that lacks a part would be
        another one; so are true and false, which nothing is called.
        """
        return "".join(
            _cell_text(row, piece, strict) if is_column else piece
            for is_column, piece in self.pieces
        )

    def value(self, row: Columns) -> Any:
        """The JSON value of the column, when the template is one column alone, else its text."""
        return self.render(row) if self.column is None else cell(row, self.column)

    @property
    def column(self) -> str | None:
        """The column that it is, alone."""
        return self.pieces[0][1] if len(self.pieces) == 1 and self.pieces[0][0] else None


def parse_template(text: str) -> Template:
    """Raises ValueError for a brace without its partner; ``{{`` and ``}}`` stand for themselves."""
    pieces: list[tuple[bool, str]] = []
    for found in _PIECES.finditer(text):
        piece, column = found.group(0), found.group(1)
        if piece in {"{", "}"}:
            raise ValueError(
                f"{text!r} has an unmatched {piece!r}: write {{column}}, or double the brace"
            )
        pieces.append((True, column) if column else (False, _ESCAPED.get(piece, piece)))
    return Template(text, tuple(pieces))


def cell(row: Columns, name: str) -> Any:
    """The value of a column, None when absent. ``a.b`` also reads member b of the object a."""
    if name in row:
        return row[name]
    value: Any = row
    for member in name.split("."):
        if not isinstance(value, Mapping) or member not in value:
            return None
        value = value[member]
    return value


def text_of(value: Any, name: str) -> str:
    """A cell as text, one for equal numbers; absent and null are empty.

    Raises CellError for lists and objects.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain_text(value) if is_reasonable(value) else str(value)
    if isinstance(value, int):
        return str(value)
    raise CellError(f"column {name!r} is a JSON {type(value).__name__}, not text or a number")


def filled(value: Any, name: str) -> str:
    """The text of a cell that names something. Raises CellError when it is empty, true or false."""
    text = text_of(value, name)
    if isinstance(value, bool):
        raise CellError(f"column {name!r} is the JSON value {text}, not text or a number")
    if not text.strip():
        raise CellError(f"column {name!r} is empty")
    return text


def _cell_text(row: Columns, name: str, strict: bool) -> str:
    value = cell(row, name)
    return filled(value, name) if strict else text_of(value, name)
