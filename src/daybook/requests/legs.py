"""The legs of a transaction with several sources or destinations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from daybook.errors import FieldError
from daybook.ledger.money import to_minor
from daybook.ledger.rejection import Reason, Rejected
from daybook.ledger.shares import LEFT, Share, pair_up, share_out
from daybook.requests.base import malformed, misfit_error, same_balance
from daybook.requests.fields import BalanceName, Distribution, PreciseShare


class LegRequest(BaseModel):
    """One of several sources or destinations, and what it gives or gets.

    identifier: balance id (``bln_…``) or indicator (``@World``).
    distribution: ``"50%"`` of the total, ``"123.45"`` in major units, or ``"left"``: what the
    other legs leave. precise_distribution: minor units. One of the two.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    identifier: BalanceName
    distribution: Distribution | None = None
    precise_distribution: PreciseShare | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.distribution is None) == (self.precise_distribution is None):
            message = "either distribution or precise_distribution is required, not both"
            context = {"field": "distribution", "message": message}
            raise PydanticCustomError(Reason.INVALID_DISTRIBUTION.value, "{message}", context)
        return self

    @property
    def amount(self) -> Decimal | None:
        """What it gets in major units, where that is fixed so."""
        distribution = self.distribution
        if distribution is None or distribution == "left" or distribution[-1] == "%":
            return None
        return Decimal(distribution)

    def share(self, precision: int, rounding: str | None) -> Share:
        """What it gets of a total with this precision.

        Raises MalformedRequest for an amount that the precision can't hold, unless ``rounding``
        says that it may be rounded.
        """
        amount = self.amount
        if amount is None:
            return share_of(self.distribution, self.precise_distribution)
        wrong = self.misfit(precision, rounding)
        if wrong is not None:
            raise malformed([wrong])
        return Share(to_minor(amount, precision))

    def misfit(
        self, precision: int, rounding: str | None, field: str = "distribution"
    ) -> FieldError | None:
        """What is wrong with its amount at this precision: not whole, or rounded to nothing."""
        amount = self.amount
        if not amount:
            return None
        code = Reason.INVALID_DISTRIBUTION
        wrong = misfit_error(amount, precision, rounding, field, code)
        if wrong is None and to_minor(amount, precision) == 0:
            message = f"{self.distribution} is zero at precision {precision}"
            wrong = FieldError(field, code, message)
        return wrong

    @property
    def is_fixed(self) -> bool:
        """Whether it says itself what it gets, whatever the total is."""
        return self.precise_distribution is not None or self.amount is not None


class NamedShare(NamedTuple):
    """A leg whose balance is named once. distribution: as it was written, unless it is fixed."""

    identifier: str
    share: Share
    distribution: str | None

    def canonical(self) -> dict[str, Any]:
        """The leg as it stands in a body: an amount in minor units, however it was written."""
        if self.share.fixed is not None:
            return {"identifier": self.identifier, "precise_distribution": str(self.share.fixed)}
        return {"identifier": self.identifier, "distribution": self.distribution}


def named_shares(
    legs: Sequence[LegRequest],
    balance_ids: Sequence[str],
    precision: int,
    rounding: str | None,
) -> list[NamedShare]:
    """The legs; fixed shares of one balance are added up, at the place of the first."""
    found: dict[str, NamedShare] = {}
    for leg, balance_id in zip(legs, balance_ids, strict=True):
        share = leg.share(precision, rounding)
        known = found.get(balance_id)
        if known is not None and known.share.fixed is not None and share.fixed is not None:
            share = Share(known.share.fixed + share.fixed)
        name = leg.identifier if known is None else known.identifier
        found[balance_id] = NamedShare(name, share, leg.distribution)
    return list(found.values())


def paired_amounts(
    total: int, sources: Sequence[Share], destinations: Sequence[Share]
) -> list[tuple[int, int, int]] | FieldError:
    """What goes from which source to which destination, or what is wrong with the shares.

    Where both sides have several, each says what it gives or gets.
    """
    amounts = []
    for side, shares in (("sources", sources), ("destinations", destinations)):
        if len(sources) > 1 and len(destinations) > 1:
            for place, share in enumerate(shares):
                if share.fixed is None:
                    message = "must be an amount, as both sides have several"
                    field = f"{side}[{place}].distribution"
                    return FieldError(field, Reason.INVALID_DISTRIBUTION, message)
        found = divided(total, shares, side)
        if isinstance(found, FieldError):
            return found
        amounts.append(found)
    return list(pair_up(*amounts))


def share_of(distribution: str | None, precise: int | None) -> Share:
    """The share of a leg in its canonical form: a percentage, ``left``, or minor units."""
    if distribution is None:
        return Share(precise)
    return LEFT if distribution == "left" else Share(None, Decimal(distribution[:-1]))


def divided(total: int, shares: Sequence[Share], side: str) -> list[int] | FieldError:
    """The legs' amounts in minor units, or what is wrong with the shares."""
    amounts = share_out(total, shares, side)
    if isinstance(amounts, Rejected):
        field, _, message = amounts.detail.partition(": ")
        return FieldError(field, amounts.reason, message)
    return amounts


def identity_errors(
    side: str,
    balance_ids: Sequence[str],
    other_ids: Collection[str],
    fixed: Collection[int] = (),
) -> list[FieldError]:
    """Legs that name a balance twice, or one of the other side.

    fixed: the places of those that may name one twice, if both do.
    """
    errors = []
    seen: dict[str, int] = {}
    for place, balance_id in enumerate(balance_ids):
        field = f"{side}[{place}].identifier"
        first = seen.setdefault(balance_id, place)
        if first != place and not (first in fixed and place in fixed):
            message = f"is the balance of {side}[{first}], too; that needs amounts, which add up"
            errors.append(FieldError(field, Reason.INVALID_DISTRIBUTION, message))
        if balance_id in other_ids:
            errors.append(same_balance(field))
    return errors
