"""From a row of the file to a request of the log, by the rules of the mapping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, TypeVar
from uuid import UUID, uuid5

from daybook.backfill.mapping import DateRule, Mapping, SideRule, ValueRule, When
from daybook.backfill.rows import Row
from daybook.backfill.template import CellError, Columns, Template, cell, text_of
from daybook.errors import FieldError, MalformedRequest
from daybook.ledger.rejection import Reason
from daybook.requests import (
    BalanceRequest,
    LedgerRequest,
    Request,
    TransactionRequest,
    check_json_amount,
    mint_id,
    validate,
)
from daybook.requests.bounds import FUTURE_MAX
from daybook.requests.models import malformed

_LEDGERS = UUID("c5e2a0a4-3a54-5b39-8d4e-0f7be1a1f3d1")
_BALANCES = UUID("7d0b9f0e-8a0c-5b5c-9d55-6f0f4f2b6c42")
_CACHED_BALANCE_IDS = 65_536

KEY_LENGTH_MAX = 1_000
"""Characters of a balance's key: in any script it fits into meta_data, as external_id."""

RuleT = TypeVar("RuleT", SideRule, ValueRule)

_NAMING = frozenset({"reference", "currency", "ordering_key"})
"""Text fields in which an empty column is refused: they would name something else without it."""
_TEXTS = _NAMING | {"description"}
_FLAGS = frozenset({"allow_overdraft", "inflight"})
_FLAG_TEXTS = {"true": True, "false": False}


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

    keys: of the application balances that it names, by their ids. own_id: that this run made for
    it, if it did: it tells an answer to this run's request from that to an earlier run's.
    characters: of a JSON line.
    """

    number: int
    request: Request
    keys: dict[str, str] = field(default_factory=dict)
    own_id: str | None = None
    characters: int = 0

    @property
    def reference(self) -> str | None:
        """The key of idempotency; None of a creation."""
        return getattr(self.request, "reference", None)


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that moves nothing. code: the stable rejection code; reason: one sentence."""

    number: int
    code: str
    reason: str
    reference: str | None


