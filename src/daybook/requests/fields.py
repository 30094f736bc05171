"""The types of a request's fields: each checks one field and names what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr
from pydantic_core import PydanticCustomError

from daybook.ledger.balance import INDICATOR
from daybook.ledger.money import (
    AMOUNT_EXPONENT_MAX,
    FIGURE_DIGITS_MAX,
    FIGURE_MAX,
    HALF_UP,
    PRECISION_MAX,
    is_reasonable,
    plain_text,
)
from daybook.ledger.rejection import Reason
from daybook.requests.bounds import (
    BALANCE_ID,
    BULK_ID,
    CURRENCY_LENGTH_MAX,
    DESCRIPTION_LENGTH_MAX,
    DIGITS,
    GROUP_ID,
    IDENTITY_FIELD_LENGTH_MAX,
    IDENTITY_ID,
    INDICATOR_LENGTH_MAX,
    LEDGER_ID,
    MADE_BY_LENGTH_MAX,
    META_DATA_BYTES_MAX,
    META_DATA_DEPTH_MAX,
    NAME_LENGTH_MAX,
    NEW_TRANSACTION_ID,
    NUMBER_DIGITS_MAX,
    ORDERING_KEY_LENGTH_MAX,
    REFERENCE_LENGTH_MAX,
    TRANSACTION_ID,
)
from daybook.requests.naming import naming_fault


def _error(code: Reason, message: str) -> PydanticCustomError:
    return PydanticCustomError(code.value, "{message}", {"message": message})


def is_clean(value: str) -> bool:
    """Whether Postgres can store the text: no NUL, no lone surrogate."""
    try:
        clean_text(value)
    except PydanticCustomError:
        return False
    return True


def clean_text(value: str) -> str:
    if "\x00" in value:
        raise _error(Reason.MALFORMED, "contains a NUL character; remove it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _error(Reason.MALFORMED, "contains a lone surrogate; send valid Unicode") from None
    return value


def check_naming(value: str) -> str:
    """A text by which something is told apart: see ``naming``."""
    fault = naming_fault(value)
    if fault is not None:
        raise _error(Reason.MALFORMED, fault)
    return value


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")

_NUMBERS = (int, str, Decimal)
"""What a number may be given as. Not a union, which would be made anew for each request."""


def _decimal(value: Any, code: Reason = Reason.INVALID_AMOUNT) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        kind = type(value).__name__
        raise _error(
            code, f"is a {kind}; send a Decimal, an integer or decimal text, never a float"
        )
    try:
        if isinstance(value, str) and (
            value != value.strip() or "_" in value or not value.isascii()
        ):
            raise ArithmeticError  # noqa: TRY301 - Decimal would take all three
        number = Decimal(value)
    except ArithmeticError:
        raise _error(code, "is not a decimal number") from None
    if not is_reasonable(number):
        raise _error(
            code,
            f"must be finite, at most {AMOUNT_EXPONENT_MAX} digits on either side of the point",
        )
    return number


def check_amount(value: Any) -> Decimal:
    number = _decimal(value)
    if number <= 0:
        raise _error(Reason.INVALID_AMOUNT, "must be greater than zero")
    return number


def _integer(value: Any, code: Reason) -> int:
    if type(value) is int:  # nearly all of them
        return value
    if isinstance(value, str) and DIGITS.match(value) and len(value) <= 2 * FIGURE_DIGITS_MAX:
        return int(value)
    if isinstance(value, Decimal) and is_reasonable(value) and value == value.to_integral_value():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _error(code, "must be an integer or a string of digits")
    return value


def check_precise_amount(value: Any) -> int:
    number = _integer(value, Reason.INVALID_AMOUNT)
    if number <= 0:
        raise _error(Reason.INVALID_AMOUNT, "must be greater than zero")
    if number > FIGURE_MAX:
        raise _error(Reason.INVALID_AMOUNT, f"has more than {FIGURE_DIGITS_MAX} digits")
    return number


def check_precise_share(value: Any) -> int:
    """The minor units of one leg; zero is nothing, and such a leg is dropped."""
    number = _integer(value, Reason.INVALID_DISTRIBUTION)
    if not 0 <= number <= FIGURE_MAX:
        message = f"must be from 0 to {FIGURE_DIGITS_MAX} digits long"
        raise _error(Reason.INVALID_DISTRIBUTION, message)
    return number


def check_distribution(value: Any) -> str:
    """What a leg gets, in its canonical form: ``50%``, ``123.45`` (major units) or ``left``."""
    if not isinstance(value, str):
        message = 'must be text: "50%", "123.45" (major units) or "left"'
        raise _error(Reason.INVALID_DISTRIBUTION, message)
    if value == "left":
        return value
    percent = "%" if value.endswith("%") else ""
    try:
        number = _decimal(value.removesuffix("%"), Reason.INVALID_DISTRIBUTION)
    except PydanticCustomError:
        message = 'must look like "50%", "123.45" (major units) or "left"'
        raise _error(Reason.INVALID_DISTRIBUTION, message) from None
    if number < 0:
        raise _error(Reason.INVALID_DISTRIBUTION, "cannot be negative")
    if percent and number > 100:
        raise _error(Reason.INVALID_DISTRIBUTION, "is more than 100%")
    return plain_text(number) + percent


def check_rounding(value: Any) -> str:
    """How an amount may be rounded that its precision can't hold."""
    if value != HALF_UP:
        raise _error(Reason.MALFORMED, f'must be "{HALF_UP}"; leave it out to have nothing rounded')
    return HALF_UP


