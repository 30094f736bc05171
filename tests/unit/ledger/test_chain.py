"""The chain of hashes: what covers every field finds every change."""

from __future__ import annotations

from typing import Any

import pytest

from daybook.ledger.chain import GENESIS, link
from daybook.ledger.record import Record

RECORD = Record(
    transaction_id="txn_00000000-0000-7000-8000-000000000001",
    kind="transaction",
    reference="r1",
    derived=False,
    parent_id="txn_00000000-0000-7000-8000-000000000002",
    source_id="bln_00000000-0000-4000-8000-000000000001",
    destination_id="bln_00000000-0000-4000-8000-000000000002",
    currency="USD",
    precision=100,
    precise_amount=1999,
    status="REJECTED",
    reason="insufficient_funds",
    detail="source: has 1",
    description="coffee",
    allow_overdraft=False,
    overdraft_limit="5",
    position=1_700_000_000_000 << 20,
    effective_micros=1_700_000_000_000_000,
    meta_data='{"a":1}',
    fingerprint=bytes(32),
)
CHANGES: dict[str, Any] = {
    "derived": True,
    "precision": 10,
    "precise_amount": 1998,
    "allow_overdraft": True,
    "position": RECORD.position + 1,
    "effective_micros": RECORD.effective_micros - 1,
    "fingerprint": bytes(31) + b"\x01",
}
MAY_BE_ABSENT = (
    "parent_id source_id destination_id precision precise_amount reason detail overdraft_limit "
    "meta_data"
)


def heads(records: list[Record], partition: int = 0) -> list[bytes]:
    """The hash after each record."""
    hashes = [GENESIS]
    for sequence, record in enumerate(records, 1):
        hashes.append(link(hashes[-1], partition, sequence, record))
    return hashes[1:]


@pytest.mark.parametrize("field", Record._fields)
def test_a_change_of_any_field_changes_the_hash(field: str) -> None:
    """No field can be edited without changing the hash of its record."""
    change = {field: CHANGES.get(field, f"{getattr(RECORD, field)}x")}
    assert heads([RECORD._replace(**change)]) != heads([RECORD])


@pytest.mark.parametrize("field", MAY_BE_ABSENT.split())
def test_absence_of_a_field_changes_the_hash(field: str) -> None:
    """No field that may be absent can be removed without changing the hash."""
    change: dict[str, Any] = {field: None}
    assert heads([RECORD._replace(**change)]) != heads([RECORD])


def test_order_and_number_of_records_are_covered() -> None:
    """A swap, a deletion and an insertion change the last hash and every hash from there on."""
    records = [RECORD._replace(reference=f"r{n}") for n in range(6)]
    hashes = heads(records)
    swapped = [records[0], records[2], records[1], *records[3:]]
    deleted = [records[0], *records[2:]]
    inserted = [records[0], RECORD._replace(reference="in"), *records[1:]]
    for broken in (swapped, deleted, inserted):
        changed = heads(broken)
        assert changed[0] == hashes[0]
        assert not set(changed[1:]) & set(hashes)


def test_place_is_covered() -> None:
    """The same record has another hash in another partition or under another number."""
    first = link(GENESIS, 0, 1, RECORD)
    assert link(GENESIS, 1, 1, RECORD) != first
    assert link(GENESIS, 0, 2, RECORD) != first
    assert link(GENESIS, 11, 1, RECORD) != link(GENESIS, 1, 11, RECORD)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "693a4cc6adf4802c2d4d306209f2b53c84528d69a4bc0ec100aa6ea1bcb2d214"),
        (
            dict.fromkeys(MAY_BE_ABSENT.split()),
            "ddea721736d8a13debb24fc46d1bd645bd51bea7eb2ca9fbd3304a1cd80f8bff",
        ),
        ({"parts": 2}, "76f87ab2cd97bd9f0544664b350f6f43890e17acd9fb951408f66bf29f263944"),
        (
            {"part": 1, "derived": True, "allow_overdraft": True},
            "a5c349c04d4a564e9f03844f6244492a5146f8ec013fadb37fbaaaed347f5f55",
        ),
        (
            {"part": 1, "expires_micros": 1, "scheduled_micros": 3},
            "c61f6c21a2aefb0cfa0b1787d5efbb986eb56c3fb26338c4b12089f1bd5c78b7",
        ),
        (
            {"subject_id": "ldg_1", "change": "{}"},
            "9a40816af282ac6f60a903da402de4d42e68840016a412fbfd20eb341bb74280",
        ),
    ],
)
def test_hashes_are_pinned(changes: dict[str, Any], expected: str) -> None:
    """The hash of a known record stays what it is: journals outlive versions of this code."""
    assert link(GENESIS, 3, 7, RECORD._replace(**changes)).hex() == expected