class LineBuilder:
    """Applies a mapping to rows. now: the present moment, to refuse dates in the future."""

    def __init__(
        self, mapping: Mapping, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._mapping = mapping
        self._now = now
        table = mapping.transaction
        self._fields = [
            (name, rules)
            for name in ("reference", "currency", "amount", "precise_amount", "precision",
                         "rounding", "description", "allow_overdraft", "overdraft_limit",
                         "inflight", "ordering_key")
            if (rules := getattr(table, name)) is not None
        ]  # fmt: skip
        self.ledger_id = ""
        if mapping.ledger is not None:
            self.ledger_id = mapping.ledger.id or ledger_id_of(mapping.ledger.name or "")

    def ledger_request(self) -> LedgerRequest | None:
        """The ledger that the mapping creates, if it does."""
        if self._mapping.ledger is None or self._mapping.ledger.name is None:
            return None
        return LedgerRequest(name=self._mapping.ledger.name, ledger_id=self.ledger_id)

    def balance_request(self, balance_id: str, key: str, currency: str) -> BalanceRequest:
        """The application balance with this key."""
        return BalanceRequest(
            ledger_id=self.ledger_id,
            currency=currency,
            balance_id=balance_id,
            meta_data={"external_id": key},
        )

    def build(self, row: Row) -> Line | Reject:
        """The request of a row, its transaction id minted, or everything that is wrong with it."""
        if row.fault is not None:
            return Reject(row.number, Reason.MALFORMED, row.fault, None)
        given: dict[str, Any] = {}
        keys: dict[str, str] = {}
        errors = self._fill(row.columns, given, keys)
        try:
            request = self._checked(given, errors)
        except MalformedRequest as fault:
            reference = given.get("reference")
            return Reject(row.number, fault.code, str(fault), reference)
        own_id = mint_id("txn", request.slot)
        named = request.model_copy(update={"transaction_id": own_id})
        return Line(row.number, named, keys, own_id, row.characters)

    def _fill(self, row: Columns, given: dict[str, Any], keys: dict[str, str]) -> list[FieldError]:
        """Put every field of the row into ``given``; what cannot be read comes back."""
        errors: list[FieldError] = []
        for name, rules in self._fields:
            _read(errors, given, name, partial(_value, name, rules, row))
        table = self._mapping.transaction
        for name, side in (("source", table.source), ("destination", table.destination)):
            _read(errors, given, name, partial(self._balance, side, row, keys))
        for name, rule in table.dates():
            _read(errors, given, name, partial(self._moment, row, name, rule))
        if table.meta_data:
            meta_data: dict[str, Any] = {}
            for name, rules in table.meta_data.items():
                _read(errors, meta_data, name, partial(_value, "meta_data", rules, row))
            given["meta_data"] = meta_data
        return errors

    def _checked(self, given: dict[str, Any], errors: list[FieldError]) -> TransactionRequest:
        """Raises MalformedRequest with the errors and those of the request together."""
        named = {error.field for error in errors}
        try:
            check_json_amount(given)
            request = validate(TransactionRequest, given)
        except MalformedRequest as fault:
            errors += [error for error in fault.errors if error.field not in named]
        if errors:
            raise malformed(errors)
        return request

    def _balance(self, rules: list[SideRule], row: Columns, keys: dict[str, str]) -> str:
        rule = _first(rules, row)
        if rule is not None and rule.party is not None:
            rule = _first(self._mapping.parties[rule.party], row)
        if rule is None:
            raise CellError("no rule of the mapping fits this line; add one without `when`")
        if rule.balance is None:
            named = rule.indicator or rule.id
            assert named is not None
            return named.render(row, strict=True)
        key = _checked_key(rule.balance.render(row, strict=True), rule.balance)
        balance_id = balance_id_of(self.ledger_id, key)
        keys[balance_id] = key
        return balance_id

    def _moment(self, row: Columns, name: str, rule: DateRule) -> datetime | None:
        text = text_of(cell(row, rule.column), rule.column)
        if rule.optional and not text.strip():
            return None
        try:
            moment = rule.read(text)
            in_future = name == "effective_date" and moment - self._now() > FUTURE_MAX
        except (ValueError, OverflowError):
            raise CellError(
                f"{text[:40]!r} in column {rule.column!r} is not a date in the format "
                f"{rule.format or 'ISO 8601'}"
            ) from None
        if in_future:
            raise CellError("lies more than a day in the future")
        return moment


def _read(
    errors: list[FieldError], into: dict[str, Any], name: str, read: Callable[[], Any]
) -> None:
    try:
        value = read()
    except CellError as fault:
        errors.append(FieldError(name, Reason.MALFORMED, str(fault)))
        return
    if value is not None:
        into[name] = value


def _first(rules: list[RuleT], row: Columns) -> RuleT | None:
    for rule in rules:
        if not rule.when or _meets(rule.when, row):
            return rule
    return None


def _meets(when: When, row: Columns) -> bool:
    return all(
        condition.holds(text_of(cell(row, column), column)) for column, condition in when.items()
    )


def _value(name: str, rules: list[ValueRule], row: Columns) -> Any:
    """The value of a field; None leaves the field out: no rule fits, or its column is empty."""
    rule = _first(rules, row)
    if rule is None:
        return None
    if not isinstance(rule.value, Template):
        return rule.value
    if name in _TEXTS:
        return rule.value.render(row, strict=name in _NAMING) or None
    value = rule.value.value(row)
    if name in _FLAGS and isinstance(value, str):
        value = _FLAG_TEXTS.get(value.lower(), value)
    return None if value == "" else value


def _checked_key(key: str, template: Template) -> str:
    """The key, if it can be an external_id; CellError otherwise."""
    named = f"the balance's key {template.text[:40]!r}"
    if len(key) > KEY_LENGTH_MAX:
        raise CellError(f"{named} is longer than {KEY_LENGTH_MAX} characters")
    if "\x00" in key:
        raise CellError(f"{named} contains a NUL character")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise CellError(f"{named} contains bytes that are no text in the encoding") from None
    return key
