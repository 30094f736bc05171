"""Exit codes, and how an error is shown: what is wrong, then what to do next."""

from __future__ import annotations

import sys
from enum import IntEnum

from daybook.errors import (
    DaybookError,
    MalformedRequest,
    NotFound,
    OutcomeUnknown,
    ReferenceConflict,
)
from daybook.extras import UNAVAILABLE
from daybook.next_steps import told


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    BAD_ANSWER = 1
    """The answer is a bad one: a request was refused, nothing was found, the proof failed."""
    BAD_INPUT = 2
    """The command line or the request is not valid; nothing was sent."""
    UNAVAILABLE = UNAVAILABLE
    """Redis or Postgres cannot be used, is not set up, or is full: try again later."""
    UNKNOWN = 4
    """The wait ended before there was an outcome: the request may still be posted."""
    WARNING = 5
    """Only of ``daybook health``: all works, and something is at risk or waits for a person."""


INTERRUPTED = 130
"""What a program ends with after Ctrl-C, as shells have it."""

MEANINGS = """Exit codes: 0 all is well · 1 the answer is bad (refused, not found, proof failed) ·
2 bad input, nothing was sent · 3 Redis or Postgres is unavailable, not set up or full ·
4 the wait ended without an outcome: the request may still be posted ·
5 of `health`: all works, but something is at risk or waits for a person."""

_CODES: tuple[tuple[type[DaybookError], Exit], ...] = (
    (MalformedRequest, Exit.BAD_INPUT),
    (OutcomeUnknown, Exit.UNKNOWN),
    (ReferenceConflict, Exit.BAD_ANSWER),
    (NotFound, Exit.BAD_ANSWER),
)


def code_of(error: DaybookError) -> Exit:
    """The exit code for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.UNAVAILABLE)


def show_error(error: DaybookError) -> None:
    """Write an error to stderr: one line for each field that is wrong, then the next step."""
    if isinstance(error, MalformedRequest):
        lines = [f"error: {line}" for line in error.lines()]
    else:
        lines = told(error)
    for line in lines:
        print(line, file=sys.stderr)
