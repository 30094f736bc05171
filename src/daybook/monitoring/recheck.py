"""A second look at what seems wrong: after an outage everything is late at first, and moves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sized
from typing import TypeVar

LOOKS_MAX = 8
LOOK_PAUSE_SECONDS = 0.5
"""What seems wrong is looked at so often again, so long apart. Four seconds are many batches and
several sweeps: what is still there then, stays."""

Found = TypeVar("Found", bound=Sized)


def what_stays(
    look: Callable[[], Found],
    still: Callable[[Found, Found], Found],
    sleep: Callable[[float], None] = time.sleep,
) -> Found:
    """What is wrong at every look; the first look that finds nothing is the last.

    still: what of the first is in the second as well.
    """
    found = look()
    for _ in range(LOOKS_MAX):
        if not found:
            break
        sleep(LOOK_PAUSE_SECONDS)
        found = still(found, look())
    return found
