"""A Celery worker that a test can have killed or stopped at a named point.

``celery -A tests.fault.campaign.armed worker``: the application of ``daybook.worker``. The folder
of ARMED_FOLDER holds a file for each point at which the next process to come there is to be hit,
by the signal whose number the file's name ends with: ``committed.9``.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from daybook.points import Point, watched
from daybook.worker import app

FOLDER = "ARMED_FOLDER"
SIGNALS = (signal.SIGKILL, signal.SIGSTOP)

__all__ = ["app"]


def mark_of(folder: Path, point: Point, number: signal.Signals) -> Path:
    """The file that arms a point with a signal."""
    return folder / f"{point}.{int(number)}"


def _hit(point: Point) -> None:
    folder = Path(os.environ[FOLDER])
    for number in SIGNALS:
        try:
            mark_of(folder, point, number).unlink()  # only one process succeeds
        except FileNotFoundError:
            continue
        (folder / f"hit-{os.getpid()}").touch()
        os.kill(os.getpid(), number)


if FOLDER in os.environ:
    _for_life = watched(_hit)  # kept: it ends with the process
    _for_life.__enter__()
