"""From a request that was quarantined to the entries that resolve it."""

from __future__ import annotations

from daybook.errors import ConfigError
from daybook.ledger.instructions import DISCARDED, RETRIED, Resolve
from daybook.ledger.rejection import Rejected
from daybook.queue.entries import FOLLOWED, RETRY, NewEntry, key_of_id, key_of_request
from daybook.requests import (
    Decoded,
    decode,
    fingerprint_of,
    reference_in,
    resolve_body,
    resolve_id,
    slot_of,
)


def retrying(
    request_id: str, position: int, body: bytes, now_ms: int, made_by: str, why: str
) -> list[NewEntry]:
    """The entries that try a request again: one that resolves it, and itself.

    Both lie in its own partition, one behind the other. They may be appended any number of times:
    the first names the place in the log that it resolves, the second is the same request under the
    same id and reference. now_ms: by the log's clock. Raises ConfigError when this version can't
    read the request either.
    """
    decoded = _decoded(request_id, body, now_ms)
    if not isinstance(decoded, Decoded):
        raise ConfigError(f"{request_id} can't be read by this version either: {decoded}")
    wanted = Resolve(request_id, position, RETRIED, made_by, why)
    again = NewEntry(
        decoded.slot,
        key_of_request(reference_in(body), request_id),
        fingerprint_of(body),
        request_id,
        body,
        RETRY,
        tuple(sorted(decoded.slots)),
    )
    return [_resolving(wanted, decoded.slot)._replace(flags=FOLLOWED), again]


def discarding(
    request_id: str, position: int, body: bytes, now_ms: int, made_by: str, why: str
) -> list[NewEntry]:
    """The entry that gives a request up. It lies where a retry would lie."""
    decoded = _decoded(request_id, body, now_ms)
    slot = decoded.slot if isinstance(decoded, Decoded) else slot_of(request_id)
    return [_resolving(Resolve(request_id, position, DISCARDED, made_by, why), slot)]


def _decoded(request_id: str, body: bytes, now_ms: int) -> Decoded | str:
    """The request, or why it can't be read."""
    try:
        decoded = decode(body, request_id, now_ms)
    except Exception as fault:  # whatever quarantined it may be in the reading
        return f"{type(fault).__name__}: {fault}"
    return decoded.detail if isinstance(decoded, Rejected) else decoded


def _resolving(wanted: Resolve, slot: int) -> NewEntry:
    body, request_id = resolve_body(wanted, slot), resolve_id(wanted)
    return NewEntry(slot, key_of_id(request_id), fingerprint_of(body), request_id, body)
