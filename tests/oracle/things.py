"""The model's ledgers, balances and identities, and what changes about them.

Written from the semantics alone; shares no code with the engine.
"""

from __future__ import annotations

from typing import Any

from tests.oracle.amounts import first, meaning_of
from tests.oracle.facts import BalanceKey, Expected, Figures, Request, Row, Thing
from tests.oracle.ids import internal_balance_id
from tests.oracle.state import State


class Things(State):
    """What exists beside money."""

    def _ledger(self, request: Request, request_id: str) -> Expected:
        if request_id in self.things:
            return self._created_again(request, request_id)
        return self._created(request, request_id, {"name": request["name"]})

    def _identity(self, request: Request, request_id: str) -> Expected:
        if request_id in self.things:
            return self._created_again(request, request_id)
        said = {"kind", "identity_id", "meta_data"}
        fields = {k: v for k, v in request.items() if k not in said and v is not None}
        return self._created(request, request_id, fields)

    def _balance(self, request: Request, request_id: str) -> Expected:
        indicator, owner = request.get("indicator"), request.get("identity_id")
        key = (indicator, request["currency"]) if indicator else request_id
        if key in self.created:
            return self._created_again(request, request_id)
        if key in self.balances:  # made by a transaction: to ask for no more than that is fine
            if request.get("meta_data") or owner:
                return Expected("REJECTED", "reference_conflict", request_id)
            return Expected("APPLIED", None, request_id, duplicate=True)
        broken = set()
        if request["ledger_id"] not in self.things:
            broken.add("unknown_ledger")
        if owner is not None and owner not in self.things:
            broken.add("unknown_identity")
        if broken:
            return Expected("REJECTED", first(broken), request_id)
        self.balances[key] = Figures(request["currency"])
        self.created.add(key)
        return self._created(request, request_id, {"identity_id": owner} if owner else {})

    def _created(self, request: Request, request_id: str, fields: dict[str, Any]) -> Expected:
        meta_data = dict(request.get("meta_data") or {})
        self.things[request_id] = Thing(meaning_of(request), fields, meta_data)
        self._write(Row(request_id, request["kind"], "APPLIED"), request)
        return Expected("APPLIED", None, request_id)

    def _created_again(self, request: Request, request_id: str) -> Expected:
        if self.things[request_id].meaning == meaning_of(request):
            return Expected("APPLIED", None, request_id, duplicate=True)
        return Expected("REJECTED", "reference_conflict", request_id)

    def _change(self, request: Request, request_id: str) -> Expected:
        again = self._again(request, request_id)
        if again is not None:
            return again
        subject, fields = request["subject_id"], request.get("fields") or {}
        broken = set()
        if not self._exists(subject):
            kind = {"ldg": "ledger", "gen": "ledger", "bln": "balance", "idt": "identity"}
            broken.add(f"unknown_{kind.get(subject[:3], 'transaction')}")
        if "identity_id" in fields and fields["identity_id"] not in self.things:
            broken.add("unknown_identity")
        if broken:
            return self._recorded(request, request_id, "REJECTED", first(broken))
        new = request.get("meta_data") or {}
        if subject.startswith(("txn_", "bulk_")):
            if new:
                self.merged[subject] = {**self.merged.get(subject, {}), **new}
        else:
            thing = self.things.setdefault(subject, Thing(None))
            thing.fields |= fields
            thing.meta_data |= new
        return self._recorded(request, request_id, "APPLIED")

    def _exists(self, subject: str) -> bool:
        if subject.startswith(("txn_", "bulk_")):
            return self._members(subject) is not None
        return subject in self.things or any(self.is_internal(k, subject) for k in self.balances)

    @staticmethod
    def is_internal(key: BalanceKey, balance_id: str) -> bool:
        """Whether the internal balance ``key`` has this id."""
        return isinstance(key, tuple) and internal_balance_id(*key) == balance_id
