"""Merging meta_data by key, as text: no value is read, so none can change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecoder

_DECODER = JSONDecoder(parse_int=str, parse_float=str)
"""It only finds where a value ends: a number is never made of its digits."""

_BLANK = re.compile(r"[ \t\n\r]*")


def merge(over: str | None, patch: str | None) -> str | None:
    """``patch`` merged over ``over`` by top-level key: JSON objects as text, keys sorted.

    A value that is there already is replaced whole; the text of every value stays as it is. None
    is no object: merged with one, it is the other. Raises ValueError when a text is no object.

    >>> merge('{"a":1.50,"b":{"c":1}}', '{"b":2}')
    '{"a":1.50,"b":2}'
    """
    if over is None or patch is None:
        return patch if over is None else over
    members = dict(_members(over))
    members.update(_members(patch))
    return "{" + ",".join(members[key] for key in sorted(members)) + "}"


def _members(text: str) -> Iterator[tuple[str, str]]:
    """The keys of an object, each with its member as text, ``"key":value``."""
    place = _after(text, "{", 0)
    if _ends(text, place):
        return
    while True:
        key, end = _DECODER.raw_decode(text, place)
        if not isinstance(key, str) or text[place] != '"':
            raise ValueError(f"no key at character {place}")
        name = text[place:end]
        place = _after(text, ":", end)
        _, end = _DECODER.raw_decode(text, place)
        yield key, f"{name}:{text[place:end]}"
        place = _past_blanks(text, end)
        if _ends(text, place):
            return
        place = _after(text, ",", place)


def _ends(text: str, place: int) -> bool:
    return text[place : place + 1] == "}" and _past_blanks(text, place + 1) == len(text)


def _after(text: str, sign: str, place: int) -> int:
    """The next place behind ``sign`` that is not blank."""
    place = _past_blanks(text, place)
    if text[place : place + 1] != sign:
        raise ValueError(f"no {sign} at character {place}")
    return _past_blanks(text, place + 1)


def _past_blanks(text: str, place: int) -> int:
    found = _BLANK.match(text, place)
    assert found is not None, "no blank is one, too"
    return found.end()
