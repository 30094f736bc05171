"""Ctrl-C and the other signals that end an instance, lost nowhere.

Python raises the exception of a signal wherever the program happens to be. In a callback of a weak
reference or a finalizer nothing can be raised: it is printed there, and the program goes on.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN_SECONDS = 0.01
"""So long after it was lost an interrupt is raised again."""


def keep_interrupts() -> None:
    """From now on an interrupt that was lost is raised again. Only in the main thread."""
    former = sys.unraisablehook

    def lost(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        else:
            former(unraisable)

    signal.signal(signal.SIGALRM, _interrupt)
    sys.unraisablehook = lost


@contextmanager
def until_signal() -> Iterator[None]:
    """End the block quietly at the first signal, and ignore those that follow it."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup asks
        numbers.append(signal.SIGHUP)

    def stop(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    keep_interrupts()
    former = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
