"""What is shown of a traceback in the list of what was quarantined."""

from __future__ import annotations

import pytest

from daybook.store.read.quarantine import _error_in


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Traceback (most recent call last):\n  File x\nValueError: no\n", "ValueError: no"),
        (
            "psycopg.errors.DataError: boom\nCONTEXT:  COPY x, line 1\nCOPY x, line 1: secret",
            "psycopg.errors.DataError: boom",
        ),
        ("something else", "something else"),
        ("", ""),
    ],
)
def test_the_exception_is_shown_and_no_data(text: str, shown: str) -> None:
    """The line that names the exception is told, not what Postgres quotes below it."""
    assert _error_in(text) == shown
