"""The how-to says what the code does: its mapping loads, and it names every option and key."""

from __future__ import annotations

import inspect
import re
import tomllib
from decimal import Decimal
from pathlib import Path

from daybook.backfill.loading import check_mapping
from daybook.backfill.mapping import CsvTable, GroupTable, LedgerTable, Mapping, TransactionTable
from daybook.backfill.report import Summary
from daybook.backfill.rules import Condition, DateRule, SideRule, ValueRule
from daybook.cli.backfill import backfill

HOW_TO = (Path(__file__).parents[3] / "docs" / "how-to" / "backfill.md").read_text("utf-8")


def test_the_mapping_of_the_how_to_is_valid() -> None:
    """The first mapping that is shown can be used as it stands."""
    text = re.findall(r"```toml\n(.*?)```", HOW_TO, re.DOTALL)[0]
    mapping = check_mapping(tomllib.loads(text, parse_float=Decimal))
    assert mapping.columns() == {"id", "currency", "amount", "note", "account", "day", "branch"}


def test_the_how_to_names_every_option() -> None:
    """Each option of the command line is in the table."""
    source = inspect.getsource(backfill)
    options = re.findall(r'"(?:--[a-z-]+/)?(--[a-z-]+)"', source)
    for option in [*options, "--rate", "--rejects", "--patience", "--json"]:
        assert option in HOW_TO


def test_the_how_to_names_every_key() -> None:
    """Each key of a mapping, and each count of the summary, is explained."""
    tables = (Mapping, GroupTable, CsvTable, DateRule, LedgerTable, TransactionTable)
    for table in (*tables, SideRule, ValueRule, Condition):
        for name, key in table.model_fields.items():
            assert re.search(rf"\b{key.alias or name}\b", HOW_TO), name
    for label, _, _ in Summary().rows():
        assert label in HOW_TO
