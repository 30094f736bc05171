"""What both kinds of preloaded processes do: load modules once, then be what is asked for."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import NoReturn


def load(names: Iterable[str]) -> None:
    """Import these modules, for all forks."""
    for name in names:
        import_module(name)
    gc.freeze()  # a fork that collects would copy every page


def be(
    work: Callable[[], object],
    folder: str,
    environment: Mapping[str, str],
    tell: Callable[[int], object] = lambda code: None,
) -> NoReturn:
    """Do this in a folder, with an environment, and end as a program of its own would.

    tell: is given the exit code before the end.
    """
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = 1
    try:
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        with contextlib.suppress(OSError):  # nobody waits for it
            tell(code)
        os._exit(code)
