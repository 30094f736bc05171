"""No password is shown, whatever characters it is made of."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from daybook.cli.output import without_password
from daybook.errors import ConfigError
from daybook.queue.connect import connect, connect_async
from daybook.settings import Settings, celery_url, read_settings


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:se/cr@et:x@host:6379/0", "redis://:…@host:6379/0"),
        ("postgresql://me:se/cr?e#t@host/db", "postgresql://me:…@host/db"),
        ("unix://:se/cret@/run/valkey.sock?db=0", "unix://:…@/run/valkey.sock?db=0"),
        ("unix:///v.sock?password=se/c@ret&db=0", "unix:///v.sock?password=…&db=0"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("redis://host:6379/0", "redis://host:6379/0"),
    ],
)
def test_everything_up_to_the_last_at_is_the_password(url: str, shown: str) -> None:
    """A password with / : @ ? or # in it is masked as a whole, and the rest stays readable."""
    assert without_password(url) == shown


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("unix:///v.sock?db=1&password=a%2Fb", "redis+socket://:a%2Fb@/v.sock?virtual_host=1"),
        ("redis://h:1/0?username=me&password=x", "redis://me:x@h:1/0"),
        ("redis://:x@h:1/0", "redis://:x@h:1/0"),
        ("unix:///v.sock", "redis+socket:///v.sock"),
    ],
)
def test_celery_is_told_the_password_where_it_masks_it(url: str, wanted: str) -> None:
    """Among the parameters it would neither be used nor hidden by Celery's reports."""
    assert celery_url(url) == wanted


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pw@host:6379/hidden",
        "rediss://host:6379/0hid",
        "redis://host:6379/0/hidden",
        "redis://:1@hid/den@host:6379/0",
        "unix:///v.sock?db=hidden",
        "redis+socket:///v.sock?virtual_host=hidden",
        "redis://host/-1?password=hidden",
    ],
)
def test_a_database_that_is_no_number_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver would take the first one: of the log and of the broker, and nothing is quoted."""
    for opener in (connect, connect_async):
        with pytest.raises(ConfigError, match="DAYBOOK_REDIS_URL: its database must be a number"):
            opener(url, Settings())
    for variable in ("DAYBOOK_REDIS_URL", "DAYBOOK_BROKER_URL"):
        with monkeypatch.context() as patched:
            patched.setenv(variable, url)
            with pytest.raises(ConfigError, match=f"{variable}: its database must") as caught:
                read_settings()
        assert "hid" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://h/", "redis://h:1/15", "unix:///v/a.sock?db=2", "rediss://h/0/"]
)
def test_a_database_by_number_or_none_is_taken(url: str) -> None:
    """Also where the path is that of a socket."""
    connect(url, Settings()).close()


@pytest.mark.parametrize("url", ["redis://:hid/den@host:6379/0", "redis://:x@h:hidden/0", "hidden"])
@pytest.mark.parametrize("opener", [connect, connect_async])
def test_a_bad_address_is_not_quoted(opener: Callable[..., Any], url: str) -> None:
    """The error says what an address looks like, and nothing of the one that was given."""
    with pytest.raises(ConfigError, match="DAYBOOK_REDIS_URL is not an address like") as caught:
        opener(url, Settings())
    assert "hid" not in "".join(traceback.format_exception(caught.value, limit=0))
