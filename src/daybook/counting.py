"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """So many of a thing: ``1 line``, ``2,000 lines``. what: its regular singular."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
