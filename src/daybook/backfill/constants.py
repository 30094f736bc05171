"""Constants of a mapping, judged by the rules of the request that they will be part of."""

from __future__ import annotations

from typing import Any

from daybook.errors import MalformedRequest
from daybook.requests import TransactionRequest, validate


def refusal_of_constant(field: str, value: Any, member: str | None = None) -> str | None:
    """Why every request with this value in ``field`` would be refused; None when it is fine.

    member: of meta_data.
    """
    given: dict[str, Any] = {
        "reference": "r",
        "source": "@A",
        "destination": "@B",
        "currency": "X",
    }
    if field == "amount":
        given["precision"] = 10**30  # so that none rounds to nothing
    else:
        given["precise_amount"] = 1
    given[field] = value if member is None else {member: value}
    try:
        validate(TransactionRequest, given)
    except MalformedRequest as fault:
        return "; ".join(error.message for error in fault.errors)
    return None
