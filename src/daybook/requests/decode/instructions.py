"""From the fields of a body to an instruction of the engine. Each raises MalformedRequest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from pydantic_core import PydanticCustomError

from daybook.errors import FieldError
from daybook.ledger.balance import INDICATOR, internal_balance_id
from daybook.ledger.instructions import Leg, MultiLeg, Transaction
from daybook.ledger.money import limit_to_minor, plain_text
from daybook.ledger.rejection import Reason
from daybook.ledger.shares import LEFT, Share
from daybook.requests.base import malformed, same_balance
from daybook.requests.bounds import BALANCE_ID, EPOCH, FUTURE_MAX
from daybook.requests.decode.bodies import ItemBody, LegBody
from daybook.requests.fields import (
    canonical_meta_data,
    check_meta_data,
    check_moment,
    check_naming,
    check_overdraft_limit,
    check_precise_amount,
    check_precision,
)
from daybook.requests.legs import identity_errors, paired_amounts, share_of
from daybook.requests.models import load_json

_MICROSECOND = timedelta(microseconds=1)


def fault(field: str, message: str) -> Exception:
    """The exception for one field that is wrong."""
    return malformed([FieldError(field, Reason.MALFORMED, message)])


def checked(check: Callable[[Any], Any], value: Any, field: str) -> Any:
    """``value`` as ``check`` makes it."""
    try:
        return check(value)
    except PydanticCustomError as found:
        raise malformed([FieldError(field, found.type, found.message())]) from None


def check_names(fields: Any, *names: str) -> None:
    """Texts by which things are told apart, where there are any: see ``naming``."""
    for name in names:
        value = getattr(fields, name)
        if value is not None:
            checked(check_naming, value, name)


def micros_of(text: str | None, field: str) -> int | None:
    """The moment in microseconds since the epoch."""
    if text is None:
        return None
    moment = checked(check_moment, text, field)
    return int((moment - EPOCH) // _MICROSECOND)


def effective_micros_of(text: str | None, accepted_ms: int) -> int | None:
    """When a request counts for history: in the past, or at most a day after it was accepted."""
    micros = micros_of(text, "effective_date")
    if micros is not None and micros > accepted_ms * 1000 + FUTURE_MAX // _MICROSECOND:
        raise fault("effective_date", "lies more than a day in the future")
    return micros


def object_text(text: str | None, field: str) -> str | None:
    """An object that travels as canonical JSON text."""
    if text is None:
        return None
    value = load_json(text)
    if checked(_canonical, value, field) != text:
        raise fault(field, "is not canonical JSON")
    return text


def _canonical(value: Any) -> str:
    return canonical_meta_data(check_meta_data(value))


def movement_of(
    fields: ItemBody, accepted_ms: int, scheduled_for: str | None = None
) -> Transaction | MultiLeg:
    """The transaction that a body, or an item of a bulk, asks for."""
    precise_amount = checked(check_precise_amount, fields.precise_amount, "precise_amount")
    precision = checked(check_precision, fields.precision, "precision")
    check_names(fields, "reference", "currency")
    sides, legs = _sides(fields, precise_amount, precision)
    limit = None
    if fields.overdraft_limit is not None:
        limit = checked(check_overdraft_limit, fields.overdraft_limit, "overdraft_limit")
    expires = micros_of(fields.inflight_expiry_date, "inflight_expiry_date")
    commits = micros_of(fields.inflight_commit_date, "inflight_commit_date")
    if not fields.inflight and (expires is not None or commits is not None):
        field = "inflight_expiry_date" if expires is not None else "inflight_commit_date"
        raise fault(field, "is the date of a hold; set inflight, or remove it")
    whole = Transaction(
        fields.reference,
        *sides,
        fields.currency,
        precise_amount,
        precision,
        fields.description,
        fields.allow_overdraft,
        plain_text(limit) if limit else None,
        limit_to_minor(limit, precision) if limit else 0,
        fields.inflight,
        effective_micros_of(fields.effective_date, accepted_ms),
        object_text(fields.meta_data, "meta_data"),
        expires,
        commits,
        micros_of(scheduled_for, "scheduled_for"),
    )
    return MultiLeg(whole, legs) if legs else whole


def names_of(one: str | None, legs: Sequence[LegBody] | None) -> tuple[str, ...]:
    """A side as it was named: one balance, or several."""
    if one is not None:
        return (one,)
    return tuple(leg["identifier"] for leg in legs or ())


_Sides = tuple[str, str, str | None, str | None]


def _sides(fields: ItemBody, total: int, precision: int) -> tuple[_Sides, tuple[Leg, ...]]:
    """Both sides, those of the first leg if there are several, and the legs."""
    if (fields.source is None) == (fields.sources is None):
        raise fault("source", "is required, or sources, not both")
    if (fields.destination is None) == (fields.destinations is None):
        raise fault("destination", "is required, or destinations, not both")
    if fields.source is not None and fields.destination is not None:
        source_id, source = _resolve(fields.source, fields.currency, "source")
        destination_id, destination = _resolve(fields.destination, fields.currency, "destination")
        if source_id == destination_id:
            raise malformed([same_balance()])
        return (source_id, destination_id, source, destination), ()
    legs = _legs(fields, total, precision)
    several = len(fields.sources or ()) > 1 or len(fields.destinations or ()) > 1
    return legs[0][:4], legs if several else ()


def _legs(fields: ItemBody, total: int, precision: int) -> tuple[Leg, ...]:
    """The legs that get something."""
    sources, given = _named_shares(fields, "source", "sources")
    destinations, got = _named_shares(fields, "destination", "destinations")
    source_ids, destination_ids = [name[0] for name in sources], [name[0] for name in destinations]
    if len({*source_ids, *destination_ids}) < len(sources) + len(destinations):
        errors = identity_errors("sources", source_ids, destination_ids) if fields.sources else []
        beside = () if fields.sources else source_ids
        if fields.destinations:
            errors += identity_errors("destinations", destination_ids, beside)
        raise malformed(errors)
    pairs = paired_amounts(total, given, got)
    if isinstance(pairs, FieldError):
        raise malformed([pairs])
    return tuple(
        Leg(source_id, destination_id, source, destination, amount)
        for place, other, amount in pairs
        for (source_id, source), (destination_id, destination) in (
            (sources[place], destinations[other]),
        )
    )


def _named_shares(
    fields: ItemBody, one: str, many: str
) -> tuple[list[tuple[str, str | None]], list[Share]]:
    """The balances of a side, with their indicators, and what each of them gives or gets."""
    legs = getattr(fields, many)
    if legs is None:
        return [_resolve(getattr(fields, one), fields.currency, one)], [LEFT]
    names = [
        _resolved(leg["identifier"], fields.currency, f"{many}[{place}].identifier")
        for place, leg in enumerate(legs)
    ]
    return names, [_share(leg, many, place) for place, leg in enumerate(legs)]


def _resolved(name: str, currency: str, field: str) -> tuple[str, str | None]:
    """``_resolve`` for a name whose form was checked."""
    if name[0] != "@":
        return name, None
    return internal_balance_id(checked(check_naming, name, field), currency), name


def _share(leg: LegBody, side: str, place: int) -> Share:
    distribution, precise = leg.get("distribution"), leg.get("precise_distribution")
    if (distribution is None) == (precise is None):
        message = "either distribution or precise_distribution is required, not both"
        field = f"{side}[{place}].distribution"
        raise malformed([FieldError(field, Reason.INVALID_DISTRIBUTION, message)])
    return share_of(distribution, None if precise is None else int(precise))


def _resolve(name: str, currency: str, field: str) -> tuple[str, str | None]:
    """The balance id and, when named by one, the indicator of one side."""
    if name[0:1] == "@" and INDICATOR.match(name):
        return _resolved(name, currency, field)
    if not BALANCE_ID.match(name):
        raise fault(field, "must be a balance id (bln_<uuid>) or an indicator (@Name)")
    return name, None
