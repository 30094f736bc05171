"""Numbers as files write them: with a decimal comma or point, and a sign between thousands."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Literal, NamedTuple

from daybook.ledger.money import is_reasonable, plain_text

Sign = Literal["positive", "negative", "zero"]

NUMBER_LENGTH_MAX = 1_000
"""Characters of a cell that is a number."""

_BLANKS = " \u00a0\u202f"
"""One blank between thousands stands for these."""

_EXPONENT = re.compile(r"(?<=[0-9.,])[eE][+-]?[0-9]{1,4}\Z")
_LOST_DIGITS = (
    "is what a spreadsheet leaves of a number when it drops digits: have it written out there, "
    "with all of its digits"
)


class CellNumber(NamedTuple):
    """A number of a cell. text: as ``plain_text`` has it. decimals: digits behind the point."""

    text: str
    decimals: int


class NumberForm(NamedTuple):
    """How numbers are written. thousands: the sign between them, if there may be one."""

    decimal: str = "."
    thousands: str | None = None

    def read(self, text: str) -> CellNumber | None:
        """The number in a cell; None when it is not written so.

        >>> NumberForm(",", ".").read("1.080,50")
        CellNumber(text='1080.5', decimals=2)
        """
        found = _pattern(self).fullmatch(text) if len(text) <= NUMBER_LENGTH_MAX else None
        if found is None or not (found["whole"] or found["fraction"]):
            return None
        whole = "".join(filter(str.isdigit, found["whole"]))
        fraction = found["fraction"] or ""
        number = Decimal(f"{found['sign']}{whole or 0}.{fraction or 0}")
        if not is_reasonable(number):
            return None
        return CellNumber(plain_text(number), len(fraction))

    def describe(self, text: str, *, is_json: bool = False) -> str:
        """How a number must look that this text is none of, for messages.

        is_json: it is a text in JSON, whose numbers need none of these settings.
        """
        grouped = f"1{self.thousands}234" if self.thousands else "1234"
        read_by = "" if is_json else ", as [csv] has it"
        said = f"must look like {grouped}{self.decimal}50{read_by}"
        if self.read(text.strip()):
            return f"{said}, without blanks at its ends: or write normalise = true into the mapping"
        if found := _EXPONENT.search(text.strip()):
            return f"{said}; {found[0]} {_LOST_DIGITS}"
        return f"{said}{self.otherwise(text, is_json=is_json)}"

    def otherwise(self, text: str, most: int | None = None, *, is_json: bool = False) -> str:
        """What other settings would make of a text, for messages; empty when none reads it.

        most: digits behind the point. Settings that are those of this form are never named.
        """
        found: dict[str, str] = {}
        for form in sorted(_FORMS, key=lambda form: form.decimal != self.decimal):
            number = form.read(text)
            if number and form != self and (most is None or number.decimals <= most):
                found.setdefault(number.text, form.settings)
        if is_json:
            return "".join(f"; if it is {number}, write that without quotes" for number in found)
        return "".join(f"; if it is {number}, write {how} there" for number, how in found.items())

    @property
    def settings(self) -> str:
        """It, as a mapping says it."""
        thousands = f'thousands = "{self.thousands}"' if self.thousands else "no thousands"
        return f'decimal = "{self.decimal}" and {thousands}'


_FORMS = [
    NumberForm(decimal, thousands)
    for decimal in (".", ",")
    for thousands in (None, ".", ",", " ", "'")
    if thousands != decimal
]
"""How files write numbers."""


@lru_cache(maxsize=16)
def _pattern(form: NumberForm) -> re.Pattern[str]:
    """Thousands stand in threes; between commas also in the Indian way: twos before the last three.

    A first group that begins with a zero is none: 0.125 has a decimal point.
    """
    whole = "[0-9]*"
    if form.thousands is not None:
        sign = f"[{_BLANKS}]" if form.thousands in _BLANKS else re.escape(form.thousands)
        whole = f"[1-9][0-9]{{0,2}}(?:{sign}[0-9]{{3}})+|{whole}"
    if form.thousands == ",":
        whole = f"[1-9][0-9]?(?:,[0-9]{{2}})+,[0-9]{{3}}|{whole}"
    fraction = f"(?:{re.escape(form.decimal)}(?P<fraction>[0-9]*))?"
    return re.compile(f"(?P<sign>[+-]?)(?P<whole>{whole}){fraction}")


def sign_of(number: Decimal) -> Sign:
    """The sign of a number."""
    if not number:
        return "zero"
    return "positive" if number > 0 else "negative"


def decimals_max(precision: int) -> int | None:
    """The most digits behind the point at this precision; None when it has no such number.

    >>> decimals_max(100), decimals_max(8), decimals_max(3)
    (2, 3, None)
    """
    for digits in range(31):
        if 10**digits % precision == 0:
            return digits
    return None
