"""The examples and the commands of the pages are run; examples print what is recorded."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import pytest
from celery import Celery
from tests.harness import Cluster, Installation, daybook_program, wait_until
from tests.integration.serving import served

from daybook.settings import celery_url

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
CELERY = (sys.executable, "-m", "celery", "-A", "celery_service")
OVER_HTTP = "wallet_"
"""How the names of scripts begin that use the HTTP API."""
SECONDS_MAX = 600
"""What stands still ends long before: each command has bounds of its own."""
PAGES = ("README.md", "docs/tutorial.md")
HOW_TO = (
    "legs",
    "bulk",
    "refunds",
    "schedules",
    "holds",
    "identities",
    "dry-run",
    "history",
    "rebuild",
    "quarantine",
)
"""Pages of docs/how-to, in the order in which they are run on one installation."""

pytestmark = pytest.mark.timeout(2 * SECONDS_MAX)

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.M | re.S)
"""What a page marks as ``sh`` or ``python`` can be run as it stands, one block after the other."""

SHOWN = re.compile(r"^```(?:sh|python)\n(?:(?!```).)*^```\n\n```\n(.*?)^```$", re.M | re.S)
"""A block without a language right behind one that is run: what it prints."""

VARIES = (
    (
        re.compile(
            r"(txn|bln|ldg|idt|bulk)_(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{4}…)"
        ),
        r"\1_…",
    ),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?"), "moment"),
    (re.compile(r"─+"), "─"),
    (re.compile(r" +"), " "),
)


def run(programs: Path, script: str, installation: Installation, *arguments: str) -> str:
    """What an example prints on this installation."""
    done = subprocess.run(
        [programs / "python3", script, *arguments],
        cwd=EXAMPLES,
        env=installation.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def service_worker(installation: Installation) -> Iterator[None]:
    """The worker of the service in celery_service.py, ready for its tasks."""
    node = f"shop{os.getpid()}@localhost"
    path = installation.folder / "service.log"
    with path.open("ab") as output:
        worker = subprocess.Popen(
            [*CELERY, "worker", "-n", node, "-c", "2", "--without-mingle", "--without-gossip"],
            cwd=EXAMPLES,
            env=installation.environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        with Celery(broker=celery_url(installation.redis_url), set_as_current=False) as app:
            wait_until(lambda: app.control.ping([node], timeout=1), "the service's worker answers")
        yield
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def recorded(script: str) -> str:
    return (EXAMPLES / script).with_suffix(".out").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_prints_what_is_recorded(
    script: str, installation: Installation, programs: Path
) -> None:
    """Each script runs to its end, twice, and its output is that of the .out file beside it."""
    installation.workers(1)
    arguments = [celery_url(installation.redis_url)] if script == "without_daybook.py" else []
    if script == "celery_service.py":
        with service_worker(installation):
            outputs = [run(programs, script, installation) for _ in range(2)]
    elif script.startswith(OVER_HTTP):
        with served(installation, "a key") as url:
            installation.more_environment = {"API_URL": url, "API_KEY": "a key"}
            outputs = [run(programs, script, installation) for _ in range(2)]
    else:
        outputs = [run(programs, script, installation, *arguments) for _ in range(2)]
    assert outputs == [recorded(script)] * 2


def test_every_recorded_output_belongs_to_a_script() -> None:
    """No .out file is left over from a script that is gone."""
    assert sorted(path.stem for path in EXAMPLES.glob("*.out")) == [
        Path(script).stem for script in SCRIPTS
    ]


def test_an_example_that_goes_wrong_is_noticed(
    installation: Installation, tmp_path: Path, programs: Path
) -> None:
    """Without workers an example fails, and says that the outcome is unknown."""
    copy = tmp_path / "pay.py"
    shutil.copy(EXAMPLES / "pay.py", copy)
    copy.write_text(copy.read_text(encoding="utf-8").replace("timeout=30", "timeout=0.1"))
    with pytest.raises(AssertionError, match="may still be posted"):
        run(programs, str(copy), installation)


def as_script(page: str, blocks_min: int = 8) -> str:
    """The blocks of a page as one script."""
    blocks = BLOCK.findall((EXAMPLES.parent / page).read_text(encoding="utf-8"))
    assert len(blocks) >= blocks_min
    return "\n".join(
        text if language == "sh" else f"python3 - <<'PY'\n{text}PY" for language, text in blocks
    )


def run_script(
    script: str,
    folder: Path,
    settings: Mapping[str, str] = MappingProxyType({}),
    programs: Path = Path(sys.executable).parent,
) -> subprocess.CompletedProcess[str]:
    """Run a page's script as its reader would: in an empty folder, without other settings.

    programs: where ``daybook`` and ``python3`` are found first.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DAYBOOK_")}
    environment |= {k: v for k, v in settings.items() if k.startswith("DAYBOOK_")}
    path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), environment["PATH"]))
    environment["PATH"] = path
    output = folder / "output.txt"
    with output.open("wb") as writer:  # no pipe: what was started would keep it open
        try:
            done = subprocess.run(
                ["bash", "-e", "-u", "-o", "pipefail", "-c", script],
                cwd=folder,
                env=environment,
                stdout=writer,
                stderr=writer,
                timeout=SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:  # it was killed, and what it started was not
            subprocess.run(["daybook", "down"], cwd=folder, env=environment, check=False)
            raise
    return subprocess.CompletedProcess((), done.returncode, output.read_text(encoding="utf-8"))


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(page: str, programs: Path, tmp_path: Path) -> None:
    """From `daybook up` to `daybook down`, each command does what the page says, in its order."""
    script = as_script(page)
    assert script.rstrip().endswith("daybook down")
    done = run_script(f"trap 'daybook down' EXIT\n{script}", tmp_path, programs=programs)
    assert done.returncode == 0, done.stdout
    assert "insufficient_funds" in done.stdout
    assert "exit code 1" in done.stdout
    assert "All is right: " in done.stdout


@pytest.fixture(scope="module")
def shop(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation for all pages of docs/how-to, with a worker and beat."""
    made = Installation(cluster, 2, tmp_path_factory.mktemp("shop"))
    made.workers(1)
    yield made
    made.close()


@pytest.fixture
def programs() -> Path:
    """A folder with a ``daybook`` and a ``python3`` that start at once."""
    return daybook_program().parent


@pytest.mark.parametrize("name", HOW_TO)
def test_the_commands_of_a_how_to_page_print_what_it_shows(
    name: str, shop: Installation, programs: Path, tmp_path: Path
) -> None:
    """Each block of the page runs, and each line of output on the page is printed."""
    page = (EXAMPLES.parent / f"docs/how-to/{name}.md").read_text(encoding="utf-8")
    script = as_script(f"docs/how-to/{name}.md", blocks_min=2)
    done = run_script(script, tmp_path, shop.environment, programs)
    assert done.returncode == 0, done.stdout
    printed = {masked(line) for line in done.stdout.splitlines()}
    shown = [masked(line) for block in SHOWN.findall(page) for line in block.splitlines()]
    assert [line for line in shown if line not in printed and line != "…"] == [], done.stdout


def masked(line: str) -> str:
    """A line of output without what differs from run to run."""
    for pattern, mask in VARIES:
        line = pattern.sub(mask, line)
    return line.strip()


def test_the_example_without_daybook_says_what_it_needs() -> None:
    """Without the broker's address it prints its usage."""
    done = subprocess.run(
        [sys.executable, "without_daybook.py"],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")
    assert done.stderr.count("\n") == 1
