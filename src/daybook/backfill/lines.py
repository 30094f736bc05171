"""What a file says: its lines as requests, and those that are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID, uuid5

from daybook.backfill.rows import Row
from daybook.ledger.rejection import Reason
from daybook.requests import BulkRequest, Request, TransactionRequest

_LEDGERS = UUID("c5e2a0a4-3a54-5b39-8d4e-0f7be1a1f3d1")
_BALANCES = UUID("7d0b9f0e-8a0c-5b5c-9d55-6f0f4f2b6c42")
_CACHED_BALANCE_IDS = 65_536

REJECTED = ("rejected_line", "rejected_code", "rejected_reason", "rejected_reference")
"""Columns of a rejects file, or members of its objects, before those of the file."""


def ledger_id_of(name: str) -> str:
    """The id of the ledger that a mapping creates by this name: the same in every run."""
    return f"ldg_{uuid5(_LEDGERS, name)}"


@lru_cache(maxsize=_CACHED_BALANCE_IDS)
def balance_id_of(ledger_id: str, key: str) -> str:
    """The id of the application balance with this key: the same in every run and every file."""
    name = f"{ledger_id}\x00{key}"
    return f"bln_{uuid5(_BALANCES, name)}"


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is a request.

    rows: where it stands; several of a group. keys: of the application balances that it names, by
    their ids. own_id: that this run made for it, if it did: it tells an answer to this run's
    request from that to an earlier run's.
    """

    rows: tuple[Row, ...]
    request: Request
    keys: dict[str, str] = field(default_factory=dict)
    own_id: str | None = None

    @property
    def number(self) -> int:
        """Of its first row."""
        return self.rows[0].number

    @property
    def characters(self) -> int:
        """How long its rows are."""
        return sum(row.characters for row in self.rows)

    @property
    def reference(self) -> str | None:
        """The key of idempotency; None of a creation."""
        return getattr(self.request, "reference", None)

    @property
    def currencies(self) -> dict[str | None, str]:
        """In which it moves money first, by balance."""
        request = self.request
        items = request.transactions if isinstance(request, BulkRequest) else (request,)
        return {
            balance: item.currency
            for item in reversed(items)
            if isinstance(item, TransactionRequest)
            for balance in (item.source, item.destination)
        }

    @property
    def references(self) -> tuple[str, ...]:
        """Its own and those of the transactions in it: each names one thing in a file."""
        own = () if self.reference is None else (self.reference,)
        if isinstance(self.request, BulkRequest):
            return own + tuple(item.reference for item in self.request.transactions)
        return own


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that moves nothing. code: the stable rejection code; reason: one sentence.

    other: of a row of a group, the reference of the group or of the row, if ``reference`` is the
    other one.
    """

    row: Row
    code: str
    reason: str
    reference: str | None
    other: str | None = None

    @property
    def number(self) -> int:
        """Of its row."""
        return self.row.number

    @property
    def references(self) -> tuple[str, ...]:
        """What the line needs once it is corrected."""
        return tuple(named for named in (self.reference, self.other) if named is not None)


def is_unchanged(row: Row, reference: str | None) -> bool:
    """Whether it is a row of a rejects file whose reference was to be changed, and was not.

    Sent again as it is, it would be taken for the other line with this reference.
    """
    said = [row.columns.get(name) for name in ("rejected_code", "rejected_reference")]
    return reference is not None and said == [Reason.REFERENCE_CONFLICT, reference]


def rejects_of(
    rows: Iterable[Row], code: str, reason: str, reference: str | None
) -> Iterator[Reject]:
    """A reject for each row of a request."""
    return (Reject(row, code, reason, reference) for row in rows)
