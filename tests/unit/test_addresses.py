"""Addresses: all of one installation, or none is taken from another."""

from __future__ import annotations

from pathlib import Path

import pytest

from daybook import settings as settings_module
from daybook.errors import ConfigError
from daybook.settings import Settings

INSTANCE = {"database_url": "postgresql://own/db", "redis_url": "redis://own/0"}


@pytest.fixture(autouse=True)
def instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """One runs in the data folder."""
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(f"DAYBOOK_{name}", raising=False)
    monkeypatch.setattr(settings_module, "running_instance", lambda home: INSTANCE)


def test_an_instance_gives_what_is_not_set() -> None:
    """Both addresses, or the other one of its own."""
    assert Settings().require_redis_url() == INSTANCE["redis_url"]
    own = Settings(home=Path(), database_url=INSTANCE["database_url"])
    assert own.require_redis_url() == INSTANCE["redis_url"]


def test_an_instance_gives_nothing_beside_another_installation_s_address() -> None:
    """The log of one and the database of another would become one ledger."""
    with pytest.raises(ConfigError, match="DAYBOOK_REDIS_URL is set, and is not that of the inst"):
        Settings(redis_url="redis://other/0").require_database_url()
    with pytest.raises(ConfigError, match="set DAYBOOK_REDIS_URL too, or neither"):
        Settings(database_url="postgresql://other/db").require_redis_url()
