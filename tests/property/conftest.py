"""Long searches: as many examples as the profile says, however long that takes."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A long search ends by its number of examples, not by the clock."""
    if os.environ.get("DAYBOOK_HYPOTHESIS_PROFILE") == "long":
        for item in items:
            item.add_marker(pytest.mark.timeout(0))
