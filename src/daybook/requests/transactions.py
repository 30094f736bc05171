"""The request that moves or holds money."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from daybook.errors import FieldError, MalformedRequest
from daybook.ledger.balance import named_balance_id
from daybook.ledger.instructions import Kind
from daybook.ledger.money import FIGURE_DIGITS_MAX, FIGURE_MAX, plain_text, to_minor
from daybook.ledger.rejection import Reason
from daybook.ledger.shares import LEFT, Share
from daybook.requests.base import (
    NO_SLOTS,
    Request,
    amount_choice,
    iso,
    malformed,
    misfit_error,
    same_balance,
    with_meta_data,
    wrong_slot,
)
from daybook.requests.bounds import BODY_BYTES_MAX, LEG_BYTES_MAX, LEGS_MAX
from daybook.requests.fields import (
    Amount,
    BalanceName,
    Currency,
    Description,
    MetaData,
    Moment,
    NewTransactionId,
    OrderingKey,
    OverdraftLimit,
    PreciseAmount,
    Precision,
    Reference,
    Rounding,
)
from daybook.requests.legs import (
    LegRequest,
    NamedShare,
    identity_errors,
    named_shares,
    paired_amounts,
)
from daybook.requests.routing import ordering_key_of, slot_of, slot_of_transaction, slots_spent

Legs = Annotated[tuple[LegRequest, ...], Field(min_length=1, max_length=LEGS_MAX)]
_SIDES = (("source", "sources"), ("destination", "destinations"))
HOLD_DATES = ("inflight_expiry_date", "inflight_commit_date")


class TransactionRequest(Request):
    """Ask to move or to hold money.

    reference: the key of idempotency, 1..255 characters, unique over the whole ledger.
    source, destination: balance ids (``bln_…``) or indicators (``@World``).
    sources, destinations: in their place, up to 1,000 legs each, see ``LegRequest``.
    amount (major units) with precision, or precise_amount (minor units): one of the two.
    precision: minor units in a major unit, e.g. 100 for cents. It has no default: one would give
    an amount another meaning than its sender's, and a balance keeps the first one for ever.
    rounding: ``half_up`` rounds amounts in major units, those of legs too, that the precision
    can't hold; without it they are refused.
    allow_overdraft: the source may go below zero; overdraft_limit (major units): how far, rounded
    down to minor units.
    inflight: hold the money until it is committed or voided.
    inflight_expiry_date, inflight_commit_date: when what remains of the hold is voided, or
    committed.
    effective_date: when it counts for history; default: when it is accepted.
    scheduled_for: when it is applied; default, or when that is past: at once.
    ordering_key: requests of the same key keep their order; default: the application balance.
    transaction_id: the id to use; minted when absent.
    """

    kind: ClassVar[Kind] = Kind.TRANSACTION
    not_in_body: ClassVar[frozenset[str]] = frozenset({"transaction_id"})

    reference: Reference
    source: BalanceName | None = None
    destination: BalanceName | None = None
    sources: Legs | None = None
    destinations: Legs | None = None
    currency: Currency
    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    precision: Precision
    rounding: Rounding | None = None
    description: Description = ""
    allow_overdraft: StrictBool = False
    overdraft_limit: OverdraftLimit = Decimal(0)
    inflight: StrictBool = False
    inflight_expiry_date: Moment | None = None
    inflight_commit_date: Moment | None = None
    effective_date: Moment | None = None
    scheduled_for: Moment | None = None
    meta_data: MetaData | None = None
    ordering_key: OrderingKey | None = None
    transaction_id: NewTransactionId | None = None

    @model_validator(mode="after")
    def _has_sides(self) -> Self:
        """Nothing can be asked of a request without sides, however it was made."""
        if (self.source is None) == (self.sources is None) or (self.destination is None) == (
            self.destinations is None
        ):
            message = "source or sources, and destination or destinations, are required"
            raise PydanticCustomError(Reason.MALFORMED.value, message)
        return self

    @property
    def source_names(self) -> tuple[str, ...]:
        """Every source once, as its body names it, in the order of the request."""
        return self._once(self.source, self.sources)

    @property
    def destination_names(self) -> tuple[str, ...]:
        """Every destination once, as its body names it, in the order of the request."""
        return self._once(self.destination, self.destinations)

    def _once(self, one: str | None, legs: tuple[LegRequest, ...] | None) -> tuple[str, ...]:
        """The first name of each balance: one has two, its id and its indicator."""
        if one is not None:
            return (one,)
        first: dict[str, str] = {}
        for leg in legs or ():
            first.setdefault(self._id_of(leg.identifier), leg.identifier)
        return tuple(first.values())

    @property
    def slot(self) -> int:
        """The slot 0..4095 whose order this request keeps."""
        key = self.ordering_key
        return slot_of(key or ordering_key_of(self.source_names, self.destination_names))

    @property
    def slots(self) -> frozenset[int]:
        """Of a request that spends from balances of several slots, all of them; else none."""
        return NO_SLOTS if self.sources is None else slots_spent(self.slot, self.source_names)

    @property
    def body_bytes_max(self) -> int | None:
        """How long its body may be: every leg makes it longer."""
        if self.sources is None and self.destinations is None:
            return None
        legs = len(self.source_names) + len(self.destination_names) - 2
        return BODY_BYTES_MAX + LEG_BYTES_MAX * legs

    def minor_amount(self) -> int:
        """The amount in minor units.

        Raises MalformedRequest when the precision can't hold it and nothing says how to round.
        """
        return self._minor_amount if self.precise_amount is None else self.precise_amount

    @cached_property
    def _minor_amount(self) -> int:
        assert self.amount is not None
        wrong = misfit_error(self.amount, self.precision, self.rounding)
        if wrong is not None:
            raise malformed([wrong])
        return to_minor(self.amount, self.precision)

    def canonical_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "reference": self.reference,
            "currency": self.currency,
            "precise_amount": str(self.minor_amount()),
            "precision": str(self.precision),
        }
        if self.source is not None and self.destination is not None:
            fields["source"] = self.source
            fields["destination"] = self.destination
        else:
            fields |= self._canonical_sides()
        if self.description:
            fields["description"] = self.description
        if self.allow_overdraft:
            fields["allow_overdraft"] = True
        if self.overdraft_limit:
            fields["overdraft_limit"] = plain_text(self.overdraft_limit)
        if self.inflight:
            fields["inflight"] = True
        for name in (*HOLD_DATES, "effective_date", "scheduled_for"):
            moment = getattr(self, name)
            if moment is not None:
                fields[name] = iso(moment)
        if self.ordering_key is not None:
            fields["ordering_key"] = self.ordering_key
        return with_meta_data(fields, self.meta_data)

    def _canonical_sides(self) -> dict[str, Any]:
        """The sides of a request with legs; a list of one is that one."""
        fields: dict[str, Any] = {}
        for one, many in _SIDES:
            if getattr(self, many) is None:
                fields[one] = getattr(self, one)
                continue
            shares = self._shares(many)
            if len(shares) == 1:
                fields[one] = shares[0].identifier
            else:
                fields[many] = [share.canonical() for share in shares]
        return fields

    def _shares(self, many: str) -> list[NamedShare]:
        """The legs of this side, each balance once. Raises MalformedRequest."""
        legs = getattr(self, many)
        balance_ids = [self._id_of(leg.identifier) for leg in legs]
        return named_shares(legs, balance_ids, self.precision, self.rounding)

    @classmethod
    def cross_checks(cls, given: Mapping[str, Any]) -> list[FieldError]:
        errors = amount_choice(given, required=True)
        source, destination = given.get("source"), given.get("destination")
        if source is None or destination is None or "sources" in given or "destinations" in given:
            errors += _side_errors(given)
        elif source == destination:
            errors.append(same_balance())
        if given.get("inflight", False) is False:
            for name in HOLD_DATES:
                if given.get(name) is not None:
                    message = "is the date of a hold; set inflight, or remove it"
                    errors.append(FieldError(name, Reason.MALFORMED, message))
        return errors

    def late_checks(self) -> list[FieldError]:
        wrong = self._wrong_amount()
        errors = [] if wrong is None else [wrong]
        if self.source is not None and self.destination is not None:
            if self._id_of(self.source) == self._id_of(self.destination):
                errors.append(same_balance())
        else:
            errors += self._leg_errors(total_fits=wrong is None)
        named = self.transaction_id
        if named is not None and slot_of_transaction(named) != self.slot:
            errors.append(wrong_slot("transaction_id", self.slot))
        return errors

    def _wrong_amount(self) -> FieldError | None:
        try:
            minor = self.minor_amount()
        except MalformedRequest as fault:
            return fault.errors[0]
        if minor <= 0:
            message = f"{self.amount} is zero at precision {self.precision}; raise the precision"
        elif minor > FIGURE_MAX:
            message = f"has more than {FIGURE_DIGITS_MAX} digits in minor units"
        else:
            return None
        return FieldError("amount", Reason.INVALID_AMOUNT, message)

    def _leg_errors(self, *, total_fits: bool) -> list[FieldError]:
        if not self.source_names or not self.destination_names:
            return []  # said of the fields themselves
        ids = {
            many: list(map(self._id_of, _names(getattr(self, one), getattr(self, many))))
            for one, many in _SIDES
        }
        errors: list[FieldError] = []
        misfits: list[FieldError] = []
        for side, legs, other in (
            ("sources", self.sources, "destinations"),
            ("destinations", self.destinations, "sources"),
        ):
            if legs is None:
                continue
            fixed = {place for place, leg in enumerate(legs) if leg.is_fixed}
            beside = () if other == "sources" and self.sources is not None else ids[other]
            errors += identity_errors(side, ids[side], beside, fixed)
            for place, leg in enumerate(legs):
                field = f"{side}[{place}].distribution"
                misfit = leg.misfit(self.precision, self.rounding, field)
                misfits += [misfit] if misfit else []
        if total_fits and not misfits:
            pairs = paired_amounts(self.minor_amount(), *self._both_shares())
            errors += [pairs] if isinstance(pairs, FieldError) else []
        return errors + misfits

    def _both_shares(self) -> tuple[list[Share], list[Share]]:
        """What each source gives and each destination gets; one alone gives or gets all."""
        sources, destinations = (
            [LEFT] if getattr(self, many) is None else [named.share for named in self._shares(many)]
            for _, many in _SIDES
        )
        return sources, destinations

    def _id_of(self, name: str) -> str:
        return named_balance_id(name, self.currency)


def _names(one: str | None, legs: tuple[LegRequest, ...] | None) -> tuple[str, ...]:
    if one is not None:
        return (one,)
    return tuple(leg.identifier for leg in legs or ())


def _side_errors(given: Mapping[str, Any]) -> list[FieldError]:
    """Each side is one name or a list of legs."""
    errors = []
    for one, many in _SIDES:
        single, legs = given.get(one), given.get(many)
        if single is None and legs is None:
            errors.append(FieldError(one, Reason.MALFORMED, "is required"))
        elif single is not None and legs is not None:
            message = f"give either {one} or {many}, not both"
            errors.append(FieldError(many, Reason.MALFORMED, message))
    if given.get("source") is not None and given.get("source") == given.get("destination"):
        errors.append(same_balance())
    return errors
