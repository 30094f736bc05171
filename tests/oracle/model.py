"""An independent, slow model of the ledger: plain requests in order, expected outcomes out.

It shares no code with the engine. A decision lists *every* rule that a request breaks and takes
the first in the order of precedence; amounts are fractions. What may fail half-way is tried on
the state itself, and the state is put back as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from daybook.ledger.balance import internal_balance_id
from daybook.ledger.transaction import part_id
from tests.oracle.amounts import (
    Movement,
    broken_at_the_door,
    first,
    half_up,
    is_split,
    item_of,
    legs_of,
    meaning_of,
    micros,
)
from tests.oracle.facts import (
    FIGURE_LIMIT,
    GENERAL_LEDGER,
    ORDER,
    BalanceKey,
    Expected,
    Figures,
    Held,
    Known,
    Request,
    Row,
    Thing,
)


@dataclass
class Model:
    """The whole ledger, one request at a time.

    now: when the present request was accepted, in microseconds since the epoch.
    rows: the journal. things: ledgers, balances and identities by id. merged: what was merged
    onto transactions later. refunded: ids of what has been reversed. created: balances that
    were asked for, not made on first use.
    """

    mixed_precision: bool = False
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

    def take(self, request: Request, request_id: str, now: int = 0) -> Expected:
        """The outcome of ``request``, accepted under ``request_id`` at ``now`` (microseconds)."""
        self.now = now
        rule: Callable[[Request, str], Expected] = getattr(self, f"_{request['kind']}")
        return rule(request, request_id)

    def row(self, transaction_id: str) -> Row | None:
        """The row with this id."""
        return next((row for row in self.rows if row.transaction_id == transaction_id), None)

    # what exists, and what is known of it

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
        if key in self.balances:  # made by a transaction: asking for no more than that is fine
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
        self.rows.append(Row(request_id, request["kind"], "APPLIED"))
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

    # money

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
            self.rows.append(
                Row(part_id(request_id, "scheduled"), "schedule", "SCHEDULED", parent=request_id)
            )
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
            self.rows.append(row)
            return self._known(request, request_id, "REJECTED", row.reason)
        row.status = "INFLIGHT" if request.get("inflight") else "APPLIED"
        self.rows.append(row)
        if not is_split(request):
            self._move(request, row, legs[0])
        for number, leg in enumerate(legs, 1) if is_split(request) else ():
            derived = f"{request['reference']}_{number}"
            own = Row(part_id(request_id, number), "transaction", row.status, None, request_id)
            own.part, own.reference, own.meta_data = number, derived, dict(row.meta_data)
            self.rows.append(own)
            self.ids[own.transaction_id] = Known(own.transaction_id, own.status, None, None)
            self._move(request, own, leg)
        return self._known(request, request_id, row.status)

    def _move(self, request: Request, row: Row, leg: Movement) -> None:
        row.source, row.destination, row.amount = leg
        row.precision = request.get("precision", 1)
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
                request.get("precision", 1),
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
            if balance.precision not in (None, request.get("precision", 1)):
                broken |= set() if self.mixed_precision else {"precision_mismatch"}
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
            elif giver.available - amount < -half_up(limit * request.get("precision", 1)):
                broken.add("overdraft_limit_exceeded")
        return broken

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
        self.rows.append(root)
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
            self.rows.append(row)
            self._known(item, item_id, "REJECTED", reason)
            self._bury(item, item_id)

    # what is done to what was recorded before

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
        ids = sorted(
            row.transaction_id for row in members or () if row.transaction_id in self.holds
        )
        self._settle(ids)
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
            self.rows.append(row)
        return outcome

    def _asked(self, request: Request, ids: list[str]) -> int:
        if request.get("precise_amount") is not None:
            return int(request["precise_amount"])
        if request.get("amount") is not None and ids:
            precision = self.holds[ids[0]].precision
            return half_up(Fraction(str(request["amount"])) * precision)
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
        ids = sorted(row.transaction_id for row in members if row.transaction_id in self.holds)
        settled = self._settle(ids)
        if settled:
            return Expected(settled[0], None, request_id)
        return Expected("APPLIED", None, request["transaction_id"], duplicate=True)

    def _settle(self, ids: list[str]) -> list[str]:
        """Holds whose date has come are settled before anything else is done to them."""
        settled = []
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
            self.rows.append(row)
            self.ids[row.transaction_id] = Known(row.transaction_id, status, None, None)
            settled.append(status)
        return settled

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
            self.rows.append(row)
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
        self.rows.append(row)
        self._known(scheduled, named, "REJECTED", "cancelled")
        return outcome

    # references

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
        self.rows.append(row)
        return self._known(request, request_id, status, reason)


def _reference_by_content(bulk: Request) -> str:
    """The name of a bulk without a reference: as what it asks for, so that it comes once."""
    meaning = meaning_of(bulk)
    return repr((meaning["transactions"], meaning.get("atomic")))


__all__ = ["ORDER", "Model", "half_up"]
