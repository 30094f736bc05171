"""What the parser of the command line refuses, said as every other error is."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from daybook.cli.exits import Exit
from daybook.cli.options import shown_parameter
from daybook.cli.output import printable

_USAGE_ERROR: Any = typer.BadParameter.__base__
"""The base of all that the parser raises; Typer does not export it."""

_FOREIGN = re.compile(r"^(Value error, |Input should )")


@contextmanager
def usage_errors() -> Iterator[None]:
    """Show what the parser refuses as one line and the next step. Raises typer.Exit."""
    try:
        yield
    except _USAGE_ERROR as fault:
        if type(fault).__name__ == "NoArgsIsHelpError":  # it is the help
            raise
        print(f"error: {printable(_message(fault))}", file=sys.stderr)
        if fault.ctx is not None:
            print(f"next: see `{fault.ctx.command_path} --help`", file=sys.stderr)
        raise typer.Exit(Exit.BAD_INPUT) from fault


def _message(fault: Any) -> str:
    parameter = getattr(fault, "param", None)
    if parameter is not None:
        return f"{shown_parameter(parameter)}: {_reason(fault, parameter)}"
    if option := getattr(fault, "option_name", None):
        likely = getattr(fault, "possibilities", None)
        known = f"; did you mean {' or '.join(sorted(likely))}?" if likely else ""
        what = "needs a value" if "requires" in fault.message else "no such option"
        return f"{option}: {what}{known}"
    text: str = fault.message
    return text[:1].lower() + text[1:].rstrip(".")


def _reason(fault: Any, parameter: Any) -> str:
    if hasattr(fault, "param_type"):  # of what is missing
        return "is required"
    least, most = (getattr(parameter, name, None) for name in ("min", "max"))
    if least is not None and most is not None:
        return f"must be a number from {least:,} to {most:,}"
    return _FOREIGN.sub("", fault.message).rstrip(".")
