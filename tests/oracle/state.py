"""What all parts of the model share: the ledger as it stands, its rows and its references.

Written from the semantics alone; shares no code with the engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.oracle.amounts import meaning_of, micros
from tests.oracle.facts import (
    FIGURE_LIMIT,
    GENERAL_LEDGER,
    BalanceKey,
    Expected,
    Figures,
    Held,
    Known,
    Request,
    Row,
    Thing,
)
from tests.oracle.ids import part_id


@dataclass
class State:
    """The whole ledger, one request at a time.

    now: when the present request was accepted, in microseconds since the epoch.
    rows: the journal. things: ledgers, balances and identities by id. merged: what was merged
    onto transactions later. refunded: ids of what has been reversed. created: balances that
    were asked for, not made on first use.
    """

    now: int = 0
    rows: list[Row] = field(default_factory=list)
    balances: dict[BalanceKey, Figures] = field(default_factory=dict)
    things: dict[str, Thing] = field(default_factory=lambda: {GENERAL_LEDGER: Thing(None)})
    holds: dict[str, Held] = field(default_factory=dict)
    schedules: dict[str, Request] = field(default_factory=dict)
    references: dict[str, Known] = field(default_factory=dict)
    ids: dict[str, Known] = field(default_factory=dict)
    merged: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunded: set[str] = field(default_factory=set)
    created: set[BalanceKey] = field(default_factory=set)

    def row(self, transaction_id: str) -> Row | None:
        """The row with this id."""
        return next((row for row in self.rows if row.transaction_id == transaction_id), None)

    def _members(self, transaction_id: str) -> list[Row] | None:
        """The rows that carry a request out: its own, or those of its parts. None: unknown."""
        if transaction_id in self.schedules:
            return []
        row = self.row(transaction_id)
        if row is None:
            return None
        if row.parts is None:
            return [row]
        parts = [self._members(part_id(transaction_id, n + 1)) for n in range(row.parts)]
        return [member for part in parts for member in part or ()]

    def _again(self, request: Request, request_id: str) -> Expected | None:
        known = self.references.get(request.get("reference") or "") or self.ids.get(request_id)
        if known is None:
            return None
        if known.meaning != meaning_of(request):
            return Expected("REJECTED", "reference_conflict", request_id)
        return Expected(known.status, known.reason, known.transaction_id, duplicate=True)

    def _known(
        self, request: Request, request_id: str, status: str, reason: str | None = None
    ) -> Expected:
        """The outcome, kept under the id and the reference."""
        known = Known(request_id, status, reason, meaning_of(request))
        self.ids[request_id] = known
        if request.get("reference") is not None:
            self.references[request["reference"]] = known
        return Expected(status, reason, request_id)

    def _recorded(
        self, request: Request, request_id: str, status: str, reason: str | None = None
    ) -> Expected:
        """The outcome of an action, kept, with its row."""
        parent = request.get("transaction_id")
        row = Row(request_id, request["kind"], status, reason, parent)
        row.reference, row.meta_data = (
            request.get("reference"),
            dict(request.get("meta_data") or {}),
        )
        self._write(row, request)
        return self._known(request, request_id, status, reason)

    def _write(self, row: Row, request: Request) -> None:
        """Append a row, with what the request says of it: its words, and when it counts."""
        own = micros(request.get("effective_date"))
        row.effective = self.now if own is None else own
        row.description = request.get("description") or ""
        self.rows.append(row)

    def _too_long(self, given: dict[BalanceKey, int], taken: dict[BalanceKey, int]) -> set[str]:
        """Whether any figure would grow beyond what the ledger keeps."""
        nothing = Figures("")
        for source, amount in given.items():
            giver = self.balances.get(source, nothing)
            if giver.debit + giver.inflight_debit + amount >= FIGURE_LIMIT:
                return {"figure_overflow"}
        for destination, amount in taken.items():
            taker = self.balances.get(destination, nothing)
            if taker.credit + taker.inflight_credit + amount >= FIGURE_LIMIT:
                return {"figure_overflow"}
        return set()
