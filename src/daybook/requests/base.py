"""What all requests are: the base of their models, and how their violations are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from daybook.errors import FieldError, MalformedRequest
from daybook.ledger.instructions import Kind
from daybook.ledger.money import misfit
from daybook.ledger.rejection import PRECEDENCE, Reason
from daybook.requests.bounds import BODY_VERSION, NAME_LENGTH_MAX
from daybook.requests.fields import PRECISION_MISSING, canonical_meta_data

NO_SLOTS: frozenset[int] = frozenset()


class Request(BaseModel):
    """The base of every request: unknown fields are refused, nothing is coerced silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: ClassVar[Kind]
    not_in_body: ClassVar[frozenset[str]] = frozenset()
    """Fields that its body does not say."""

    @property
    def slot(self) -> int:
        """The slot 0..4095 whose order this request keeps."""
        raise NotImplementedError

    @property
    def slots(self) -> frozenset[int]:
        """Of a request that keeps its order in several slots, all of them; else none."""
        return NO_SLOTS

    def body(self) -> bytes:
        """The canonical form: what travels in the log, without anything volatile."""
        return self._body

    @cached_property
    def _body(self) -> bytes:
        fields = {"v": BODY_VERSION, "kind": self.kind.value, **self.canonical_fields()}
        return json_text(fields).encode()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy; what was made of the fields is made anew where one of them changes."""
        copied = super().model_copy(update=update, deep=deep)
        if update and not update.keys() <= self.not_in_body:
            for name in copied.__dict__.keys() - type(self).model_fields.keys():
                del copied.__dict__[name]
        return copied

    def canonical_fields(self) -> dict[str, Any]:
        """What the body says, without version and kind."""
        raise NotImplementedError

    @classmethod
    def cross_checks(cls, given: Mapping[str, Any]) -> list[FieldError]:
        """Violations between fields, judged on the request as it was given."""
        del given
        return []

    def late_checks(self) -> list[FieldError]:
        """Rules on the resolved request: amounts that round to nothing, ids of the wrong slot."""
        return []

    @property
    def body_bytes_max(self) -> int | None:
        """How long its body may be; None where its fields alone keep it below BODY_BYTES_MAX."""
        return None


json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
"""From a value to canonical JSON. Numbers in it are integers."""


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a JSON object, for ``json.loads``: each is there once.

    Raises ValueError for one that is there twice: readers of JSON differ in which of them counts.
    """
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"has the member {twice[:NAME_LENGTH_MAX]!r} twice; remove one")
    return members


def with_meta_data(fields: dict[str, Any], meta_data: Mapping[str, Any] | None) -> dict[str, Any]:
    """``fields`` of a body with the meta_data, if there is any."""
    if meta_data:
        fields["meta_data"] = canonical_meta_data(meta_data)
    return fields


def iso(moment: datetime) -> str:
    """``moment`` as bodies have it: in UTC, to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def malformed(errors: list[FieldError]) -> MalformedRequest:
    """The exception for these violations, coded by the one that takes precedence."""
    return MalformedRequest(errors, min((e.code for e in errors), key=lambda c: PRECEDENCE[c]))


_PLAIN_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request; remove it",
    "string_type": "must be text",
    "string_too_short": "cannot be blank",
    "bool_type": "must be true or false",
    "model_type": "must be an object",
    "tuple_type": "must be a list",
    "too_short": "cannot be empty",
}


def field_error(error: Any) -> FieldError:
    """A violation found by pydantic, with the path of its field: ``sources[1].identifier``."""
    field = path_of(error["loc"])
    code = error["type"]
    named = error.get("ctx", {}).get("field")
    if named is not None:
        field = f"{field}.{named}" if field else named
    if code in PRECEDENCE:
        return FieldError(field or "request", code, error["msg"])
    if code == "missing" and error["loc"][-1] == "precision":
        return FieldError(field, Reason.INVALID_PRECISION, PRECISION_MISSING)
    if code in ("too_long", "string_too_long"):
        most, of = error["ctx"]["max_length"], error["input"]
        message = f"is longer than {most:,} {'characters' if isinstance(of, str) else 'items'}"
    else:
        message = _PLAIN_MESSAGES.get(code, error["msg"])
    return FieldError(field or "request", Reason.MALFORMED, message)


def path_of(place: tuple[int | str, ...]) -> str:
    """A place in a request, as it is written: ``transactions[3].amount``."""
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def within(place: str, errors: list[FieldError]) -> list[FieldError]:
    """The errors of a part of a request, named from the whole."""
    return [
        FieldError(f"{place}.{error.field}" if error.field else place, error.code, error.message)
        for error in errors
    ]


def amount_choice(given: Mapping[str, Any], *, required: bool) -> list[FieldError]:
    """An amount is given in major units or in minor units, not in both."""
    amount, precise = given.get("amount"), given.get("precise_amount")
    message = None
    if amount is not None and precise is not None:
        message = "either amount or precise_amount should be provided, not both"
    elif required and amount is None and precise is None:
        message = "either amount or precise_amount is required"
    return [FieldError("amount", Reason.INVALID_AMOUNT, message)] if message else []


def misfit_error(
    amount: Decimal,
    precision: int,
    rounding: str | None,
    field: str = "amount",
    code: Reason = Reason.INVALID_AMOUNT,
) -> FieldError | None:
    """An amount (major units) that its precision can't hold, unless it may be rounded."""
    message = misfit(amount, precision, rounding)
    return None if message is None else FieldError(field, code, message)


def same_balance(field: str = "destination") -> FieldError:
    """Money that moves from a balance to itself."""
    message = "source and destination cannot be the same balance"
    return FieldError(field, Reason.SAME_BALANCE, message)


def wrong_slot(field: str, slot: int) -> FieldError:
    """An id of the caller's that belongs into another partition."""
    message = (
        f"must carry slot {slot} of its ordering key in the 12 bits after the time; "
        "leave it out to have one minted"
    )
    return FieldError(field, Reason.MALFORMED, message)
