"""No password is shown, whatever characters it is made of."""

from __future__ import annotations

import traceback

import pytest

from daybook.cli.output import without_password
from daybook.errors import ConfigError
from daybook.queue.connect import connect, connect_async
from daybook.settings import Settings


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


@pytest.mark.parametrize("url", ["redis://:hid/den@host:6379/0", "redis://:x@h:hidden/0", "hidden"])
@pytest.mark.parametrize("opener", [connect, connect_async])
def test_a_bad_address_is_not_quoted(opener: object, url: str) -> None:
    """The error says what an address looks like, and nothing of the one that was given."""
    with pytest.raises(ConfigError, match="DAYBOOK_REDIS_URL is not an address like") as caught:
        opener(url, Settings())  # type: ignore[operator]
    assert "hid" not in "".join(traceback.format_exception(caught.value, limit=0))
