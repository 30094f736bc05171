"""What an instance of ``daybook up`` tells others: its addresses, and parts that do not stay up."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path

from daybook.counting import counted
from daybook.errors import ConfigError

INSTANCE_FILE = "instance.json"
"""Written into ``home`` by ``daybook up``: the addresses of the running embedded servers."""
SUPERVISOR_LOCK = "supervisor.lock"
"""A file in ``home`` that ``daybook up`` keeps locked; the kernel unlocks it when that dies."""

FAILING_FILE = "failing.json"
"""Written into the data folder by the supervisor while there is something to tell."""


def running_instance(home: Path) -> dict[str, str]:
    """Addresses that ``daybook up`` left in ``home``; empty when nothing runs there.

    Raises ConfigError when that can't be read.
    """
    if not _is_supervised(home):
        return {}
    path = home / INSTANCE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:  # it is being started or stopped
        return {}
    except OSError as fault:
        raise ConfigError(f"{path} can't be read: {fault.strerror}; mend its rights") from fault
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} is damaged, and an instance runs: `daybook down` and `daybook up` write it "
            "anew; the data stays"
        )
    return {key: value for key, value in content.items() if isinstance(value, str)}


def _is_supervised(home: Path) -> bool:
    """Whether somebody keeps the lock: addresses that a crash left behind lead nowhere."""
    try:
        import fcntl  # not on Windows, where no instance can run

        with (home / SUPERVISOR_LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, FileNotFoundError, NotADirectoryError):
        return False
    except OSError as fault:
        raise ConfigError(
            f"the data folder {home} can't be read: {fault.strerror}; mend its rights, or set "
            "DAYBOOK_HOME"
        ) from fault
    return False


def how_it_ended(code: int) -> str:
    """What an exit code says, as the end of a sentence; a negative one is a signal's number."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


@dataclass(frozen=True, slots=True)
class FailingPart:
    """A part that was started again and again.

    deaths: in a row. exit_code: of the last one; None when it could not even be started.
    pause_seconds: before it was, or is, started again. log: where it may say why.
    """

    part: str
    deaths: int
    exit_code: int | None
    pause_seconds: float
    log: str

    def __str__(self) -> str:
        how = "" if self.exit_code is None else f" (at last it {how_it_ended(self.exit_code)})"
        return (
            f"{self.part} ended {counted(self.deaths, 'time')} in a row{how}; "
            f"it is started again after {self.pause_seconds:g} s: see {self.log}"
        )


def failing_parts(home: Path) -> list[FailingPart]:
    """The parts that do not stay up; none when no instance runs in ``home``."""
    if not running_instance(home):
        return []
    try:
        content = json.loads((home / FAILING_FILE).read_text(encoding="utf-8"))
        return [FailingPart(**item) for item in content]
    except (OSError, ValueError, TypeError):
        return []
