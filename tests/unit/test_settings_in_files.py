"""Settings in files, as containers get their secrets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from daybook.embedded.work import Addresses, environment
from daybook.errors import ConfigError
from daybook.settings import Settings, misspelt, read_settings, variable_of

VALUES = ("100\n", "\ufeffredis://:a b@h/0\n")
SECRETS = [name for name in Settings.model_fields if name.endswith("_url")]


@pytest.mark.parametrize("name", [*SECRETS, "batch_entries_max"])
def test_each_setting_may_be_in_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the line end that an editor adds; what is wrong with it names the setting."""
    (file := tmp_path / "secret").write_text(VALUES[name in SECRETS])
    monkeypatch.delenv(variable_of(name), raising=False)
    monkeypatch.setenv(f"{variable_of(name)}_FILE", str(file))
    assert str(getattr(read_settings(), name)) == VALUES[name in SECRETS].strip("\ufeff\n")
    monkeypatch.setenv(variable_of(name), "100")
    with pytest.raises(ConfigError, match=f"{variable_of(name)} and {variable_of(name)}_FILE are"):
        read_settings()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        (b"\n", "is empty"),
        (b"\xff", "it is no text"),
        (b"redis://a\nredis://b\n", "more than one line"),
        (b"\0" * 20, "more than one line"),
        (b"x" * 10_001, "more than one line"),
    ],
)
def test_a_file_that_says_nothing_is_named(
    content: bytes | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable, the path and the reason; never what is in the file."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.delenv("DAYBOOK_REDIS_URL", raising=False)
    monkeypatch.setenv("DAYBOOK_REDIS_URL_FILE", str(file))
    with pytest.raises(ConfigError, match=f"DAYBOOK_REDIS_URL_FILE: .*{file}.*{why}"):
        read_settings()


def test_an_instance_hands_no_file_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workers get the addresses that it found; the owner's in no form."""
    for name in ("database_url", "redis_url", "migration_database_url", "registry_database_url"):
        monkeypatch.setenv(f"{variable_of(name)}_FILE", "/run/secrets/address")
    monkeypatch.setenv("DAYBOOK_BROKER_URL_FILE", "/run/secrets/broker")
    names = ("postgresql://d", "postgresql://owner", "postgresql://keys", "redis://r")
    given = environment(tmp_path, Addresses(*names))
    files = {name for name in given if name.startswith("DAYBOOK_") and name.endswith("_FILE")}
    assert files == {"DAYBOOK_BROKER_URL_FILE"}
    assert given["DAYBOOK_DATABASE_URL"] == "postgresql://d"
    assert {"postgresql://owner", "postgresql://keys"}.isdisjoint(given.values())


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("DAYBOOK_REDIS_URI", "DAYBOOK_REDIS_URL"),
        ("DAYBOOK_DATABSE_URL", "DAYBOOK_DATABASE_URL"),
        ("DAYBOOK_DATABASE_URLFILE", "DAYBOOK_DATABASE_URL_FILE"),
        ("DAYBOOK_BATCH_ENTRY_MAX", "DAYBOOK_BATCH_ENTRIES_MAX"),
    ],
)
def test_a_setting_misspelt_is_told(variable: str, meant: str) -> None:
    """It would be as if nothing had been set."""
    assert list(misspelt([variable])) == [f"{variable} is no setting: did you mean {meant}?"]


def test_other_variables_are_nobody_s_business() -> None:
    """Settings in any case and in files, those of the compose file, and what begins otherwise."""
    compose = (Path(__file__).parents[2] / "docker-compose.yml").read_text()
    settings = [variable_of(name) for name in Settings.model_fields]
    ours = [*settings, *(f"{name}_FILE" for name in settings), "daybook_redis_url"]
    assert not list(misspelt([*ours, *re.findall("DAYBOOK_[A-Z_]+", compose)]))
    assert not list(misspelt(["DAYBOOK_VERSION", "DAYBOOK_", "REDIS_URI", "XDAYBOOK_REDIS_URI"]))
