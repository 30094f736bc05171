"""Rows that are wider than a terminal: several lines for each, with nothing cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

GAP = "  "
"""Between columns, and before the further lines of a row."""

BELOW = "…"
"""Stands in place of what is longer than its column, and follows in a line below."""

MOST_PERCENT = 60
"""Of the cells of a column, so many are as wide as it or narrower."""


def folded(rows: Sequence[Sequence[Text]], rights: Sequence[bool], room: int) -> Iterator[Text]:
    """Each row as one text of several lines, in which the columns stand below each other.

    rows: the heads first. rights: which columns hold numbers.
    """
    from rich.text import Text

    lengths = [[row[place].cell_len for row in rows] for place in range(len(rights))]
    widths = [
        _usual_width(each, is_number=is_right)
        for each, is_right in zip(lengths, rights, strict=True)
    ]
    lines = _lines_of(widths, room)
    for line in lines:
        _widen(widths, line, lengths, room - len(GAP))
    for row in rows:
        texts: list[Text] = []
        for line in lines:
            texts += _aligned([(row[n], widths[n], rights[n]) for n in line], room - len(GAP))
        yield Text(f"\n{GAP}").join(text for text in texts if text.plain or text is texts[0])


def joined(texts: Sequence[Text], room: int) -> list[Text]:
    """Texts beside each other, in as few lines as hold them whole."""
    from rich.text import Text

    lines = list(texts[:1])
    for text in texts[1:]:
        line = Text(GAP).join((lines[-1], text))
        if line.cell_len <= room:
            lines[-1] = line
        else:
            lines.append(text)
    return lines


def _usual_width(lengths: Sequence[int], *, is_number: bool) -> int:
    """How wide a column is: enough for its head and most of its cells, and for any number.

    lengths: of the head, and of the cells.
    """
    head, *cells = lengths
    most = max(cells) if is_number else sorted(cells)[len(cells) * MOST_PERCENT // 100]
    return max(head, most)


def _lines_of(widths: Sequence[int], room: int) -> list[list[int]]:
    """Which columns stand in which line of a row; what does not fit goes into the next one."""
    lines: list[list[int]] = [[]]
    used = 0
    for place, width in enumerate(widths):
        if lines[-1] and used + width > room:
            lines.append([])
            used = len(GAP)
        lines[-1].append(place)
        used += width + len(GAP)
    return lines


def _widen(
    widths: list[int], line: Sequence[int], lengths: Sequence[Sequence[int]], room: int
) -> None:
    """Let columns of a line be as wide as more of their cells, where there is room for that."""
    left = room - sum(widths[place] for place in line) - len(GAP) * (len(line) - 1)
    for place in line:
        usual = widths[place]
        widths[place] = max((n for n in lengths[place] if usual < n <= usual + left), default=usual)
        left -= widths[place] - usual


def _aligned(cells: Sequence[tuple[Text, int, bool]], room: int) -> list[Text]:
    """A line of cells below their heads, then lines of those that are longer than their columns.

    cells: each with the width of its column, and whether that holds numbers.
    """
    from rich.text import Text

    shown: list[Text] = []
    below: list[Text] = []
    used = 0
    for number, (text, width, is_right) in enumerate(cells, 1):
        is_whole = text.cell_len <= width or (number == len(cells) and used + text.cell_len <= room)
        if not is_whole:
            below.append(text)
        aligned = text.copy() if is_whole else Text(BELOW)
        aligned.align("right" if is_right else "left", max(width, aligned.cell_len))
        shown.append(aligned)
        used += width + len(GAP)
    line = Text(GAP).join(shown)
    line.rstrip()
    return [line, *joined(below, room)]
