"""From a row of the file to a request of the log, by the rules of the mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

from daybook.backfill.cells import Cells, normalised_columns, shown
from daybook.backfill.groups import (
    GROUP_CHARACTERS_MAX,
    GROUP_ROWS_MAX,
    GroupRow,
    Spoilt,
    UnbalancedError,
    grouped,
    items_of,
    spoilt_by,
    stand_in,
    together,
)
from daybook.backfill.lines import Line, Reject, balance_id_of, ledger_id_of, rejects_of
from daybook.backfill.mapping import GroupTable, Mapping
from daybook.backfill.ordering import GroupKey, OrderKey, begins_with_day, natural_key
from daybook.backfill.rows import OTHER_ENCODING, Row
from daybook.backfill.rules import DateRule, NoSuchTimeError, SideRule
from daybook.backfill.template import CellError, Columns, Template
from daybook.errors import FieldError, MalformedRequest
from daybook.ledger.rejection import Reason
from daybook.requests import (
    BalanceRequest,
    BulkRequest,
    LedgerRequest,
    TransactionRequest,
    check_json_amount,
    mint_bulk_id,
    mint_id,
    validate,
)
from daybook.requests.bounds import EPOCH, FUTURE_MAX
from daybook.requests.models import malformed

KEY_LENGTH_MAX = 1_000
"""Characters of a balance's key: in any script it fits into meta_data, as external_id."""

_AMOUNTS = ("amount", "precise_amount")
_MOVING = frozenset({*_AMOUNTS, "source", "destination"})
"""What moves money, and in which direction."""

_CODES: dict[str, Reason] = {
    "amount": Reason.INVALID_AMOUNT,
    "precise_amount": Reason.INVALID_AMOUNT,
    "precision": Reason.INVALID_PRECISION,
}
"""Of a cell that is no number; of any other, ``malformed``."""


