"""Constants of a mapping, judged by the rules of the request that they will be part of."""

from __future__ import annotations

from typing import Any

from daybook.errors import MalformedRequest
from daybook.ledger.money import HALF_UP
from daybook.requests import TransactionRequest, validate


def rejection_of_constant(field: str, value: Any, member: str | None = None) -> str | None:
    """Why every request with this value in ``field`` would be refused; None when it is fine.

    member: of meta_data.
    """
    given: dict[str, Any] = {
        "reference": "r",
        "source": "@A",
        "destination": "@B",
        "currency": "X",
    }
    if field == "amount":  # the precision may come from the line: only what fits none is wrong
        given |= {"precision": 10**30, "rounding": HALF_UP}
    else:
        given |= {"precise_amount": 1, "precision": 1}
    given[field] = value if member is None else {member: value}
    try:
        validate(TransactionRequest, given)
    except MalformedRequest as fault:
        return "; ".join(error.message for error in fault.errors)
    return None
