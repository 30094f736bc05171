"""Texts by which things are told apart: what looks the same is the same.

References, currencies, indicators, ordering keys, external ids and names of ledgers are compared
character by character. So nothing in them may differ unseen: they have no blank but the plain
space, and none at their ends; no line feeds or other controls; no characters without width; and
of the forms in which Unicode can write one text only NFC.
"""

from __future__ import annotations

import re
import unicodedata

_IGNORABLE = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
)
"""Unicode's property Default_Ignorable_Code_Point, but for what Python calls not printable."""
_EMPTY = "\u2800\u2d7f\U0001107f\U00013441\U00013442\U00016fe4\U0001d159"
"""Without that property, yet drawn as nothing: blanks, fillers and joiners of single scripts."""

_UNSEEN = re.compile(f"[{_IGNORABLE}{_EMPTY}]")
"""What nobody sees although Unicode counts it among letters, marks and symbols."""

_INVISIBLE = re.compile("[\u00ad\u200b\u2060-\u2064\ufeff]")
"""What has neither width nor effect, wherever it stands."""

_SHAPING = re.compile("[\u034f\u200c-\u200e\u202a\u202c\u2066\u2069]")
"""Joiners and directions: without effect in a text that is ``_LEVEL``, seen in many others."""

_LEVEL = re.compile("[\\x00-\u058f\u2000-\u200e\u2010-\u202a\u202c\u202f-\u2066\u2069-\u214f]*")
"""Letters that stand one beside the other from left to right, with their signs; no emoji, and
nothing that turns the direction."""

_BLANK = re.compile("[^\\S\x85\u1680]")
"""Any blank, but a control that may be a letter in another encoding, and one that is a stroke."""


def is_plain(text: str) -> bool:
    """Whether the text can be told from every other one by its look."""
    if not text.isprintable() or not text or text[0] == " " or text[-1] == " ":
        return False
    return text.isascii() or (unicodedata.is_normalized("NFC", text) and not _UNSEEN.search(text))


def are_plain(reference: str, currency: str, source: str, destination: str) -> bool:
    """Whether these, which fit ``NAMING_PATTERN`` or ``BALANCE_NAME_PATTERN``, are plain.

    Quick for what is ASCII, as nearly all of them are.
    """
    texts = (reference, currency, source, destination)
    return "".join(texts).isascii() or all(map(is_plain, texts))


def naming_fault(text: str) -> str | None:
    """Why the text can't name anything: the character and the fix. None when it is plain."""
    if is_plain(text):
        return None
    if not text.strip():
        return "cannot be blank"
    for place, character in enumerate(text, 1):
        if not character.isprintable() or _UNSEEN.match(character):
            fix = "write a plain space or nothing there" if character.isspace() else "remove it"
            return f"has {_named(character)} as character {place}; {fix}"
    for verb, character in (("begins", text[0]), ("ends", text[-1])):
        if character == " ":
            return f"{verb} with {_named(character)}; remove it"
    return _not_composed(text)


def _not_composed(text: str) -> str:
    composed = unicodedata.normalize("NFC", text)
    pairs = enumerate(zip(f"{text}\0", f"{composed}\0", strict=False))
    place = next(place for place, (given, wanted) in pairs if given != wanted)
    return (
        f"is not in Unicode's form NFC from {_named(text[place])} on, character {place + 1}; "
        "normalise it"
    )


def normalised(text: str) -> str:
    """The text in NFC, with plain spaces, and without what is invisible; what it can't name stays.

    Only what nobody can see is dropped: two texts that look different never become one. So
    characters that one may see, or that stand for some that could not be read, are kept:
    ``naming_fault`` names them.
    """
    if text.isascii() and text.isprintable():
        return text.strip(" ")
    seen = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    if _LEVEL.fullmatch(seen):
        seen = _SHAPING.sub("", seen)
    return unicodedata.normalize("NFC", _BLANK.sub(" ", seen).strip(" "))


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X} ({name})" if name else f"U+{ord(character):04X}"
