"""The model's transactions: of one movement, of several legs, and many in a bulk.

Written from the semantics alone; shares no code with the engine.
"""

from __future__ import annotations

from copy import deepcopy
from fractions import Fraction

from tests.oracle.amounts import (
    Movement,
    broken_at_the_door,
    first,
    is_split,
    item_of,
    legs_of,
    meaning_of,
    micros,
)
from tests.oracle.facts import BalanceKey, Expected, Figures, Held, Known, Request, Row
from tests.oracle.ids import part_id
from tests.oracle.state import State


class Money(State):
    """What moves or holds money."""

    def _transaction(self, request: Request, request_id: str) -> Expected:
        broken = broken_at_the_door(request)
        if broken:
            return Expected("REJECTED", first(broken), request_id)
        if request_id in self.schedules:
            due = micros(self.schedules[request_id]["scheduled_for"])
            assert due is not None
            if due <= self.now and meaning_of(request) == meaning_of(self.schedules[request_id]):
                del self.schedules[request_id]
                return self._posted(request, request_id)
        again = self._again(request, request_id)
        if again is not None:
            return again
        if (micros(request.get("scheduled_for")) or 0) > self.now:
            self.schedules[request_id] = request
            own = part_id(request_id, "scheduled")
            self._write(Row(own, "schedule", "SCHEDULED", parent=request_id), request)
            return self._known(request, request_id, "SCHEDULED")
        return self._posted(request, request_id)

    def _posted(
        self, request: Request, request_id: str, parent: str | None = None, part: int | None = None
    ) -> Expected:
        """The movements of a transaction, all or none, and its row or rows."""
        legs = legs_of(request)
        assert legs is not None
        broken = self._wrong_sides(request, legs)
        if "unknown_balance" not in broken:
            broken |= self._wrong_funds(request, legs)
        row = Row(
            request_id, "transaction", "REJECTED", None, parent, reference=request["reference"]
        )
        row.part, row.meta_data = part, dict(request.get("meta_data") or {})
        row.parts = len(legs) if is_split(request) and not broken else None
        if broken:
            row.reason = first(broken)
            self._write(row, request)
            return self._known(request, request_id, "REJECTED", row.reason)
        row.status = "INFLIGHT" if request.get("inflight") else "APPLIED"
        self._write(row, request)
        if not is_split(request):
            self._move(request, row, legs[0])
        for number, leg in enumerate(legs, 1) if is_split(request) else ():
            derived = f"{request['reference']}_{number}"
            own = Row(part_id(request_id, number), "transaction", row.status, None, request_id)
            own.part, own.reference, own.meta_data = number, derived, dict(row.meta_data)
            self._write(own, request)
            self.ids[own.transaction_id] = Known(own.transaction_id, own.status, None, None)
            self._move(request, own, leg)
        return self._known(request, request_id, row.status)

    def _move(self, request: Request, row: Row, leg: Movement) -> None:
        row.source, row.destination, row.amount = leg
        row.precision = request["precision"]
        for key in (row.source, row.destination):
            balance = self.balances.setdefault(key, Figures(request["currency"]))
            balance.precision = balance.precision or row.precision
            balance.version += 1
        if row.status == "INFLIGHT":
            self.balances[row.source].inflight_debit += row.amount
            self.balances[row.destination].inflight_credit += row.amount
            self.holds[row.transaction_id] = Held(
                row.source,
                row.destination,
                request["precision"],
                row.amount,
                micros(request.get("inflight_expiry_date")),
                micros(request.get("inflight_commit_date")),
            )
        else:
            self.balances[row.source].debit += row.amount
            self.balances[row.destination].credit += row.amount

    def _wrong_sides(self, request: Request, legs: list[Movement]) -> set[str]:
        broken = set()
        for key in {key for leg in legs for key in leg[:2]}:
            balance = self.balances.get(key)
            if balance is None:
                if isinstance(key, str):
                    broken.add("unknown_balance")
                continue
            if balance.currency != request["currency"]:
                broken.add("currency_mismatch")
            if balance.precision not in (None, request["precision"]):
                broken.add("precision_mismatch")
        return broken

    def _wrong_funds(self, request: Request, legs: list[Movement]) -> set[str]:
        given: dict[BalanceKey, int] = {}
        taken: dict[BalanceKey, int] = {}
        for source, destination, amount in legs:
            given[source] = given.get(source, 0) + amount
            taken[destination] = taken.get(destination, 0) + amount
        broken = self._too_long(given, taken)
        limit = Fraction(str(request.get("overdraft_limit", 0)))
        if request.get("allow_overdraft") and limit == 0:
            return broken
        for source, amount in given.items():
            giver = self.balances.get(source, Figures(request["currency"]))
            if giver.available >= amount:
                continue
            if limit == 0:
                broken.add("insufficient_funds")
            elif giver.available - amount < -(limit * request["precision"]).__floor__():
                broken.add("overdraft_limit_exceeded")
        return broken

    # bulks

    def _bulk(self, request: Request, request_id: str) -> Expected:
        request = {"reference": _reference_by_content(request), **request}
        again = self._again(request, request_id)
        if again is not None:
            return again
        before = deepcopy(vars(self))
        items = [item_of(request, n) for n in range(len(request["transactions"]))]
        ids = [part_id(request_id, n + 1) for n in range(len(items))]
        root = Row(request_id, "bulk", "REJECTED", parts=len(items))
        self._write(root, request)
        outcomes = []
        for n, (item, item_id) in enumerate(zip(items, ids, strict=True)):
            outcomes.append(self._item(item, item_id, request_id, n + 1))
            if outcomes[n].reason and request.get("atomic"):
                vars(self).update(before)
                root.reason = outcomes[n].reason
                self.rows.append(root)
                self._abort(items, ids, n, root)
                break
        else:
            posted = {outcome.status for outcome in outcomes if outcome.reason is None}
            if posted:
                root.status = "INFLIGHT" if posted == {"INFLIGHT"} else "APPLIED"
            else:
                root.reason = outcomes[0].reason
        root.meta_data = dict(request.get("meta_data") or {})
        return self._known(request, request_id, root.status, root.reason)

    def _item(self, item: Request, item_id: str, bulk_id: str, part: int) -> Expected:
        if item["reference"] in self.references or item_id in self.ids:
            return Expected("REJECTED", "reference_conflict", item_id)
        outcome = self._posted(item, item_id, bulk_id, part)
        self._bury(item, item_id)
        return outcome

    def _bury(self, item: Request, item_id: str) -> None:
        """An item has the meaning of its bulk: alone, nobody can send it again."""
        self.references[item["reference"]].meaning = self.ids[item_id].meaning = item_id

    def _abort(self, items: list[Request], ids: list[str], failing: int, root: Row) -> None:
        """The rows of an atomic bulk that was refused for its item ``failing`` (from 0)."""
        for n, (item, item_id) in enumerate(zip(items, ids, strict=True)):
            if item["reference"] in self.references:
                continue
            reason = root.reason if n == failing else "bulk_aborted"
            row = Row(item_id, "transaction", "REJECTED", reason, root.transaction_id)
            row.part, row.reference = n + 1, item["reference"]
            self._write(row, item)
            self._known(item, item_id, "REJECTED", reason)
            self._bury(item, item_id)


def _reference_by_content(bulk: Request) -> str:
    """The name of a bulk without a reference: as what it asks for, so that it comes once."""
    meaning = meaning_of(bulk)
    said = ("transactions", "atomic", "description", "effective_date")
    return repr([meaning.get(name) for name in said])
