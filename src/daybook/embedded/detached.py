"""Starting a supervisor that outlives us, and stopping it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from daybook.embedded.folder import DataFolder
from daybook.embedded.identity import start_mark
from daybook.embedded.parts import PartFailed, Roster, tail, wait_until
from daybook.embedded.supervisor import Instance, Plan, supervise
from daybook.errors import ConfigError, DaybookError
from daybook.instance import how_it_ended
from daybook.settings import read_settings

UP_SECONDS_MAX = 300.0
"""Start-up may replay the log of a crashed server; without that it takes some seconds."""
DOWN_SECONDS_MAX = 90.0
SUPERVISOR = "supervisor"
RUN_SUPERVISOR = "from daybook.embedded.detached import main; main()"


def start_detached(plan: Plan, environment: Mapping[str, str] | None = None) -> Instance:
    """Start an instance in the background; returns when everything answers.

    environment: by default our own. The servers that it names (``DAYBOOK_DATABASE_URL``,
    ``DAYBOOK_REDIS_URL``) are used, the others started.
    Raises ConfigError when the plan can't be, PartFailed when something does not start.
    """
    order = json.dumps({**asdict(plan), "home": str(plan.home.expanduser().resolve())})
    child = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-c", RUN_SUPERVISOR, order],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=environment,
    )
    assert child.stdout is not None
    try:
        with child.stdout as pipe:
            answer = _read_to_end(pipe, UP_SECONDS_MAX)
    except BaseException:
        child.terminate()
        raise
    report = _parse(answer)
    if report is None:
        log = DataFolder(plan.home).log_file(SUPERVISOR)
        how = how_it_ended(child.wait(DOWN_SECONDS_MAX))
        raise PartFailed(answer.strip() or f"the supervisor {how}{tail(log)}")
    if report.error:
        child.wait(DOWN_SECONDS_MAX)
        raise ConfigError(report.error) if report.is_config_error else PartFailed(report.error)
    return report.instance


def stop_instance(home: Path) -> list[str]:
    """Stop what runs in a data folder, or what a crash left there; the names of the parts.

    Raises PartFailed when it does not stop within a bound, ConfigError when it is not ours.
    """
    folder = DataFolder(home)
    if folder.home.exists() and not os.access(folder.home, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(f"the data folder {folder.home} belongs to somebody else")
    roster = Roster(folder.roster)
    running = [record.name for record in roster.records() if record.alive()]
    supervisor = folder.supervisor()
    if supervisor is None and not running:
        return []
    if supervisor is not None:
        _ask_to_end(supervisor)
    supervisor = folder.supervisor()
    if supervisor is not None:
        os.kill(supervisor, signal.SIGKILL)  # its guard stops the parts
    if not wait_until(lambda: not folder.in_use(), DOWN_SECONDS_MAX):
        raise PartFailed(f"the instance in {folder.home} does not stop")
    # Anyone who held the folder may have died with its guard, a moment ago or long since.
    if any(record.alive() for record in roster.records()):
        _stop_leftovers(folder, roster)
    return running


def _ask_to_end(pid: int) -> None:
    mark = start_mark(pid)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: start_mark(pid) != mark, DOWN_SECONDS_MAX)


def _stop_leftovers(folder: DataFolder, roster: Roster) -> None:
    folder.claim()
    try:
        roster.stop_all()
        folder.tidy()
    finally:
        folder.release()


def _read_to_end(pipe: IO[bytes], seconds_max: float) -> str:
    """All that comes through the pipe until its other end is closed."""
    deadline = time.monotonic() + seconds_max
    parts: list[bytes] = []
    while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(pipe.fileno(), 1 << 16)
        if not part:
            return b"".join(parts).decode("utf-8", errors="replace")
        parts.append(part)
    raise PartFailed(f"the instance was not ready within {seconds_max:.0f} s")


@dataclass(frozen=True, slots=True)
class Report:
    """What the supervisor in the background says once: that it is ready, or why it is not."""

    instance: Instance = field(default_factory=dict)
    error: str = ""
    is_config_error: bool = False


def _parse(answer: str) -> Report | None:
    """The report is the last line; what comes before it is noise of libraries."""
    try:
        return Report(**json.loads(answer.strip().splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        return None


def main() -> None:
    """The supervisor in the background: reports once to who started it, then to its log."""
    order = json.loads(sys.argv[1])
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")

    def claimed(folder: DataFolder) -> None:
        log = os.open(folder.new_log(SUPERVISOR), os.O_WRONLY | os.O_APPEND)
        sys.stdout.flush()
        for number in (sys.stdout.fileno(), sys.stderr.fileno()):
            os.dup2(log, number)

    def ready(instance: Instance) -> None:
        _report(report, Report(instance))

    try:
        plan = Plan(**{**order, "home": Path(order["home"])})
        supervise(plan, read_settings(), claimed=claimed, ready=ready, say=_say)
    except DaybookError as error:
        _say(f"error: {error}")
        _report(report, Report(error=str(error), is_config_error=isinstance(error, ConfigError)))
        sys.exit(1)


def _report(pipe: IO[str], content: Report) -> None:
    """Send the one report; later ones (and those that nobody reads any more) are dropped."""
    if pipe.closed:
        return
    try:
        with pipe:
            pipe.write(json.dumps(asdict(content)) + "\n")
    except BrokenPipeError:
        pass


def _say(line: str) -> None:
    print(time.strftime("%Y-%m-%d %H:%M:%S"), line, flush=True)
