"""Imports point one way: the rooms of ``pyproject.toml`` hold, and would tell of a violation."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE_DIR = ROOT / "src" / "daybook"
STANDARD_LIBRARY_ONLY = ("ledger", "errors.py", "steps.py")
LINT_SECONDS_MAX = 120.0
"""A bound for a busy machine."""


def lint(source_dir: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the package in this folder."""
    program = "from importlinter.cli import lint_imports_command as main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        env={**os.environ, "PYTHONPATH": str(source_dir)},
        cwd=source_dir,
        capture_output=True,
        text=True,
        timeout=LINT_SECONDS_MAX,
        check=False,
    )


def test_imports_point_one_way() -> None:
    """No room uses one above it, nothing uses itself by a detour, and all have their place."""
    result = lint(PACKAGE_DIR.parent)
    assert result.returncode == 0, result.stdout


def test_violations_are_found(tmp_path: Path) -> None:
    """Each kind of forbidden import is reported."""
    package = tmp_path / "daybook"
    shutil.copytree(PACKAGE_DIR, package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, source in {
        "ledger/chain.py": "import sqlalchemy",
        "queue/log.py": "def late():\n    from daybook.store import schema",
        "apply/due.py": "import celery",
        "store/engine.py": "import daybook.store.store",
        "newcomer.py": "x = 1",
    }.items():
        with (package / file).open("a", encoding="utf-8") as changed:
            changed.write(f"\n{source}\n")
    result = lint(tmp_path)
    assert result.returncode == 1
    for said in (
        "daybook.ledger.chain -> sqlalchemy",
        "daybook.queue.log -> daybook.store.schema",
        "daybook.apply.due -> celery",
        "No cycles are allowed in daybook.store",
        "newcomer",
    ):
        assert said in result.stdout, result.stdout


def test_the_engine_uses_the_standard_library_only() -> None:
    """Whatever third parties offer: no clock, no randomness and no I/O come in with them."""
    found = []
    for name in STANDARD_LIBRARY_ONLY:
        place = PACKAGE_DIR / name
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                roots = {each.partition(".")[0] for each in names}
                found += [f"{path}: {root}" for root in roots - sys.stdlib_module_names]
    assert {place.split(": ")[1] for place in found} == {"daybook"}, found