PRECISION_MISSING = "is required: minor units in a major unit, 100 for cents, 1 for whole units"


def check_precision(value: Any) -> int:
    if value is None:
        raise _error(Reason.INVALID_PRECISION, PRECISION_MISSING)
    number = _integer(value, Reason.INVALID_PRECISION)
    if not 1 <= number <= PRECISION_MAX:
        raise _error(Reason.INVALID_PRECISION, "must be an integer from 1 to 10^30")
    return number


def check_overdraft_limit(value: Any) -> Decimal:
    number = _decimal(value, Reason.MALFORMED)
    if number < 0:
        raise _error(Reason.MALFORMED, "cannot be negative")
    return number


def check_moment(value: Any) -> datetime:
    """A moment in UTC. A bare day is its first one."""
    if isinstance(value, str):
        try:
            value = (date if _DAY.match(value) else datetime).fromisoformat(value)
        except ValueError:
            raise _error(Reason.MALFORMED, "is not a date like 2026-04-22T15:28:03+00:00") from None
    if type(value) is date:
        value = datetime.combine(value, time(), UTC)
    if not isinstance(value, datetime):
        raise _error(Reason.MALFORMED, "must be a datetime or a text like 2026-04-22T15:28:03Z")
    if value.utcoffset() is None:
        raise _error(Reason.MALFORMED, "has no time zone; add one, such as +00:00")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise _error(Reason.MALFORMED, "is out of range") from None


