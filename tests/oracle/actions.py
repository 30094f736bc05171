"""What the model does to what was recorded before: commits, voids, refunds, cancels, deadlines.

Written from the semantics alone; shares no code with the engine.
"""

from __future__ import annotations

from fractions import Fraction

from tests.oracle.amounts import first, micros, whole
from tests.oracle.facts import BalanceKey, Expected, Held, Known, Request, Row
from tests.oracle.ids import part_id
from tests.oracle.state import State

_BY_ITSELF = {
    "commit": "the commit date of the hold has come",
    "void": "the hold has expired",
}
"""What a row says that nobody asked for. It counts from when the hold was found to be due."""


class Actions(State):
    """What is done to transactions."""

    def _commit(self, request: Request, request_id: str) -> Expected:
        return self._act(request, request_id)

    def _void(self, request: Request, request_id: str) -> Expected:
        return self._act(request, request_id)

    def _act(self, request: Request, request_id: str) -> Expected:
        """A commit or a void, of a hold or of all the holds of a request."""
        again = self._again(request, request_id)
        if again is not None:
            return again
        named = request["transaction_id"]
        members = self._members(named)
        ids = [row.transaction_id for row in members or () if row.transaction_id in self.holds]
        self._apply_dates(ids)
        amount = self._asked(request, ids)
        broken = self._cannot_act(request, members, ids, amount)
        if broken:
            return self._recorded(request, request_id, "REJECTED", first(broken))
        status = "APPLIED" if request["kind"] == "commit" else "VOID"
        if ids == [named]:
            self._close(ids[0], request["kind"], amount)
            self._recorded(request, request_id, status)
            self._show(self.rows[-1], self.holds[named], amount)
            return Expected(status, None, request_id)
        ids = [hold_id for hold_id in ids if self.holds[hold_id].open]
        outcome = self._recorded(request, request_id, status)
        self.rows[-1].parts = len(ids)
        for number, hold_id in enumerate(ids, 1):
            amount = self.holds[hold_id].open
            self._close(hold_id, request["kind"], amount)
            row = Row(part_id(request_id, number), request["kind"], status, None, hold_id)
            row.part, row.meta_data = number, dict(request.get("meta_data") or {})
            self._show(row, self.holds[hold_id], amount)
            self._write(row, request)
        return outcome

    def _asked(self, request: Request, ids: list[str]) -> int:
        if request.get("precise_amount") is not None:
            return int(request["precise_amount"])
        if request.get("amount") is not None and ids:
            precision = self.holds[ids[0]].precision
            return whole(Fraction(str(request["amount"])) * precision, request) or 0
        return sum(self.holds[hold_id].open for hold_id in ids)

    def _cannot_act(
        self, request: Request, members: list[Row] | None, ids: list[str], amount: int
    ) -> set[str]:
        if members is None:
            return {"unknown_transaction"}
        if not ids:
            return {"not_inflight"}
        broken = set()
        in_part = request.get("amount") is not None or request.get("precise_amount") is not None
        if in_part and (amount == 0 or ids != [request["transaction_id"]]):
            broken.add("invalid_amount")
        holds = [self.holds[hold_id] for hold_id in ids]
        if not any(hold.open for hold in holds):
            voided = any(hold.voided for hold in holds)
            broken.add("already_voided" if voided else "already_committed")
        if amount > sum(hold.open for hold in holds):
            broken.add("commit_exceeds_hold")
        return broken

    def _close(self, hold_id: str, kind: str, amount: int) -> None:
        hold = self.holds[hold_id]
        source, destination = self.balances[hold.source], self.balances[hold.destination]
        source.inflight_debit -= amount
        destination.inflight_credit -= amount
        source.version += 1
        destination.version += 1
        if kind == "void":
            hold.voided += amount
            return
        hold.committed += amount
        source.debit += amount
        destination.credit += amount

    @staticmethod
    def _show(row: Row, hold: Held, amount: int) -> None:
        row.source, row.destination = hold.source, hold.destination
        row.amount, row.precision = amount, hold.precision

    def _deadline(self, request: Request, request_id: str) -> Expected:
        members = self._members(request["transaction_id"]) or []
        ids = [row.transaction_id for row in members if row.transaction_id in self.holds]
        ended = self._apply_dates(ids)
        if ended:
            return Expected(ended[0], None, request_id)
        return Expected("APPLIED", None, request["transaction_id"], duplicate=True)

    def _apply_dates(self, ids: list[str]) -> list[str]:
        """Holds whose date has come are ended before anything else is done to them."""
        ended = []
        for hold_id in ids:
            hold = self.holds[hold_id]
            kind = hold.due(self.now)
            if kind is None:
                continue
            amount = hold.open
            self._close(hold_id, kind, amount)
            status = "APPLIED" if kind == "commit" else "VOID"
            row = Row(part_id(hold_id, "deadline"), kind, status, None, hold_id)
            self._show(row, hold, amount)
            self._write(row, {"description": _BY_ITSELF[kind]})
            self.ids[row.transaction_id] = Known(row.transaction_id, status, None, None)
            ended.append(status)
        return ended

    def _refund(self, request: Request, request_id: str) -> Expected:
        again = self._again(request, request_id)
        if again is not None:
            return again
        named = request["transaction_id"]
        members = self._members(named)
        applied = [
            row
            for row in members or ()
            if row.moved and row.status == "APPLIED" and row.kind != "refund"
        ]
        left = [row for row in applied if row.transaction_id not in self.refunded]
        broken = set()
        if members is None:
            broken.add("unknown_transaction")
        elif not applied or any(row.status == "INFLIGHT" for row in members):
            broken.add("not_refundable")
        elif not left:
            broken.add("already_refunded")
        broken |= self._refund_too_long(left)
        if broken:
            return self._recorded(request, request_id, "REJECTED", first(broken))
        outcome = self._recorded(request, request_id, "APPLIED")
        root = self.rows[-1]
        if [row.transaction_id for row in members or ()] == [named]:
            self._reverse(root, left[0], request)
            return outcome
        root.parts = len(left)
        for number, original in enumerate(left, 1):
            row = Row(part_id(request_id, number), "refund", "APPLIED", part=number)
            row.parent = original.transaction_id
            self._write(row, request)
            self._reverse(row, original, request)
        return outcome

    def _refund_too_long(self, originals: list[Row]) -> set[str]:
        given: dict[BalanceKey, int] = {}
        taken: dict[BalanceKey, int] = {}
        for row in originals:
            assert row.source is not None
            assert row.destination is not None
            assert row.amount is not None
            given[row.destination] = given.get(row.destination, 0) + row.amount
            taken[row.source] = taken.get(row.source, 0) + row.amount
        return self._too_long(given, taken)

    def _reverse(self, row: Row, original: Row, request: Request) -> None:
        row.meta_data = {**original.meta_data, **(request.get("meta_data") or {})}
        row.source, row.destination = original.destination, original.source
        row.amount, row.precision = original.amount, original.precision
        assert row.source is not None
        assert row.destination is not None
        assert row.amount is not None
        self.balances[row.source].debit += row.amount
        self.balances[row.destination].credit += row.amount
        self.balances[row.source].version += 1
        self.balances[row.destination].version += 1
        self.refunded.add(original.transaction_id)

    def _cancel(self, request: Request, request_id: str) -> Expected:
        again = self._again(request, request_id)
        if again is not None:
            return again
        named = request["transaction_id"]
        if self._members(named) is None:
            return self._recorded(request, request_id, "REJECTED", "unknown_transaction")
        scheduled = self.schedules.get(named)
        if scheduled is None or (micros(scheduled["scheduled_for"]) or 0) <= self.now:
            return self._recorded(request, request_id, "REJECTED", "not_scheduled")
        del self.schedules[named]
        outcome = self._recorded(request, request_id, "APPLIED")
        row = Row(named, "transaction", "REJECTED", "cancelled", reference=scheduled["reference"])
        self._write(row, scheduled)
        self._known(scheduled, named, "REJECTED", "cancelled")
        return outcome
