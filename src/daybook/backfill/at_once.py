"""Mistakes of a table together with those of its parts: what is seen in it as it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


def checked(
    given: Any, read: Callable[[Any], Any], faults_of: Callable[[dict[str, Any]], Iterable[str]]
) -> Any:
    """What ``read`` makes of a table. Raises ValidationError with its errors and the faults.

    Without it the faults would be told only once everything else is right.
    """
    faults = faults_of(given) if isinstance(given, dict) else ()
    errors = [_detail(ValueError(fault)) for fault in faults]
    try:
        made = read(given)
    except ValidationError as invalid:
        errors = [*map(_again, invalid.errors()), *errors]
    if errors:
        raise ValidationError.from_exception_data("mapping", errors)
    return made


def all_of(faults: Iterable[str]) -> None:
    """Raises ValueError with all of them, if there are any."""
    if said := "; ".join(faults):
        raise ValueError(said)


def _detail(fault: ValueError) -> InitErrorDetails:
    return InitErrorDetails(type="value_error", loc=(), input=None, ctx={"error": fault})


def _again(error: Any) -> InitErrorDetails:
    """An error as it is. Only as a custom one it may be of any type, our own codes included."""
    said = PydanticCustomError(
        error["type"], "{message}", {**error.get("ctx", {}), "message": error["msg"]}
    )
    return InitErrorDetails(type=said, loc=error["loc"], input=error["input"])


def same_signs(given: dict[str, Any]) -> Iterator[str]:
    """A sign between thousands that can't be told from the other characters of a number."""
    thousands, decimal = given.get("thousands"), given.get("decimal", ".")
    if isinstance(thousands, str) and (
        thousands == decimal or thousands.isalnum() or thousands in {"+", "-"}
    ):
        yield "thousands is a sign between digits, and not that of decimal"


def same_marks(given: dict[str, Any]) -> Iterator[str]:
    """A delimiter, a quote and the end of a line that can't be told apart."""
    delimiter, quote = given.get("delimiter", ","), given.get("quote", '"')
    if delimiter == quote:
        yield "delimiter and quote are the same character"
    for name, sign in (("delimiter", delimiter), ("quote", quote)):
        if sign in {"\n", "\r"}:
            yield f"{name} is the end of a line"


def lacks_amount(given: dict[str, Any]) -> Iterator[str]:
    """A transaction without any."""
    if {"amount", "precise_amount"}.isdisjoint(given):
        yield "needs amount (major units) or precise_amount (minor units)"


def _written_rules(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The tables that name balances, as they are written."""
    transaction, parties = given.get("transaction"), given.get("parties")
    sides: list[Any] = list(parties.values()) if isinstance(parties, dict) else []
    if isinstance(transaction, dict):
        sides += [transaction.get("source"), transaction.get("destination")]
    for side in sides:
        for rule in side if isinstance(side, list) else [side]:
            if isinstance(rule, dict):
                yield rule


def names_nothing(given: dict[str, Any]) -> Iterator[str]:
    """What rules name, and no table is."""
    rules, parties = list(_written_rules(given)), given.get("parties")
    named = {rule["party"] for rule in rules if isinstance(rule.get("party"), str)}
    for party in sorted(named - (parties.keys() if isinstance(parties, dict) else set())):
        yield f"there is no [[parties.{party}]]: write its rules"
    if "ledger" not in given and any("balance" in rule for rule in rules):
        yield 'application balances need a ledger: write [ledger] with name = "…"'
