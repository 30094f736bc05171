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
from daybook.ledger.split import LEFT, Share, split
from daybook.requests.base import same_balance
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

    def share(self, precision: int) -> Share:
        """What it gets of a total with this precision."""
        distribution = self.distribution
        if distribution is None or distribution == "left" or distribution[-1] == "%":
            return share_of(distribution, self.precise_distribution)
        return Share(to_minor(Decimal(distribution), precision))

    def canonical(self, precision: int) -> dict[str, Any]:
        """The leg as it stands in a body: an amount in minor units, whoever wrote it how."""
        share = self.share(precision)
        if share.fixed is not None:
            return {"identifier": self.identifier, "precise_distribution": str(share.fixed)}
        return {"identifier": self.identifier, "distribution": self.distribution}

    def rounds_to_zero(self, precision: int) -> bool:
        """Whether it asks for an amount that is too small to exist."""
        return self.distribution not in (None, "0") and self.share(precision).fixed == 0


def share_of(distribution: str | None, precise: int | None) -> Share:
    """The share of a leg in its canonical form: a percentage, ``left``, or minor units."""
    if distribution is None:
        return Share(precise)
    return LEFT if distribution == "left" else Share(None, Decimal(distribution[:-1]))


def divided(total: int, shares: Sequence[Share], side: str) -> list[int] | FieldError:
    """The legs' amounts in minor units, or what is wrong with the shares."""
    amounts = split(total, shares, side)
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
