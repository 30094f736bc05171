"""What commands print: tables for people, JSON for programs. Nothing is rounded on the way."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from io import TextIOWrapper
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daybook.cli.folding import GAP, folded, joined

if TYPE_CHECKING:
    from rich.console import Console

TABLE_WIDTH_MAX = 1_000
"""Characters in a line of a table that goes into a pipe or a file."""

EDGES = 2
GAP_OF_TABLES = 3
"""Characters around a table, and between the columns of one that is not folded."""

_PASSWORD = re.compile(r"(//[^:]*):.*@", re.DOTALL)
"""Up to the last @: an unquoted password may hold any character of an address."""
_PASSWORD_OPTION = re.compile(r"([?&](?:ssl)?password=)[^&]*")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def escape_what_streams_cannot_write() -> None:
    """Let standard output and error escape what their encoding has not, as JSON would."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors=_ESCAPING)


def _escaped(fault: UnicodeError) -> tuple[str, int]:
    assert isinstance(fault, UnicodeEncodeError)
    text = fault.object[fault.start : fault.end]
    return json.dumps(text)[1:-1], fault.end


_ESCAPING = "daybook-json-escapes"
codecs.register_error(_ESCAPING, _escaped)


def to_json(value: Any) -> str:
    """``value`` as JSON: integers of any size and decimals digit by digit, moments as RFC 3339.

    The standard encoder would write a decimal only by way of a float.
    """
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return json.dumps(moment_text(value))
    if isinstance(value, Mapping):
        members = (f"{json.dumps(str(key))}: {to_json(item)}" for key, item in value.items())
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(to_json(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def print_json(value: Any) -> None:
    """Print one JSON value; a list with one element on each line."""
    if isinstance(value, list) and value:
        typer.echo("[\n" + ",\n".join(to_json(item) for item in value) + "\n]")
    else:
        typer.echo(to_json(value))


def moment_text(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def console() -> Console:
    """Standard output."""
    from rich.console import Console

    return Console(highlight=False, width=TABLE_WIDTH_MAX)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    right: Sequence[str] = (),
    later: Sequence[str] = (),
    empty: str = "Nothing there.",
) -> None:
    """Print a table, moments to the second. right: the columns that hold numbers.

    empty: what is said instead of a table without rows. Where a terminal is too narrow, a row takes
    several lines, with as many columns in each as fit: no amount and no id is cut in two, and what
    is much longer than the rest of its column stands below.
    later: the columns that stand behind the others then, in this order: the first line of a row has
    what people look for.
    """
    if not rows:
        typer.echo(empty)
        return
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    cells = [
        [cell(f"{v:%Y-%m-%d %H:%M:%S}" if isinstance(v, datetime) else v) for v in row]
        for row in rows
    ]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    room = _line_width() - EDGES
    widths = [
        max(map(cell_len, (name, *(row[place].plain for row in cells))))
        for place, name in enumerate(columns)
    ]
    if sum(widths) + GAP_OF_TABLES * (len(widths) - 1) <= room:
        for name in columns:
            table.add_column(name, justify="right" if name in right else "left", overflow="fold")
        for row in cells:
            table.add_row(*row)
    else:
        names = [*(name for name in columns if name not in later), *later]
        places = [columns.index(name) for name in names]
        shown = [
            [row[place] for place in places] for row in [[Text(name) for name in columns], *cells]
        ]
        head, *texts = folded(shown, [name in right for name in names], room)
        table.add_column(head, max_width=room, overflow="fold")
        for text in texts:
            table.add_row(text)
    console().print(table)


def _line_width() -> int:
    """Characters in a line of what standard output is."""
    return get_terminal_size().columns if sys.stdout.isatty() else TABLE_WIDTH_MAX


def show_line(parts: Sequence[str]) -> None:
    """Print texts beside each other; where a terminal is too narrow, some in lines below."""
    lines = joined([cell(part) for part in parts], _line_width() - len(GAP))
    typer.echo(f"\n{GAP}".join(line.plain for line in lines))


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print one thing, a field on each line; fields that are absent are left out."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if value not in (None, "", {}):
            table.add_row(name, cell(value))
    console().print(table)


def cell(value: Any) -> Any:
    """A value as it stands in a table. Text of others can neither style nor steer a terminal."""
    from rich.text import Text

    if value is None:
        return Text("")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, datetime):
        return Text(moment_text(value))
    if isinstance(value, Mapping | list | tuple):
        return Text(printable(to_json(value)))
    return Text(printable(str(value)))


def without_password(url: str) -> str:
    """An address that can be shown."""
    return _PASSWORD_OPTION.sub(r"\1…", _PASSWORD.sub(r"\1:…@", url))


def printable(text: str) -> str:
    """``text`` with escapes in place of characters that are not printable."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
