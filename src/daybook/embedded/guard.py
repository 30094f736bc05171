"""The guard: stops all parts when the one who started them dies in any way.

It holds the reading end of a pipe whose writing end only the starter has; the kernel closes that
when the starter ends, be it by ``kill -9``. The guard lives in a session of its own and ignores
polite signals, so neither Ctrl-C nor the end of a terminal takes it along.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from daybook.embedded.folder import DataFolder
from daybook.embedded.parts import Roster


def main() -> None:
    """Wait for the end of the starter, then stop what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(sys.stdin.fileno(), 1):
        pass
    folder = DataFolder(Path(sys.argv[1]))
    if folder.home.exists():
        Roster(folder.roster).stop_all()
        folder.tidy()
