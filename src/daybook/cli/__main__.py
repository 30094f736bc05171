"""``python -m daybook.cli``."""

from daybook.cli import main

main()
