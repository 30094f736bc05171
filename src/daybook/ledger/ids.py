"""Ids of transactions and of their parts."""

from __future__ import annotations

from hashlib import sha256

ID_LENGTH = 36
"""Characters of a UUID's text: what an id has behind its prefix."""


def bare(public: str) -> str:
    """The UUID of an id: what follows its prefix."""
    return public[-ID_LENGTH:]


def part_id(request_id: str, part: int | str) -> str:
    """The id of a part of a request, derived from the two, so that a replay makes the same.

    It keeps the request's slot: whatever is done to the part later finds the request's partition.
    part: its number, or a word for a part that is not numbered.
    """
    if isinstance(part, int):
        return part_ids(request_id, part, part)[0]
    return _part(request_id, sha256(f"{request_id}\0{part}".encode()).hexdigest())


def part_ids(request_id: str, first: int, last: int) -> list[str]:
    """The ids of the parts ``first`` to ``last`` of a request.

    They count on from a digest of the request's id, so that an index keeps them side by side.
    """
    start = int(sha256(f"{request_id}\0".encode()).hexdigest()[:_PART_DIGITS], 16)
    return [
        _part(request_id, f"{(start + part) % _PART_ENDS:0{_PART_DIGITS}x}")
        for part in range(first, last + 1)
    ]


_PART_DIGITS = 15
_PART_ENDS = 16**_PART_DIGITS


def _part(request_id: str, digits: str) -> str:
    uuid = bare(request_id)
    return f"txn_{uuid[:14]}8{uuid[15:18]}-a{digits[:3]}-{digits[3:15]}"


def is_bulk(bare_id: str) -> bool:
    """Whether a bare id (a UUID) is that of a bulk: version 8, variant 8 or 9.

    Version 8 is the ledger's own: ids of parts have it, too, with the variant a.
    """
    return bare_id[14] == "8" and bare_id[19] in ("8", "9")


def public_id(bare_id: str) -> str:
    """The id of a transaction or a bulk, as it is shown, for its UUID."""
    return f"bulk_{bare_id}" if is_bulk(bare_id) else f"txn_{bare_id}"
