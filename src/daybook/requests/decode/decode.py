"""From a body in the log back to an instruction of the engine, whatever the body is."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any

from pydantic import ValidationError

from daybook.errors import MalformedRequest
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.instructions import Transaction
from daybook.ledger.rejection import PRECEDENCE, Reason, Rejected
from daybook.requests.base import field_error, object_of
from daybook.requests.bounds import (
    BODY_BYTES_MAX,
    BODY_VERSION,
    BULK_BODY_BYTES_MAX,
    DESCRIPTION_LENGTH_MAX,
    LEG_BYTES_MAX,
    LEGS_MAX,
    NEW_TRANSACTION_ID,
    REFERENCE_LENGTH_MAX,
)
from daybook.requests.decode import kinds as _kinds  # noqa: F401 - it makes the kinds known
from daybook.requests.decode.bodies import (
    BulkBody,
    CommonBody,
    CommonItem,
    ItemBody,
    TransactionBody,
    validate_common,
)
from daybook.requests.fields import clean_text
from daybook.requests.kinds import KINDS, Decoded, validate_any
from daybook.requests.naming import are_plain
from daybook.requests.routing import ordering_key, slot_of, slot_of_transaction

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""``\\u0000`` after an even number of backslashes: otherwise it is a backslash and text."""

_LEGS_BODY_BYTES_MAX = BODY_BYTES_MAX + LEG_BYTES_MAX * 2 * LEGS_MAX
_ITEMS = b'"transactions":['
_END_OF_BULK = b'}],"v":1}'


def fingerprint_of(body: bytes) -> bytes:
    """The fingerprint (32 bytes) of the request with this body."""
    return sha256(body).digest()


def decode(body: bytes, request_id: str, accepted_ms: int) -> Decoded | Rejected:
    """The instruction in ``body``, or why it is none.

    request_id: the id that the entry was accepted under. accepted_ms: when, milliseconds since
    the epoch by the log's clock.
    """
    long = len(body) > BODY_BYTES_MAX
    if long:
        longest = BULK_BODY_BYTES_MAX if _ITEMS in body else _LEGS_BODY_BYTES_MAX
        if len(body) > longest:
            return Rejected(Reason.MALFORMED, f"request: is longer than {longest} bytes")
    if b"\x00" in body or (b"\\u0000" in body and _ESCAPED_NUL.search(body)):
        return Rejected(Reason.MALFORMED, "request: contains a NUL character")
    if len(body) <= _COMMON_BYTES_MAX:
        common = _decode_common(body, request_id)
        if common is not None:
            return common
    try:
        fields = validate_any()(body)
    except ValidationError as invalid:
        return _undecodable(body, invalid)
    if fields.v != BODY_VERSION:
        return _unsupported(fields.v)
    twice = _twice_in(body)
    if twice:
        return Rejected(Reason.MALFORMED, _printable(f"request: {twice}"))
    if long and not isinstance(fields, BulkBody) and len(body) > _bytes_max(fields):
        return Rejected(Reason.MALFORMED, f"request: is longer than {_bytes_max(fields)} bytes")
    try:
        return KINDS[fields.kind].decode(fields, request_id, accepted_ms)
    except MalformedRequest as found:
        first = min(found.errors, key=lambda error: PRECEDENCE[error.code])
        return Rejected(Reason(first.code), _printable(str(found)))


_COMMON_BYTES_MAX = 2_048
"""A longer body is hardly ever common: it would only be parsed twice."""


