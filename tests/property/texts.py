"""Texts of any characters that can name something."""

from __future__ import annotations

from daybook.requests.naming import is_plain, normalised


def plain(text: str) -> str:
    """The text without the characters that can't name anything; maybe nothing is left."""
    return normalised("".join(letter for letter in text if is_plain(f"a{letter}a")))
