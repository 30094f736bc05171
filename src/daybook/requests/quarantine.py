"""What an operator asks about a request that was set aside."""

from __future__ import annotations

from daybook.ledger.ids import part_id
from daybook.ledger.instructions import Kind, Settle
from daybook.requests.base import json_text
from daybook.requests.bounds import BODY_VERSION

_NOBODY = "txn_00000000-0000-0000-0000-000000000000"


def settle_id(wanted: Settle) -> str:
    """The id of this settlement: it follows from what is settled, so it is accepted once."""
    return part_id(_NOBODY, f"{wanted.how} {wanted.position} {wanted.request_id}")


def settle_body(wanted: Settle, slot: int) -> bytes:
    """The body that asks for it. slot: 0..4095, of the request that was set aside."""
    fields = {"v": BODY_VERSION, "kind": Kind.SETTLE.value, "slot": slot, **wanted._asdict()}
    return json_text(fields).encode()
