"""Daybook runs with what it declares, and with nothing else that happens to be installed."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Daybook's own modules are found by the script; these are imported by name or late.
IMPORTED_LATE = [
    "alembic.command",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.backends.redis",
    "flower.command",
    "kombu.transport.redis",
    "psycopg",
]

IMPORT_WITHOUT = """
import importlib, json, pkgutil, sys

absent, wanted = map(json.loads, sys.argv[1:])

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in [*sys.modules]:  # .pth files import some at startup
    if name.partition(".")[0] in absent:
        del sys.modules[name]
sys.meta_path.insert(0, Absent())

import daybook
wanted += [
    module.name
    for module in pkgutil.walk_packages(daybook.__path__, "daybook.", onerror=lambda name: None)
    # alembic runs the migrations, and __main__ starts the command line
    if ".migrations" not in module.name and not module.name.endswith("__main__")
]
faults = {}
for name in wanted:
    try:
        importlib.import_module(name)
    except ImportError as fault:
        faults[name] = str(fault)
print(json.dumps({"imported": len(wanted), "faults": faults}))
"""


def closure(requirements: list[str]) -> set[str]:
    """Names of the distributions that pip installs for the requirements, in this environment.

    Raises PackageNotFoundError when one of them is not installed.
    """
    seen: set[tuple[str, str]] = set()  # a distribution and one of the extras asked of it
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, asked_by_extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": asked_by_extra}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                needs = metadata.requires(name) or []
                waiting += [(Requirement(text), extra) for text in needs]
    return {name for name, _ in seen}


def faults_with_only(distributions: set[str]) -> dict[str, str]:
    """What fails to import, and why, when only these distributions and Daybook are installed."""
    kept = distributions | {"daybook"}
    absent = [
        module
        for module, owners in metadata.packages_distributions().items()
        if kept.isdisjoint(map(canonicalize_name, owners))
    ]
    outcome = subprocess.run(
        [sys.executable, "-c", IMPORT_WITHOUT, json.dumps(absent), json.dumps(IMPORTED_LATE)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    report = json.loads(outcome.stdout)
    assert report["imported"] > len(IMPORTED_LATE) + 20, "Daybook's modules were not found"
    return dict(report["faults"])


def test_everything_imports_with_the_declared_dependencies_alone() -> None:
    """All that Daybook imports comes from its declared dependencies, none from the dev extra."""
    declared = closure(PYPROJECT["dependencies"])
    assert "pytest" not in declared
    assert faults_with_only(declared) == {}


def test_an_undeclared_dependency_is_noticed() -> None:
    """Without `packaging`, which kombu declares in an extra only, the broker's transport fails."""
    declared = closure(PYPROJECT["dependencies"])
    faults = faults_with_only(declared - {"packaging"})
    assert "packaging" in faults["kombu.transport.redis"]


def test_extras_bring_what_they_declare() -> None:
    """The extra of celery asks for an extra of kombu, which asks for `packaging`."""
    assert closure(["celery[redis]"]) - closure(["celery"]) >= {"packaging", "redis"}
    assert closure(["celery; python_version < '3'"]) == set()
