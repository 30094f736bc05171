"""A Celery worker that a test can have killed or stopped at a named point.

``celery -A tests.fault.campaign.armed worker``: the application of ``daybook.worker``. The folder
of ARMED_FOLDER holds a file for each point at which the next process to come there is to be hit,
by the signal whose number the file's name ends with: ``committed.9``. Where ``keep`` stands in it,
workers write down there what they read: the log may drop that as soon as it is applied.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from daybook.queue.entries import RawEntry
from daybook.queue.log import Log
from daybook.steps import Point, watched
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


KEEP = "keep"


_read = Log.read


def _read_and_keep(
    log: Log, partition: int, after: int, count: int, bytes_max: int
) -> list[RawEntry]:
    """``Log.read``, which also writes down what it finds."""
    found = _read(log, partition, after, count, bytes_max)
    folder = Path(os.environ[FOLDER])
    if found and (folder / KEEP).exists():
        with (folder / f"read-{os.getpid()}").open("a", encoding="utf-8") as kept:
            for raw in found:
                fields = [*raw[:4], raw.body.decode("latin-1")]
                kept.write(json.dumps([partition, *fields]) + "\n")
    return found


if FOLDER in os.environ:
    Log.read = _read_and_keep  # type: ignore[method-assign, assignment]  # for the whole process
    _for_life = watched(_hit)  # kept: it ends with the process
    _for_life.__enter__()
