"""Daybook runs with what it declares, and with nothing else that happens to be installed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from daybook.cli.exits import Exit
from daybook.extras import MODULES

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
BY_PRODUCERS = [
    "celery.backends.redis",
    "daybook.celery",
    "daybook.client.dry_run",
    "daybook.settings",
    "kombu.transport.redis",
]

HEAVY = {
    "alembic",
    "asyncio",
    "celery",
    "kombu",
    "psutil",
    "psycopg",
    "pydantic",
    "redis",
    "rich",
    "sqlalchemy",
    "structlog",
}

ONLY = """
import importlib, json, pkgutil, sys

absent, *arguments = map(json.loads, sys.argv[1:])

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):  # what finds the metadata of distributions
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in absent:
            return self.finder.find_spec(name, path, target)

for name in [*sys.modules]:  # .pth files import some at startup
    if name.partition(".")[0] in absent:
        del sys.modules[name]
sys.meta_path[:] = map(Without, sys.meta_path)
"""
IMPORT_ALL = """
import daybook

(wanted,) = arguments
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


@cache
def owners() -> Mapping[str, list[str]]:
    """The distributions that bring each module that can be imported here."""
    return metadata.packages_distributions()


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


def installed_with(*extras: str) -> set[str]:
    """Names of the distributions that ``pip install daybook[extras]`` installs."""
    requirements = list(PYPROJECT["dependencies"])
    waiting, seen = list(extras), set[str]()
    while waiting:
        extra = waiting.pop()
        seen.add(extra)
        for text in PYPROJECT["optional-dependencies"][extra]:
            requirement = Requirement(text)
            if requirement.name == "daybook":
                waiting += requirement.extras - seen
            else:
                requirements.append(text)
    return closure(requirements)


