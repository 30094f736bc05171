"""The hash chain of a partition: any edit, deletion, insertion or swap of a record breaks it.

hash = SHA-256(previous hash ‖ canonical bytes of the record); the first previous hash is zeros.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Any

from daybook.ledger.record import Record, common_fields, own_fields, rare_fields

GENESIS = bytes(32)
"""The hash before the first record of every partition."""

_ABSENT = "\1"
"""Stands for an absent text, which is not the same as an empty one."""

_PLAIN, _WITH_MORE = "1", "2"
"""Versions of the canonical bytes: without and with the fields that few records have."""

_NO_MORE: tuple[Any, ...] = (None,) * 7
_NO_DATES: tuple[Any, ...] = (None,) * 5
"""A record of a part, or with parts, has nearly always nothing else."""


def canonical_bytes(partition: int, sequence: int, record: Record) -> bytes:
    """The record as bytes, every field of it. Those that few records have come last, if at all.

    Fields are joined by NUL, which no text of the ledger may contain; an absent field is empty,
    which no field that may be absent can otherwise be.
    """
    (
        transaction_id,
        kind,
        reference,
        derived,
        parent_id,
        source_id,
        destination_id,
        currency,
        precision,
        precise_amount,
    ) = own_fields(record)
    common, more = common_fields(record), rare_fields(record)
    # What the parts of a request have in common is written out once.
    middle = (_middle if more[1] is None else _shared_middle)(common)
    return (
        f"{_PLAIN if more == _NO_MORE else _WITH_MORE}\0{partition}\0{sequence}\0"
        f"{transaction_id}\0{kind}\0{reference}\0{derived:d}\0"
        f"{parent_id or ''}\0{source_id or ''}\0{destination_id or ''}\0{currency}\0"
        f"{'' if precision is None else precision}\0"
        f"{'' if precise_amount is None else precise_amount}\0{middle}"
        f"{'' if more == _NO_MORE else _more_text(more)}"
    ).encode() + record.fingerprint


def _middle(common: tuple[Any, ...]) -> str:
    """The fields from the status to the meta_data."""
    status, reason, detail, description, overdraft, limit, position, effective, meta, _ = common
    return (
        f"{status}\0"
        f"{_ABSENT if reason is None else reason}\0{_ABSENT if detail is None else detail}\0"
        f"{description}\0{overdraft:d}\0{limit or ''}\0"
        f"{position}\0{effective}\0{meta or ''}\0"
    )


_shared_middle = lru_cache(maxsize=4)(_middle)


def _more_text(more: tuple[Any, ...]) -> str:
    """The fields that few records have, each followed by NUL."""
    if more[2:] == _NO_DATES:
        parts, part = ("" if value is None else value for value in more[:2])
        return f"{parts}\0{part}\0\0\0\0\0\0"
    return "".join("\0" if value is None else f"{value}\0" for value in more)


def link(previous_hash: bytes, partition: int, sequence: int, record: Record) -> bytes:
    """The hash (32 bytes) of ``record``, the ``sequence``-th of its partition."""
    return sha256(previous_hash + canonical_bytes(partition, sequence, record)).digest()
