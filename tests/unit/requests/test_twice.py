"""An object that has a member twice says two things: no door takes either of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daybook.errors import MalformedRequest
from daybook.ledger.rejection import Rejected
from daybook.requests import Decoded, decode, load_json, mint_bulk_id, mint_id, request_of
from daybook.worker.messages import load_message

A = "bln_00000000-0000-4000-8000-00000000000a"
PLAIN: dict[str, Any] = {
    "reference": "r:1", "source": "@World", "destination": A, "currency": "USD",
    "precise_amount": 5, "precision": 100,
}  # fmt: skip
LEGS = [{"identifier": "@A", "distribution": "1%"}, {"identifier": "@B", "distribution": "left"}]
REQUESTS = {
    "common": PLAIN,
    "escaped": PLAIN | {"description": 'a "b": c'},
    "long": PLAIN | {"meta_data": {"a": 1}},
    "legs": {name: PLAIN[name] for name in PLAIN if name != "destination"} | {"destinations": LEGS},
    "bulk": {"transactions": [PLAIN, PLAIN | {"reference": "s"}]},
}


def twices(body: bytes) -> list[bytes]:
    """The body with each of its members a second time, where it stands."""
    text = body.decode()
    found = []
    for name in ("currency", "precise_amount", "reference", "source", "identifier", "kind"):
        start = text.find(f'"{name}":')
        if start >= 0:
            value, _ = json.JSONDecoder().raw_decode(text[start + len(name) + 3 :])
            for blanks in ("", " "):
                member = f'"{name}"{blanks}:{json.dumps(value)},'
                found.append(f"{text[:start]}{member}{text[start:]}".encode())
    return found


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_worker_refuses_a_member_that_is_there_twice(kind: str) -> None:
    """In a request of any shape, on its own, in a leg or in a bulk; named in the rejection."""
    request = request_of(REQUESTS[kind])
    minted = mint_bulk_id if kind == "bulk" else lambda slot: mint_id("txn", slot)
    request_id = minted(request.slot)
    assert isinstance(decode(request.body(), request_id, 1), Decoded)
    changed = twices(request.body())
    assert len(changed) >= 8
    for body in changed:
        found = decode(body, request_id, 1)
        assert isinstance(found, Rejected), body
        assert found.reason == "malformed"
        assert "twice; remove one" in found.detail


@pytest.mark.parametrize("load", [load_json, load_message])
def test_no_door_takes_a_member_that_is_there_twice(load: Any) -> None:
    """Files, the command line and Celery's messages, at any depth."""
    for text in ('{"amount":"1.00","amount":"100.00"}', '[{"a":{"b":1,"c":2,"b":1}}]'):
        with pytest.raises((MalformedRequest, ValueError), match=r"has the member '(amount|b)' tw"):
            load(text)


def test_a_byte_order_mark_is_no_part_of_json() -> None:
    """Files of Windows begin with one, as text and as bytes."""
    for text in ('\ufeff{"a":1}', b'\xef\xbb\xbf{"a":1}'):
        assert load_json(text) == {"a": 1}