class LineBuilder:
    """Applies a mapping to rows. now: the present moment, to refuse dates in the future.

    warn: is told, in a sentence, what may not be meant.
    """

    def __init__(
        self,
        mapping: Mapping,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._mapping = mapping
        self._now = now
        self._warn = warn
        self._has_warned = False
        self._number_columns = mapping.number_columns()
        self._hints = [OTHER_ENCODING]
        self.order_key: OrderKey | None = self._order_key if mapping.order_by else None
        self.group_key: GroupKey | None = self._group_key if mapping.group else None
        table = mapping.transaction
        self._fields = [
            (name, rules)
            for name in ("reference", "currency", "amount", "precise_amount", "precision",
                         "rounding", "description", "allow_overdraft", "overdraft_limit",
                         "inflight", "ordering_key")
            if (rules := getattr(table, name)) is not None
        ]  # fmt: skip
        self._placing = [("order_by", mapping.order_by)] if mapping.order_by else []
        if mapping.group is not None:
            self._placing += [("by", column) for column in mapping.group.by.columns]
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

    def lines(self, rows: Iterable[Row]) -> Iterator[Line | Reject]:
        """The requests of rows, or of groups of rows, in order."""
        if self._mapping.group is None:
            return map(self.build, rows)
        return self._groups(rows, self._mapping.group)

    def _groups(self, rows: Iterable[Row], group: GroupTable) -> Iterator[Line | Reject]:
        fix = together(group.by.columns[0], self._mapping.order_by)
        for members, beyond, stray in grouped(rows, self._group_key):
            first = next(beyond, None)
            if first is None:
                yield from self._group(members, group, spoilt_by(members, stray, fix))
                continue
            reason = (
                f"is in a group of more than {GROUP_ROWS_MAX} rows or {GROUP_CHARACTERS_MAX} "
                "characters: make several of it, each with a text of its own for by"
            )
            yield from rejects_of(chain(members, [first], beyond), Reason.MALFORMED, reason, None)

    def _group_key(self, row: Row) -> str | None:
        """The text of the row for ``by``; None when it can't tell, and is refused for it later."""
        assert self._mapping.group is not None
        by = self._mapping.group.by
        with suppress(CellError):
            return None if row.fault else by.render(self._columns(row), strict=True)
        return None

    def _group(
        self, rows: list[Row], group: GroupTable, spoilt: Spoilt | None
    ) -> Iterator[Line | Reject]:
        """One request of rows; if one of them can't be posted, none of them is."""
        keys: dict[str, str] = {}
        built = [self._group_row(row, keys) for row in rows]
        right = [one for one in built if isinstance(one, GroupRow)]
        wrong = [one for one in built if isinstance(one, Reject)]
        if wrong and (spoilt is None or spoilt.code == Reason.BULK_ABORTED):
            neighbour = f"line {wrong[0].number} of its group is refused"
            spoilt = Spoilt(Reason.BULK_ABORTED, neighbour)
        if spoilt is not None:
            for row, one in zip(rows, built, strict=True):
                reject = one
                if isinstance(reject, GroupRow):
                    own = reject.request.reference
                    reject = Reject(row, spoilt.code, spoilt.reason, own)
                yield replace(reject, other=self._group_reference(row, group))
            return
        reference = None
        try:
            reference = self._cells(rows[0]).named(group.reference)
            given = {"reference": reference, "atomic": True, "transactions": items_of(right)}
            request = validate(BulkRequest, given)
        except (UnbalancedError, CellError, MalformedRequest) as fault:
            code = fault.code if isinstance(fault, MalformedRequest) else Reason.MALFORMED
            reason = str(fault)
            if isinstance(fault, UnbalancedError):
                reason = f"{reason}{self._strange_group(rows[0], group)}"
            for one in right:
                yield Reject(one.row, code, reason, reference, one.request.reference)
            return
        own_id = mint_bulk_id(request.slot)
        named = request.model_copy(update={"bulk_id": own_id})
        yield Line(tuple(rows), named, keys, own_id)

    def _strange_group(self, row: Row, group: GroupTable) -> str:
        """What nobody sees in the text of a group, and keeps its rows from those they belong to."""
        try:
            self._cells(row).named(group.by)
        except CellError as fault:
            return f": by {fault}"
        return ""

    def _group_row(self, row: Row, keys: dict[str, str]) -> GroupRow | Reject:
        """What a row of a group says: it may name one side only."""
        if row.fault is not None:
            return Reject(row, Reason.MALFORMED, row.fault, None)
        given: dict[str, Any] = {}
        cells = self._cells(row)
        errors = self._fill(cells, given, keys)
        open_side = self._open_side(cells)
        if open_side is not None:
            errors = [error for error in errors if error.field != open_side]
            other = "destination" if open_side == "source" else "source"
            given[open_side] = stand_in(given.get(other))
        try:
            return GroupRow(row, self._checked(given, errors, cells), open_side)
        except MalformedRequest as fault:
            return Reject(row, fault.code, str(fault), given.get("reference"))

    def _group_reference(self, row: Row, group: GroupTable) -> str | None:
        with suppress(CellError):
            return self._cells(row).named(group.reference)
        return None

    def _open_side(self, cells: Cells) -> str | None:
        """The side that a row leaves open; None when it names both, or none."""
        table = self._mapping.transaction
        sides = {"source": table.source, "destination": table.destination}
        try:
            unnamed = [name for name, rules in sides.items() if cells.first(rules) is None]
        except CellError:
            return None  # said of the side itself
        return unnamed[0] if len(unnamed) == 1 else None

    def _order_key(self, row: Row) -> int | bytes | None:
        """What ``order_by`` orders a row by: the moment of a date, else the text, naturally.

        None: it can't tell, and is refused for it when it is built.
        """
        column = self._mapping.order_by
        assert column is not None
        if row.fault is not None:
            return None
        try:
            text = self._cells(row).filled(column)
        except CellError:
            return None
        rules = [rule for _, rule in self._mapping.transaction.dates() if rule.column == column]
        if not rules:
            self._doubt_order(text, column)
            return natural_key(text).encode(errors="surrogatepass")
        try:
            return (rules[0].read(text) - EPOCH) // timedelta(microseconds=1)
        except (ValueError, OverflowError):
            return None

    def _doubt_order(self, text: str, column: str) -> None:
        """Say it once, before anything is posted, when texts are dates that texts don't order."""
        if not self._has_warned and begins_with_day(text):
            self._has_warned = True
            self._warn(
                f"order_by = {column!r} orders by text, and {shown(text)} looks like a date that "
                "begins with its day or month: such texts are not in the order of time. Have the "
                f'mapping read it as a date: effective_date = {{ column = "{column}", '
                'format = "%d.%m.%Y" }'
            )

    def build(self, row: Row) -> Line | Reject:
        """The request of a row, its transaction id minted, or everything that is wrong with it."""
        if row.fault is not None:
            return Reject(row, Reason.MALFORMED, row.fault, None)
        given: dict[str, Any] = {}
        keys: dict[str, str] = {}
        cells = self._cells(row)
        errors = self._fill(cells, given, keys)
        try:
            request = self._checked(given, errors, cells)
        except MalformedRequest as fault:
            reference = given.get("reference")
            return Reject(row, fault.code, str(fault), reference)
        own_id = mint_id("txn", request.slot)
        named = request.model_copy(update={"transaction_id": own_id})
        return Line((row,), named, keys, own_id)

    def _columns(self, row: Row) -> Columns:
        return normalised_columns(row.columns) if self._mapping.normalise else row.columns

    def _cells(self, row: Row) -> Cells:
        form = self._mapping.csv.number_form
        return Cells(self._columns(row), form, self._number_columns, self._hints, row.line)

    def _fill(self, cells: Cells, given: dict[str, Any], keys: dict[str, str]) -> list[FieldError]:
        """Put every field of the row into ``given``; what cannot be read comes back."""
        errors: list[FieldError] = []
        for name, rules in self._fields:
            _read(errors, given, name, partial(cells.value, name, rules))
        for name, column in self._placing:
            _read(errors, {}, name, partial(cells.filled, column))
        table = self._mapping.transaction
        for name, side in (("source", table.source), ("destination", table.destination)):
            _read(errors, given, name, partial(self._balance, side, cells, keys))
        for name, rule in table.dates():
            _read(errors, given, name, partial(self._moment, cells, name, rule))
        if table.amount is not None and not errors:
            _read(errors, {}, "amount", partial(cells.surplus_decimals, table.amount, given))
        if all(given.get(name) is None for name in _AMOUNTS):
            self._name_no_amount(cells, errors)
        if table.meta_data:
            meta_data: dict[str, Any] = {}
            for name, rules in table.meta_data.items():
                _read(errors, meta_data, name, partial(cells.value, "meta_data", rules))
            given["meta_data"] = meta_data
        return errors

    def _name_no_amount(self, cells: Cells, errors: list[FieldError]) -> None:
        """Name the empty column of a row without an amount, unless something else is told of it."""
        table = self._mapping.transaction
        first = (table.amount or table.precise_amount or ())[:1]
        columns = [one.value.column for one in first if isinstance(one.value, Template)]
        if columns and columns[0] and not any(error.field in _AMOUNTS for error in errors):
            _read(errors, {}, "amount", partial(cells.filled, columns[0]))

    def _checked(
        self, given: dict[str, Any], errors: list[FieldError], cells: Cells
    ) -> TransactionRequest:
        """Raises MalformedRequest with the errors and those of the request together."""
        named = {error.field for error in errors}
        try:
            check_json_amount(given)
            request = validate(TransactionRequest, given)
        except MalformedRequest as fault:
            errors += [error for error in fault.errors if error.field not in named]
        if not errors:
            return request
        if any(error.field in _MOVING for error in errors) and (
            zeros := cells.zeros(self._mapping.rules())
        ):
            errors[0] = replace(errors[0], message=f"{errors[0].message}; {zeros}")
        raise malformed(errors)

    def _balance(self, rules: list[SideRule], cells: Cells, keys: dict[str, str]) -> str:
        rule = cells.first(rules)
        if rule is not None and rule.party is not None:
            rules = self._mapping.parties[rule.party]
            rule = cells.first(rules)
        if rule is None:
            raise cells.no_rule(rules)
        if rule.balance is None:
            named = rule.indicator or rule.id
            assert named is not None
            return cells.named(named)
        key = _checked_key(cells.named(rule.balance), rule.balance)
        balance_id = balance_id_of(self.ledger_id, key)
        keys[balance_id] = key
        return balance_id

    def _moment(self, cells: Cells, name: str, rule: DateRule) -> datetime | None:
        text = cells.text(rule.column)
        if rule.optional and not text.strip():
            return None
        try:
            moment = rule.read(text)
            in_future = name == "effective_date" and moment - self._now() > FUTURE_MAX
        except NoSuchTimeError as fault:
            raise CellError(f"{shown(text)} in column {rule.column!r} {fault}") from None
        except (ValueError, OverflowError):
            raise CellError(
                f"{shown(text)} in column {rule.column!r} is not a date in the format "
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
        errors.append(FieldError(name, _CODES.get(name, Reason.MALFORMED), str(fault)))
        return
    if value is not None:
        into[name] = value


def _checked_key(key: str, template: Template) -> str:
    """The key, if it can be an external_id; CellError otherwise."""
    named = f"the balance's key {template.text[:40]!r}"
    if len(key) > KEY_LENGTH_MAX:
        raise CellError(f"{named} is longer than {KEY_LENGTH_MAX} characters")
    return key
