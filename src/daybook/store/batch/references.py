"""Which references are taken: one table with one unique index, whoever has them.

The journal, schedules, and rejected and quarantined requests take theirs here, each in its own unit
of work, so that two partitions can't take the same one. Whoever is recorded first has it for good:
a schedule that comes due and a quarantined request that is tried again have it already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import psycopg
from psycopg import errors as pg

from daybook.ledger.ids import ID_LENGTH
from daybook.store.arrays import copy_text

Claims = Mapping[str, str | None]
"""References to take, and the id of the request that takes each; None for one whose id is none."""

PRIMARY_KEY = "taken_references_pkey"

_NULL = "\\N"
_TAKE = "COPY taken_references (reference, owner) FROM STDIN"
OWNER_ID = re.compile(r"[a-z]+_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ReferenceTaken(Exception):  # noqa: N818 - an order to the caller, not an error
    """Another unit of work took one of the references first: roll back, look, and decide again."""


def owner_in(request_id: str) -> str | None:
    """The id under which a rejected request has its reference: anything may stand in the log."""
    return request_id if OWNER_ID.fullmatch(request_id) else None


def take_references(cursor: psycopg.Cursor[object], claims: Claims) -> None:
    """Take references for good, once this unit of work commits.

    Whoever takes one that another unit has taken and not committed waits for its end. All of a unit
    are taken at once and in one order, so that no two units wait for each other.
    Raises ReferenceTaken.
    """
    if not claims:
        return
    lines = [
        f"{copy_text(reference)}\t{owner[-ID_LENGTH:] if owner else _NULL}\n"
        for reference, owner in claims.items()
    ]
    lines.sort()
    try:
        with cursor.copy(_TAKE) as copy:
            copy.write("".join(lines).encode())
    except pg.UniqueViolation as fault:
        if fault.diag.constraint_name == PRIMARY_KEY:
            raise ReferenceTaken(fault.diag.message_detail) from fault
        raise
