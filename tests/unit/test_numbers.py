"""Every number that somebody may set has a least and a most, and what is outside names them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from daybook.cli.commands import app
from daybook.errors import ConfigError
from daybook.settings import Settings, bounds_of, read_settings
from daybook.store.engine import _timeouts

NUMBERS = {
    name: field
    for name, field in Settings.model_fields.items()
    if any(kind in str(field.annotation) for kind in ("int", "float"))
}
HUGE = ("inf", "-inf", "nan", "1e300", "-1", str(10**20), "1" * 5_000, "x", "")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_setting_out_of_its_range_names_itself_and_the_range(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number; what lies on its bounds is taken."""
    bounds = bounds_of(NUMBERS[name])
    assert bounds is not None, f"{name} has no bounds"
    least, most = bounds
    assert math.isfinite(least)
    assert math.isfinite(most)
    variable = f"DAYBOOK_{name.upper()}"
    for value in (*HUGE, f"{most + 1:f}", f"{least - 0.001:f}"):
        monkeypatch.setenv(variable, value)
        with pytest.raises(ConfigError, match=f"{variable}: must be .* {least} to {most}"):
            read_settings()
    for bound in bounds:
        monkeypatch.setenv(variable, str(bound))
        if name == "batch_entries_min":
            monkeypatch.setenv("DAYBOOK_BATCH_ENTRIES_MAX", str(bound))
        if name == "batch_entries_max":
            monkeypatch.setenv("DAYBOOK_BATCH_ENTRIES_MIN", "1")
        assert getattr(read_settings(), name) == bound


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"BATCH_ENTRIES_MIN": "65", "BATCH_ENTRIES_MAX": "64"}, "BATCH_ENTRIES_MAX"),
        ({"SNAPSHOT_INTERVAL_SECONDS": "0.001"}, "SNAPSHOT_INTERVAL_SECONDS"),
    ],
)
def test_settings_that_can_not_be_meant_are_named(
    first: dict[str, str], second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that contradict each other; an interval that never ends to begin."""
    for name, value in first.items():
        monkeypatch.setenv(f"DAYBOOK_{name}", value)
    with pytest.raises(ConfigError, match=f"DAYBOOK_{second}"):
        read_settings()


def test_no_time_out_of_postgres_becomes_none() -> None:
    """0 would mean to wait for ever; the longest fits into a number of milliseconds."""
    for bound in (0, 1):
        settings = Settings()
        for name, field in NUMBERS.items():
            found = bounds_of(field)
            if found and name.endswith("timeout_seconds"):
                settings = settings.model_copy(update={name: found[bound]})
        for text in _timeouts(settings).values():
            assert 1 <= int(text.removesuffix("ms")) < 2**31


def numeric_parameters(command: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Each option and argument of the command line that is a number, with its command."""
    for each, child in getattr(command, "commands", {}).items():
        yield from numeric_parameters(child, f"{name} {each}")
    for parameter in command.params:
        if parameter.type_descriptor.annotation in (int, float):
            yield f"{name} {parameter.name}", command, parameter


PARAMETERS = {
    name: (command, parameter)
    for name, command, parameter in numeric_parameters(typer.main.get_command(app), "daybook")
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_number_of_a_command_has_a_range(name: str) -> None:
    """What is outside is refused before anything is asked."""
    command, parameter = PARAMETERS[name]
    assert parameter.min is not None, "no least"
    assert parameter.max is not None, "no most"
    context = command.context_class(command)
    for value in HUGE:
        with pytest.raises(typer.BadParameter):
            parameter.process_value(context, value)


def test_there_are_numbers_to_check() -> None:
    """Else the two tables above would prove nothing."""
    assert len(NUMBERS) >= 17
    assert len(PARAMETERS) >= 12


@pytest.mark.parametrize("name", NUMBERS)
def test_the_page_of_settings_says_the_range(name: str) -> None:
    """In the row of the setting, as people write numbers."""
    bounds = bounds_of(NUMBERS[name])
    assert bounds is not None
    page = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
    row = next(
        line
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| `DAYBOOK_{name.upper()}` |")
    )
    assert row.endswith(f" {bounds[0]:,} to {bounds[1]:,}. |")