def python_with_only(
    distributions: set[str], script: str, *arguments: Any
) -> subprocess.CompletedProcess[str]:
    """Runs a script where only these distributions and Daybook are installed."""
    kept = distributions | {"daybook"}
    absent = [
        module
        for module, distribution in owners().items()
        if kept.isdisjoint(map(canonicalize_name, distribution))
    ]
    return subprocess.run(
        [sys.executable, "-c", ONLY + script, json.dumps(absent), *map(json.dumps, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def faults_with_only(distributions: set[str], wanted: list[str]) -> dict[str, str]:
    """What of Daybook, and of ``wanted``, fails to import there, and why."""
    outcome = python_with_only(distributions, IMPORT_ALL, wanted)
    assert outcome.returncode == 0, outcome.stderr
    report = json.loads(outcome.stdout)
    assert report["imported"] > len(wanted) + 20, "Daybook's modules were not found"
    return dict(report["faults"])


def test_everything_imports_with_all_extras() -> None:
    """All that Daybook imports comes from its declared dependencies, none from the dev extra."""
    declared = installed_with("all")
    assert "pytest" not in declared
    assert faults_with_only(declared, IMPORTED_LATE) == {}


def test_a_producer_needs_no_extra() -> None:
    """Without extras all that a producer uses is there; the rest says what to install, at once."""
    producers = installed_with()
    assert producers.isdisjoint({"alembic", "flower", "psycopg", "sqlalchemy", "typer"})
    faults = faults_with_only(producers, BY_PRODUCERS)
    rooms = {name.split(".")[1] for name in faults}
    assert rooms == {
        "api",
        "apply",
        "cli",
        "demo",
        "embedded",
        "installation",
        "monitoring",
        "registry",
        "store",
        "worker",
    }
    for name, fault in faults.items():
        if not name.startswith("daybook.cli."):  # below its entry point, which is asked first
            assert re.search(
                r"not installed: run pip install 'daybook\[(api|worker|embedded)\]'$", fault
            )


def test_a_worker_needs_no_embedded_servers() -> None:
    """With the extras of the image all imports, but for the embedded servers and the demo."""
    script = (ROOT / "deploy/install").read_text(encoding="utf-8")
    (extras,) = re.findall(r"^extras=\$\{EXTRAS-(.+)\}$", script, re.M)
    faults = faults_with_only(installed_with(*extras.split(",")), IMPORTED_LATE)
    assert {name.split(".")[1] for name in faults} == {"demo", "embedded"}
    assert all("run pip install 'daybook[embedded]'" in fault for fault in faults.values())


@pytest.mark.parametrize(
    ("extras", "words", "missing"),
    [
        ([], ["balance", "@World"], "worker"),
        (["worker"], ["up"], "embedded"),
        (["worker"], ["demo"], "embedded"),
        (["embedded"], ["up", "--flower"], "flower"),
        (["worker"], ["api"], "api"),
    ],
)
def test_a_command_tells_which_extra_it_lacks(
    extras: list[str], words: list[str], missing: str
) -> None:
    """One line with the command that mends it, exit code 3, no traceback."""
    script = "from daybook.cli import main; sys.argv = ['daybook', *arguments]; main()"
    outcome = python_with_only(installed_with(*extras), script, *words)
    assert outcome.returncode == Exit.UNAVAILABLE
    (line,) = outcome.stderr.splitlines()
    assert re.fullmatch(rf"error: .+ not installed: run pip install 'daybook\[{missing}\]'", line)


def test_up_goes_without_the_api_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is more than anybody asked for: what ends the command here is something else."""
    monkeypatch.delenv("DAYBOOK_DATABASE_URL", raising=False)
    monkeypatch.setenv("DAYBOOK_REGISTRY_DATABASE_URL", "postgresql:///nowhere")
    monkeypatch.setenv("DAYBOOK_HOME", str(tmp_path))
    script = "from daybook.cli import main; sys.argv = ['daybook', *arguments]; main()"
    outcome = python_with_only(installed_with("embedded"), script, "up")
    (line,) = outcome.stdout.splitlines()
    assert line.startswith("Without the HTTP API: ")
    assert line.endswith("not installed: run pip install 'daybook[api]'")
    assert "set without DAYBOOK_DATABASE_URL" in outcome.stderr


@pytest.mark.parametrize("program", ["/usr/bin/celery", "/lib/celery/__main__.py"])
def test_celery_tells_which_extra_it_lacks(program: str) -> None:
    """`celery -A daybook.worker`, too: one line, and not how it could not be imported."""
    script = "from celery.__main__ import main; sys.argv = arguments; main()"
    words = [program, "-A", "daybook.worker", "worker"]
    outcome = python_with_only(installed_with(), script, *words)
    assert outcome.returncode == Exit.UNAVAILABLE, outcome.stderr
    (line,) = outcome.stderr.splitlines()
    assert re.fullmatch(r"error: .+ not installed: run pip install 'daybook\[worker\]'", line)


def test_every_extra_says_what_it_installs() -> None:
    """What `require` looks for is what the extra, and no other, installs."""
    declared = PYPROJECT["optional-dependencies"]
    assert {*MODULES, "all", "dev", "mutants"} == {*declared}
    for extra, modules in MODULES.items():
        direct = {canonicalize_name(Requirement(text).name) for text in declared[extra]}
        brought = {canonicalize_name(owners()[module][0]) for module in modules}
        assert brought == direct - {"daybook"}


def test_an_undeclared_dependency_is_noticed() -> None:
    """Without `packaging`, which kombu declares in an extra only, the broker's transport fails."""
    script = "import kombu.transport.redis"
    outcome = python_with_only(installed_with("all") - {"packaging"}, script)
    assert "No module named 'packaging'" in outcome.stderr


@pytest.mark.parametrize("words", ["--help", "balance --help", "balance show --help", "up --help"])
def test_help_loads_no_more_than_it_needs(words: str) -> None:
    """Help starts fast: it loads none of the packages that commands need when they run."""
    script = """
from daybook.cli import main

sys.argv = ["daybook", *arguments]
try:
    main()
finally:
    print({name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""
    outcome = python_with_only(installed_with("all"), script, *words.split())
    assert outcome.stdout.startswith("Usage: daybook")
    loaded = ast.literal_eval(outcome.stderr)
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_a_guard_loads_no_more_than_it_needs() -> None:
    """Each instance has one, and it does nothing until the end but lie in memory."""
    script = "import daybook.embedded.guard; print({n.partition('.')[0] for n in sys.modules})"
    outcome = python_with_only(installed_with("all"), script)
    assert outcome.returncode == 0, outcome.stderr
    assert ast.literal_eval(outcome.stdout) & HEAVY == {"psutil"}


def test_extras_bring_what_they_declare() -> None:
    """The extra of celery asks for an extra of kombu, which asks for `packaging`."""
    assert closure(["celery[redis]"]) - closure(["celery"]) >= {"packaging", "redis"}
    assert closure(["celery; python_version < '3'"]) == set()


def test_a_producer_may_import_everything() -> None:
    """``from daybook import *`` where only the base is installed; the readers say what to add."""
    script = f"""{ONLY}
from daybook import *
import daybook
try:
    daybook.Reader
except ExtraMissing as missing:
    print(Client.__name__, missing)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps([*MODULES["worker"]])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("Client "), done.stderr
    assert "daybook[worker]" in done.stdout
