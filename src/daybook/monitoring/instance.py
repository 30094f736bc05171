"""The parts of an instance of ``daybook up`` that do not stay up, as its supervisor tells them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from daybook.counting import counted
from daybook.settings import running_instance

FAILING_FILE = "failing.json"
"""Written into the data folder by the supervisor while there is something to tell."""


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
        code = "" if self.exit_code is None else f", last with code {self.exit_code}"
        return (
            f"{self.part} ended {counted(self.deaths, 'time')} in a row{code}; "
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
