"""Imports point one way: ledger ← requests ← queue, store ← client, worker ← the command line."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE_DIR = Path(__file__).parents[2] / "src" / "daybook"

LEDGER: frozenset[str] = frozenset({"ledger"})
REQUESTS = LEDGER | {"requests", "errors"}
LOWER = REQUESTS | {"settings"}
QUEUE = LOWER | {"queue"}
STORE = LOWER | {"store"}
PRODUCING = QUEUE | {"producing"}
SETTLING = QUEUE | {"settling"}
ASKING = PRODUCING | {"asking"}
CLIENT = ASKING | {"points", "preview", "looking_ahead", "finding", "client"}
CELERY = CLIENT | {"celery"}
INSTALL = QUEUE | STORE | {"install"}  # the schema and the log, in one step
DRY_RUN = ASKING | STORE | {"preview", "dry_run"}
MONITORING = QUEUE | STORE | {"monitoring"}
WORKER = CLIENT | INSTALL | DRY_RUN | MONITORING | {"worker"}
TOP = CELERY | WORKER | SETTLING | MONITORING | {"cli", "embedded", "backfill", "demo", "daybook"}

MAY_IMPORT: dict[str, frozenset[str]] = {
    "ledger": LEDGER,
    "errors": frozenset({"errors"}),
    "points": frozenset({"points"}),
    "settings": frozenset({"errors", "settings"}),
    "requests": REQUESTS,
    "queue": QUEUE,
    "store": STORE,
    "producing": PRODUCING,
    "settling": SETTLING,
    "monitoring": MONITORING,
    "asking": ASKING,
    "client": CLIENT,
    "celery": CELERY,
    "install": INSTALL,
    "preview": frozenset({"preview"}),
    "looking_ahead": CLIENT,
    "finding": QUEUE | {"finding"},
    "dry_run": DRY_RUN,
    "worker": WORKER,
    "daybook": CLIENT | {"daybook"},  # the package's own __init__: what producers import
    "cli": TOP,
    "embedded": TOP,
    "backfill": TOP,
    "demo": TOP,
    "__main__": TOP,
}
"""For each module or folder directly under ``daybook``: which of them it may import."""

STANDARD_LIBRARY_ONLY = frozenset({"ledger", "errors", "points"})


def imported_names(path: Path, package_dir: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that the file imports, wherever it does."""
    package = ("daybook", *path.relative_to(package_dir).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def layer_of(name: str, package_dir: Path) -> str:
    """The layer that a dotted name under ``daybook`` belongs to; ``daybook`` for its __init__."""
    part = name.split(".")[1] if "." in name else "daybook"
    exists = (package_dir / part).is_dir() or (package_dir / f"{part}.py").is_file()
    return part if exists else "daybook"


def violations(package_dir: Path) -> list[str]:
    """Every import in the package that its layer may not have, as ``file:line: what``."""
    found = []
    for path in sorted(package_dir.rglob("*.py")):
        inside = path.relative_to(package_dir)
        layer = "daybook" if inside.name == inside.parts[0] == "__init__.py" else inside.parts[0]
        layer = layer.removesuffix(".py")
        if layer not in MAY_IMPORT:
            found.append(f"{inside}: {layer!r} has no layer yet: give it one in MAY_IMPORT")
            continue
        for line, name in imported_names(path, package_dir):
            root = name.partition(".")[0]
            if root == "daybook":
                allowed = layer_of(name, package_dir) in MAY_IMPORT[layer]
            else:
                allowed = layer not in STANDARD_LIBRARY_ONLY or root in sys.stdlib_module_names
            if not allowed:
                found.append(f"{inside}:{line}: {layer} may not import {name}")
    return found


def test_imports_point_one_way() -> None:
    """No module imports from a layer above its own, and the ledger only the standard library."""
    assert violations(PACKAGE_DIR) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ledger/money.py", "import sqlalchemy"),
        ("ledger/money.py", "from daybook.errors import DaybookError"),
        ("ledger/money.py", "def late():\n    from ..queue import log"),
        ("requests.py", "from .queue import log"),
        ("queue/log.py", "import daybook.store.schema"),
        ("store/journal.py", "from daybook import worker"),
        ("client.py", "from daybook.store import queries"),
        ("worker/app.py", "from daybook.cli import main"),
        ("__init__.py", "from .worker import app"),
        ("newcomer.py", "x = 1"),
    ],
)
def test_a_violation_is_found(tmp_path: Path, file: str, source: str) -> None:
    """Each kind of forbidden import is reported with its file, and nothing else is."""
    for layer in ("ledger", "queue", "store", "worker", "cli"):
        (tmp_path / layer).mkdir()
        (tmp_path / layer / "__init__.py").write_text("")
    (tmp_path / file).write_text(source)

    (violation,) = violations(tmp_path)

    assert violation.startswith(f"{file}:")


WITHOUT_DATABASE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"sqlalchemy", "psycopg", "alembic"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Refuse())
"""


def run_without_database(code: str) -> subprocess.CompletedProcess[str]:
    """Runs the code in a new interpreter where the database libraries can't be imported."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_DATABASE + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_producers_need_no_database_libraries() -> None:
    """Client, AsyncClient and the Celery task import without SQLAlchemy, psycopg and Alembic."""
    result = run_without_database(
        "import daybook; daybook.Client; daybook.AsyncClient\nfrom daybook.celery import enqueue\n"
    )
    assert result.returncode == 0, result.stderr


def test_the_block_on_database_libraries_works() -> None:
    """The store, which needs them, fails to import under the same block."""
    result = run_without_database("import daybook.store.schema\n")
    assert result.returncode == 1
    assert "sqlalchemy is blocked" in result.stderr