def _decode_common(body: bytes, request_id: str) -> Decoded | None:
    """The instruction of a common body; None when it takes the long way to judge it."""
    try:
        fields = validate_common(body)
    except ValidationError:
        return None
    reference, currency = fields.reference, fields.currency
    source, destination = fields.source, fields.destination
    if not _each_once(body, fields):
        return None
    if not are_plain(reference, currency, source, destination):
        return None
    if not NEW_TRANSACTION_ID.match(request_id):
        return None
    slot = slot_of(ordering_key(source, destination))
    if slot != slot_of_transaction(request_id):
        return None
    source_indicator = source if source[0] == "@" else None
    destination_indicator = destination if destination[0] == "@" else None
    source_id = internal_balance_id(source, currency) if source_indicator else source
    destination_id = (
        internal_balance_id(destination, currency) if destination_indicator else destination
    )
    if source_id == destination_id:
        return None
    instruction = Transaction(
        reference,
        source_id,
        destination_id,
        source_indicator,
        destination_indicator,
        currency,
        int(fields.precise_amount),
        int(fields.precision),
        fields.description,
        fields.allow_overdraft,
        inflight=fields.inflight,
    )
    return Decoded(instruction, slot, request_id)


def _each_once(body: bytes, fields: CommonBody) -> bool:
    """Whether the body has no member twice: each has a colon, and so may texts."""
    if b"\\" in body:
        return _twice_in(body) is None
    texts = (fields.reference, fields.currency, fields.source, fields.destination)
    colons = "".join(texts).count(":") + fields.description.count(":")
    return body.count(b":") == len(fields.model_fields_set) + colons


def _twice_in(body: bytes) -> str | None:
    """What is said of a member that the body, which is JSON, has twice."""
    try:
        json.loads(body, object_pairs_hook=object_of)
    except ValueError as fault:
        return str(fault)
    return None


def reference_in(body: bytes) -> str | None:
    """The reference of a body that may be broken, for the record of its rejection."""
    try:
        found = json.loads(_without_items(body))["reference"]
        return clean_text(found)[:REFERENCE_LENGTH_MAX] or None if isinstance(found, str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _without_items(body: bytes) -> bytes:
    """A canonical bulk without its transactions: what is long to read and not asked for."""
    if not body.endswith(_END_OF_BULK) or body.count(_ITEMS) != 1:
        return body
    return body.partition(_ITEMS)[0] + b'"v":1}'


def _bytes_max(fields: Any) -> int:
    """How long a body may be: every leg makes it longer."""
    if not isinstance(fields, TransactionBody):
        return BODY_BYTES_MAX
    legs = sum(len(side or "1") for side in (fields.sources, fields.destinations))
    return BODY_BYTES_MAX + LEG_BYTES_MAX * (legs - 2)


_ERRORS_TOLD_MAX = 1_000
"""Errors of one body that are looked at: a million of them would keep a worker for a minute."""


def _undecodable(body: bytes, invalid: ValidationError) -> Rejected:
    try:
        version = json.loads(body)["v"]
    except (ValueError, KeyError, TypeError, RecursionError):
        version = BODY_VERSION
    if isinstance(version, int) and not isinstance(version, bool) and version != BODY_VERSION:
        return _unsupported(version)
    if invalid.error_count() > _ERRORS_TOLD_MAX:
        message = f"request: {invalid.error_count()} fields are wrong, too many to tell"
        return Rejected(Reason.MALFORMED, message)
    errors = [
        str(field_error({**error, "loc": _place(error["loc"])}))
        for error in invalid.errors(include_url=False)
        if CommonItem.__name__ not in error["loc"]  # of the narrower of the two: told by the other
    ]
    return Rejected(Reason.MALFORMED, _printable("; ".join(errors)))


def _place(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where an error is, without the kind and the model that the validator puts before it."""
    return tuple(part for part in loc[1:] if part != ItemBody.__name__)


def _printable(text: str) -> str:
    """``text`` as it can be stored, whatever bytes the request was made of."""
    cleaned = text.replace("\x00", "\\0").encode(errors="backslashreplace").decode()
    return cleaned[:DESCRIPTION_LENGTH_MAX]


def _unsupported(version: int) -> Rejected:
    return Rejected(
        Reason.UNSUPPORTED_VERSION,
        f"v: version {str(version)[:20]} is not {BODY_VERSION}; update the workers first",
    )