def _matches(pattern: re.Pattern[str], example: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.match(value):
            raise _error(Reason.MALFORMED, f"must look like {example}")
        return value

    return AfterValidator(check)


def _balance_name(value: str) -> str:
    if value.startswith("@"):
        check_naming(value)
        if not INDICATOR.match(value):
            raise _error(Reason.MALFORMED, "an indicator is @ and characters without blanks")
        if len(value) > INDICATOR_LENGTH_MAX:
            raise _error(Reason.MALFORMED, f"is longer than {INDICATOR_LENGTH_MAX} characters")
    elif not BALANCE_ID.match(value):
        raise _error(Reason.MALFORMED, "must be a balance id (bln_<uuid>) or an indicator (@Name)")
    return value


def _subject(value: str) -> str:
    if not any(pattern.match(value) for pattern in SUBJECTS):
        message = "must be the id of a ledger, balance, identity, transaction or bulk"
        raise _error(Reason.MALFORMED, message)
    return value


SUBJECTS = (LEDGER_ID, BALANCE_ID, IDENTITY_ID, GROUP_ID)


def external_id_fault(meta_data: Any) -> str | None:
    """What is wrong with the ``external_id`` by which a balance is found, if it has one."""
    found = meta_data.get("external_id") if isinstance(meta_data, Mapping) else None
    fault = naming_fault(found) if isinstance(found, str) and is_clean(found) else None
    return f"external_id {fault}" if fault else None


def check_meta_data(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _error(Reason.MALFORMED, "must be an object")
    canonical_meta_data(value)
    return dict(value)


Text = Annotated[StrictStr, AfterValidator(clean_text)]
_Naming = AfterValidator(check_naming)
Reference = Annotated[Text, Field(min_length=1, max_length=REFERENCE_LENGTH_MAX), _Naming]
Currency = Annotated[Text, Field(min_length=1, max_length=CURRENCY_LENGTH_MAX), _Naming]
OrderingKey = Annotated[Text, Field(min_length=1, max_length=ORDERING_KEY_LENGTH_MAX), _Naming]
Name = Annotated[Text, Field(min_length=1, max_length=NAME_LENGTH_MAX), _Naming]
Description = Annotated[Text, Field(max_length=DESCRIPTION_LENGTH_MAX)]
BalanceName = Annotated[Text, AfterValidator(_balance_name)]
Indicator = Annotated[
    Text,
    Field(max_length=INDICATOR_LENGTH_MAX),
    _Naming,
    _matches(INDICATOR, "@Revenue: no blanks"),
]
IdentityText = Annotated[Text, Field(max_length=IDENTITY_FIELD_LENGTH_MAX)]
MadeBy = Annotated[Text, Field(max_length=MADE_BY_LENGTH_MAX)]
TransactionId = Annotated[Text, _matches(TRANSACTION_ID, "txn_<uuid>, in lower case")]
NewTransactionId = Annotated[
    Text, _matches(NEW_TRANSACTION_ID, "txn_<uuid>, in lower case and not of version 8")
]
BulkId = Annotated[
    Text, _matches(BULK_ID, "bulk_<uuid of version 8, variant 8 or 9>; leave it out for one")
]
GroupId = Annotated[Text, _matches(GROUP_ID, "txn_<uuid> or bulk_<uuid>, in lower case")]
IdentityId = Annotated[Text, _matches(IDENTITY_ID, "idt_<uuid>, in lower case")]
SubjectId = Annotated[Text, AfterValidator(_subject)]
BalanceId = Annotated[Text, _matches(BALANCE_ID, "bln_<uuid>, in lower case")]
LedgerId = Annotated[Text, _matches(LEDGER_ID, "ldg_<uuid>, in lower case")]
Distribution = Annotated[str, BeforeValidator(check_distribution)]
PreciseShare = Annotated[int, BeforeValidator(check_precise_share)]
Amount = Annotated[Decimal, BeforeValidator(check_amount)]
PreciseAmount = Annotated[int, BeforeValidator(check_precise_amount)]
Precision = Annotated[int, BeforeValidator(check_precision)]
Rounding = Annotated[str, BeforeValidator(check_rounding)]
OverdraftLimit = Annotated[Decimal, BeforeValidator(check_overdraft_limit)]
Moment = Annotated[datetime, BeforeValidator(check_moment)]
MetaData = Annotated[dict[str, Any], BeforeValidator(check_meta_data)]


# meta_data


def canonical_meta_data(value: Mapping[str, Any]) -> str:
    """``value`` as canonical JSON: sorted keys, no blanks, numbers written out.

    Raises a validation error that names the place and the fix when it is not JSON, too deep, or
    longer than META_DATA_BYTES_MAX.
    """
    text = _canonical(value, "", 0)
    if len(text.encode()) > META_DATA_BYTES_MAX:
        raise _error(Reason.MALFORMED, f"is longer than {META_DATA_BYTES_MAX} bytes as JSON")
    return text


def _canonical(value: Any, path: str, depth: int) -> str:
    if depth > META_DATA_DEPTH_MAX:
        raise _error(Reason.MALFORMED, f"is nested deeper than {META_DATA_DEPTH_MAX} levels")
    if isinstance(value, str):
        return json.dumps(clean_text(value), ensure_ascii=False)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | Decimal | float):
        return _canonical_number(value, path)
    if isinstance(value, Mapping):
        members = []
        for key in value:
            if not isinstance(key, str):
                raise _error(Reason.MALFORMED, f"has a key that is not text at {path or 'top'}")
        for key in sorted(value):
            name = json.dumps(clean_text(key), ensure_ascii=False)
            members.append(f"{name}:{_canonical(value[key], f'{path}.{key}', depth + 1)}")
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_canonical(item, f"{path}[]", depth + 1) for item in value) + "]"
    raise _error(Reason.MALFORMED, f"has a {type(value).__name__} at {path}, which is not JSON")


def _canonical_number(value: int | Decimal | float, path: str) -> str:
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite() or not -NUMBER_DIGITS_MAX <= number.adjusted() < NUMBER_DIGITS_MAX:
        raise _error(Reason.MALFORMED, f"has a number out of range at {path}")
    if len(number.as_tuple().digits) > NUMBER_DIGITS_MAX:
        raise _error(Reason.MALFORMED, f"has a number of too many digits at {path}")
    return plain_text(number)
