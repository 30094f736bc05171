"""The command line. Commands import what they need when they run, so that it starts fast."""

from __future__ import annotations

import sys

from daybook.cli.exits import code_of, show_error
from daybook.errors import ExtraMissing
from daybook.extras import require


def main() -> None:
    """The entry point of the ``daybook`` program."""
    try:
        require("worker")
    except ExtraMissing as missing:
        show_error(missing)
        sys.exit(code_of(missing))
    from daybook.cli.commands import app
    from daybook.interrupts import keep_interrupts

    keep_interrupts()
    app()
