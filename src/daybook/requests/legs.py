"""The legs of a transaction with several sources or destinations."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from daybook.errors import FieldError
from daybook.ledger.money import to_minor
from daybook.ledger.rejection import Reason, Rejected
from daybook.ledger.shares import LEFT, Share, share_out
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

    def canonical(self, precision: int, rounding: str | None) -> dict[str, Any]:
        """The leg as it stands in a body: an amount in minor units, however it was written."""
        share = self.share(precision, rounding)
        if share.fixed is not None:
            return {"identifier": self.identifier, "precise_distribution": str(share.fixed)}
        return {"identifier": self.identifier, "distribution": self.distribution}


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


def identity_errors(side: str, balance_ids: Sequence[str], other_id: str) -> list[FieldError]:
    """Legs that name a balance twice, or the balance of the other side."""
    errors = []
    seen: dict[str, int] = {}
    for place, balance_id in enumerate(balance_ids):
        field = f"{side}[{place}].identifier"
        first = seen.setdefault(balance_id, place)
        if first != place:
            message = f"is the balance of {side}[{first}]; name each balance once"
            errors.append(FieldError(field, Reason.INVALID_DISTRIBUTION, message))
        if balance_id == other_id:
            errors.append(same_balance(field))
    return errors
