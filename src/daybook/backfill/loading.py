"""Reading a mapping file: everything that is wrong with it at once, each with its path."""

from __future__ import annotations

import difflib
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from daybook.backfill.mapping import CsvTable, GroupTable, LedgerTable, Mapping, TransactionTable
from daybook.backfill.rules import Condition, DateRule, SideRule, ValueRule
from daybook.counting import counted
from daybook.errors import ConfigError
from daybook.requests.fields import PRECISION_MISSING

MAPPING_BYTES_MAX = 1 << 20

_TABLES = (
    Mapping, GroupTable, CsvTable, LedgerTable, TransactionTable, ValueRule, SideRule, DateRule,
    Condition,
)  # fmt: skip
_QUOTED = {
    "bool_type": "must be true or false, without quotes",
    "int_type": "must be a whole number, without quotes",
}
"""What is said of values of another type than that of their key."""

_KEYS = sorted({key for table in _TABLES for key in table.model_fields} | {"in", "equals"})


def load_mapping(path: Path) -> Mapping:
    """The mapping in a TOML file. Raises ConfigError with all of its errors at once."""
    try:
        with path.open("rb") as file:
            content = file.read(MAPPING_BYTES_MAX + 1)
    except OSError as fault:
        raise ConfigError(f"the mapping {path} cannot be read: {fault.strerror}") from None
    if len(content) > MAPPING_BYTES_MAX:
        raise ConfigError(f"the mapping {path} is longer than {MAPPING_BYTES_MAX} bytes")
    try:
        tables = tomllib.loads(content.decode("utf-8-sig"), parse_float=Decimal)
    except ValueError as fault:
        raise ConfigError(f"the mapping {path} is not TOML: {fault}") from None
    except RecursionError:
        raise ConfigError(f"the mapping {path} nests arrays or tables too deep") from None
    return check_mapping(tables, str(path))


def check_mapping(tables: dict[str, Any], name: str = "mapping") -> Mapping:
    """The mapping in these TOML tables. Raises ConfigError with all of its errors at once."""
    try:
        return Mapping.model_validate(tables)
    except ValidationError as invalid:
        lines = [_line(error) for error in invalid.errors()]
    head = f"the mapping {name} has {counted(len(lines), 'error')}:"
    raise ConfigError("\n  ".join([head, *lines]))


def _line(error: Any) -> str:
    location = list(error["loc"])
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return f"{path or 'mapping'}: {_message(error)}"


def _message(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        similar = difflib.get_close_matches(str(error["loc"][-1]), _KEYS, n=1)
        hint = f"did you mean {similar[0]}?" if similar else "remove it"
        return f"is not a key of a mapping; {hint}"
    if error["type"] == "missing" and error["loc"][-1] == "precision":
        return PRECISION_MISSING
    if error["type"] == "missing":
        return "is required"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return _QUOTED.get(error["type"], str(error["msg"]))
