"""What is accepted and not applied yet, summed up for one balance, within a bound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from daybook.api.service import Service
from daybook.ledger.instructions import MultiLeg, Transaction, movements
from daybook.ledger.rejection import Rejected
from daybook.requests import decode
from daybook.store.read.outcomes import deferred_bodies
from daybook.store.read.queries import list_partitions

ENTRIES_MAX = 10_000
BYTES_MAX = 32 << 20
"""Most that is looked at. Beyond that the sums say that they are not complete."""

READ_AT_ONCE = 250
"""Entries of one look: a server that reads them does nothing else."""


class Queued(NamedTuple):
    """Sums in minor units of what was accepted for a balance. complete: nothing was left out."""

    debit: int
    credit: int
    complete: bool


async def queued_of(service: Service, balance_id: str) -> Queued:
    """The sums of a balance. What waits for its time is none of it.

    Raises LogUnavailable, StoreUnavailable.
    """
    bodies, cursors = await service.read(_deferred_and_cursors)
    left = _Left(ENTRIES_MAX, BYTES_MAX)
    left.take(body for _, body in bodies)
    for partition, cursor in cursors:
        while not left.is_over:
            found = await service.client.unread(partition, cursor, READ_AT_ONCE)
            left.take(entry.body for entry in found)
            bodies += ((entry.request_id, entry.body) for entry in found)
            if len(found) < READ_AT_ONCE:
                break
            cursor = found[-1].position
    now_micros = int(service.clock() * 1_000_000)
    return _summed(bodies, balance_id, now_micros, complete=not left.is_over)


@dataclass
class _Left:
    """How much may still be looked at."""

    entries: int
    size: int

    def take(self, bodies: Iterable[bytes]) -> None:
        for body in bodies:
            self.entries -= 1
            self.size -= len(body)

    @property
    def is_over(self) -> bool:
        return self.entries <= 0 or self.size <= 0


def _deferred_and_cursors(
    connection: Connection,
) -> tuple[list[tuple[str, bytes]], list[tuple[int, int]]]:
    cursors = [
        (view.partition, view.cursor) for view in list_partitions(connection) if not view.is_closed
    ]
    return deferred_bodies(connection, ENTRIES_MAX), cursors


def _summed(
    bodies: list[tuple[str, bytes]], balance_id: str, now_micros: int, *, complete: bool
) -> Queued:
    debit = credit = 0
    for request_id, body in bodies:
        decoded = decode(body, request_id, now_micros // 1000)
        if isinstance(decoded, Rejected):
            continue
        wanted = decoded.instruction
        if isinstance(wanted, Transaction | MultiLeg):
            later = wanted.whole.scheduled_micros
            if later is not None and later > now_micros:
                continue
        for _, moved in movements(wanted):
            if moved.source_id == balance_id:
                debit += moved.precise_amount
            elif moved.destination_id == balance_id:
                credit += moved.precise_amount
    return Queued(debit, credit, complete)
