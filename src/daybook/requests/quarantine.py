"""What an operator asks about a request that was quarantined."""

from __future__ import annotations

from daybook.ledger.ids import part_id
from daybook.ledger.instructions import Kind, Resolve
from daybook.requests.base import json_text
from daybook.requests.bounds import BODY_VERSION

_NOBODY = "txn_00000000-0000-0000-0000-000000000000"


def resolve_id(wanted: Resolve) -> str:
    """The id of this resolution: it follows from what is resolved, so it is accepted once."""
    return part_id(_NOBODY, f"{wanted.how} {wanted.position} {wanted.request_id}")


def resolve_body(wanted: Resolve, slot: int) -> bytes:
    """The body that asks for it. slot: 0..4095, of the request that was quarantined."""
    fields = {"v": BODY_VERSION, "kind": Kind.RESOLVE.value, "slot": slot, **wanted._asdict()}
    return json_text(fields).encode()
