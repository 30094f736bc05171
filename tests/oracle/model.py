"""An independent, slow model of the ledger: plain requests in order, expected outcomes out.

It shares no code with the engine. A decision lists *every* rule that a request breaks and takes
the first in the order of precedence; amounts are fractions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Request = Mapping[str, Any]
"""A request as a producer writes it, with its ``kind``."""

BalanceKey = str | tuple[str, str]
"""The id of an application balance, or (indicator, currency) of an internal one."""

ORDER = [
    "malformed",
    "unsupported_version",
    "invalid_amount",
    "invalid_precision",
    "invalid_distribution",
    "same_balance",
    "reference_conflict",
    "unknown_ledger",
    "unknown_identity",
    "unknown_balance",
    "currency_mismatch",
    "precision_mismatch",
    "unknown_transaction",
    "not_inflight",
    "already_committed",
    "already_voided",
    "commit_exceeds_hold",
    "not_refundable",
    "already_refunded",
    "insufficient_funds",
    "overdraft_limit_exceeded",
    "bulk_aborted",
    "figure_overflow",
]
"""Section 11 of the semantics."""

GENERAL_LEDGER = "general_ledger_id"
FIGURE_LIMIT = 10**100
"""The first figure that is too long to keep."""

AT_THE_DOOR = {"malformed", "invalid_amount", "invalid_precision", "same_balance"}
"""Codes that a request is refused with before it is accepted, where it shows them by itself."""


@dataclass
class Figures:
    """One balance: minor units, and how many transactions touched it."""

    currency: str
    precision: int | None = None
    credit: int = 0
    debit: int = 0
    inflight_credit: int = 0
    inflight_debit: int = 0
    version: int = 0

    @property
    def available(self) -> int:
        return self.credit - self.debit - self.inflight_debit

    def shown(self) -> tuple[int, int, int, int, int]:
        """The four figures and the version."""
        return (
            self.credit,
            self.debit,
            self.inflight_credit,
            self.inflight_debit,
            self.version,
        )


@dataclass
class Held:
    """One hold, in minor units."""

    source: BalanceKey
    destination: BalanceKey
    precision: int
    amount: int
    committed: int = 0
    voided: int = 0

    @property
    def open(self) -> int:
        return self.amount - self.committed - self.voided


@dataclass(frozen=True)
class Expected:
    """What should become of a request. ``original``: the id that the outcome belongs to."""

    status: str
    reason: str | None = None
    original: str | None = None
    duplicate: bool = False


@dataclass
class Known:
    """What a reference or an id stands for."""

    transaction_id: str
    status: str
    reason: str | None
    meaning: Any


@dataclass
class Model:
    """The whole ledger, one request at a time."""

    mixed_precision: bool = False
    ledgers: dict[str, Any] = field(default_factory=lambda: {GENERAL_LEDGER: None})
    balances: dict[BalanceKey, Figures] = field(default_factory=dict)
    created: dict[BalanceKey, Any] = field(default_factory=dict)
    holds: dict[str, Held] = field(default_factory=dict)
    references: dict[str, Known] = field(default_factory=dict)
    ids: dict[str, Known] = field(default_factory=dict)

    def take(self, request: Request, request_id: str) -> Expected:
        """The outcome of ``request``, which was accepted under ``request_id``."""
        rule = {
            "transaction": self._transaction,
            "commit": self._commit,
            "void": self._void,
            "ledger": self._ledger,
            "balance": self._balance,
        }[request["kind"]]
        return rule(request, request_id)

    # creations

    def _ledger(self, request: Request, request_id: str) -> Expected:
        if request_id in self.ledgers:
            return _same(self.ledgers[request_id] == _meaning(request), request_id)
        self.ledgers[request_id] = _meaning(request)
        return Expected("APPLIED", original=request_id)

    def _balance(self, request: Request, request_id: str) -> Expected:
        indicator = request.get("indicator")
        key = (indicator, request["currency"]) if indicator else request_id
        if key in self.balances:
            content = self.created.get(key)
            same = content == _meaning(request)
            if content is None:
                same = not request.get("meta_data")
            return _same(same, request_id)
        if request["ledger_id"] not in self.ledgers:
            return Expected("REJECTED", "unknown_ledger", request_id)
        self.balances[key] = Figures(request["currency"])
        self.created[key] = _meaning(request)
        return Expected("APPLIED", original=request_id)

    # money

    def _transaction(self, request: Request, request_id: str) -> Expected:
        amount, precision = minor_amount(request), request.get("precision", 1)
        broken = broken_at_the_door(request)
        if broken:
            return Expected("REJECTED", first(broken), request_id)
        again = self._again(request, request_id)
        if again is not None:
            return again
        assert amount is not None
        source, destination = _key(request, "source"), _key(request, "destination")
        broken |= self._wrong_sides(request, source, destination)
        if "unknown_balance" not in broken:
            broken |= self._wrong_funds(request, source, destination, amount)
        if broken:
            return self._recorded(request, request_id, "REJECTED", first(broken))
        for key in (source, destination):
            balance = self.balances.setdefault(key, Figures(request["currency"]))
            balance.precision = balance.precision or precision
            balance.version += 1
        if request.get("inflight"):
            self.balances[source].inflight_debit += amount
            self.balances[destination].inflight_credit += amount
            self.holds[request_id] = Held(source, destination, precision, amount)
            return self._recorded(request, request_id, "INFLIGHT")
        self.balances[source].debit += amount
        self.balances[destination].credit += amount
        return self._recorded(request, request_id, "APPLIED")

    def _wrong_sides(self, request: Request, *sides: BalanceKey) -> set[str]:
        broken = set()
        for key in sides:
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

    def _wrong_funds(
        self, request: Request, source: BalanceKey, destination: BalanceKey, amount: int
    ) -> set[str]:
        empty = Figures(request["currency"])
        giver, taker = self.balances.get(source, empty), self.balances.get(destination, empty)
        broken = set()
        if giver.debit + giver.inflight_debit + amount >= FIGURE_LIMIT:
            broken.add("figure_overflow")
        if taker.credit + taker.inflight_credit + amount >= FIGURE_LIMIT:
            broken.add("figure_overflow")
        limit = Fraction(str(request.get("overdraft_limit", 0)))
        if request.get("allow_overdraft") and limit == 0:
            return broken
        if giver.available >= amount:
            return broken
        if limit == 0:
            broken.add("insufficient_funds")
        elif giver.available - amount < -half_up(limit * request.get("precision", 1)):
            broken.add("overdraft_limit_exceeded")
        return broken

    # holds

    def _commit(self, request: Request, request_id: str) -> Expected:
        again = self._again(request, request_id)
        if again is not None:
            return again
        hold = self.holds.get(request["transaction_id"])
        if hold is None:
            return self._recorded(request, request_id, "REJECTED", self._no_hold(request))
        amount = hold.open
        if request.get("precise_amount") is not None:
            amount = int(request["precise_amount"])
        elif request.get("amount") is not None:
            amount = half_up(Fraction(str(request["amount"])) * hold.precision)
        broken = self._closed(hold)
        if amount == 0 and request.get("amount") is not None:
            broken.add("invalid_amount")
        if amount > hold.open:
            broken.add("commit_exceeds_hold")
        if broken:
            return self._recorded(request, request_id, "REJECTED", first(broken))
        hold.committed += amount
        self._release(hold, amount)
        self.balances[hold.source].debit += amount
        self.balances[hold.destination].credit += amount
        return self._recorded(request, request_id, "APPLIED")

    def _void(self, request: Request, request_id: str) -> Expected:
        again = self._again(request, request_id)
        if again is not None:
            return again
        hold = self.holds.get(request["transaction_id"])
        if hold is None:
            return self._recorded(request, request_id, "REJECTED", self._no_hold(request))
        if broken := self._closed(hold):
            return self._recorded(request, request_id, "REJECTED", first(broken))
        self._release(hold, hold.open)
        hold.voided = hold.amount - hold.committed
        return self._recorded(request, request_id, "VOID")

    def _release(self, hold: Held, amount: int) -> None:
        self.balances[hold.source].inflight_debit -= amount
        self.balances[hold.destination].inflight_credit -= amount
        self.balances[hold.source].version += 1
        self.balances[hold.destination].version += 1

    def _no_hold(self, request: Request) -> str:
        known = request["transaction_id"] in self.ids
        return "not_inflight" if known else "unknown_transaction"

    def _closed(self, hold: Held) -> set[str]:
        if hold.open:
            return set()
        return {"already_voided"} if hold.voided else {"already_committed"}

    # references

    def _again(self, request: Request, request_id: str) -> Expected | None:
        known = self.references.get(request.get("reference") or "") or self.ids.get(request_id)
        if known is None:
            return None
        if known.meaning != _meaning(request):
            return Expected("REJECTED", "reference_conflict", request_id)
        return Expected(known.status, known.reason, known.transaction_id, duplicate=True)

    def _recorded(
        self, request: Request, request_id: str, status: str, reason: str | None = None
    ) -> Expected:
        known = Known(request_id, status, reason, _meaning(request))
        self.ids[request_id] = known
        if request.get("reference") is not None:
            self.references[request["reference"]] = known
        return Expected(status, reason, request_id)


def first(broken: set[str]) -> str:
    """The code that is reported of several broken rules."""
    return min(broken, key=ORDER.index)


def half_up(value: Fraction) -> int:
    """The nearest integer, halves upwards."""
    return (value + Fraction(1, 2)).__floor__()


def minor_amount(request: Request) -> int | None:
    """The amount of a transaction in minor units, or None when it is not given once."""
    amount, precise = request.get("amount"), request.get("precise_amount")
    if (amount is None) == (precise is None):
        return None
    if precise is not None:
        return int(precise)
    return half_up(Fraction(str(amount)) * request.get("precision", 1))


def broken_at_the_door(request: Request) -> set[str]:
    """Rules that a well-typed transaction breaks by itself."""
    broken = set()
    given = [
        request[name] for name in ("amount", "precise_amount") if request.get(name) is not None
    ]
    if len(given) != 1 or Fraction(str(given[0])) <= 0:
        broken.add("invalid_amount")
    elif not 1 <= request.get("precision", 1) <= 10**30:
        broken.add("invalid_precision")
    elif not 0 < (minor_amount(request) or 0) < FIGURE_LIMIT:
        broken.add("invalid_amount")
    if request["source"] == request["destination"]:
        broken.add("same_balance")
    return broken


def _key(request: Request, side: str) -> BalanceKey:
    name = request[side]
    return (name, request["currency"]) if name.startswith("@") else name


def _same(same: bool, request_id: str) -> Expected:
    if same:
        return Expected("APPLIED", None, request_id, duplicate=True)
    return Expected("REJECTED", "reference_conflict", request_id)


_NOTHING = {
    "description": "",
    "allow_overdraft": False,
    "overdraft_limit": 0,
    "inflight": False,
    "meta_data": {},
}
"""Values that say the same as leaving the field out."""


def _meaning(request: Request) -> dict[str, Any]:
    """What a request says, whatever way it is written; requests that mean the same are equal."""
    meaning = {
        name: value
        for name, value in request.items()
        if value is not None and name != "balance_id" and _NOTHING.get(name, ...) != value
    }
    if request["kind"] == "transaction":
        meaning.pop("amount", None)
        meaning.pop("transaction_id", None)
        meaning["precise_amount"] = minor_amount(request)
        meaning["precision"] = request.get("precision", 1)
        if "overdraft_limit" in meaning:
            meaning["overdraft_limit"] = Fraction(str(meaning["overdraft_limit"]))
    elif "amount" in meaning:
        meaning["amount"] = Fraction(str(meaning["amount"]))
    return meaning
