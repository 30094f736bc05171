"""Rows of a CSV that take several lines, because a cell has line feeds: meant, or a stray quote."""

from __future__ import annotations

SPANS_NAMED_MAX = 10
"""Rows that a message names."""


class Spans:
    """All of them counted. first: first and last line of the first ones."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[int, int]] = []

    def add(self, begin: int, end: int) -> None:
        """Note a row from line ``begin`` to line ``end``, if these are two."""
        if end > begin:
            self.count += 1
            if len(self.first) < SPANS_NAMED_MAX:
                self.first.append((begin, end))

    def __str__(self) -> str:
        """The lines of the first ones.

        >>> spans = Spans()
        >>> spans.add(2, 3)
        >>> spans.add(7, 9)
        >>> str(spans)
        '2 to 3, 7 to 9'
        """
        named = ", ".join(f"{begin} to {end}" for begin, end in self.first)
        return f"{named}, and more" if self.count > len(self.first) else named
