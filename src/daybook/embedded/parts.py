"""Starting, recognising and stopping the parts of an instance, crash or no crash.

Every part is recorded in a file before it runs its first instruction, so anyone who comes after a
crash (the guard, the next ``daybook up``) finds it. It is recognised by its pid *and* by the
instant at which it was started: a pid alone may belong to a stranger by then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from daybook.embedded.account import Account
from daybook.embedded.folder import write_json
from daybook.embedded.identity import start_mark
from daybook.errors import DaybookError
from daybook.instance import how_it_ended

INSTANCE_MARK = "DAYBOOK_INSTANCE"
"""Environment variable of all parts: the data folder that they belong to."""
WAIT_FOR_GO = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "daybook")
"""A part waits here until it is recorded; when its starter dies first, it ends."""
POLL_SECONDS = 0.05
KILL_SECONDS_MAX = 5.0
TAIL_LINES = 15

Ladder = Sequence[tuple[int, float]]
"""Signals to stop a part with, each with the seconds to wait before the next is sent."""


class PartFailed(DaybookError):  # noqa: N818 - states the fact
    """A part of the instance did not start; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Part:
    """What to start.

    stage: parts of a lower stage are stopped before those of a higher one.
    ladder: how to stop it; SIGKILL is added at the end.
    environment: all of its environment.
    account: who runs it; None for ourselves.
    """

    name: str
    argv: Sequence[str]
    stage: int
    ladder: Ladder
    environment: Mapping[str, str]
    folder: Path | None = None
    account: Account | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What was started: enough to recognise and stop it."""

    name: str
    pid: int
    mark: str
    stage: int
    ladder: Ladder

    def alive(self) -> bool:
        """Whether that very part still runs (and not a stranger under its pid)."""
        return start_mark(self.pid) == self.mark


class Roster:
    """The record of the parts that run in one data folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def records(self) -> list[Record]:
        """All parts on record, alive or not."""
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return [Record(**item) for item in content]

    def launch(self, part: Part, log: Path) -> subprocess.Popen[bytes]:
        """Start a part in a session of its own; its output is appended to ``log``."""
        account = part.account if part.account and part.account.switch else None
        with log.open("ab") as output:
            child = subprocess.Popen(  # noqa: S603 - our own argument lists, no shell expansion
                [*WAIT_FOR_GO, *part.argv],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=part.folder,
                env={**part.environment, INSTANCE_MARK: str(self._path.parent)},
                start_new_session=True,
                umask=0o077,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        self._record(part, child.pid)
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
            pipe.write(b"go\n")
        return child

    def stop_all(self) -> list[str]:
        """Stop whatever is on record, in order, and clear the record; the names of what lived."""
        records = self.records()
        alive = [record.name for record in records if record.alive()]
        for stage in sorted({record.stage for record in records}):
            self._stop([record for record in records if record.stage == stage])
        self._path.unlink(missing_ok=True)
        return alive

    def stop_one(self, name: str) -> None:
        """Stop the part of that name, and what it left behind when it died by itself."""
        records = self.records()
        self._stop([record for record in records if record.name == name])
        write_json(self._path, [asdict(record) for record in records if record.name != name])

    def _record(self, part: Part, pid: int) -> None:
        others = [record for record in self.records() if record.name != part.name]
        record = Record(part.name, pid, start_mark(pid) or "", part.stage, part.ladder)
        write_json(self._path, [asdict(record) for record in (*others, record)])

    def _stop(self, records: Sequence[Record]) -> None:
        for rung in range(max((len(record.ladder) for record in records), default=0)):
            _signal_and_wait(records, rung)
        for record in records:
            # Those of PostgreSQL have sessions of their own: they are known by their parent alone.
            children = _descendants(record)
            for pid, mark in [(record.pid, record.mark), *children]:
                if start_mark(pid) == mark:
                    _signal(pid, signal.SIGKILL)
            for pid in _stragglers(record, str(self._path.parent)):
                _signal(pid, signal.SIGKILL)
        wait_until(lambda: not any(record.alive() for record in records), KILL_SECONDS_MAX)


def _signal_and_wait(records: Sequence[Record], rung: int) -> None:
    waits = [0.0]
    for record in records:
        if rung < len(record.ladder) and record.alive():
            number, seconds = record.ladder[rung]
            _signal(record.pid, number)
            waits.append(seconds)
    wait_until(lambda: not any(record.alive() for record in records), max(waits))


def _descendants(record: Record) -> list[tuple[int, str]]:
    """Pid and mark of what a part that still runs has started."""
    with contextlib.suppress(psutil.Error):
        if record.alive():
            below = psutil.Process(record.pid).children(recursive=True)
            return [(one.pid, mark) for one in below if (mark := start_mark(one.pid))]
    return []


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _stragglers(record: Record, home: str) -> list[int]:
    """What a part started and did not take along, e.g. the children of a killed worker."""
    if start_mark(record.pid) not in (None, record.mark):
        return []
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = os.getsid(one.pid) == record.pid and one.pid != record.pid
            if ours and one.environ().get(INSTANCE_MARK) == home:
                found.append(one.pid)
    return found


def wait_until(true: Callable[[], bool], seconds_max: float) -> bool:
    """Wait until a condition holds; False when it did not within that time."""
    deadline = time.monotonic() + seconds_max
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def await_ready(
    part: str,
    child: subprocess.Popen[bytes],
    ready: Callable[[], bool],
    seconds_max: float,
    log: Path,
) -> None:
    """Wait until a part that was started answers. Raises PartFailed when it ends or is silent."""
    answered = wait_until(lambda: child.poll() is not None or ready(), seconds_max)
    if child.poll() is not None:
        raise PartFailed(f"{part} {how_it_ended(child.returncode)}{tail(log)}")
    if not answered:
        raise PartFailed(f"{part} did not answer within {seconds_max:.0f} s{tail(log)}")


def tail(log: Path) -> str:
    """The last lines of a log, as the end of an error message."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    except OSError:
        lines = []
    if not lines:
        return f"; it wrote nothing into {log}"
    return "\n".join([f"; the end of {log}:", *(f"  {line}" for line in lines)])
